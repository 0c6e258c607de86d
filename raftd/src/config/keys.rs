//! Every key with its unit, default and bounds: the one table behind checks and manual page.

use std::fmt;

use crate::config::{DATA_DIR_DEFAULT, LISTEN_DEFAULT};

/// A key of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its dotted name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it means, as half a sentence.
    pub meaning: &'static str,
}

impl Key {
    /// Returns the flag that goes before the key, where there is one.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.word().replace('_', "-"))
    }

    /// Returns the environment variable that goes before the key, where there is one.
    pub(super) fn variable(&self) -> String {
        format!("RAFTD_{}", self.word().to_ascii_uppercase())
    }

    fn word(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text: a path, an address, a word.
    Text {
        /// The default; without one the key must be set.
        default: Option<&'static str>,
    },
    /// A whole number within bounds.
    Number {
        /// What is counted.
        unit: &'static str,
        /// The default.
        default: u64,
        /// The lowest value.
        min: u64,
        /// The highest value.
        max: u64,
    },
    /// A host and a port for each name.
    Addresses,
    /// Two whole numbers within bounds, the first below the second.
    Pair {
        /// What is counted.
        unit: &'static str,
        /// The default.
        default: (u64, u64),
        /// The lowest value.
        min: u64,
        /// The highest value.
        max: u64,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { default: Some(default) } => write!(f, "a text, default \"{default}\""),
            Self::Text { default: None } => write!(f, "a text, must be set"),
            Self::Addresses => write!(f, "a text, HOST:PORT, not set by default"),
            Self::Number { unit, default, min, max } => {
                write!(f, "from {min} to {max} {unit}, default {default}")
            }
            Self::Pair { unit, default: (low, high), min, max } => {
                write!(
                    f,
                    "[low, high], low below high, both from {min} to {max} {unit}, \
                     default [{low}, {high}]"
                )
            }
        }
    }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn text(name: &'static str, default: Option<&'static str>, meaning: &'static str) -> Key {
    Key { name, kind: Kind::Text { default }, meaning }
}

const fn number(
    name: &'static str,
    unit: &'static str,
    (default, min, max): (u64, u64, u64),
    meaning: &'static str,
) -> Key {
    Key { name, kind: Kind::Number { unit, default, min, max }, meaning }
}

pub(super) const DATA_DIR: Key = text(
    "data_dir",
    Some(DATA_DIR_DEFAULT),
    "where log and state are kept; belongs to one node, is made if it is missing, and takes about \
     10 MB when it is empty, 2 MB on a disk of 64 MB",
);
pub(super) const LISTEN: Key = text(
    "listen",
    Some(LISTEN_DEFAULT),
    "UDP address and port to listen on; [::] is all addresses, v4 and v6, or all v4 addresses of a \
     machine without IPv6",
);
pub(super) const LOG_LEVEL: Key =
    text("log_level", Some("info"), "what is logged: error, warn, info, debug or trace");
pub(super) const CA: Key = text("identity.ca", None, "the file with the authority's certificate");
pub(super) const CERTIFICATE: Key =
    text("identity.certificate", None, "the file with this node's certificate");
pub(super) const KEY: Key = text(
    "identity.key",
    None,
    "the file with this node's private key; nobody else may be able to read it",
);
pub(super) const ELECTION_TIMEOUT_MS: Key = Key {
    name: "raft.election_timeout_ms",
    kind: Kind::Pair { unit: "ms", default: (300, 600), min: 20, max: 60_000 },
    meaning: "a follower that hears no leader campaigns after a random time from this range",
};
pub(super) const HEARTBEAT_MS: Key = number(
    "raft.heartbeat_ms",
    "ms",
    (100, 5, 30_000),
    "how often a leader sends heartbeats; at most half of the shortest election timeout",
);
pub(super) const INFLIGHT_MAX: Key = number(
    "raft.inflight_max",
    "messages",
    (64, 1, 4_096),
    "the most unacknowledged messages with entries for one follower",
);
pub(super) const ENTRIES_MAX: Key =
    number("raft.entries_max", "entries", (1_024, 1, 8_192), "the most entries in one message");
