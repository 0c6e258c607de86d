//! `raftctl version` and `raftctl completion`.

use clap_complete::{Shell, generate};
use serde_json::json;

use crate::output::{View, write_stdout};
use crate::report::Result;
use crate::target::Session;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the versions.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(session: &Session) -> Result<()> {
    let protocol = protocol::PROTOCOL_VERSION;
    session.output.answer(&View {
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
pub fn completion(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut crate::command(), "raftctl", &mut script);
    write_stdout(&script)
}
