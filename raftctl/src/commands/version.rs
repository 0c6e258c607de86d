//! `raftctl version` and `raftctl completion`.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use serde_json::json;

use crate::cli::Cli;
use crate::invocation::Invocation;
use crate::output::{View, write_stdout};
use crate::report::Result;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the versions.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn run(invocation: &Invocation) -> Result<()> {
    let protocol = protocol::PROTOCOL_VERSION;
    invocation.output.answer(&View {
        kind: "Version",
        data: json!({ "raftctl": VERSION, "protocol": protocol }),
        text: format!("raftctl {VERSION} (protocol {protocol})\n").into_bytes(),
        names: vec![VERSION.to_owned()],
        warnings: Vec::new(),
    })
}

/// Prints a shell's completion script.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn completion(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "raftctl", &mut script);
    write_stdout(&script)
}
