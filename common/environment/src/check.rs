//! What one variable says, judged by the flag's own definition.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::num::ParseIntError;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use crate::{OFF, ON};

/// The longest piece of a variable's text that is shown, in characters.
const SHOWN_MAX: usize = 120;

/// Reads a text that is not blank as the values of a flag; none if it leaves the flag as it is.
pub(crate) fn read(arg: &Arg, value: &OsStr) -> Result<Vec<OsString>, String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return switch(value).map(|on| if on { vec!["true".into()] } else { Vec::new() });
    }
    let values = match (arg.get_value_delimiter(), value.to_str()) {
        (Some(delimiter), Some(text)) => items(text, delimiter),
        _ => vec![in_its_case(arg, value)],
    };
    match values.is_empty() {
        true => Ok(values),
        false => why_not(arg, &values).map_or(Ok(values), Err),
    }
}

/// Returns a text for people; what cannot be printed is escaped.
pub(crate) fn shown(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    let more = if cut.len() < text.len() { ".." } else { "" };
    format!("{cut:?}{more}")
}

fn switch(value: &OsStr) -> Result<bool, String> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match (is_one_of(&ON), is_one_of(&OFF)) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) => {
            Err("a switch is 1, true, yes or on, or it is 0, false, no or off".to_owned())
        }
    }
}

fn items(text: &str, delimiter: char) -> Vec<OsString> {
    let items = text.split(|c: char| c == delimiter || c.is_whitespace());
    items.filter(|item| !item.is_empty()).map(OsString::from).collect()
}

/// Spells a choice as the definition does.
fn in_its_case(arg: &Arg, value: &OsStr) -> OsString {
    let choices = arg.get_possible_values();
    let meant = choices.iter().find(|choice| value.eq_ignore_ascii_case(choice.get_name()));
    meant.map_or_else(|| value.to_owned(), |choice| choice.get_name().into())
}

/// Asks the flag's own parser what is wrong.
fn why_not(arg: &Arg, values: &[OsString]) -> Option<String> {
    let delimiter = arg.get_value_delimiter();
    let mut word = OsString::from("--value=");
    let between = delimiter.map(String::from).unwrap_or_default();
    word.push(values.join(OsStr::new(&between)));
    let probed = Arg::new("value").long("value").action(arg.get_action().clone());
    let probed = probed.value_parser(arg.get_value_parser().clone()).value_delimiter(delimiter);
    let probe = Command::new("probe").no_binary_name(true).disable_help_flag(true).arg(probed);
    let error = probe.try_get_matches_from([word]).err()?;
    Some(reason(arg, &error))
}

fn reason(arg: &Arg, error: &clap::Error) -> String {
    if error.kind() == ErrorKind::InvalidUtf8 {
        return "it is no UTF-8".to_owned();
    }
    let choices = arg.get_possible_values();
    if !choices.is_empty() {
        let names: Vec<&str> = choices.iter().map(|choice| choice.get_name()).collect();
        return format!("it may be one of {}", names.join(", "));
    }
    match error.source() {
        Some(why) if why.is::<ParseIntError>() => "not a whole number".to_owned(),
        Some(why) => why.to_string(),
        None => error.kind().to_string(),
    }
}
