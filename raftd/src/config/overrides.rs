//! The flags and environment variables of the settings, as the table of keys defines them.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::config::keys::{Flag, KEYS, Key, Kind};
use crate::config::layer::{Layer, Value, Values};
use crate::logging::{Format, Level};

/// Settings from flags and environment, as the table of keys names them. Relative paths are
/// relative to the working directory.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    given: Values,
    /// Which environment variables had a say, by name.
    pub variables: Vec<String>,
}

impl Overrides {
    /// Makes overrides from values by the keys' names.
    #[cfg(test)]
    pub(crate) fn of(given: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self { given: given.into_iter().collect(), variables: Vec::new() }
    }

    /// Returns what is given, by the keys' names.
    #[cfg(test)]
    pub(crate) fn given(&self) -> &Values {
        &self.given
    }

    /// Returns what the environment says and, going before it, what flags say.
    pub(super) fn layers(&self) -> [Layer; 2] {
        Layer::of_command_line(&self.given, &self.variables)
    }
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let command = command.next_help_heading("Settings (before those of the files)");
        let flags = KEYS.iter().filter_map(|key| key.flag.map(|flag| argument(key, flag)));
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = KEYS.iter().filter(|key| key.flag.is_some());
        let given = flags.filter_map(|key| value(key, matches).map(|value| (key.name, value)));
        Ok(Self { given: given.collect(), variables: Vec::new() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given.extend(Self::from_arg_matches(matches)?.given);
        Ok(())
    }
}

/// Defines the flag and the environment variable of a key.
fn argument(key: &'static Key, flag: Flag) -> Arg {
    let argument = Arg::new(key.name)
        .long(flag.name)
        .env(flag.variable)
        .value_name(flag.value)
        .help(flag.help)
        .action(ArgAction::Set);
    match key.kind {
        Kind::Path { .. } => argument.value_parser(value_parser!(PathBuf)),
        Kind::Listen { .. } => argument
            .value_parser(value_parser!(String))
            .value_delimiter(',')
            .action(ArgAction::Append),
        Kind::Advertised | Kind::Addresses | Kind::Loopback => {
            argument.value_parser(value_parser!(String))
        }
        Kind::Level { .. } => argument.value_parser(value_parser!(Level)),
        Kind::Format { .. } => argument.value_parser(value_parser!(Format)),
        Kind::Number { .. } => argument.value_parser(value_parser!(i64)),
        Kind::Pair { .. } => {
            argument.value_parser(value_parser!(i64)).value_delimiter(',').action(ArgAction::Append)
        }
    }
}

/// Returns what was given for a key.
fn value(key: &Key, matches: &ArgMatches) -> Option<Value> {
    match key.kind {
        Kind::Path { .. } => matches.get_one(key.name).cloned().map(Value::Path),
        Kind::Listen { .. } => {
            let all = matches.get_many::<String>(key.name)?;
            Some(Value::Text(all.map(String::as_str).collect::<Vec<_>>().join(",")))
        }
        Kind::Advertised | Kind::Addresses | Kind::Loopback => {
            matches.get_one(key.name).cloned().map(Value::Text)
        }
        Kind::Level { .. } => matches.get_one(key.name).copied().map(Value::Level),
        Kind::Format { .. } => matches.get_one(key.name).copied().map(Value::Format),
        Kind::Number { .. } => matches.get_one(key.name).copied().map(Value::Number),
        Kind::Pair { .. } => {
            let numbers = matches.get_many(key.name)?;
            Some(Value::Numbers(numbers.copied().collect()))
        }
    }
}
