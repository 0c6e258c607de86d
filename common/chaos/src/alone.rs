//! Faults that take steps of their own: members that come and go, and directories that forget.
//!
//! What a directory forgets must have been acknowledged only there and on nodes that are down, or
//! nothing could be lost by it: so each of these first brings the cluster into the one situation in
//! which it is dangerous.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::failure::{Failure, Result};
use crate::fault::Fault;
use crate::machine::disk::Disk;
use crate::random::Random;
use crate::rot;
use crate::run::Run;
use crate::schedule::Injection;

/// How many commands are to be acknowledged before it goes on.
const SOME: u64 = 40;

/// For how long they are acknowledged at least.
const A_WHILE: Duration = Duration::from_millis(2_500);

/// How long is waited for these.
const SERVING: Duration = Duration::from_secs(20);

/// How long nodes that must not serve are given to do so.
const TEMPTED: Duration = Duration::from_secs(5);

/// How long a call of the operator may take.
const CALL: Duration = Duration::from_secs(80);

/// Clients ask every 30 s where the members are: nobody replaces all of them sooner.
const LEARNT: Duration = Duration::from_secs(35);

/// How long a cluster may take to heal a node by itself, before its operator does.
const BY_ITSELF: Duration = Duration::from_secs(25);

/// What a node forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// What its directory got since the copy.
    Directory,
    /// What its disk got since the copy.
    Disk,
    /// The end of its log.
    End,
}

impl Run {
    /// Carries out a fault that takes steps of its own.
    ///
    /// # Errors
    /// If the machine forbids it, or somebody ends the run.
    pub(crate) fn alone(&mut self, injection: &Injection) -> Result<()> {
        let mut random = injection.random.clone();
        match injection.fault {
            Fault::AddRemove => self.add_and_remove(),
            Fault::Replace => self.replace(&mut random),
            Fault::RolledBack => self.roll_back(&mut random, Loss::Directory),
            Fault::RolledBackDisk => self.roll_back(&mut random, Loss::Disk),
            Fault::CutLog => self.roll_back(&mut random, Loss::End),
            Fault::OldCopy => self.old_copy(&mut random),
            Fault::Cloned | Fault::ClonedDisk => {
                self.clone_node(&mut random, injection.fault == Fault::ClonedDisk)
            }
            Fault::Wiped => self.wipe(&mut random),
            Fault::RottenFile => self.rot(&mut random),
            Fault::Kill
            | Fault::KillAll
            | Fault::Pause
            | Fault::OneWay
            | Fault::Partition
            | Fault::Partial
            | Fault::Flapping
            | Fault::Loss
            | Fault::Delay
            | Fault::Reordering
            | Fault::Narrow
            | Fault::FullDisk
            | Fault::AllDisksFull
            | Fault::ReadOnlyDisk
            | Fault::SyncError
            | Fault::TornWrite
            | Fault::PowerLoss
            | Fault::HangingSync
            | Fault::FrozenDisk
            | Fault::ClockJump
            | Fault::Transfer
            | Fault::Snapshot => Ok(()),
        }
    }

    fn add_and_remove(&mut self) -> Result<()> {
        let newcomer = self.newcomer()?;
        let endpoint = self.cluster().endpoint(&newcomer);
        let node = format!("{newcomer}={endpoint}");
        let is_done = self.prepare(&newcomer, &["member", "add", &node])?
            && self.demand(&["member", "add", &node, "--wait", "60s"])?
            && self.demand(&["member", "remove", &newcomer, "--yes"])?;
        if is_done { self.cluster().displace(&newcomer) } else { Ok(()) }
    }

    fn replace(&mut self, random: &mut Random) -> Result<()> {
        let (old, _) = self.victim(random)?;
        if random.percent(50) {
            self.kill_for_good(&old)?;
        }
        self.replace_member(&old)
    }

    /// Puts a new member in the place of one that is dead, or is to leave.
    fn replace_member(&mut self, old: &str) -> Result<()> {
        let since = self.replaced.map_or(LEARNT, |at| at.elapsed());
        self.pause(LEARNT.saturating_sub(since))?;
        self.replaced = Some(Instant::now());
        let newcomer = self.newcomer()?;
        let endpoint = self.cluster().endpoint(&newcomer);
        let node = format!("{newcomer}={endpoint}");
        let is_done = self.prepare(&newcomer, &["member", "replace", old, &node])?
            && self.demand(&["member", "replace", old, &node, "--wait", "60s", "--yes"])?;
        if is_done { self.cluster().displace(old) } else { Ok(()) }
    }

