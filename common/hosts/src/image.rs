//! The file system that all hosts begin with: a small Debian with systemd, and nothing of raftd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::call::{Clock, run};
use crate::failure::{Failure, Result, file, must};

/// What is in it, beside what Debian cannot be without. `libstdc++6` is what the package depends
/// on: the hosts have no way to a mirror.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,libstdc++6,bash-completion";

/// How long it may take, with a slow mirror.
const PATIENCE: Duration = Duration::from_secs(600);

/// The programs that a run calls, each with the package that has it on Debian.
const PROGRAMS: [(&str, &str); 7] = [
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("dpkg-deb", "dpkg"),
    ("sh", "dash"),
];

/// Checks that this machine can have containers, without making one.
///
/// # Errors
/// What is missing, and how to install it.
pub(crate) fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        let why = "containers, mounts and network namespaces take root: run this as root";
        return Err(Failure::Machine(why.to_owned()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |program: &str| std::env::split_paths(&path).any(|place| place.join(program).exists());
    let missing = PROGRAMS.iter().filter(|(program, _)| !is_there(program));
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        let packages = missing.join(" ");
        let why = format!("programs are missing: apt-get install {packages}");
        return Err(Failure::Machine(why));
    }
    let kernel = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !kernel.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        let why = "the kernel has no overlay file system (modprobe overlay)";
        return Err(Failure::Machine(why.to_owned()));
    }
    Ok(())
}

/// Makes it, or takes one that was kept.
///
/// # Errors
/// If mmdebstrap says no.
pub(crate) fn make(clock: &Clock, at: &Path) -> Result<()> {
    if at.join("usr").exists() {
        return Ok(());
    }
    let suite = suite(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let making = beside(at);
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase"]).arg(format!("--include={PACKAGES}"));
    let said = run(clock, command.arg(suite).arg(&making), PATIENCE)?;
    must(said.is_well(), || format!("mmdebstrap: {}", said.all().trim()))?;
    fs::rename(&making, at).map_err(file("cannot rename", &making))
}

/// Where it is while it is not whole.
fn beside(at: &Path) -> PathBuf {
    at.with_extension("part")
}

/// Chooses this machine's own release where it is a Debian: what was built here runs there.
fn suite(os_release: &str) -> String {
    let value =
        |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    match (value("ID"), value("VERSION_CODENAME")) {
        (Some("debian"), Some(name)) => name.trim_matches('"').to_owned(),
        _ => "bookworm".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_have_the_release_of_the_machine() {
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=trixie\n"), "trixie");
        assert_eq!(suite("ID=fedora\nVERSION_CODENAME=\"\"\n"), "bookworm");
    }
}
