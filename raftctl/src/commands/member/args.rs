//! What `member add` and `member replace` are told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::values::{duration, node};

/// What `add` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArgs {
    /// The new members, as n4=n4.example:7400; several are one joint change
    #[arg(required = true, value_name = "NAME=HOST:PORT", value_parser = node)]
    pub(crate) nodes: Vec<(String, String)>,

    /// They stay learners: they get the log and do not vote
    #[arg(long)]
    pub(crate) learner: bool,

    /// This member leaves in the same change, dead or alive
    #[arg(long, value_name = "MEMBER", conflicts_with = "learner")]
    pub(crate) replace: Option<String>,

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Makes a bundle with the node's key here, to be carried there, in place of a token
    #[arg(long)]
    pub(crate) bundle: bool,

    /// Stops when the bundles are made; there are no tokens then
    #[arg(long)]
    pub(crate) prepare_only: bool,

    /// Writes the token to this file (0600) [default: in the directory that `init` made]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "prepare_only"])]
    pub(crate) token_file: Option<PathBuf>,

    /// For how long a host may enrol by the token
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) valid: Duration,

    /// How long nodes may take to answer and to catch up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub(crate) wait: Duration,

    /// Shows what would be done, and what is tolerated meanwhile
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What `replace` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// Who leaves, dead or alive: name or id
    #[arg(value_name = "OLD")]
    pub(crate) old: String,

    /// Who comes, as n4=n4.example:7400
    #[arg(value_name = "NEW=HOST:PORT", value_parser = node)]
    pub(crate) new: (String, String),

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Makes a bundle with the node's key here, to be carried there, in place of a token
    #[arg(long)]
    pub(crate) bundle: bool,

    /// Stops when the bundle is made; there are no tokens then
    #[arg(long)]
    pub(crate) prepare_only: bool,

    /// Writes the token to this file (0600) [default: in the directory that `init` made]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "prepare_only"])]
    pub(crate) token_file: Option<PathBuf>,

    /// For how long a host may enrol by the token
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) valid: Duration,

    /// How long the node may take to answer and to catch up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub(crate) wait: Duration,

    /// Shows what would be done, and what is tolerated meanwhile
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl From<ReplaceArgs> for AddArgs {
    fn from(args: ReplaceArgs) -> Self {
        let ReplaceArgs { old, new, dir, bundle, prepare_only, token_file, valid, wait, dry_run } =
            args;
        Self {
            nodes: vec![new],
            learner: false,
            replace: Some(old),
            dir,
            bundle,
            prepare_only,
            token_file,
            valid,
            wait,
            dry_run,
        }
    }
}
