//! All machines of a run, and what the steps do with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::call::{Clock, Said};
use crate::failure::{Failure, Result, file, must};
use crate::host::Host;
use crate::network;
use crate::operator::Operator;
use crate::report;

/// The machines.
pub(crate) const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// The cluster.
pub(crate) const CLUSTER: &str = "prod";

/// The last byte of the operator's address.
const OPERATOR_NUMBER: u8 = 100;

/// How long a command on a machine may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a unit may take to become something.
pub(crate) const UNIT_PATIENCE: Duration = Duration::from_secs(60);

/// How long a unit is watched that must stay as it is.
pub(crate) const STAYS: Duration = Duration::from_secs(8);

/// All machines.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) hosts: Vec<Host>,
    pub(crate) operator: Operator,
    /// The package as it was built.
    pub(crate) package: PathBuf,
    /// What all machines can read at `/mnt/lent`.
    pub(crate) lent: PathBuf,
    /// For how long short certificates are renewed.
    pub(crate) certificates_for: Duration,
}

impl World {
    /// Makes all machines; none of them runs yet.
    ///
    /// # Errors
    /// If a program says no.
    pub(crate) fn make(
        clock: &Clock,
        directory: &Path,
        image: &Path,
        (package, raftctl): (&Path, &Path),
    ) -> Result<Self> {
        network::make(clock)?;
        let lent = directory.join("lent");
        fs::create_dir_all(&lent).map_err(file("cannot make", &lent))?;
        fs::copy(package, lent.join("raftd.deb")).map_err(file("cannot copy", package))?;
        let hosts = NAMES
            .iter()
            .zip(1..)
            .map(|(name, number)| Host::make(clock, (name, number), directory, image))
            .collect::<Result<Vec<Host>>>()?;
        let operator = Operator::make(clock, OPERATOR_NUMBER, directory, raftctl)?;
        let (clock, package) = (clock.clone(), package.to_owned());
        let certificates_for = Duration::ZERO;
        Ok(Self { clock, hosts, operator, package, lent, certificates_for })
    }

    /// Switches all machines on that are off, and waits until they are up.
    ///
    /// # Errors
    /// If one does not come up.
    pub(crate) fn boot(&mut self) -> Result<()> {
        self.hosts.iter_mut().try_for_each(Host::boot)?;
        self.hosts.iter().try_for_each(|host| host.wait_until_up(&self.clock))
    }

    /// Lets machines shut down all at once, and switches them on again.
    ///
    /// # Errors
    /// If one does not go down, or not come up.
    pub(crate) fn reboot(&mut self, names: &[&str]) -> Result<()> {
        let clock = self.clock.clone();
        for name in names {
            report::command(name, "systemctl poweroff");
            self.host(name).shut_down(&clock)?;
        }
        for name in names {
            self.host(name).wait_until_down(&clock)?;
        }
        println!("(and they are switched on again)");
        for name in names {
            self.host(name).boot()?;
        }
        names.iter().try_for_each(|name| self.host(name).wait_until_up(&clock))
    }

    /// Returns a machine.
    pub(crate) fn host(&mut self, name: &str) -> &mut Host {
        let found = self.hosts.iter_mut().find(|host| host.name == name);
        found.expect("steps name machines that there are")
    }

    /// Runs a line of shell on a machine, for all to see.
    ///
    /// # Errors
    /// If the machine is down, or the line does not end in time.
    pub(crate) fn try_on(&mut self, host: &str, line: &str) -> Result<Said> {
        report::command(host, line);
        let clock = self.clock.clone();
        let said = self.host(host).run(&clock, line, PATIENCE)?;
        report::output(&said);
        Ok(said)
    }

