//! Faults that are switched on, held, and switched off again, several at a time.

use std::collections::BTreeSet;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::failure::Result;
use crate::fault::Fault;
use crate::machine::line::Line;
use crate::machine::network::Network;
use crate::machine::shim::Switch;
use crate::random::Random;
use crate::schedule::Injection;

/// How often a flapping link changes.
const FLAP: Duration = Duration::from_secs(1);

/// How long a call of the operator may take in the middle of faults.
const CALL: Duration = Duration::from_secs(30);

/// How much later than another a packet may come that was sent before it.
const OVERTAKEN: Duration = Duration::from_millis(30);

/// How far a wall clock jumps at most, in nanoseconds.
const JUMP_NS: u64 = 3_600_000_000_000;

/// A fault that is on.
#[derive(Debug)]
pub(crate) struct Active {
    fault: Fault,
    /// The nodes whose process or disk it has: no other fault takes these.
    pub(crate) holds: Vec<String>,
    /// What was cut, by name, one way.
    cuts: Vec<(String, String)>,
    until: Instant,
    flapped: Instant,
    is_cut: bool,
    /// A call of the operator.
    call: Option<JoinHandle<()>>,
}

/// Switches a fault on; `None` if no node is left that it could be done to.
///
/// # Errors
/// If the machine forbids it.
pub(crate) fn begin(
    cluster: &mut Cluster,
    injection: &Injection,
    held: &BTreeSet<String>,
    leader: Option<&str>,
) -> Result<Option<Active>> {
    let mut random = injection.random.clone();
    let fault = injection.fault;
    let all: Vec<String> = cluster.nodes().map(|node| node.host.clone()).collect();
    let free: Vec<String> = all.iter().filter(|host| !held.contains(*host)).cloned().collect();
    let Some(victim) = choose(&free, leader, &mut random) else {
        return Ok(None);
    };
    let now = Instant::now();
    let mut active = Active {
        fault,
        holds: Vec::new(),
        cuts: Vec::new(),
        until: now + injection.hold,
        flapped: now,
        is_cut: true,
        call: None,
    };
    match fault {
        Fault::KillAll | Fault::AllDisksFull => active.holds = free,
        Fault::Kill
        | Fault::Pause
        | Fault::FullDisk
        | Fault::ReadOnlyDisk
        | Fault::SyncError
        | Fault::TornWrite
        | Fault::PowerLoss
        | Fault::HangingSync
        | Fault::FrozenDisk
        | Fault::ClockJump => active.holds = vec![victim.clone()],
        Fault::OneWay | Fault::Partition | Fault::Partial | Fault::Flapping => {
            active.cuts = cuts(fault, &victim, &all, &mut random);
        }
        // All nodes have it, whatever else they have.
        Fault::Loss | Fault::Delay | Fault::Reordering | Fault::Narrow => {}
        Fault::Transfer | Fault::Snapshot => {}
        Fault::AddRemove
        | Fault::Replace
        | Fault::RolledBack
        | Fault::RolledBackDisk
        | Fault::CutLog
        | Fault::OldCopy
        | Fault::Cloned
        | Fault::ClonedDisk
        | Fault::Wiped
        | Fault::RottenFile => return Ok(None),
    }
    active.switch_on(cluster, &victim, &all, &mut random)?;
    Ok(Some(active))
}

/// Chooses a node: the leader in four cases of ten, since most goes wrong there.
fn choose(free: &[String], leader: Option<&str>, random: &mut Random) -> Option<String> {
    let leads = free.iter().find(|host| Some(host.as_str()) == leader);
    let other = random.pick(free);
    leads.filter(|_| random.percent(40)).or(other).cloned()
}

