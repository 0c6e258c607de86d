//! The configuration: files, environment and flags become one checked [`Config`], or an error that
//! names file, key, value and bounds.
//!
//! Precedence: flag > environment > `raftd.d/*.toml` (the last in order of names first) >
//! `raftd.toml` > default. All files are read as layers and asked in that order for each key, so
//! that an error can always say where a value came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::cli::Overrides;
use crate::config::layer::{Layer, Origin};
use crate::exit::{Exit, Failure, unreadable};
use crate::logging::Level;

mod keys;
mod layer;
mod peers;
#[cfg(test)]
mod tests;

pub use keys::{KEYS, Key, Kind};

/// Where data is kept unless the configuration says otherwise.
pub const DATA_DIR_DEFAULT: &str = "/var/lib/raftd";

/// Where the daemon listens unless the configuration says otherwise: on all addresses, v4 and v6.
pub const LISTEN_DEFAULT: &str = "[::]:7400";

/// Everything that an operator has decided, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The main file.
    pub file: PathBuf,
    /// Where log and state are kept.
    pub data_dir: PathBuf,
    /// UDP address and port to listen on.
    pub listen: SocketAddr,
    /// What is logged.
    pub log_level: Level,
    /// Where the credentials are.
    pub identity: Identity,
    /// The protocol's times and windows.
    pub raft: Raft,
    /// What is bounded, and how.
    pub limits: Limits,
    /// Where members are dialled, by name or id, whatever the configuration in the log says.
    pub peers: BTreeMap<String, String>,
}

/// The three PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
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
    /// The most client connections at once.
    pub connections_max: u32,
    /// The most bytes of commands that are proposed and not yet applied.
    pub uncommitted_bytes_max: u64,
    /// The most entries that the log may hold beyond the commit index.
    pub uncommitted_entries_max: u64,
    /// The most bytes of entries that are kept in memory for peers and the state machine.
    pub log_cache_bytes_max: u64,
    /// The state is flushed to its database at least this often, in seconds.
    pub persist_interval_s: u64,
    /// The most entries that stay in the log behind a durable state.
    pub log_keep_entries_max: u64,
    /// The most bytes of entries that stay in the log behind a durable state.
    pub log_keep_bytes_max: u64,
    /// The most bytes of a snapshot that are written, or of it and of old entries that are sent to
    /// one peer, in a second.
    pub snapshot_bytes_per_s_max: u64,
}

impl Config {
    /// Reads the files and puts them together with flags and environment.
    ///
    /// # Errors
    /// Exit 78 with file, key, value and bounds, whichever is wrong first.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        Self::read(file, overrides, false)
    }

    /// The same for a running node, which waits for nobody: a pipe was read when it started.
    ///
    /// # Errors
    /// As [`Config::load`]; if a file is no plain file.
    pub fn load_again(file: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        Self::read(file, overrides, true)
    }

    fn read(file: &Path, overrides: &Overrides, again: bool) -> Result<Self, Failure> {
        let mut layers = vec![Layer::read(file, again)?];
        for extra in drop_ins(file)? {
            layers.push(Layer::read(&extra, again)?);
        }
        layers.extend(Layer::from_overrides(overrides));
        Self::from_layers(file, &layers)
    }

    fn from_layers(file: &Path, layers: &[Layer]) -> Result<Self, Failure> {
        let path = |key: &Key, pick: fn(&Layer) -> Option<&PathBuf>| {
            let Some((path, origin)) = find(layers, pick) else {
                return Ok(None);
            };
            match environment::text(path.as_os_str()) {
                Some(_) => origin.resolve(key.name, path).map(Some),
                None => Err(empty(origin, key)),
            }
        };
        let needed = |key: &Key, pick: fn(&Layer) -> Option<&PathBuf>| {
            path(key, pick)?.ok_or_else(|| missing(file, key))
        };
        let identity = Identity {
            ca: needed(&keys::CA, |layer| layer.identity.ca.as_ref())?,
            certificate: needed(&keys::CERTIFICATE, |layer| layer.identity.certificate.as_ref())?,
            key: needed(&keys::KEY, |layer| layer.identity.key.as_ref())?,
        };
        let data_dir = path(&keys::DATA_DIR, |layer| layer.data_dir.as_ref())?
            .unwrap_or_else(|| PathBuf::from(DATA_DIR_DEFAULT));
        Ok(Self {
            file: file.to_owned(),
            data_dir,
            listen: listen(layers)?,
            log_level: find(layers, |layer| layer.log_level.as_ref())
                .map_or(Level::default(), |(level, _)| *level),
            identity,
            raft: raft(layers)?,
            limits: limits(layers)?,
            peers: peers::read(layers)?,
        })
    }
}

