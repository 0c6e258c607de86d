//! A machine: a container with a systemd of its own, on a disk of its own.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Clock, Said, call, run};
use crate::failure::{Failure, Result, file, must};
use crate::leftovers;
use crate::network;

/// How long a boot may take.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);

/// Puts a container into control groups of its own, and becomes it. The container keeps the right
/// to larger buffers, as a machine has it. The programs that a test lends it are read only.
const BOOT: &str = r#"
root=$1; name=$2; space=$3; lent=$4; shift 4
for group in "$@"; do mkdir -p "$group" && echo $$ > "$group/cgroup.procs" || exit 1; done
exec systemd-nspawn --quiet --directory="$root" --machine="$name" --boot --register=no \
    --keep-unit --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
    --capability=CAP_NET_ADMIN --network-namespace-path="/run/netns/$space" \
    --bind-ro="$lent:/mnt/lent" </dev/null >"$root.console" 2>&1
"#;

/// A machine that can be booted.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Its file system, as this machine sees it.
    pub(crate) root: PathBuf,
    /// What it may read of this machine.
    lent: PathBuf,
    container: Option<Child>,
}

impl Host {
    /// Makes a machine with a copy of the image; nothing runs yet.
    ///
    /// # Errors
    /// If a program says no.
    pub(crate) fn make(
        clock: &Clock,
        (name, number): (&str, u8),
        directory: &Path,
        image: &Path,
    ) -> Result<Self> {
        let address = network::add(clock, name, number)?;
        let own = directory.join(name);
        let (upper, work, root) = (own.join("upper"), own.join("work"), own.join("root"));
        let lent = directory.join("lent");
        for made in [&upper, &work, &root, &lent] {
            fs::create_dir_all(made).map_err(file("cannot make", made))?;
        }
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            image.display(),
            upper.display(),
            work.display()
        );
        let place = root.display().to_string();
        call(clock, "mount", &["-t", "overlay", "overlay", "-o", &layers, &place])?;
        let host = Self { name: name.to_owned(), address, root, lent, container: None };
        let random = Path::new("/proc/sys/kernel/random/uuid");
        let id = fs::read_to_string(random).map_err(file("cannot read", random))?;
        host.write("etc/machine-id", &id.replace('-', ""))?;
        host.write("etc/hostname", &format!("{name}\n"))?;
        Ok(host)
    }

    /// Writes a file of the machine.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.root.join(path);
        let directory = path.parent().unwrap_or(&path);
        fs::create_dir_all(directory).map_err(file("cannot make", directory))?;
        fs::write(&path, text).map_err(file("cannot write", &path))
    }

    /// Switches it on; [`Host::wait_until_up`] waits until it is up.
    ///
    /// # Errors
    /// If there are no containers to be had.
    pub(crate) fn boot(&mut self) -> Result<()> {
        let group = format!("{}{}", network::PREFIX, self.name);
        let groups = leftovers::hierarchies().into_iter().map(|place| place.join(&group));
        let mut command = Command::new("sh");
        command.args(["-c", BOOT, "boot"]).arg(&self.root).arg(&self.name);
        command.arg(network::space(&self.name)).arg(&self.lent).args(groups);
        // Ctrl-C is for the run alone, which ends its machines itself.
        command.process_group(0).stdin(Stdio::null());
        let started = command.spawn();
        let failed = |error: std::io::Error| Failure::Machine(format!("a container: {error}"));
        self.container = Some(started.map_err(failed)?);
        Ok(())
    }

    /// Asks it to stop everything, and to end.
    ///
    /// # Errors
    /// If there is nobody to ask.
    pub(crate) fn shut_down(&self, clock: &Clock) -> Result<()> {
        self.run(clock, "systemctl poweroff --no-block", Duration::from_secs(30)).map(drop)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it does not in time.
    pub(crate) fn wait_until_down(&mut self, clock: &Clock) -> Result<()> {
        let what = || format!("{} has not shut down", self.name);
        let Some(container) = &mut self.container else { return Ok(()) };
        clock.wait(BOOT_PATIENCE, what, || {
            let ended =
                container.try_wait().map_err(|error| Failure::Machine(error.to_string()))?;
            Ok(ended.map(drop))
        })?;
        self.container = None;
        Ok(())
    }

    /// Waits until systemd has started everything.
    ///
    /// # Errors
    /// If it does not in time.
    pub(crate) fn wait_until_up(&self, clock: &Clock) -> Result<()> {
        let console = self.root.with_extension("console");
        let what = || {
            let said = fs::read_to_string(&console).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            format!("{} has not booted: {}", self.name, last.join(" | "))
        };
        clock.wait(BOOT_PATIENCE, what, || {
            if self.leader().is_none() {
                return Ok(None);
            }
            let asked = self.run(clock, "systemctl is-system-running", Duration::from_secs(20))?;
            let up = ["running", "degraded"].contains(&asked.out.trim());
            Ok(up.then_some(()))
        })
    }

    /// Takes its power away.
    ///
    /// # Errors
    /// If it has none, or does not end.
    pub(crate) fn cut_power(&mut self, clock: &Clock) -> Result<()> {
        leftovers::end(clock, &format!("{}{}", network::PREFIX, self.name))?;
        if let Some(mut container) = self.container.take() {
            // Its processes are gone.
            let _ = container.kill();
            let _ = container.wait();
        }
        Ok(())
    }

    /// Runs a line of shell on it.
    ///
    /// # Errors
    /// If the machine is down, or the line does not end in time.
    pub(crate) fn run(&self, clock: &Clock, line: &str, within: Duration) -> Result<Said> {
        let Some(leader) = self.leader() else {
            return Err(Failure::Machine(format!("{} is down", self.name)));
        };
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]);
        command.args(["--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]);
        command.args(["LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "sh", "-c", line]);
        run(clock, &mut command, within)
    }

    /// Sends a signal to a process of it, by its number there.
    ///
    /// # Errors
    /// If there is no such process.
    pub(crate) fn signal(&self, clock: &Clock, pid: &str, name: &str) -> Result<()> {
        let said = self.run(clock, &format!("kill -{name} {pid}"), Duration::from_secs(10))?;
        must(said.is_well(), || format!("{}: kill -{name} {pid}: {}", self.name, said.all()))
    }

    /// Returns the number of its first process on this machine.
    fn leader(&self) -> Option<u32> {
        let container = self.container.as_ref()?.id();
        let children = format!("/proc/{container}/task/{container}/children");
        let children = fs::read_to_string(children).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(container) = &mut self.container {
            // The run's end removes what is below it.
            if let Some(pid) = Pid::from_raw(container.id().cast_signed()) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = container.wait();
        }
    }
}
