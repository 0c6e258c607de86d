//! A small command line with a variable of each kind.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "tool", arg_required_else_help = true)]
struct Cli {
    /// Where
    #[arg(long, env = "TOOL_AT", global = true, value_delimiter = ',', value_parser = at)]
    at: Vec<String>,
    /// Ends
    #[arg(long, env = "TOOL_ENDS", value_delimiter = ',')]
    ends: Option<Vec<i64>>,
    /// A file
    #[arg(long, env = "TOOL_FILE", global = true)]
    file: Option<PathBuf>,
    /// A form
    #[arg(long, env = "TOOL_FORM", global = true, value_enum, default_value_t = Form::Plain)]
    form: Form,
    /// Asks nobody
    #[arg(long, env = "TOOL_YES", global = true)]
    yes: bool,
    /// Says nothing
    #[arg(long, env = "TOOL_QUIET", global = true, conflicts_with = "yes")]
    quiet: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Plain,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Verb {
    Show,
    Make {
        #[arg(long, env = "TOOL_COUNT", default_value_t = 3)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=9))]
        count: u16,
    },
}

fn at(text: &str) -> Result<String, String> {
    text.contains(':').then(|| text.to_owned()).ok_or_else(|| "not HOST:PORT".to_owned())
}

fn parsed(line: &str, variables: &[(&str, &[u8])]) -> Result<Parsed<Cli>, Failure> {
    let set: BTreeMap<OsString, OsString> = variables
        .iter()
        .map(|(name, text)| (OsString::from(*name), OsString::from_vec(text.to_vec())))
        .collect();
    parse_from(line.split(' ').map(OsString::from), |name| set.get(name).cloned())
}

fn cli(line: &str, variables: &[(&str, &[u8])]) -> Cli {
    parsed(line, variables).expect("it makes sense").value
}

fn bad(line: &str, variables: &[(&str, &[u8])]) -> String {
    match parsed(line, variables) {
        Err(Failure::Variable(bad)) => bad.to_string(),
        other => panic!("no bad variable: {other:?}"),
    }
}

#[test]
fn what_is_blank_is_not_set() {
    let unset = cli("tool make", &[]);
    for name in variables(&Cli::command()).iter().map(|variable| variable.name.as_str()) {
        for blank in ["", " ", "\t\r\n"] {
            let found = parsed("tool make", &[(name, blank.as_bytes())]).expect("as if not set");
            assert_eq!(found.value, unset, "{name}={blank:?}");
            assert!(found.variables.is_empty());
        }
    }
}

#[test]
fn blanks_around_a_text_and_empty_items_are_ignored() {
    let endpoints = |text: &str| cli("tool show", &[("TOOL_AT", text.as_bytes())]).at;
    for text in ["a:1,b:2", "a:1, b:2", " a:1 ,,b:2,\n", "a:1\nb:2\n", ",a:1 b:2"] {
        assert_eq!(endpoints(text), ["a:1", "b:2"], "{text:?}");
    }
    assert!(endpoints(" , ,\n").is_empty());
    let ends = |text: &str| cli("tool show", &[("TOOL_ENDS", text.as_bytes())]).ends;
    assert_eq!(ends(" 1, 2\n"), Some(vec![1, 2]));
    assert_eq!(ends(","), None, "a list of nothing is none");
    let file = cli("tool show", &[("TOOL_FILE", b" /a b/c\n")]).file;
    assert_eq!(file, Some(PathBuf::from("/a b/c")));
}

#[test]
fn switches_and_choices_are_read_in_any_case() {
    for (text, on) in [("1", true), ("TRUE", true), (" yes\n", true), ("0", false), ("No", false)] {
        assert_eq!(cli("tool show", &[("TOOL_YES", text.as_bytes())]).yes, on, "{text:?}");
    }
    assert_eq!(cli("tool show", &[("TOOL_FORM", b"JSON ")]).form, Form::Json);
}

#[test]
fn what_makes_no_sense_is_named_with_what_may_be_there() {
    let said = |name: &str, text: &[u8]| bad("tool make", &[(name, text)]);
    let variable = "the environment variable";
    assert_eq!(
        said("TOOL_AT", b"a:1,b"),
        format!("{variable} TOOL_AT is \"a:1,b\": not HOST:PORT")
    );
    assert_eq!(
        said("TOOL_ENDS", b"1,x"),
        format!("{variable} TOOL_ENDS is \"1,x\": not a whole number")
    );
    let form = format!("{variable} TOOL_FORM is \"xml\": it may be one of plain, json");
    assert_eq!(said("TOOL_FORM", b"xml"), form);
    assert!(said("TOOL_YES", b"maybe").ends_with("or it is 0, false, no or off"));
    assert!(said("TOOL_COUNT", b"12").contains("12 is not in 1..=9"));
    assert!(said("TOOL_AT", b"\xff:1").contains("it is no UTF-8"));
}

#[test]
fn a_path_may_be_any_bytes() {
    let file = cli("tool show", &[("TOOL_FILE", b"/a\xff\n")]).file.expect("it is set");
    assert_eq!(file.as_os_str().as_bytes(), b"/a\xff");
}

#[test]
fn a_flag_goes_before_its_variable_whatever_that_says() {
    let set: [(&str, &[u8]); 3] = [("TOOL_AT", b"?"), ("TOOL_FORM", b"?"), ("TOOL_YES", b"1")];
    let found = parsed("tool --at x:1 show --form json", &set).expect("the flags make sense");
    assert_eq!((found.value.at, found.value.form), (vec!["x:1".to_owned()], Form::Json));
    assert_eq!(found.variables, ["TOOL_YES"]);
    assert!(
        cli("tool show --quiet", &[("TOOL_YES", b"1")]).quiet,
        "a variable is in no flag's way"
    );
}

#[test]
fn a_variable_of_another_verb_is_not_looked_at() {
    assert_eq!(cli("tool show", &[("TOOL_COUNT", b"many")]).verb, Verb::Show);
    assert_eq!(cli("tool make --count 4", &[("TOOL_COUNT", b"9")]).verb, Verb::Make { count: 4 });
    assert_eq!(cli("tool make", &[("TOOL_COUNT", b" 9")]).verb, Verb::Make { count: 9 });
}

#[test]
fn help_names_the_variables_and_is_shown_whatever_they_say() {
    for line in ["tool", "tool --help", "tool make -h"] {
        let Err(Failure::CommandLine(help)) = parsed(line, &[("TOOL_AT", b"?")]) else {
            panic!("{line} shows no help");
        };
        let wanted = if line.contains("make") { "TOOL_COUNT" } else { "TOOL_FORM" };
        assert!(help.to_string().contains(wanted), "{line}: {help}");
    }
}
