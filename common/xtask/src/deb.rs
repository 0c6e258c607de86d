//! `cargo xtask deb`: the Debian package, and what lintian says of it.
//!
//! What cargo-deb packs is listed in `raftd/Cargo.toml`. What is made here, and belongs to no
//! definition: the shells' completions, from the programs themselves, and a changelog of Debian's
//! form.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::progress::say;

/// The shells, and how their completions are called in the package.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "NAME.bash"), ("zsh", "_NAME"), ("fish", "NAME.fish")];

/// The programs that print them.
const COMPLETED: [&str; 2] = ["raftctl", "raftd"];

/// Builds the package, shows what lintian says, and returns where the package is.
///
/// # Errors
///
/// If something is not built, or lintian finds an error or a warning without a reason.
pub(crate) fn run(cargo: &Cargo) -> Result<PathBuf, Failure> {
    let package = build(cargo)?;
    match lintian(&package)? {
        true => say(&format!("lintian is content with {}", package.display())),
        false => say("lintian is not installed: the package was not looked at"),
    }
    Ok(package)
}

/// Builds the package, and returns where it is.
///
/// # Errors
///
/// If something is not built.
pub(crate) fn build(cargo: &Cargo) -> Result<PathBuf, Failure> {
    say("building raftd and raftctl as they are installed (release)");
    cargo.run("build", &["build", "--release", "--locked", "-p", "raftd", "-p", "raftctl"])?;
    let made = cargo.built("package");
    std::fs::create_dir_all(&made).map_err(|source| file(&made, source))?;
    for program in COMPLETED {
        for (shell, name) in COMPLETIONS {
            let script = output(Command::new(cargo.built(program)).args(["completion", shell]))?;
            write(&made.join(name.replace("NAME", program)), &script)?;
        }
    }
    let changes = made.join("changelog.Debian");
    write(&changes, changelog(&date()?).as_bytes())?;
    output(Command::new("gzip").args(["--force", "--best", "--no-name"]).arg(&changes))?;
    let package = cargo.built("raftd.deb");
    let path = package.display().to_string();
    cargo.run("deb", &["deb", "-p", "raftd", "--no-build", "--locked", "--output", &path])?;
    Ok(package)
}

/// Debian's form of what CHANGELOG.md says at length.
fn changelog(date: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "raftd ({version}-1) unstable; urgency=medium\n\n  \
         * What is new stands in CHANGELOG.md of the sources.\n\n \
         -- raftd maintainers <maintainers@raftd.example>  {date}\n"
    )
}

/// Returns when the sources were committed, so that the same sources make the same package.
fn date() -> Result<String, Failure> {
    let mut git = Command::new("git");
    let committed = output(git.args(["log", "-1", "--format=%cD"]))?;
    Ok(String::from_utf8_lossy(&committed).trim().to_owned())
}

/// Shows what lintian says; `false` if there is no lintian.
fn lintian(package: &Path) -> Result<bool, Failure> {
    let there = Command::new("lintian").arg("--version").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return Ok(false);
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
    let status = lintian.arg(package).stdout(std::io::stderr()).status();
    let status = status.map_err(|source| start("lintian", source))?;
    match status.success() {
        true => Ok(true),
        false => Err(Failure::Stage { name: "lintian".to_owned(), code: status.code() }),
    }
}

fn output(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| start(&name, source))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Failure::Stage { name, code: output.status.code() }),
    }
}

fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| file(path, source))
}

fn file(path: &Path, source: std::io::Error) -> Failure {
    start(&path.display().to_string(), source)
}

fn start(program: &str, source: std::io::Error) -> Failure {
    Failure::Start { program: program.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_has_debians_form() {
        let text = changelog("Sat, 28 Nov 2026 18:58:24 +0000");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("raftd (") && lines[0].ends_with("; urgency=medium"));
        assert!(lines[4].starts_with(" -- ") && lines[4].contains(">  Sat, 28 Nov 2026"));
    }
}
