//! The settings that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::output::form::Form;
use crate::values::{duration, endpoint};

/// Settings of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The context to use instead of the current one
    #[arg(
        long,
        value_name = "NAME",
        env = "RAFTCTL_CONTEXT",
        hide_env_values = true,
        global = true
    )]
    pub(crate) context: Option<String>,

    /// A node's address; may be given several times
    #[arg(
        short,
        long = "endpoint",
        value_name = "HOST:PORT",
        env = "RAFTCTL_ENDPOINT",
        hide_env_values = true
    )]
    #[arg(global = true, value_delimiter = ',', value_parser = endpoint)]
    pub(crate) endpoints: Vec<String>,

    /// The authority's certificate
    #[arg(long, value_name = "FILE", env = "RAFTCTL_CA", hide_env_values = true, global = true)]
    pub(crate) ca: Option<PathBuf>,

    /// The operator's certificate
    #[arg(long, value_name = "FILE", env = "RAFTCTL_CERT", hide_env_values = true, global = true)]
    pub(crate) cert: Option<PathBuf>,

    /// The operator's private key
    #[arg(long, value_name = "FILE", env = "RAFTCTL_KEY", hide_env_values = true, global = true)]
    pub(crate) key: Option<PathBuf>,

    /// The form of the answer
    #[arg(
        short,
        long,
        value_name = "FORM",
        env = "RAFTCTL_OUTPUT",
        hide_env_values = true,
        global = true
    )]
    #[arg(value_enum, default_value_t = Form::Table, hide_possible_values = false)]
    pub(crate) output: Form,

    /// Leaves out the tables' headers
    #[arg(long)]
    #[arg(env = "RAFTCTL_NO_HEADERS", hide_env_values = true, value_parser = falsey())]
    #[arg(global = true)]
    pub(crate) no_headers: bool,

    /// Says nothing but the answer and errors
    #[arg(short, long)]
    #[arg(env = "RAFTCTL_QUIET", hide_env_values = true, value_parser = falsey(), global = true)]
    pub(crate) quiet: bool,

    /// Says what is tried, on stderr
    #[arg(short, long)]
    #[arg(env = "RAFTCTL_VERBOSE", hide_env_values = true, value_parser = falsey())]
    #[arg(global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// How long a request may take with all its retries, as 10s or 500ms
    #[arg(
        long,
        value_name = "DURATION",
        env = "RAFTCTL_TIMEOUT",
        hide_env_values = true,
        global = true
    )]
    #[arg(default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// Leaves out colours (NO_COLOR does so too)
    #[arg(long)]
    #[arg(env = "RAFTCTL_NO_COLOR", hide_env_values = true, value_parser = falsey(), global = true)]
    pub(crate) no_color: bool,

    /// Leaves out progress, also on a terminal
    #[arg(long)]
    #[arg(env = "RAFTCTL_NO_PROGRESS", hide_env_values = true, value_parser = falsey())]
    #[arg(global = true)]
    pub(crate) no_progress: bool,

    /// Does not ask
    #[arg(short, long)]
    #[arg(env = "RAFTCTL_YES", hide_env_values = true, value_parser = falsey(), global = true)]
    pub(crate) yes: bool,

    /// Which environment variables had a say, by name.
    #[arg(skip)]
    pub(crate) variables: Vec<String>,

    /// Whether somebody said how long a request may take.
    #[arg(skip)]
    pub(crate) is_timeout_given: bool,
}

/// The variables that choose a cluster, who asks it, and files.
pub(crate) const CHOOSING: [&str; 7] = [
    "RAFTCTL_CONTEXT",
    "RAFTCTL_ENDPOINT",
    "RAFTCTL_CA",
    "RAFTCTL_CERT",
    "RAFTCTL_KEY",
    "RAFTCTL_DIR",
    "RAFTCTL_RAFTD",
];

impl Global {
    /// Returns how long a request may take, if a flag or a variable says so.
    pub(crate) fn timeout_given(&self) -> Option<Duration> {
        self.is_timeout_given.then_some(self.timeout)
    }
}

/// A switch's variable: set is on, but for an empty text, 0, no and false.
fn falsey() -> clap::builder::FalseyValueParser {
    clap::builder::FalseyValueParser::new()
}