/// Returns what is cut, one way each.
fn cuts(fault: Fault, victim: &str, all: &[String], random: &mut Random) -> Vec<(String, String)> {
    let others: Vec<String> = all.iter().filter(|host| *host != victim).cloned().collect();
    let (me, is_deaf) = (victim.to_owned(), random.percent(50));
    let away = |other: &String| (me.clone(), other.clone());
    let back = |other: &String| (other.clone(), me.clone());
    if fault == Fault::OneWay {
        return if is_deaf {
            others.iter().map(back).collect()
        } else {
            others.iter().map(away).collect()
        };
    }
    let other = random.pick(&others).cloned();
    let cut = |one: &&String| fault != Fault::Partial || Some(*one) == other.as_ref();
    others.iter().filter(cut).flat_map(|other| [away(other), back(other)]).collect()
}

/// Returns what a line does to what a node is sent.
fn line(fault: Fault, random: &mut Random) -> Line {
    let far = Duration::from_millis(random.between(10, 80));
    if fault == Fault::Delay {
        Line { base: far, jitter: far / 10, reorders: false }
    } else {
        Line { base: Duration::ZERO, jitter: OVERTAKEN, reorders: true }
    }
}

/// Does this to the lines of all nodes.
fn everywhere(
    cluster: &mut Cluster,
    done: impl Fn(&mut Network, &str) -> Result<()>,
) -> Result<()> {
    let all: Vec<String> = cluster.nodes().map(|node| node.host.clone()).collect();
    all.iter().try_for_each(|host| done(&mut cluster.network, host))
}

impl Active {
    fn switch_on(
        &mut self,
        cluster: &mut Cluster,
        victim: &str,
        all: &[String],
        random: &mut Random,
    ) -> Result<()> {
        match self.fault {
            Fault::Kill | Fault::KillAll => {
                self.each(cluster, |node| {
                    node.kill();
                    Ok(())
                })?;
            }
            Fault::Pause => cluster.node(victim)?.pause(true),
            Fault::FullDisk | Fault::AllDisksFull => {
                self.each(cluster, |node| node.disk.fill())?;
            }
            Fault::ReadOnlyDisk => cluster.node(victim)?.disk.fail()?,
            Fault::FrozenDisk => cluster.node(victim)?.disk.freeze()?,
            Fault::SyncError => cluster.node(victim)?.switches.set(Switch::SyncError, 1)?,
            Fault::HangingSync => cluster.node(victim)?.switches.set(Switch::Hang, 1)?,
            Fault::TornWrite => cluster.node(victim)?.switches.set(Switch::Torn, 1)?,
            Fault::PowerLoss => {
                let how = if random.percent(50) { 1 } else { 2 };
                cluster.node(victim)?.switches.set(Switch::Power, how)?;
            }
            Fault::ClockJump => {
                let far = i64::try_from(random.below(JUMP_NS)).unwrap_or(0);
                let jump = if random.percent(50) { far } else { -far };
                cluster.node(victim)?.switches.set(Switch::Realtime, jump)?;
            }
            Fault::OneWay | Fault::Partition | Fault::Partial | Fault::Flapping => {
                self.cut(cluster, true)?;
            }
            Fault::Loss => {
                for host in all {
                    let percent = u8::try_from(random.between(5, 30)).unwrap_or(5);
                    cluster.network.lose(host, percent)?;
                }
            }
            Fault::Delay | Fault::Reordering => {
                for host in all {
                    let line = line(self.fault, random);
                    cluster.network.slow(host, Some((line, random.fork())))?;
                    cluster.network.lose(host, u8::from(line.reorders))?;
                }
            }
            Fault::Narrow => {
                let kilobits = random.between(1_000, 8_000);
                all.iter().try_for_each(|host| cluster.network.narrow(host, Some(kilobits)))?;
            }
            Fault::Transfer => self.call(cluster, &["leader", "transfer"], None),
            Fault::Snapshot => {
                let file = cluster.disks().join(format!("saved-{}.snap", random.next()));
                let name = file.display().to_string();
                let arguments = ["snapshot", "save", &name, "--node", victim];
                self.call(cluster, &arguments, Some(file));
            }
            Fault::AddRemove
            | Fault::Replace
            | Fault::RolledBack
            | Fault::RolledBackDisk
            | Fault::CutLog
            | Fault::OldCopy
            | Fault::Cloned
            | Fault::ClonedDisk
            | Fault::Wiped
            | Fault::RottenFile => {}
        }
        Ok(())
    }