pub(super) const LEASE_CLOCK_ERROR_PPM: Key = number(
    "raft.lease_clock_error_ppm",
    "ppm",
    (0, 0, 500_000),
    "above 0 lets a leader serve reads by its lease, without asking a majority: how far any node's \
     clock may run from true time; nodes that differ in it, or in election_timeout_ms, refuse \
     each other: set it while all of them are down",
);
pub(super) const REQUESTS_MAX: Key = number(
    "limits.requests_max",
    "requests",
    (8_192, 16, 65_536),
    "the most client requests that are admitted and not yet answered; more are refused as busy",
);
pub(super) const CONNECTIONS_MAX: Key = number(
    "limits.connections_max",
    "connections",
    (1_024, 4, 65_536),
    "the most client connections at once; more are closed with a reason",
);
pub(super) const UNCOMMITTED_BYTES_MAX: Key = number(
    "limits.uncommitted_bytes_max",
    "bytes",
    (64 * MIB, 2 * MIB, 4 * GIB),
    "the most bytes of commands that are proposed and not yet applied; at most a 32nd of the disk",
);
pub(super) const UNCOMMITTED_ENTRIES_MAX: Key = number(
    "limits.uncommitted_entries_max",
    "entries",
    (65_536, 64, 1 << 20),
    "the most entries that a leader's log may hold beyond the commit index",
);
pub(super) const LOG_CACHE_BYTES_MAX: Key = number(
    "limits.log_cache_bytes_max",
    "bytes",
    (64 * MIB, 2 * MIB, 16 * GIB),
    "the most bytes of entries that are kept in memory for peers and the state machine",
);
pub(super) const PERSIST_INTERVAL_S: Key = number(
    "limits.persist_interval_s",
    "s",
    (60, 1, 86_400),
    "how often the state is flushed to its database, at the latest after 64 MiB of commands: that \
     bounds what is replayed at a start",
);
pub(super) const LOG_KEEP_ENTRIES_MAX: Key = number(
    "limits.log_keep_entries_max",
    "entries",
    (100_000, 1, 1 << 32),
    "the most entries that stay in the log behind a durable state, for followers that are behind",
);
pub(super) const LOG_KEEP_BYTES_MAX: Key = number(
    "limits.log_keep_bytes_max",
    "bytes",
    (GIB, MIB, 1024 * GIB),
    "the most bytes of entries that stay in the log behind a durable state; as much as the state \
     has, within 64 MiB, this, and an eighth of the disk",
);
pub(super) const SNAPSHOT_BYTES_PER_S_MAX: Key = number(
    "limits.snapshot_bytes_per_s_max",
    "bytes a second",
    (32 * MIB, MIB, 64 * GIB),
    "how fast a snapshot is written, and it and old log entries are sent to one peer, so that this \
     does not disturb writes; entries go at twice the rate at which the log grows if that is more",
);

pub(super) const PEERS: Key = Key {
    name: "peers.NAME",
    kind: Kind::Addresses,
    meaning: "where this node dials a member, by name or id, whatever address the configuration in \
              the log has: the way back when the nodes have moved and cannot elect a leader, as \
              they look for each other where they were; read again on SIGHUP; raft(7), MOVING \
              NODES, has the steps",
};

/// All keys, in the order of the manual page.
pub const KEYS: [Key; 21] = [
    DATA_DIR,
    LISTEN,
    LOG_LEVEL,
    CA,
    CERTIFICATE,
    KEY,
    ELECTION_TIMEOUT_MS,
    HEARTBEAT_MS,
    INFLIGHT_MAX,
    ENTRIES_MAX,
    LEASE_CLOCK_ERROR_PPM,
    REQUESTS_MAX,
    CONNECTIONS_MAX,
    UNCOMMITTED_BYTES_MAX,
    UNCOMMITTED_ENTRIES_MAX,
    LOG_CACHE_BYTES_MAX,
    PERSIST_INTERVAL_S,
    LOG_KEEP_ENTRIES_MAX,
    LOG_KEEP_BYTES_MAX,
    SNAPSHOT_BYTES_PER_S_MAX,
    PEERS,
];
