//! Environment variables of a command line, read as people write them: in scripts, unit files and
//! secrets, where a variable may be set to nothing, end in a newline, or have blanks in a list.
//!
//! The command line stays the one definition: which variables there are, and what each may say, is
//! what clap knows of the flags. Only the reading is not left to clap, which would take every text
//! literally and name the flag, that nobody has typed, when it makes no sense.
//!
//! | a variable | is |
//! |---|---|
//! | that is empty or blank | not set |
//! | with blanks or a newline around its text | read without them |
//! | of a list | split at commas and blanks; items without a text are ignored |
//! | of a switch | on: 1, true, yes, on; off: 0, false, no, off; in any case of letters |
//! | of a choice | read in any case of letters |
//! | that makes no sense | an error that names it, its text, and what may be there |
//! | whose flag is given | not looked at |
//!
//! # Architecture invariants
//! - Nothing here knows a flag or a variable of any program.
//! - The process's environment is read and never changed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

mod check;
#[cfg(test)]
mod tests;

/// What switches say, in any case of letters.
const ON: [&str; 5] = ["1", "true", "yes", "y", "on"];
/// What switches say, in any case of letters.
const OFF: [&str; 5] = ["0", "false", "no", "n", "off"];

/// A command line, and where it came from.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    /// What it says, with what variables say where no flag does.
    pub value: T,
    /// The variables that had a say.
    pub variables: Vec<String>,
    /// What was given on the command line, as clap calls it.
    pub given: Vec<String>,
}

/// Why a command line cannot be used.
#[derive(Debug)]
pub enum Failure {
    /// It makes no sense, or help or the version was asked for.
    CommandLine(clap::Error),
    /// A variable makes no sense.
    Variable(BadVariable),
}

/// A variable that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVariable {
    /// Its name.
    pub name: String,
    /// Its text, printable.
    pub text: String,
    /// What is wrong with it, and what may be there.
    pub why: String,
    /// The flag that goes before it.
    pub flag: String,
}

impl std::fmt::Display for BadVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, text, why, .. } = self;
        write!(f, "the environment variable {name} is {text}: {why}")
    }
}

impl BadVariable {
    /// Says what to do.
    pub fn hint(&self) -> String {
        let Self { name, flag, .. } = self;
        format!("unset {name}    (or give {flag}, which goes before it)")
    }
}

/// A variable of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The verbs behind which its flag stands; empty for a flag of every command.
    pub verbs: Vec<String>,
    /// The flag.
    pub flag: String,
    /// Its name.
    pub name: String,
    /// Whether it is a switch.
    pub is_switch: bool,
    id: String,
}

/// A variable that was looked at: what it says, or why it makes no sense.
struct Seen {
    variable: Variable,
    bad: Option<BadVariable>,
}

/// Reads a command line, and the variables of this process where no flag is given.
///
/// # Errors
/// If one of them makes no sense, or help or the version is asked for.
pub fn parse<T: CommandFactory + FromArgMatches>() -> Result<Parsed<T>, Failure> {
    parse_from(std::env::args_os(), |name| std::env::var_os(name))
}

/// Reads a command line, and variables where no flag is given.
///
/// # Errors
/// If one of them makes no sense, or help or the version is asked for.
pub fn parse_from<T: CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
    lookup: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<Parsed<T>, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut seen = Vec::new();
    let mut command = resolve(T::command(), &[], &lookup, &mut seen);
    let mut matches = command
        .try_get_matches_from_mut(&arguments)
        .map_err(|error| Failure::CommandLine(with_variables::<T>(error, &arguments)))?;
    let mut variables = Vec::new();
    for Seen { variable, bad } in seen {
        if !has_a_say(&matches, &variable) {
            continue;
        }
        if let Some(bad) = bad {
            return Err(Failure::Variable(bad));
        }
        variables.push(variable.name);
    }
    let given = given(&matches);
    let value = T::from_arg_matches_mut(&mut matches)
        .map_err(|error| Failure::CommandLine(error.format(&mut command)))?;
    Ok(Parsed { value, variables, given })
}

/// Returns all variables of a command line.
pub fn variables(command: &Command) -> Vec<Variable> {
    let mut found = Vec::new();
    collect(command, &[], &mut found);
    found
}

