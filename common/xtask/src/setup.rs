//! Sees to it that a machine has what a task needs.
//!
//! As root on Debian the missing packages are installed; anywhere else they are named with the
//! command to type, since a build tool has no business with `sudo`. Rust itself and its components
//! are only ever named: they may come from rustup, from the distribution or from an image.

use crate::failure::Failure;
use crate::machine::{Need, installable};
use crate::probe;
use crate::progress::say;
use std::process::{Command, Stdio};

/// Makes sure that the machine has all that is needed, installing packages where that is allowed.
///
/// # Errors
///
/// [`Failure::Missing`] names what is still missing, with the commands to type.
pub(crate) fn prepare(needs: &[Need]) -> Result<(), Failure> {
    let missing = absent(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let family = probe::family();
    let packages = installable(&missing, family, probe::is_root());
    if !packages.is_empty() {
        install(&packages)?;
    }
    match absent(&missing) {
        still if still.is_empty() => Ok(()),
        still => Err(Failure::Missing { needs: still, family }),
    }
}

fn absent(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|need| !probe::has(*need)).collect()
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    say(&format!("installing {} with apt-get, as root on Debian", packages.join(" ")));
    apt_get(&["update"])?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments)
}

/// Runs apt-get without a question; its talk goes to standard error, where progress belongs.
fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    let name = format!("apt-get {}", arguments.join(" "));
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|source| Failure::Start { program: "apt-get".to_owned(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Stage { name, code: status.code() })
}