    /// Kills a node, and waits until the others have a leader.
    fn kill_for_good(&mut self, name: &str) -> Result<()> {
        self.cluster().node(name)?.kill();
        let from_ns = crate::workload::now_ns();
        let leads = |run: &mut Self| {
            let last = run.observer.last().filter(|sample| sample.at_ns > from_ns);
            last.is_some_and(|sample| sample.leader.is_some_and(|leader| leader != name))
        };
        if !self.wait(SERVING, leads)? {
            self.note(&format!("nobody leads without {name}"));
        }
        Ok(())
    }

    /// The writes since the copy are on this node and on those that go down with it; then it comes
    /// back with the copy, and with those that were down before.
    fn roll_back(&mut self, random: &mut Random, loss: Loss) -> Result<()> {
        let (victim, others) = self.victim(random)?;
        let copy = self.cluster().disks().join("copy");
        if loss != Loss::End {
            self.copy_of(&victim, &copy, loss == Loss::Disk)?;
            self.serve("after the copy")?;
        }
        let half = others.len() / 2;
        let (absent, holders) = others.split_at(half);
        if random.percent(50) {
            // Whoever led when the copy was made: the terms that it forgets differ.
            self.note("leadership is handed over");
            self.try_to(&["leader", "transfer"]);
        }
        self.each(absent, |cluster, host| cluster.node(host).map(|node| node.kill()))?;
        self.note(&format!("{absent:?} down, {victim} and {holders:?} acknowledge"));
        self.serve("on what is left")?;
        self.each(holders, |cluster, host| cluster.node(host).map(|node| node.kill()))?;
        self.note(&format!("{holders:?} down, {victim} forgets what it has acknowledged"));
        {
            let mut cluster = self.cluster();
            let node = cluster.node(&victim)?;
            node.kill();
            match loss {
                Loss::Directory => node.replace_data(&copy)?,
                Loss::Disk => node.disk.restore(&copy)?,
                Loss::End => node.cut_log(random.between(500, 5_000))?,
            }
            cluster.start(&victim)?;
        }
        self.each(absent, Cluster::start)?;
        self.tempt()?;
        self.each(holders, Cluster::start)?;
        self.heal(&victim, true)
    }

    /// A follower comes back with an old copy while the leader lives; then another one goes.
    fn old_copy(&mut self, random: &mut Random) -> Result<()> {
        let (victim, others) = self.follower(random)?;
        let copy = self.cluster().disks().join("copy");
        self.copy_of(&victim, &copy, false)?;
        self.serve("after the copy")?;
        {
            let mut cluster = self.cluster();
            let node = cluster.node(&victim)?;
            node.kill();
            node.replace_data(&copy)?;
            cluster.start(&victim)?;
        }
        self.note(&format!("{victim} is back with an old copy"));
        if random.percent(50) {
            self.lose_what_was_copied(&victim)?;
        }
        self.pause(Duration::from_secs(4))?;
        let promised = self.observer.last().and_then(|sample| sample.tolerates).unwrap_or(0);
        let leader = self.leader();
        let other = others.iter().find(|other| Some(*other) != leader.as_ref()).cloned();
        if let Some(other) = other.filter(|_| promised > 0) {
            self.note(&format!("status tolerates {promised}: {other} is killed"));
            self.cluster().node(&other)?.kill();
            let before = self.clients.acknowledged();
            let serves = |run: &mut Self| run.clients.acknowledged() > before + SOME;
            if !self.wait(SERVING, serves)? {
                self.wrong(format!(
                    "status said that {promised} failures are tolerated, {other} was killed, and \
                     nothing is served: {victim} has an old copy of its directory"
                ));
            }
            self.cluster().start(&other)?;
        }
        self.heal(&victim, true)
    }

    /// Its disk fails before the system has written out by itself what was copied to it: whoever
    /// put the copy there has not, and what of it counts is for the node to make durable.
    fn lose_what_was_copied(&mut self, victim: &str) -> Result<()> {
        let up = Duration::from_secs(2);
        self.pause(up)?;
        self.note(&format!("the disk of {victim} fails"));
        let mut cluster = self.cluster();
        let node = cluster.node(victim)?;
        node.disk.fail()?;
        node.kill();
        node.disk.mend()?;
        cluster.start(victim)
    }

