//! Calls of the system's programs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};

/// The programs that a run calls, each with the package that has it on Debian.
const PROGRAMS: [(&str, &str); 11] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("losetup", "mount"),
    ("fsfreeze", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("cc", "gcc"),
];

/// Checks that this is root and that all programs are there.
///
/// # Errors
/// What is missing, and how to install it.
pub(crate) fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        let why = "network namespaces, mounts and loop devices take root: run this as root";
        return Err(Failure::Machine(why.to_owned()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |program: &str| std::env::split_paths(&path).any(|place| place.join(program).exists());
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !is_there(program)).map(|(_, of)| *of).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    Err(Failure::Machine(format!("programs are missing: apt-get install {packages}")))
}

/// Runs a program and returns what it said on stdout.
///
/// # Errors
/// If it cannot be started or says no, with what it said on stderr.
pub(crate) fn call(program: &str, arguments: &[&str]) -> Result<String> {
    call_with(program, arguments, "")
}

/// The same, with text for its stdin.
///
/// # Errors
/// As [`call`].
pub(crate) fn call_with(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let failed = |why: String| Failure::Command {
        command: format!("{program} {}", arguments.join(" ")),
        why,
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads nothing may have ended: its exit code tells.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.trim())))
}