    /// The same for what must go well; returns what it said.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn on(&mut self, host: &str, line: &str) -> Result<String> {
        let said = self.try_on(host, line)?;
        must(said.is_well(), || format!("{host}: {line}: {}", said.all().trim()))?;
        Ok(said.all())
    }

    /// The same on all machines.
    ///
    /// # Errors
    /// If it does not go well on one of them.
    pub(crate) fn on_all(&mut self, line: &str) -> Result<()> {
        NAMES.iter().try_for_each(|host| self.on(host, line).map(drop))
    }

    /// Asks a machine something that is not worth showing.
    ///
    /// # Errors
    /// As [`World::try_on`].
    pub(crate) fn ask(&mut self, host: &str, line: &str) -> Result<String> {
        let clock = self.clock.clone();
        Ok(self.host(host).run(&clock, line, PATIENCE)?.all().trim().to_owned())
    }

    /// Returns a property of raftd.service.
    ///
    /// # Errors
    /// As [`World::try_on`].
    pub(crate) fn unit(&mut self, host: &str, property: &str) -> Result<String> {
        self.ask(host, &format!("systemctl show --value --property={property} raftd.service"))
    }

    /// Waits until raftd.service is so; returns after how long.
    ///
    /// # Errors
    /// If it is not, in time.
    pub(crate) fn wait_unit(&mut self, host: &str, wanted: &str) -> Result<Duration> {
        let began = std::time::Instant::now();
        let clock = self.clock.clone();
        let mut last = String::new();
        let found = clock.wait(UNIT_PATIENCE, String::new, || {
            last = self.unit(host, "ActiveState")?;
            Ok((last == wanted).then(|| began.elapsed()))
        });
        if let Err(Failure::Wrong(_)) = &found {
            let journal = self.journal(host, 5).unwrap_or_default();
            return Err(Failure::Wrong(format!(
                "{host}: raftd is {last}, not {wanted}: {journal}"
            )));
        }
        found
    }

    /// Demands that raftd.service has ended with this code, and is not started again.
    ///
    /// # Errors
    /// If it has not, or is.
    pub(crate) fn stays_down(&mut self, host: &str, code: &str) -> Result<()> {
        self.wait_unit(host, "failed")?;
        let pid = self.unit(host, "ExecMainPID")?;
        let clock = self.clock.clone();
        clock.stays(STAYS, || {
            let state = self.unit(host, "ActiveState")?;
            must(state == "failed", || format!("{host}: raftd is {state}, and should stay down"))
        })?;
        let (ended, same) = (self.unit(host, "ExecMainStatus")?, self.unit(host, "ExecMainPID")?);
        must(ended == code && same == pid, || {
            format!("{host}: raftd ended with {ended} as pid {same}, not {code} as {pid}")
        })
    }

    /// Returns the last lines of raftd's journal, without their heads, on one line.
    ///
    /// # Errors
    /// As [`World::try_on`].
    pub(crate) fn journal(&mut self, host: &str, lines: u32) -> Result<String> {
        let line = format!("journalctl --no-pager -o cat -u raftd.service -n {lines}");
        Ok(self.ask(host, &line)?.replace('\n', " | "))
    }

    /// Runs raftctl, for all to see.
    ///
    /// # Errors
    /// If it does not end in time.
    pub(crate) fn try_raftctl(&mut self, arguments: &str) -> Result<Said> {
        report::command("operator", &format!("raftctl {arguments}"));
        let said = self.operator.run(&self.clock, arguments)?;
        report::output(&said);
        Ok(said)
    }

    /// The same for what must go well.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn raftctl(&mut self, arguments: &str) -> Result<String> {
        let said = self.try_raftctl(arguments)?;
        must(said.is_well(), || format!("raftctl {arguments}: {}", said.all().trim()))?;
        Ok(said.out)
    }

    /// Waits until the cluster does what it should.
    ///
    /// # Errors
    /// If it does not, in time.
    pub(crate) fn healthy(&mut self) -> Result<()> {
        self.raftctl("status --wait healthy --timeout 90s").map(drop)
    }

    /// Puts a node's bundle on its machine, as the operator is told to.
    ///
    /// # Errors
    /// If a file cannot be copied.
    pub(crate) fn install_bundle(
        &mut self,
        (cluster, node): (&str, &str),
        (host, place): (&str, &str),
    ) -> Result<()> {
        let from = self.operator.bundles(cluster).join(format!("{cluster}-{node}"));
        let to = self.host(host).root.join(place.trim_start_matches('/'));
        report::command("operator", &format!("scp {cluster}-{node}/* root@{host}:{place}/"));
        fs::create_dir_all(&to).map_err(file("cannot make", &to))?;
        for entry in fs::read_dir(&from).map_err(file("cannot read", &from))?.flatten() {
            let target = to.join(entry.file_name());
            fs::copy(entry.path(), &target).map_err(file("cannot write", &target))?;
        }
        self.on(host, "systemd-tmpfiles --create raftd.conf").map(drop)
    }

    /// Adds a drop-in to raftd.service, or takes it away if there is nothing in it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn drop_in(&mut self, host: &str, name: &str, text: &str) -> Result<()> {
        let path = format!("etc/systemd/system/raftd.service.d/{name}.conf");
        if text.is_empty() {
            self.ask(host, &format!("rm -f /{path}"))?;
        } else {
            self.host(host).write(&path, text)?;
        }
        self.ask(host, "systemctl daemon-reload").map(drop)
    }

    /// Puts all machines in order after a step that failed.
    ///
    /// # Errors
    /// If the cluster does not come back.
    pub(crate) fn mend(&mut self) -> Result<()> {
        for host in NAMES {
            self.ask(
                host,
                "rm -rf /etc/systemd/system/raftd.service.d /etc/raftd/raftd.d; \
                 systemctl disable --now raftd.socket; systemctl daemon-reload; \
                 systemd-tmpfiles --create raftd.conf; \
                 chown -R raftd:raftd /var/lib/raftd; systemctl reset-failed; \
                 systemctl restart raftd",
            )?;
        }
        self.healthy()
    }
}
