//! The table of all keys. Parsing, defaults, bounds, flags, environment variables and the manual
//! page follow from it: a key is added by a row here and a field in `config/node.rs`.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::config::node::{CertificateFiles, Config};
use crate::logging::{Format, Level};

/// Where data is kept unless the configuration says otherwise.
pub(crate) const DATA_DIR_DEFAULT: &str = "/var/lib/raftd";

/// Where the daemon listens unless the configuration says otherwise: on all addresses, v4 and v6.
pub(crate) const LISTEN_DEFAULT: &str = "[::]:7400";

/// The most addresses to listen on.
pub(super) const LISTEN_MAX: usize = 8;

/// What others are told unless the configuration says otherwise: where the member is, as the
/// configuration in the log has it.
pub(super) const ADVERTISE_DEFAULT: &str = "member";

/// A key of the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its dotted name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it means, as half a sentence.
    pub meaning: &'static str,
    /// The flag and the environment variable that go before the files, where there are any.
    pub flag: Option<Flag>,
    /// Whether a running node takes another value when it reads its configuration again.
    pub is_live: bool,
    /// Which field it sets.
    pub(super) field: Field,
}

/// A flag, and an environment variable beside it.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// The variable's name.
    pub variable: &'static str,
    /// What stands for the value.
    pub value: &'static str,
    /// The help text.
    pub help: &'static str,
}

/// What the table fills in.
pub(super) struct Draft {
    pub(super) log_level: Level,
    pub(super) log_format: Format,
    pub(super) files: CertificateFiles,
    pub(super) config: Config,
}

/// The field of a draft that a key sets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// A path.
    Path(fn(&mut Draft) -> &mut PathBuf),
    /// The address to listen on.
    Listen,
    /// The address that others are told.
    Advertise,
    /// The level of the log.
    Level,
    /// The format of the log.
    Format,
    /// A number.
    Number(fn(&mut Draft) -> &mut u64),
    /// A number of 32 bits.
    Small(fn(&mut Draft) -> &mut u32),
    /// A number of 32 bits, where 0 means none.
    Optional(fn(&mut Draft) -> &mut Option<u32>),
    /// A range.
    Range(fn(&mut Draft) -> &mut RangeInclusive<u64>),
    /// The table of addresses.
    Peers,
    /// The address for metrics and probes.
    Http,
}

