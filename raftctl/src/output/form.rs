//! The forms of an answer.

use clap::ValueEnum;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// For people, with more columns.
    Wide,
    /// For programs: the envelope raftctl/v1.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}
