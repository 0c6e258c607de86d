//! The cluster under test: hosts, nodes, and their operator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result, file};
use crate::machine::disk::Disk;
use crate::machine::leftovers::Slot;
use crate::machine::network::Network;
use crate::machine::shim;
use crate::node::{Node, Parts};
use crate::operator::Operator;

/// The host from which `raftctl` is called.
const OPERATOR: &str = "operator";

/// The host of the clients.
const CLIENTS: &str = "clients";

/// Small limits, so that snapshots and compaction happen within minutes, and the state is read
/// through again and again: it is used meanwhile. Every other node keeps a long log all the same:
/// who is behind a leader gets entries from the one and a snapshot from the other.
const LIMITS: [&str; 2] = [
    "[limits]\npersist_interval_s = 3\nstate_scrub_interval_s = 2\n",
    "[limits]\npersist_interval_s = 3\nstate_scrub_interval_s = 2\nlog_keep_entries_max = 500\n\
     log_keep_bytes_max = 1048576\n",
];

/// How long the founding may take.
const FOUNDING: Duration = Duration::from_secs(120);

/// Where the programs are that a run tests.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The daemon.
    pub(crate) raftd: PathBuf,
    /// The operator's tool.
    pub(crate) raftctl: PathBuf,
}

/// Hosts, nodes, operator.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What is between the hosts.
    pub(crate) network: Network,
    /// Who calls `raftctl`.
    pub(crate) operator: Operator,
    /// All nodes by their host: members, clones, and those that are to become members.
    nodes: BTreeMap<String, Node>,
    programs: Programs,
    shim: PathBuf,
    disks: PathBuf,
    directory: PathBuf,
    /// How many members there ever were: names are not used again.
    named: usize,
}

impl Cluster {
    /// Makes everything, and founds a cluster of so many nodes.
    ///
    /// # Errors
    /// If the machine forbids something, or the cluster does not come up.
    pub(crate) fn found(
        slot: &Slot,
        programs: Programs,
        directory: &Path,
        nodes: usize,
    ) -> Result<Self> {
        let mut network = Network::make(slot.number)?;
        network.add(OPERATOR, None)?;
        network.add(CLIENTS, None)?;
        let space = network.space(OPERATOR);
        let operator = Operator::new(space, &programs.raftctl, directory);
        let shim = shim::compile(directory)?;
        let (disks, directory) = (slot.directory.clone(), directory.to_owned());
        let (all, named) = (BTreeMap::new(), 0);
        let mut cluster =
            Self { network, operator, nodes: all, programs, shim, disks, directory, named };
        let names: Vec<String> = (0..nodes).map(|_| cluster.next_name()).collect();
        let mut init = vec!["init".to_owned(), "chaos".to_owned(), "--dir".to_owned()];
        init.push(cluster.operator.cluster().display().to_string());
        for name in &names {
            cluster.network.add(name, None)?;
            init.extend(["--node".to_owned(), format!("{name}={}", cluster.endpoint(name))]);
        }
        let mut arguments: Vec<&str> = init.iter().map(String::as_str).collect();
        arguments.push("--prepare-only");
        cluster.must(&arguments)?;
        for name in &names {
            cluster.place(name, name, None)?;
            cluster.start(name)?;
        }
        arguments.pop();
        arguments.extend(["--wait", "60s"]);
        cluster.must(&arguments)?;
        Ok(cluster)
    }

    /// Returns a name that no member had.
    pub(crate) fn next_name(&mut self) -> String {
        self.named += 1;
        format!("n{}", self.named)
    }

    /// Returns the address of a host's node.
    pub(crate) fn endpoint(&self, host: &str) -> String {
        format!("{}:7400", self.network.address(host).unwrap_or_default())
    }

    /// Returns a command that runs this on the clients' host.
    pub(crate) fn on_clients(&self, program: &Path) -> std::process::Command {
        self.network.on(CLIENTS, program)
    }

    /// Lets all who are no nodes reach this one of two hosts with one address.
    ///
    /// # Errors
    /// If the network cannot be changed.
    pub(crate) fn outsiders_choose(&mut self, host: &str) -> Result<()> {
        self.network.choose(CLIENTS, host)?;
        self.network.choose(OPERATOR, host)
    }

    /// Puts the node of a member on a host, which exists, with this disk or a new one.
    ///
    /// # Errors
    /// If the disk cannot be made, or there is no bundle for the member.
    pub(crate) fn place(&mut self, host: &str, name: &str, disk: Option<Disk>) -> Result<()> {
        let disk = disk.map_or_else(|| Disk::make(&self.disks, host), Ok)?;
        let bundle = self.operator.bundle(name);
        let more = bundle.join("raftd.d");
        fs::create_dir_all(&more).map_err(file("cannot make", &more))?;
        let limits = more.join("chaos.toml");
        let number: usize = name.trim_start_matches('n').parse().unwrap_or(0);
        fs::write(&limits, LIMITS[number % LIMITS.len()]).map_err(file("cannot write", &limits))?;
        let node = Node::new(Parts {
            host,
            disk,
            bundle,
            program: &self.programs.raftd,
            shim: &self.shim,
            directory: &self.directory,
        })?;
        self.nodes.insert(host.to_owned(), node);
        Ok(())
    }

    /// Removes a host with its node.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub(crate) fn displace(&mut self, host: &str) -> Result<()> {
        if let Some(mut node) = self.nodes.remove(host) {
            node.kill();
            self.network.remove(host)?;
            node.disk.remove()?;
        }
        Ok(())
    }

    /// Starts a node.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(&mut self, host: &str) -> Result<()> {
        match self.nodes.get_mut(host) {
            Some(node) => node.start(&self.network),
            None => Ok(()),
        }
    }

    /// Returns a node.
    ///
    /// # Errors
    /// If there is none on that host.
    pub(crate) fn node(&mut self, host: &str) -> Result<&mut Node> {
        let none = || Failure::Cluster(format!("there is no node on {host}"));
        self.nodes.get_mut(host).ok_or_else(none)
    }

    /// Returns all nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Starts again what has ended.
    ///
    /// # Errors
    /// If a node cannot be started.
    pub(crate) fn supervise(&mut self) -> Result<()> {
        self.nodes.values_mut().try_for_each(|node| node.supervise(&self.network))
    }

    /// Returns where disks lie and copies of them may.
    pub(crate) fn disks(&self) -> &Path {
        &self.disks
    }

    /// Calls `raftctl`, which must succeed.
    fn must(&self, arguments: &[&str]) -> Result<()> {
        let began = Instant::now();
        let answer = self.operator.call(arguments, FOUNDING)?;
        if answer.done {
            return Ok(());
        }
        let (said, took) = (answer.remarks.trim().to_owned(), began.elapsed());
        Err(Failure::Cluster(format!("raftctl {} ({took:?}): {said}", arguments.join(" "))))
    }
}
