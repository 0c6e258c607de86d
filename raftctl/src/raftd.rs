//! Where the daemon's program is, and what it is told.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::codes;
use crate::report::{Report, Result};

/// Finds the program that is named, else raftd beside raftctl, else on the PATH. `verb` takes the
/// flag that names one.
///
/// # Errors
/// If there is none.
pub(crate) fn find(named: Option<&Path>, verb: &str) -> Result<PathBuf> {
    let absent = |what: String| {
        Report::new(codes::NO_RAFTD, what)
            .help("cargo build --release    (builds raftd and raftctl)")
            .help(format!("raftctl {verb} --raftd FILE"))
    };
    if let Some(named) = named {
        let found = named.is_file().then(|| named.to_owned());
        return found.ok_or_else(|| absent(format!("{} is no file", named.display())));
    }
    let beside = std::env::current_exe().ok().and_then(|this| Some(this.parent()?.join("raftd")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An empty item stands for the working directory, where anybody may have put a program.
    let on_path = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let on_path = on_path.map(|directory| directory.join("raftd"));
    let found = beside.into_iter().chain(on_path).find(|candidate| candidate.is_file());
    found.ok_or_else(|| absent("raftd is neither beside raftctl nor on the PATH".to_owned()))
}

/// What begins the names of variables that raftd reads.
const VARIABLES: &str = "RAFTD_";

/// Keeps the variables of this environment from having a say in the program's settings.
pub(crate) fn without_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLES) {
            command.env_remove(name);
        }
    }
}
