//! One source of settings: a file, or flags and environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer};

use crate::cli::Overrides;
use crate::config::keys::{self, Key};
use crate::exit::{Exit, Failure, unreadable};
use crate::logging::Level;

/// The largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// Flags.
    #[default]
    Flags,
    /// Environment variables.
    Environment,
    /// A file.
    File(PathBuf),
}

impl Origin {
    /// Makes a path absolute as its source means it: relative to the file that names it.
    ///
    /// # Errors
    /// If that is a pipe that is in no directory.
    pub(super) fn resolve(&self, key: &str, path: &Path) -> Result<PathBuf, Failure> {
        let Self::File(file) = self else {
            return Ok(path.to_owned());
        };
        let nowhere = ["/dev/", "/proc/"].iter().any(|of| file.starts_with(of));
        if nowhere && path.is_relative() {
            let message = format!(
                "{}: {key} = \"{}\" is relative, and this is a pipe in no directory",
                file.display(),
                path.display()
            );
            return Err(Failure::new(Exit::Config, message).hint("give the whole path"));
        }
        Ok(file.parent().map_or_else(|| path.to_owned(), |parent| parent.join(path)))
    }

    /// Names a key as whoever set it knows it.
    pub(super) fn name(&self, key: &Key) -> String {
        match self {
            Self::Flags => key.flag(),
            Self::Environment => format!("the environment variable {}", key.variable()),
            Self::File(file) => format!("{}: {}", file.display(), key.name),
        }
    }
}

/// The settings that one source has; unknown keys are errors.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Layer {
    #[serde(skip)]
    pub(super) origin: Origin,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listen: Option<String>,
    #[serde(deserialize_with = "level")]
    pub(super) log_level: Option<Level>,
    pub(super) identity: IdentityLayer,
    pub(super) raft: RaftLayer,
    pub(super) limits: LimitsLayer,
    pub(super) peers: BTreeMap<String, String>,
}

/// Reads a level in any case of letters, also with blanks around it.
fn level<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Level>, D::Error> {
    let text = String::deserialize(from)?.trim().to_ascii_lowercase();
    Level::deserialize(text.into_deserializer()).map(Some)
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdentityLayer {
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// Numbers are signed here, so that a negative one is out of bounds like any other.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RaftLayer {
    pub(super) election_timeout_ms: Option<Vec<i64>>,
    pub(super) heartbeat_ms: Option<i64>,
    pub(super) inflight_max: Option<i64>,
    pub(super) entries_max: Option<i64>,
    pub(super) lease_clock_error_ppm: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsLayer {
    pub(super) requests_max: Option<i64>,
    pub(super) connections_max: Option<i64>,
    pub(super) uncommitted_bytes_max: Option<i64>,
    pub(super) uncommitted_entries_max: Option<i64>,
    pub(super) log_cache_bytes_max: Option<i64>,
    pub(super) persist_interval_s: Option<i64>,
    pub(super) log_keep_entries_max: Option<i64>,
    pub(super) log_keep_bytes_max: Option<i64>,
    pub(super) snapshot_bytes_per_s_max: Option<i64>,
}

impl Layer {
    /// Reads a file, or a pipe; `again` when a running node does, which must not wait for a pipe's
    /// writer.
    pub(super) fn read(file: &Path, again: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let failed = |error: std::io::Error| unreadable(file, &error);
        if again && !std::fs::metadata(file).map_err(failed)?.is_file() {
            let message = format!("{name}: it is no plain file, so it cannot be read again");
            return Err(Failure::new(Exit::Config, message));
        }
        let opened = File::open(file).map_err(|error| {
            failed(error).hint("write it with `raftctl init`, or name another with --config")
        })?;
        let mut bytes = Vec::new();
        opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!("{name}: larger than {FILE_BYTES_MAX} bytes");
            return Err(Failure::new(Exit::Config, message));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(Exit::Config, format!("{name}: it is no text")))?;
        Self::parse(file, &text)
    }

    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, Failure> {
        let mut layer: Self = toml::from_str(text).map_err(|error| {
            let text = error.to_string();
            let message = format!("{}: {}", file.display(), text.trim_end());
            Failure::new(Exit::Config, message).hint("raftd.toml(5) describes every key")
        })?;
        layer.origin = Origin::File(file.to_owned());
        Ok(layer)
    }

    /// Returns what the environment says and, going before it, what flags say.
    pub(super) fn from_overrides(overrides: &Overrides) -> [Self; 2] {
        [Origin::Environment, Origin::Flags].map(|origin| Self::part(overrides, origin))
    }

    fn part(overrides: &Overrides, origin: Origin) -> Self {
        let Overrides {
            data_dir,
            listen,
            log_level,
            ca,
            certificate,
            key,
            election_timeout_ms,
            heartbeat_ms,
            variables,
        } = overrides.clone();
        let here = |key: &Key| {
            let is_variable = variables.contains(&key.variable());
            is_variable == (origin == Origin::Environment)
        };
        Self {
            data_dir: data_dir.filter(|_| here(&keys::DATA_DIR)),
            listen: listen.filter(|_| here(&keys::LISTEN)),
            log_level: log_level.filter(|_| here(&keys::LOG_LEVEL)),
            identity: IdentityLayer {
                ca: ca.filter(|_| here(&keys::CA)),
                certificate: certificate.filter(|_| here(&keys::CERTIFICATE)),
                key: key.filter(|_| here(&keys::KEY)),
            },
            raft: RaftLayer {
                election_timeout_ms: election_timeout_ms
                    .filter(|_| here(&keys::ELECTION_TIMEOUT_MS)),
                heartbeat_ms: heartbeat_ms.filter(|_| here(&keys::HEARTBEAT_MS)),
                ..RaftLayer::default()
            },
            limits: LimitsLayer::default(),
            peers: BTreeMap::new(),
            origin,
        }
    }
}
