//! Network namespaces on one bridge, and what is cut between them.
//!
//! Each host has a namespace of its own, and so has the bridge: the machine's own network is not
//! touched. Hosts find each other by fixed neighbour tables instead of ARP, so that two hosts can
//! have one address and each neighbour is told which of them it reaches. What is cut is dropped by
//! nftables where it arrives, by the hardware address of the sender.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::command::{call, call_with};
use super::line::{self, Line, Slow};
use crate::failure::Result;
use crate::random::Random;

/// A host: a namespace with one interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host {
    /// Its name, unique in the run.
    pub(crate) name: String,
    /// The last byte of its hardware address, unique in the run.
    number: u8,
    /// The last byte of its IP address; two hosts may have the same.
    address: u8,
}

/// All hosts of a run and what is between them.
#[derive(Debug)]
pub(crate) struct Network {
    prefix: String,
    slot: u8,
    hosts: BTreeMap<String, Host>,
    next: u8,
    /// Pairs of names: what the first sends does not reach the second.
    cuts: BTreeSet<(String, String)>,
    /// How many packets of a hundred a host loses of all that it should get.
    losses: BTreeMap<String, u8>,
    /// Hosts that get everything late.
    slow: BTreeMap<String, Slow>,
    /// Hosts whose line is narrow.
    narrow: BTreeSet<String>,
}