    /// Two processes are one member: some nodes reach the one, some the other.
    fn clone_node(&mut self, random: &mut Random, whole_disk: bool) -> Result<()> {
        let (victim, others) = self.victim(random)?;
        let host = format!("{victim}x");
        let copy = self.cluster().disks().join("copy");
        self.copy_of(&victim, &copy, whole_disk)?;
        self.serve("after the copy")?;
        let (near, far) = others.split_at(others.len() / 2);
        {
            let mut cluster = self.cluster();
            cluster.network.add(&host, Some(&victim))?;
            let disk = match whole_disk {
                true => Some(Disk::copied(cluster.disks(), &host, &copy)?),
                false => None,
            };
            cluster.place(&host, &victim, disk)?;
            if !whole_disk {
                cluster.node(&host)?.replace_data(&copy)?;
            }
            cluster.outsiders_choose(&victim)?;
            near.iter().try_for_each(|node| cluster.network.choose(node, &victim))?;
            far.iter().try_for_each(|node| cluster.network.choose(node, &host))?;
            cluster.start(&host)?;
        }
        self.note(&format!("{victim} runs twice: {near:?} reach the one, {far:?} the other"));
        self.pause(TEMPTED)?;
        self.note("the two halves are cut apart");
        for one in near {
            for other in far {
                let mut cluster = self.cluster();
                cluster.network.cut(one, other, true)?;
                cluster.network.cut(other, one, true)?;
            }
        }
        self.tempt()?;
        {
            let mut cluster = self.cluster();
            cluster.displace(&host)?;
            others.iter().try_for_each(|node| cluster.network.choose(node, &victim))?;
            cluster.network.heal()?;
        }
        self.heal(&victim, true)
    }

    fn wipe(&mut self, random: &mut Random) -> Result<()> {
        let (victim, _) = self.victim(random)?;
        {
            let mut cluster = self.cluster();
            let node = cluster.node(&victim)?;
            node.kill();
            node.wipe()?;
            cluster.start(&victim)?;
        }
        self.note(&format!("{victim} has an empty directory"));
        self.tempt()?;
        self.heal(&victim, false)
    }

    /// Any file, damaged in any way, before a start or while the node runs: it comes back by
    /// itself, whatever it costs it.
    fn rot(&mut self, random: &mut Random) -> Result<()> {
        let (victim, _) = self.victim(random)?;
        let runs = random.percent(50);
        let what = {
            let mut cluster = self.cluster();
            let node = cluster.node(&victim)?;
            if !runs {
                node.kill();
            }
            rot::one_file(&node.data(), random)?
        };
        self.has_rotten = true;
        self.note(&format!("{victim}{}: {what}", if runs { ", while it runs" } else { "" }));
        if runs {
            self.pause(A_WHILE)?;
            self.cluster().node(&victim)?.kill();
        }
        self.cluster().start(&victim)?;
        self.heal(&victim, true)
    }

    /// Waits until all is well by itself, which it must become where a majority of the others is
    /// intact and an empty directory does not say that a person wanted it so; else does what the
    /// manual says.
    fn heal(&mut self, name: &str, by_itself: bool) -> Result<()> {
        let from_ns = crate::workload::now_ns();
        let is_well = |run: &mut Self| {
            let last = run.observer.last().filter(|sample| sample.at_ns > from_ns);
            last.is_some_and(|sample| run.is_whole(&sample))
        };
        // A verdict may be old news for a moment: it must last.
        self.pause(Duration::from_secs(2))?;
        let within = if by_itself { BY_ITSELF } else { A_WHILE };
        if self.wait(within, is_well)? {
            return Ok(());
        }
        let said = self.observer.last().map_or_else(String::new, |sample| sample.reason);
        self.note(&format!("the operator heals {name}: {said}"));
        if by_itself {
            let within = within.as_secs();
            self.wrong(format!("{name} has not come back by itself within {within} s: {said}"));
        }
        let operator = self.cluster().operator.clone();
        if operator.knows(&["member", "heal"]) && self.try_to(&["member", "heal", name, "--yes"]) {
            return Ok(());
        }
        self.kill_for_good(name)?;
        self.replace_member(name)
    }