/// Returns a text without blanks and newlines around it; `None` if nothing is left.
pub fn text(value: &OsStr) -> Option<OsString> {
    let trimmed = value.as_bytes().trim_ascii();
    (!trimmed.is_empty()).then(|| OsStr::from_bytes(trimmed).to_owned())
}

fn collect(command: &Command, verbs: &[String], found: &mut Vec<Variable>) {
    found.extend(command.get_arguments().filter_map(|arg| variable(arg, verbs)));
    for verb in command.get_subcommands() {
        let below: Vec<String> =
            verbs.iter().cloned().chain([verb.get_name().to_owned()]).collect();
        collect(verb, &below, found);
    }
}

fn variable(arg: &Arg, verbs: &[String]) -> Option<Variable> {
    let name = arg.get_env()?.to_str()?.to_owned();
    let id = arg.get_id().to_string();
    let flag = arg.get_long().map_or_else(|| id.clone(), |long| format!("--{long}"));
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    Some(Variable { verbs: verbs.to_vec(), flag, name, is_switch, id })
}

/// Puts what variables say in the place of defaults, and takes the variables away from clap.
fn resolve(
    command: Command,
    verbs: &[String],
    lookup: &impl Fn(&OsStr) -> Option<OsString>,
    seen: &mut Vec<Seen>,
) -> Command {
    let command = command.mut_args(|arg| match variable(&arg, verbs) {
        Some(variable) => settle(arg.env(Resettable::Reset), variable, lookup, seen),
        None => arg,
    });
    command.mut_subcommands(|verb| {
        let below: Vec<String> =
            verbs.iter().cloned().chain([verb.get_name().to_owned()]).collect();
        resolve(verb, &below, lookup, seen)
    })
}

fn settle(
    arg: Arg,
    variable: Variable,
    lookup: &impl Fn(&OsStr) -> Option<OsString>,
    seen: &mut Vec<Seen>,
) -> Arg {
    let Some(value) = lookup(OsStr::new(&variable.name)).as_deref().and_then(text) else {
        return arg;
    };
    match check::read(&arg, &value) {
        // A list of nothing, a switch that is off: as if it were not set.
        Ok(values) if values.is_empty() => arg,
        Ok(values) => {
            seen.push(Seen { variable, bad: None });
            // A command line is read once in a process, and clap keeps references only.
            let values = values.into_iter().map(|value| &*Box::leak(value.into_boxed_os_str()));
            arg.default_values(values).hide_default_value(true)
        }
        Err(why) => {
            let (name, flag) = (variable.name.clone(), variable.flag.clone());
            let bad = BadVariable { name, text: check::shown(&value), why, flag };
            seen.push(Seen { variable, bad: Some(bad) });
            arg
        }
    }
}

/// Says whether a variable counts: its command was given, and its flag was not.
fn has_a_say(matches: &ArgMatches, variable: &Variable) -> bool {
    let given = |level: &ArgMatches| {
        level.try_contains_id(&variable.id).is_ok()
            && level.value_source(&variable.id) == Some(ValueSource::CommandLine)
    };
    let mut level = matches;
    let mut open = variable.verbs.iter();
    loop {
        if given(level) {
            return false;
        }
        let Some((verb, below)) = level.subcommand() else {
            return open.next().is_none();
        };
        if open.next().is_some_and(|wanted| wanted != verb) {
            return false;
        }
        level = below;
    }
}

/// Returns what stands on the command line, at whichever level.
fn given(matches: &ArgMatches) -> Vec<String> {
    let mut found = Vec::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        let here = matches.ids().map(clap::Id::as_str);
        let here = here.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        found.extend(here.map(str::to_owned));
        level = matches.subcommand().map(|(_, below)| below);
    }
    found
}

/// Help names the variables, so it is taken from the definition as it is.
fn with_variables<T: CommandFactory>(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let is_help = matches!(
        error.kind(),
        clap::error::ErrorKind::DisplayHelp
            | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !is_help {
        return error;
    }
    match T::command().try_get_matches_from(arguments) {
        Err(named) if named.kind() == error.kind() => named,
        Err(_) | Ok(_) => error,
    }
}
