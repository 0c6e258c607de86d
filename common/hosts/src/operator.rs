//! The operator's machine: raftctl, on the hosts' network, with a home of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::call::{Clock, Said, run};
use crate::failure::{Result, file};
use crate::network;

/// The host's name.
pub(crate) const OPERATOR: &str = "operator";

/// How long a command may take, beyond what it is told itself.
const PATIENCE: Duration = Duration::from_secs(150);

/// Runs what follows with a file in the place of `/etc/hosts`, which nobody else sees.
const OWN_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

/// A machine of this run that has raftctl, and the authority's key.
#[derive(Debug)]
pub(crate) struct Operator {
    raftctl: PathBuf,
    /// Where contexts, authority and bundles are.
    pub(crate) home: PathBuf,
}

impl Operator {
    /// Makes it.
    ///
    /// # Errors
    /// If its directory cannot be made, or the program cannot be copied.
    pub(crate) fn make(
        clock: &Clock,
        number: u8,
        directory: &Path,
        raftctl: &Path,
    ) -> Result<Self> {
        network::add(clock, OPERATOR, number)?;
        let home = directory.join(OPERATOR);
        fs::create_dir_all(&home).map_err(file("cannot make", &home))?;
        // A run may take hours: its operator is not to lose his program to the next build.
        let own = home.join("raftctl");
        fs::copy(raftctl, &own).map_err(file("cannot copy", raftctl))?;
        Ok(Self { raftctl: own, home })
    }

    /// Returns the directory that `raftctl init NAME` makes.
    pub(crate) fn bundles(&self, cluster: &str) -> PathBuf {
        self.home.join(".local/share/raftctl").join(cluster)
    }

    /// Gives the machine an `/etc/hosts` of its own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn name_hosts(&self, text: &str) -> Result<()> {
        let path = self.hosts();
        fs::write(&path, text).map_err(file("cannot write", &path))
    }

    fn hosts(&self) -> PathBuf {
        self.home.join("hosts")
    }

    /// Returns a call of raftctl.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", network::space(OPERATOR)));
        command.arg("--");
        if self.hosts().exists() {
            command.args(["unshare", "--mount", "--propagation", "private", "--", "sh", "-c"]);
            command.args([OWN_HOSTS]).arg(self.hosts());
        }
        command.args(["env", "-i", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "NO_COLOR=1"]);
        command.arg(format!("HOME={}", self.home.display()));
        command.arg(&self.raftctl).arg("--no-progress").args(arguments.split_whitespace());
        command
    }

    /// Runs raftctl.
    ///
    /// # Errors
    /// If it does not end in time.
    pub(crate) fn run(&self, clock: &Clock, arguments: &str) -> Result<Said> {
        run(clock, &mut self.command(arguments), PATIENCE)
    }
}