/// Returns the last layer's value, which goes before all earlier ones.
fn find<'a, T>(
    layers: &'a [Layer],
    pick: impl Fn(&'a Layer) -> Option<&'a T>,
) -> Option<(&'a T, &'a Origin)> {
    layers.iter().rev().find_map(|layer| pick(layer).map(|value| (value, &layer.origin)))
}

fn missing(file: &Path, key: &Key) -> Failure {
    let message = format!("{}: {} is missing", file.display(), key.name);
    Failure::new(Exit::Config, message).hint(format!("set {}: {}", key.name, key.meaning))
}

/// An empty text is a template that was not filled in, rather than a wish for the default.
fn empty(origin: &Origin, key: &Key) -> Failure {
    let message = format!("{} is empty", origin.name(key));
    Failure::new(Exit::Config, message).hint(format!("{}: {}; {}", key.name, key.meaning, key.kind))
}

/// The files of `raftd.d`, beside `raftd.toml` (in general: the file's name with `.d`).
fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let directory = file.with_extension("d");
    let failed = |error: std::io::Error| unreadable(&directory, &error);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn listen(layers: &[Layer]) -> Result<SocketAddr, Failure> {
    let default = || LISTEN_DEFAULT.parse().expect("the default is an address");
    let Some((text, origin)) = find(layers, |layer| layer.listen.as_ref()) else {
        return Ok(default());
    };
    if text.trim().is_empty() {
        return Err(empty(origin, &keys::LISTEN));
    }
    text.trim().parse().map_err(|_| {
        let name = origin.name(&keys::LISTEN);
        let message = format!("{name} = {text:?} is not an IP address and a port");
        Failure::new(Exit::Config, message).hint("for instance 0.0.0.0:7400 or [::]:7400")
    })
}

fn raft(layers: &[Layer]) -> Result<Raft, Failure> {
    let heartbeat_ms = number(layers, &keys::HEARTBEAT_MS, |layer| &layer.raft.heartbeat_ms)?;
    let election_timeout_ms = election_timeout(layers)?;
    if heartbeat_ms.saturating_mul(2) > *election_timeout_ms.start() {
        let heartbeat = find(layers, |layer| layer.raft.heartbeat_ms.as_ref());
        let election = find(layers, |layer| layer.raft.election_timeout_ms.as_ref());
        let name = |found: Option<&Origin>, key: &Key| match found {
            Some(origin) => origin.name(key),
            None => format!("{} (the default)", key.name),
        };
        let message = format!(
            "{} = {heartbeat_ms} is above half of the shortest election timeout, {} ms in {}",
            name(heartbeat.map(|(_, origin)| origin), &keys::HEARTBEAT_MS),
            election_timeout_ms.start(),
            name(election.map(|(_, origin)| origin), &keys::ELECTION_TIMEOUT_MS),
        );
        return Err(Failure::new(Exit::Config, message));
    }
    Ok(Raft {
        election_timeout_ms,
        heartbeat_ms,
        inflight_max: small(layers, &keys::INFLIGHT_MAX, |layer| &layer.raft.inflight_max)?,
        entries_max: small(layers, &keys::ENTRIES_MAX, |layer| &layer.raft.entries_max)?,
        lease_clock_error_ppm: Some(small(layers, &keys::LEASE_CLOCK_ERROR_PPM, |layer| {
            &layer.raft.lease_clock_error_ppm
        })?)
        .filter(|ppm| *ppm > 0),
    })
}

