//! What a node is told when it starts. The daemon reads it from files; a program that embeds a node
//! writes it down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use certs::Credentials;
use transport::SeatLimits;

/// One certificate gets at least so many connections, where there are few in all.
const CONNECTIONS_PER_IDENTITY_MIN: u32 = 4;

/// One certificate may have at least so many requests under way: a message has up to 1,024
/// commands, which are admitted together.
const REQUESTS_PER_IDENTITY_MIN: u32 = 1_024;

/// The configuration of a node. The defaults are those of raftd.toml(5).
#[derive(Clone, Debug)]
pub struct Config {
    /// Where log and state are kept; made if it is missing.
    pub data_dir: PathBuf,
    /// UDP address and port to listen on. With port 0 the system chooses one.
    pub listen: SocketAddr,
    /// More of them, which are listened on as well.
    pub also_listen: Vec<SocketAddr>,
    /// Where others reach the node, as HOST:PORT; `None` says nothing but what the configuration in
    /// the log says.
    pub advertise: Option<String>,
    /// The certificate of this node, and that of the authority that it trusts.
    pub certificates: Certificates,
    /// The protocol's times and windows.
    pub raft: Raft,
    /// What is bounded, and how.
    pub limits: Limits,
    /// Where members are dialled, by name or id, whatever the configuration in the log says.
    pub peers: BTreeMap<String, String>,
    /// Where it is monitored.
    pub http: Http,
}

/// The port for metrics and probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The TCP address and port, on the loopback interface; `None` opens none.
    pub listen: Option<SocketAddr>,
    /// The most connections at once.
    pub connections_max: u32,
}

/// A node's certificates: in files, which are looked at again while the node runs, or in memory.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// Three PEM files. When they are replaced on the disk, the node takes the new ones.
    Files(CertificateFiles),
    /// Checked credentials.
    Memory(Credentials),
}

impl From<CertificateFiles> for Certificates {
    fn from(files: CertificateFiles) -> Self {
        Self::Files(files)
    }
}

impl From<Credentials> for Certificates {
    fn from(credentials: Credentials) -> Self {
        Self::Memory(credentials)
    }
}

/// The three PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// This node's private key.
    pub key: PathBuf,
}

/// The protocol's times and windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raft {
    /// Election timeouts are drawn from here, in milliseconds.
    pub election_timeout_ms: RangeInclusive<u64>,
    /// How often a leader sends heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// The most unacknowledged messages with entries for one follower.
    pub inflight_max: u32,
    /// The most entries in one message.
    pub entries_max: u32,
    /// How far clocks may run from true time, in parts per million, where leases are on.
    pub lease_clock_error_ppm: Option<u32>,
}

/// What is bounded, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most client requests that are admitted and not yet answered.
    pub requests_max: u32,
    /// The most client connections at once, beside some that are kept for operators.
    pub connections_max: u32,
    /// The most of them with one certificate; a quarter of all of them if it is not set.
    pub connections_per_identity_max: Option<u32>,
    /// The most bytes of commands that are proposed and not yet applied.
    pub uncommitted_bytes_max: u64,
    /// The most entries that the log may hold beyond the commit index.
    pub uncommitted_entries_max: u64,
    /// The most bytes of entries that are kept in memory for peers and the state machine.
    pub log_cache_bytes_max: u64,
    /// The state is flushed to its database at least this often, in seconds.
    pub persist_interval_s: u64,
    /// How often all of the state is read and checked, in seconds.
    pub state_scrub_interval_s: u64,
    /// The most entries that stay in the log behind a durable state.
    pub log_keep_entries_max: u64,
    /// The most bytes of entries that stay in the log behind a durable state.
    pub log_keep_bytes_max: u64,
    /// The most bytes of a snapshot that are written, or of it and of old entries that are sent to
    /// one peer, in a second.
    pub snapshot_bytes_per_s_max: u64,
}

impl Config {
    /// Returns all addresses to listen on, with commas between them.
    pub(crate) fn listens(&self) -> String {
        listed([self.listen].iter().chain(&self.also_listen))
    }
}

/// Writes addresses down, with commas between them.
pub(crate) fn listed<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> String {
    let all: Vec<String> = addresses.into_iter().map(SocketAddr::to_string).collect();
    all.join(", ")
}

impl Limits {
    /// Returns how many places there are for connections of clients.
    pub(crate) fn seats(&self) -> SeatLimits {
        let quarter = (self.connections_max / 4).max(CONNECTIONS_PER_IDENTITY_MIN);
        let own = self.connections_per_identity_max.unwrap_or(quarter).min(self.connections_max);
        let requests = (self.requests_max / 4).max(REQUESTS_PER_IDENTITY_MIN);
        SeatLimits {
            connections_max: self.connections_max as usize,
            per_identity_max: own as usize,
            requests_per_identity_max: requests as usize,
        }
    }
}