impl Key {
    /// Returns the section of the file that it stands in; empty for the first lines.
    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Returns its name within its section.
    pub(super) fn word(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    const fn with_flag(
        mut self,
        (name, variable, value): (&'static str, &'static str, &'static str),
        help: &'static str,
    ) -> Self {
        self.flag = Some(Flag { name, variable, value, help });
        self
    }

    const fn live(mut self) -> Self {
        self.is_live = true;
        self
    }
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path.
    Path {
        /// The default; without one the key must be set.
        default: Option<&'static str>,
    },
    /// An IP address and a port, or several.
    Listen {
        /// The default.
        default: &'static str,
    },
    /// A host and a port that others dial, or `member`, which is the default.
    Advertised,
    /// A loopback address and a port, or `off`, which is the default.
    Loopback,
    /// What is logged.
    Level {
        /// The default.
        default: Level,
    },
    /// How the log is written.
    Format {
        /// The default.
        default: Format,
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

impl Kind {
    /// Says whether there is no default.
    pub(super) fn must_be_set(&self) -> bool {
        matches!(self, Self::Path { default: None })
    }

    /// Says whether numbers are as many as there must be, in order, and within the bounds.
    pub(super) fn admits(&self, numbers: &[u64]) -> bool {
        match (self, numbers) {
            (Self::Number { min, max, .. }, [number]) => (min..=max).contains(&number),
            (Self::Pair { min, max, .. }, [low, high]) => {
                let within = |number| (min..=max).contains(&number);
                within(low) && within(high) && low < high
            }
            (
                Self::Path { .. }
                | Self::Listen { .. }
                | Self::Advertised
                | Self::Loopback
                | Self::Level { .. }
                | Self::Format { .. }
                | Self::Number { .. }
                | Self::Addresses
                | Self::Pair { .. },
                _,
            ) => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { default: Some(default) } => write!(f, "a text, default \"{default}\""),
            Self::Listen { default } => {
                write!(f, "a text or a list of {LISTEN_MAX} at most, default \"{default}\"")
            }
            Self::Level { default } => write!(f, "a text, default \"{default}\""),
            Self::Format { default } => write!(f, "a text, default \"{default}\""),
            Self::Path { default: None } => write!(f, "a text, must be set"),
            Self::Addresses => write!(f, "a text, HOST:PORT, not set by default"),
            Self::Advertised => write!(
                f,
                "a text, HOST:PORT or \"{ADVERTISE_DEFAULT}\", default \"{ADVERTISE_DEFAULT}\""
            ),
            Self::Loopback => {
                write!(
                    f,
                    "a text, as \"127.0.0.1:7401\", \"[::1]:7401\" or \"off\", default \"off\""
                )
            }
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

const fn key(name: &'static str, kind: Kind, field: Field, meaning: &'static str) -> Key {
    Key { name, kind, meaning, flag: None, is_live: false, field }
}

const fn path(
    name: &'static str,
    default: Option<&'static str>,
    field: fn(&mut Draft) -> &mut PathBuf,
    meaning: &'static str,
) -> Key {
    key(name, Kind::Path { default }, Field::Path(field), meaning)
}

const fn number(
    name: &'static str,
    (unit, default, min, max): (&'static str, u64, u64, u64),
    field: Field,
    meaning: &'static str,
) -> Key {
    key(name, Kind::Number { unit, default, min, max }, field, meaning)
}

/// All keys, in the order of the manual page.
pub static KEYS: [Key; 27] = [
    path(
        "data_dir",
        Some(DATA_DIR_DEFAULT),
        |draft| &mut draft.config.data_dir,
        "where log and state are kept; belongs to one node, is made if it is missing, and takes \
         about 10 MB when it is empty, 2 MB on a disk of 64 MB",
    )
    .with_flag(("data-dir", "RAFTD_DATA_DIR", "DIR"), "Where log and state are kept"),
    key(
        "listen",
        Kind::Listen { default: LISTEN_DEFAULT },
        Field::Listen,
        "UDP address and port to listen on; [::] is all addresses, v4 and v6, or all v4 addresses \
         of a machine without IPv6. Several, as [\"10.0.0.1:7400\", \"[2001:db8::1]:7400\"], are \
         all listened on, and others are dialled from the first that has their family",
    )
    .with_flag(
        ("listen", "RAFTD_LISTEN", "ADDR:PORT"),
        "UDP address and port to listen on, as 0.0.0.0:7400 or [::]:7400 (all addresses, of both \
         families where there are both); several have commas between them",
    ),
    key(
        "advertise",
        Kind::Advertised,
        Field::Advertise,
        "where other nodes and clients reach this node: its name or one of its addresses, or the \
         port that is forwarded to it; never 0.0.0.0 or [::], which are places to listen. \
         \"member\" is whatever the configuration in the log says, by which all others go in any \
         case: if it has another address, the node and `raftctl status` say so, and `raftctl \
         member update` changes it",
    )
    .with_flag(
        ("advertise", "RAFTD_ADVERTISE", "HOST:PORT"),
        "Where others reach this node, if listening elsewhere or on all addresses",
    ),
    key(
        "log_level",
        Kind::Level { default: Level::Info },
        Field::Level,
        "what is logged: error, warn, info, debug or trace",
    )
    .with_flag(("log-level", "RAFTD_LOG_LEVEL", "LEVEL"), "What is logged")
    .live(),
    key(
        "log_format",
        Kind::Format { default: Format::Auto },
        Field::Format,
        "how it is written, and where to: auto, text, json or journald; raftd(8) says more",
    )
    .with_flag(("log-format", "RAFTD_LOG_FORMAT", "FORMAT"), "How it is written, and where to"),
    path(
        "identity.ca",
        None,
        |draft| &mut draft.files.ca,
        "the file with the authority's certificate",
    )
    .with_flag(("ca", "RAFTD_CA", "FILE"), "The authority's certificate")
    .live(),
    path(
        "identity.certificate",
        None,
        |draft| &mut draft.files.certificate,
        "the file with this node's certificate; one that came over the wire later goes before it",
    )
    .with_flag(("certificate", "RAFTD_CERTIFICATE", "FILE"), "This node's certificate")
    .live(),
    path(
        "identity.key",
        None,
        |draft| &mut draft.files.key,
        "the file with this node's private key; nobody else may be able to read it",
    )
    .with_flag(("key", "RAFTD_KEY", "FILE"), "This node's private key")
    .live(),
    key(
        "raft.election_timeout_ms",
        Kind::Pair { unit: "ms", default: (300, 600), min: 20, max: 60_000 },
        Field::Range(|draft| &mut draft.config.raft.election_timeout_ms),
        "a follower that hears no leader campaigns after a random time from this range",
    )
    .with_flag(
        ("election-timeout-ms", "RAFTD_ELECTION_TIMEOUT_MS", "MIN,MAX"),
        "Shortest and longest election timeout, in milliseconds",
    ),
    number(
        "raft.heartbeat_ms",
        ("ms", 100, 5, 30_000),
        Field::Number(|draft| &mut draft.config.raft.heartbeat_ms),
        "how often a leader sends heartbeats; at most half of the shortest election timeout",
    )
    .with_flag(
        ("heartbeat-ms", "RAFTD_HEARTBEAT_MS", "MS"),
        "How often a leader sends heartbeats, in milliseconds",
    ),
    number(
        "raft.inflight_max",
        ("messages", 64, 1, 4_096),
        Field::Small(|draft| &mut draft.config.raft.inflight_max),
        "the most unacknowledged messages with entries for one follower",
    ),
    number(
        "raft.entries_max",
        ("entries", 1_024, 1, 8_192),
        Field::Small(|draft| &mut draft.config.raft.entries_max),
        "the most entries in one message",
    ),
    number(
        "raft.lease_clock_error_ppm",
        ("ppm", 0, 0, 500_000),
        Field::Optional(|draft| &mut draft.config.raft.lease_clock_error_ppm),
        "above 0 lets a leader serve reads by its lease, without asking a majority: how far any \
         node's clock may run from true time; nodes that differ in it, or in \
         election_timeout_ms, refuse each other: set it while all of them are down",
    ),
    number(
        "limits.requests_max",
        // A message of clients has up to 1,024 commands, which are admitted together.
        ("requests", 8_192, 1_024, 65_536),
        Field::Small(|draft| &mut draft.config.limits.requests_max),
        "the most client requests that are admitted and not yet answered; more are refused as \
         busy, but 64 more are kept for operators, and one certificate has a quarter of them \
         under way, or 1,024 if that is more; what it sends beyond waits",
    ),
    number(
        "limits.connections_max",
        ("connections", 1_024, 4, 65_536),
        Field::Small(|draft| &mut draft.config.limits.connections_max),
        "the most client connections at once; more are closed with a reason, but 64 more are kept \
         for operators",
    ),
    number(
        "limits.connections_per_identity_max",
        ("connections", 0, 0, 65_536),
        Field::Optional(|draft| &mut draft.config.limits.connections_per_identity_max),
        "the most of them with one certificate, so that one user leaves places for the others; 0 \
         is a quarter of limits.connections_max, and 4 at least",
    ),
    number(
        "limits.uncommitted_bytes_max",
        ("bytes", 64 * MIB, 2 * MIB, 4 * GIB),
        Field::Number(|draft| &mut draft.config.limits.uncommitted_bytes_max),
        "the most bytes of commands that are proposed and not yet applied; at most a 32nd of the \
         disk",
    ),
    number(
        "limits.uncommitted_entries_max",
        ("entries", 65_536, 64, 1 << 20),
        Field::Number(|draft| &mut draft.config.limits.uncommitted_entries_max),
        "the most entries that a leader's log may hold beyond the commit index",
    ),
    number(
        "limits.log_cache_bytes_max",
        ("bytes", 24 * MIB, 2 * MIB, 16 * GIB),
        Field::Number(|draft| &mut draft.config.limits.log_cache_bytes_max),
        "the most bytes of entries that are kept in memory for peers and the state machine",
    ),
    number(
        "limits.persist_interval_s",
        ("s", 60, 1, 86_400),
        Field::Number(|draft| &mut draft.config.limits.persist_interval_s),
        "how often the state is flushed to its database, at the latest after 64 MiB of commands: \
         that bounds what is replayed at a start",
    ),
    number(
        "limits.state_scrub_interval_s",
        ("s", 3_600, 1, 30 * 86_400),
        Field::Number(|draft| &mut draft.config.limits.state_scrub_interval_s),
        "how often all of the state is read from the disk in the background, at 16 MiB a second, \
         and its checksums are checked",
    ),
    number(
        "limits.log_keep_entries_max",
        ("entries", 100_000, 1, 1 << 32),
        Field::Number(|draft| &mut draft.config.limits.log_keep_entries_max),
        "the most entries that stay in the log behind a durable state, for followers that are \
         behind",
    ),
    number(
        "limits.log_keep_bytes_max",
        ("bytes", GIB, MIB, 1024 * GIB),
        Field::Number(|draft| &mut draft.config.limits.log_keep_bytes_max),
        "the most bytes of entries that stay in the log behind a durable state; as much as the \
         state has, within 64 MiB, this, and an eighth of the disk. For a follower that is sent a \
         snapshot up to twice this or twice the state, while there is room on the disk",
    ),
    number(
        "limits.snapshot_bytes_per_s_max",
        ("bytes a second", 32 * MIB, MIB, 64 * GIB),
        Field::Number(|draft| &mut draft.config.limits.snapshot_bytes_per_s_max),
        "how fast a snapshot is written, and it and old log entries are sent to one peer, so that \
         this does not disturb writes; entries go at twice the rate at which the log grows if \
         that is more",
    ),
    key(
        "http.listen",
        Kind::Loopback,
        Field::Http,
        "TCP address and port for /metrics, /livez and /readyz, see raftd(8). It has neither TLS \
         nor passwords, so that only addresses of the loopback interface are taken; what is to be \
         read elsewhere, a proxy or an agent on this machine passes on. A request is at most 8 KiB \
         and a connection lasts at most 10 s",
    )
    .with_flag(
        ("http-listen", "RAFTD_HTTP_LISTEN", "ADDR:PORT"),
        "TCP address and port on the loopback interface for metrics and probes, or off",
    ),
    number(
        "http.connections_max",
        ("connections", 16, 1, 1_024),
        Field::Small(|draft| &mut draft.config.http.connections_max),
        "the most connections there at once; of more, the oldest gives way",
    ),
    key(
        "peers.NAME",
        Kind::Addresses,
        Field::Peers,
        "where this node dials a member, by name or id, whatever address the configuration in the \
         log has: the way back when the nodes have moved and cannot elect a leader, as they look \
         for each other where they were; read again on SIGHUP; raft(7), MOVING NODES, has the \
         steps",
    )
    .live(),
];
