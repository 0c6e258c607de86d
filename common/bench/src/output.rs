//! What is measured goes to files, with a word on when and where that was.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Says when, of which commit, and on how many processors.
pub(crate) fn place() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let date = said("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default();
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{date}{commit}: {cores} cores")
}

/// Writes files into a directory; into that of this program, if none is named.
///
/// # Errors
/// If one cannot be written.
pub(crate) fn write(files: &[(&str, String)], directory: Option<&Path>) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = || own.parent().map(Path::to_path_buf).unwrap_or_default();
    let directory: PathBuf = directory.map_or_else(beside, Path::to_path_buf);
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    for (name, text) in files {
        let file = directory.join(name);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        eprintln!("written: {}", file.display());
    }
    Ok(())
}
