//! Why a task did not succeed, and what to do about it.

use crate::machine::{Family, Need, remedies};
use std::fmt;

/// The ways in which a task fails; a variant for each reaction of the caller.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line names no task, or an argument of one is wrong.
    Usage(String),
    /// The machine lacks what the task needs, and it may not or could not be installed.
    Missing { needs: Vec<Need>, family: Family },
    /// A program could not be started.
    Start { program: String, source: std::io::Error },
    /// A program ran and said no.
    Stage { name: String, code: Option<i32> },
    /// Known bugs that do not apply, do not build, or are not found.
    Bugs(String),
    /// `cargo test` succeeded without having run a single test.
    NoTests,
}

impl Failure {
    /// Returns the process's exit code: 2 for usage as every tool of the workspace, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Missing { .. }
            | Failure::Start { .. }
            | Failure::Stage { .. }
            | Failure::Bugs(_)
            | Failure::NoTests => 1,
        }
    }

    /// Returns what a person can do next, one line each.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Failure::Usage(_) => vec!["`cargo xtask help` lists the tasks".to_owned()],
            Failure::Missing { needs, family } => remedies(needs, *family),
            Failure::Bugs(_) => {
                vec!["common/simulator/museum/README.md says how a bug is made".to_owned()]
            }
            Failure::Start { .. } | Failure::Stage { .. } | Failure::NoTests => Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(reason) | Failure::Bugs(reason) => f.write_str(reason),
            Failure::Missing { needs, .. } => {
                let names: Vec<&str> = needs.iter().map(|need| need.name()).collect();
                write!(f, "this machine lacks {}", names.join(", "))
            }
            Failure::Start { program, source } => write!(f, "cannot start {program}: {source}"),
            Failure::Stage { name, code: Some(code) } => {
                write!(f, "{name} failed with exit code {code}")
            }
            Failure::Stage { name, code: None } => write!(f, "{name} was ended by a signal"),
            Failure::NoTests => f.write_str("cargo test ran no test"),
        }
    }
}