    /// Copies what a node has on its disk, while it is down for a moment.
    fn copy_of(&mut self, host: &str, to: &std::path::Path, whole_disk: bool) -> Result<()> {
        {
            let mut cluster = self.cluster();
            let node = cluster.node(host)?;
            node.kill();
            match whole_disk {
                true => {
                    // A directory may be left from another copy.
                    let _ = std::fs::remove_dir_all(to);
                    node.disk.save(to)?;
                }
                false => {
                    // So may a file.
                    let _ = std::fs::remove_file(to);
                    node.copy_data(to)?;
                }
            }
            cluster.start(host)?;
        }
        self.note(&format!("a copy of {host} is made"));
        self.recover("the copy")
    }

    /// Lets commands be acknowledged for a while, and some at least.
    fn serve(&mut self, when: &str) -> Result<()> {
        let before = self.clients.acknowledged();
        self.pause(A_WHILE)?;
        if !self.wait(SERVING, |run| run.clients.acknowledged() > before + SOME)? {
            self.note(&format!("nothing is served {when}"));
        }
        Ok(())
    }

    /// Gives nodes that must not serve the time to do so.
    fn tempt(&mut self) -> Result<()> {
        let before = self.clients.acknowledged();
        self.pause(TEMPTED)?;
        let served = self.clients.acknowledged() - before;
        self.note(&format!("{served} commands were acknowledged meanwhile"));
        Ok(())
    }

    /// Chooses a member, and returns the others as well.
    fn victim(&mut self, random: &mut Random) -> Result<(String, Vec<String>)> {
        let mut all: Vec<String> = self.cluster().nodes().map(|node| node.host.clone()).collect();
        random.shuffle(&mut all);
        let victim = all.pop().ok_or_else(|| Failure::Cluster("there is no node".to_owned()))?;
        Ok((victim, all))
    }

    /// The same, but not the leader.
    fn follower(&mut self, random: &mut Random) -> Result<(String, Vec<String>)> {
        let leader = self.leader();
        let (victim, mut others) = self.victim(random)?;
        if Some(&victim) != leader.as_ref() {
            return Ok((victim, others));
        }
        let other = others.pop().ok_or_else(|| Failure::Cluster("there is one node".to_owned()))?;
        others.push(victim);
        Ok((other, others))
    }

    /// Makes a host for a new member.
    fn newcomer(&mut self) -> Result<String> {
        let mut cluster = self.cluster();
        let name = cluster.next_name();
        cluster.network.add(&name, None)?;
        Ok(name)
    }

    /// Lets the operator make the bundle of a new member, and starts that; says whether it went
    /// well.
    fn prepare(&mut self, name: &str, words: &[&str]) -> Result<bool> {
        let words: Vec<&str> = words.iter().copied().chain(["--prepare-only"]).collect();
        if !self.demand(&words)? {
            return Ok(false);
        }
        let mut cluster = self.cluster();
        cluster.place(name, name, None)?;
        cluster.start(name)?;
        Ok(true)
    }

    /// Calls the operator, who must succeed, since all is well otherwise; says whether he did.
    fn demand(&mut self, words: &[&str]) -> Result<bool> {
        let operator = self.cluster().operator.clone();
        let answer = operator.call(words, CALL)?;
        if !answer.done {
            let said = answer.remarks.trim().replace('\n', "; ");
            self.wrong(format!("raftctl {} failed: {said}", words.join(" ")));
        }
        Ok(answer.done)
    }

    /// Calls the operator, and says whether it went well.
    fn try_to(&mut self, words: &[&str]) -> bool {
        let operator = self.cluster().operator.clone();
        match operator.call(words, CALL) {
            Ok(answer) if answer.done => true,
            Ok(answer) => {
                let said = answer.remarks.trim().replace('\n', "; ");
                self.note(&format!("raftctl {} failed: {said}", words.join(" ")));
                false
            }
            Err(failure) => {
                self.note(&failure.to_string());
                false
            }
        }
    }

    fn each(
        &mut self,
        hosts: &[String],
        mut done: impl FnMut(&mut Cluster, &str) -> Result<()>,
    ) -> Result<()> {
        let mut cluster = self.cluster();
        hosts.iter().try_for_each(|host| done(&mut cluster, host))
    }
}