    /// Looks after it; says whether it is over and was switched off.
    ///
    /// # Errors
    /// If the machine forbids it.
    pub(crate) fn tick(&mut self, cluster: &mut Cluster) -> Result<bool> {
        if self.fault == Fault::Flapping && self.flapped.elapsed() >= FLAP {
            self.flapped = Instant::now();
            self.cut(cluster, !self.is_cut)?;
        }
        if matches!(self.fault, Fault::TornWrite | Fault::PowerLoss) {
            // It has done it: the next process is not to do it again.
            self.each(cluster, |node| if node.runs() { Ok(()) } else { node.switches.clear() })?;
        }
        if Instant::now() < self.until {
            return Ok(false);
        }
        self.switch_off(cluster)?;
        Ok(true)
    }

    /// Switches it off.
    ///
    /// # Errors
    /// If the machine forbids it.
    pub(crate) fn switch_off(&mut self, cluster: &mut Cluster) -> Result<()> {
        match self.fault {
            Fault::Kill | Fault::KillAll => {}
            Fault::Pause => self.each(cluster, |node| {
                node.pause(false);
                Ok(())
            })?,
            Fault::FullDisk | Fault::AllDisksFull => {
                self.each(cluster, |node| node.disk.empty())?;
            }
            Fault::ReadOnlyDisk => self.each(cluster, |node| {
                node.kill();
                node.disk.mend()
            })?,
            Fault::FrozenDisk => self.each(cluster, |node| node.disk.thaw())?,
            Fault::SyncError
            | Fault::HangingSync
            | Fault::TornWrite
            | Fault::PowerLoss
            | Fault::ClockJump => self.each(cluster, |node| node.switches.clear())?,
            Fault::OneWay | Fault::Partition | Fault::Partial | Fault::Flapping => {
                self.cut(cluster, false)?;
            }
            Fault::Loss => everywhere(cluster, |network, host| network.lose(host, 0))?,
            Fault::Delay => everywhere(cluster, |network, host| network.slow(host, None))?,
            Fault::Reordering => everywhere(cluster, |network, host| {
                network.slow(host, None)?;
                network.lose(host, 0)
            })?,
            Fault::Narrow => everywhere(cluster, |network, host| network.narrow(host, None))?,
            Fault::Transfer
            | Fault::Snapshot
            | Fault::AddRemove
            | Fault::Replace
            | Fault::RolledBack
            | Fault::RolledBackDisk
            | Fault::CutLog
            | Fault::OldCopy
            | Fault::Cloned
            | Fault::ClonedDisk
            | Fault::Wiped
            | Fault::RottenFile => {}
        }
        if let Some(call) = self.call.take() {
            // What the operator was told decides nothing: faults may be in the way.
            let _ = call.join();
        }
        // Whoever has given up meanwhile is started once more, as an operator would.
        self.holds.iter().try_for_each(|host| cluster.start(host))
    }

    fn each(
        &self,
        cluster: &mut Cluster,
        mut done: impl FnMut(&mut crate::node::Node) -> Result<()>,
    ) -> Result<()> {
        self.holds.iter().try_for_each(|host| done(cluster.node(host)?))
    }

    fn cut(&mut self, cluster: &mut Cluster, off: bool) -> Result<()> {
        self.is_cut = off;
        self.cuts.iter().try_for_each(|(from, to)| cluster.network.cut(from, to, off))
    }

    fn call(&mut self, cluster: &Cluster, words: &[&str], file: Option<std::path::PathBuf>) {
        let operator = cluster.operator.clone();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.call = Some(std::thread::spawn(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            // As above.
            let _ = operator.call(&words, CALL);
            if let Some(file) = file {
                // It may not have been made.
                let _ = std::fs::remove_file(file);
            }
        }));
    }
}