impl Network {
    /// Makes the bridge. `slot` tells runs on one machine apart.
    ///
    /// # Errors
    /// If the kernel or `ip` says no.
    pub(crate) fn make(slot: u8) -> Result<Self> {
        let prefix = prefix(slot);
        let switch = format!("{prefix}switch");
        call("ip", &["netns", "add", &switch])?;
        let script = "link add br0 type bridge\nlink set br0 up\nlink set lo up\n";
        call_with("ip", &["-n", &switch, "-batch", "-"], script)?;
        let (hosts, cuts, losses) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (slow, narrow) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { prefix, slot, hosts, next: 1, cuts, losses, slow, narrow })
    }

    /// Adds a host; `like` has the same address.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn add(&mut self, name: &str, like: Option<&str>) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let address = like.and_then(|like| self.hosts.get(like)).map_or(number, |one| one.address);
        let host = Host { name: name.to_owned(), number, address };
        let (space, switch) = (self.namespace(name), format!("{}switch", self.prefix));
        call("ip", &["netns", "add", &space])?;
        let port = format!("p{number}");
        let made = format!(
            "link add eth0 address {} type veth peer name {port} netns {switch}\n\
             link set lo up\nlink set eth0 arp off\naddr add {}/24 dev eth0\nlink set eth0 up\n",
            self.hardware(&host),
            self.ip(&host),
        );
        call_with("ip", &["-n", &space, "-batch", "-"], &made)?;
        let plugged = format!("link set {port} master br0\nlink set {port} up\n");
        call_with("ip", &["-n", &switch, "-batch", "-"], &plugged)?;
        let others: Vec<Host> = self.hosts.values().cloned().collect();
        self.hosts.insert(name.to_owned(), host.clone());
        for other in others.iter().filter(|other| other.address != host.address) {
            self.direct(name, other)?;
            if like.is_none() {
                self.direct(&other.name, &host)?;
            }
        }
        self.apply(name)
    }

    /// Removes a host with all that runs there, which must have ended.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.hosts.remove(name);
        self.losses.remove(name);
        self.slow.remove(name);
        self.narrow.remove(name);
        self.cuts.retain(|(from, to)| from != name && to != name);
        call("ip", &["netns", "del", &self.namespace(name)]).map(drop)
    }

    /// Returns the address of a host; `None` if there is no such host.
    pub(crate) fn address(&self, name: &str) -> Option<String> {
        self.hosts.get(name).map(|host| self.ip(host))
    }

    /// Returns a command that runs a program on a host.
    pub(crate) fn on(&self, name: &str, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.space(name))).arg("--").arg(program);
        command
    }

    /// Returns the file of a host's namespace.
    pub(crate) fn space(&self, name: &str) -> String {
        format!("/run/netns/{}", self.namespace(name))
    }

    /// Lets `who` reach this one of the hosts with one address, and hear nothing of the others.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn choose(&mut self, who: &str, target: &str) -> Result<()> {
        let Some(host) = self.hosts.get(target).cloned() else {
            return Ok(());
        };
        self.direct(who, &host)?;
        let same: Vec<String> = self
            .hosts
            .values()
            .filter(|other| other.address == host.address)
            .map(|other| other.name.clone())
            .collect();
        for other in same {
            let pair = (other.clone(), who.to_owned());
            if other == target {
                self.cuts.remove(&pair)
            } else {
                self.cuts.insert(pair)
            };
        }
        self.apply(who)
    }

    /// Cuts or restores what the first sends to the second.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn cut(&mut self, from: &str, to: &str, off: bool) -> Result<()> {
        let pair = (from.to_owned(), to.to_owned());
        let changed = if off { self.cuts.insert(pair) } else { self.cuts.remove(&pair) };
        if changed { self.apply(to) } else { Ok(()) }
    }

    /// Lets a host lose so many packets of a hundred.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn lose(&mut self, at: &str, percent: u8) -> Result<()> {
        self.losses.insert(at.to_owned(), percent);
        self.apply(at)
    }

    /// Lets a host get everything late; `None`: as it comes again.
    ///
    /// # Errors
    /// As [`Network::make`], or if the kernel has no queue for packets (NFQUEUE).
    pub(crate) fn slow(&mut self, at: &str, line: Option<(Line, Random)>) -> Result<()> {
        let space = self.space(at);
        let rules = format!("--net={space}");
        let iptables = |words: &[&str]| {
            let before = [rules.as_str(), "iptables", "-w"].into_iter();
            let words: Vec<&str> = before.chain(words.iter().copied()).collect();
            call("nsenter", &words).map(drop)
        };
        if self.slow.remove(at).is_some() {
            iptables(&["-F", "INPUT"])?;
        }
        let Some((line, random)) = line else {
            return Ok(());
        };
        self.slow.insert(at.to_owned(), Slow::begin(space.clone(), line, random)?);
        let queue = line::QUEUE.to_string();
        let rule = ["-A", "INPUT", "-i", "eth0", "-j", "NFQUEUE", "--queue-num", &queue];
        iptables(&[&rule[..], &["--queue-bypass"]].concat())
    }

    /// Lets a host get so many kilobits a second, and loses what waits for more than a quarter of a
    /// second; `None`: all again.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn narrow(&mut self, at: &str, kilobits: Option<u64>) -> Result<()> {
        let Some(host) = self.hosts.get(at) else {
            return Ok(());
        };
        let (switch, port) = (format!("{}switch", self.prefix), format!("p{}", host.number));
        let tc = |words: &[&str]| {
            let before = ["-n", &switch, "qdisc"].into_iter();
            let words: Vec<&str> = before.chain(words.iter().copied()).collect();
            call("tc", &words).map(drop)
        };
        if self.narrow.remove(at) {
            tc(&["del", "dev", &port, "root"])?;
        }
        let Some(kilobits) = kilobits else {
            return Ok(());
        };
        let rate = format!("{kilobits}kbit");
        let bucket = ["tbf", "rate", &rate, "burst", "16kb", "latency", "250ms"];
        tc(&[&["add", "dev", &port, "root"][..], &bucket].concat())?;
        self.narrow.insert(at.to_owned());
        Ok(())
    }

    /// Mends everything.
    ///
    /// # Errors
    /// As [`Network::make`].
    pub(crate) fn heal(&mut self) -> Result<()> {
        self.cuts.clear();
        self.losses.clear();
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        names.iter().try_for_each(|name| {
            self.apply(name)?;
            self.slow(name, None)?;
            self.narrow(name, None)
        })
    }

    /// Writes the rules of a host anew.
    fn apply(&self, name: &str) -> Result<()> {
        if !self.hosts.contains_key(name) {
            return Ok(());
        }
        let mut rules = String::from(
            "add table inet chaos\nflush table inet chaos\n\
             add chain inet chaos in { type filter hook input priority 0; }\n",
        );
        for (from, _) in self.cuts.iter().filter(|(_, to)| to == name) {
            if let Some(host) = self.hosts.get(from) {
                let hardware = self.hardware(host);
                rules.push_str(&format!("add rule inet chaos in ether saddr {hardware} drop\n"));
            }
        }
        if let Some(percent) = self.losses.get(name).filter(|percent| **percent > 0) {
            rules.push_str(&format!(
                "add rule inet chaos in iifname eth0 numgen random mod 100 < {percent} drop\n"
            ));
        }
        let space = format!("--net={}", self.space(name));
        call_with("nsenter", &[&space, "nft", "-f", "-"], &rules).map(drop)
    }

    /// Writes into the neighbour table of `who` where the address of `target` is.
    fn direct(&self, who: &str, target: &Host) -> Result<()> {
        let (space, ip, hardware) = (self.namespace(who), self.ip(target), self.hardware(target));
        let entry =
            ["neigh", "replace", &ip, "lladdr", &hardware, "dev", "eth0", "nud", "permanent"];
        let arguments: Vec<&str> = ["-n", space.as_str()].into_iter().chain(entry).collect();
        call("ip", &arguments).map(drop)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn ip(&self, host: &Host) -> String {
        format!("10.97.{}.{}", self.slot, host.address)
    }

    fn hardware(&self, host: &Host) -> String {
        format!("02:97:00:00:{:02x}:{:02x}", self.slot, host.number)
    }
}

/// Returns how the names of all namespaces of a run begin.
pub(crate) fn prefix(slot: u8) -> String {
    format!("raftd-chaos{slot}-")
}