fn election_timeout(layers: &[Layer]) -> Result<RangeInclusive<u64>, Failure> {
    let key = &keys::ELECTION_TIMEOUT_MS;
    let Kind::Pair { default, min, max, .. } = key.kind else {
        unreachable!("the table says that election timeouts are a pair");
    };
    let found = find(layers, |layer| layer.raft.election_timeout_ms.as_ref());
    let Some((pair, origin)) = found else {
        return Ok(default.0..=default.1);
    };
    let bounded = |value: i64| u64::try_from(value).ok().filter(|v| (min..=max).contains(v));
    match pair.as_slice() {
        [low, high] => match (bounded(*low), bounded(*high)) {
            (Some(low), Some(high)) if low < high => Ok(low..=high),
            _ => Err(out_of_bounds(origin, key, &format!("[{low}, {high}]"))),
        },
        other => Err(out_of_bounds(origin, key, &format!("{other:?}"))),
    }
}

fn limits(layers: &[Layer]) -> Result<Limits, Failure> {
    Ok(Limits {
        requests_max: small(layers, &keys::REQUESTS_MAX, |layer| &layer.limits.requests_max)?,
        connections_max: small(layers, &keys::CONNECTIONS_MAX, |layer| {
            &layer.limits.connections_max
        })?,
        uncommitted_bytes_max: number(layers, &keys::UNCOMMITTED_BYTES_MAX, |layer| {
            &layer.limits.uncommitted_bytes_max
        })?,
        uncommitted_entries_max: number(layers, &keys::UNCOMMITTED_ENTRIES_MAX, |layer| {
            &layer.limits.uncommitted_entries_max
        })?,
        log_cache_bytes_max: number(layers, &keys::LOG_CACHE_BYTES_MAX, |layer| {
            &layer.limits.log_cache_bytes_max
        })?,
        persist_interval_s: number(layers, &keys::PERSIST_INTERVAL_S, |layer| {
            &layer.limits.persist_interval_s
        })?,
        log_keep_entries_max: number(layers, &keys::LOG_KEEP_ENTRIES_MAX, |layer| {
            &layer.limits.log_keep_entries_max
        })?,
        log_keep_bytes_max: number(layers, &keys::LOG_KEEP_BYTES_MAX, |layer| {
            &layer.limits.log_keep_bytes_max
        })?,
        snapshot_bytes_per_s_max: number(layers, &keys::SNAPSHOT_BYTES_PER_S_MAX, |layer| {
            &layer.limits.snapshot_bytes_per_s_max
        })?,
    })
}

/// Returns a number within its bounds.
fn number(layers: &[Layer], key: &Key, pick: fn(&Layer) -> &Option<i64>) -> Result<u64, Failure> {
    let Kind::Number { default, min, max, .. } = key.kind else {
        unreachable!("the table says that {} is a number", key.name);
    };
    let Some((value, origin)) = find(layers, |layer| pick(layer).as_ref()) else {
        return Ok(default);
    };
    u64::try_from(*value)
        .ok()
        .filter(|value| (min..=max).contains(value))
        .ok_or_else(|| out_of_bounds(origin, key, &value.to_string()))
}

fn small(layers: &[Layer], key: &Key, pick: fn(&Layer) -> &Option<i64>) -> Result<u32, Failure> {
    let value = number(layers, key, pick)?;
    Ok(u32::try_from(value).expect("the table's upper bound fits 32 bits"))
}

fn out_of_bounds(origin: &Origin, key: &Key, value: &str) -> Failure {
    let message = format!("{} = {value} is out of bounds", origin.name(key));
    Failure::new(Exit::Config, message).hint(format!("{}: {}", key.name, key.kind))
}
