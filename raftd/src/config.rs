//! The configuration: files, environment and flags become checked [`Settings`], or an error that
//! names file, key, value and bounds. A program that embeds a node makes a [`Config`] itself, which
//! is checked by the same table.
//!
//! Precedence: flag > environment > `raftd.d/*.toml` (the last in order of names first) >
//! `raftd.toml` > default. All files are read as layers and asked in that order for each key, so
//! that an error can always say where a value came from.

use std::collections::BTreeMap;
use std::iter;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use protocol::Setting;
use rustix::io::Errno;

use crate::config::keys::{Draft, Field};
use crate::config::layer::{Layer, Value};
use crate::config::listen::addresses;
use crate::exit::{Exit, Failure, unreadable};

mod effective;
mod keys;
mod layer;
mod listen;
mod node;
mod overrides;
mod peers;
#[cfg(test)]
mod tests;

pub use crate::logging::{Format, Level};
pub(crate) use effective::Taken;
pub(crate) use keys::LISTEN_DEFAULT;
pub use keys::{Flag, KEYS, Key, Kind};
#[cfg(test)]
pub(crate) use layer::Value as Given;
pub(crate) use node::listed;
pub use node::{CertificateFiles, Certificates, Config, Http, Limits, Raft};
pub use overrides::Overrides;

/// Everything that the daemon's operator has decided, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The main file.
    pub file: PathBuf,
    /// What is logged.
    pub log_level: Level,
    /// How it is written.
    pub log_format: Format,
    /// Where the credentials are.
    pub identity: CertificateFiles,
    /// The node's own part. Its certificates are those files.
    pub node: Config,
    /// All settings, with where they come from.
    in_force: Vec<Setting>,
}

impl Settings {
    /// Reads the files and puts them together with flags and environment.
    ///
    /// # Errors
    /// Exit 78 with file, key, value and bounds, whichever is wrong first.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        Self::read(file, overrides, false)
    }

    /// The same for a node that runs already. A pipe was read when it started; reading it again
    /// would wait for a writer.
    ///
    /// # Errors
    /// As [`Settings::load`]; if a file is no plain file.
    pub fn load_again(file: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        Self::read(file, overrides, true)
    }

    /// Writes down what is in force and where each value comes from.
    pub fn print(&self) -> String {
        effective::render(&self.in_force)
    }

    /// Returns what is in force, for operators elsewhere.
    pub(crate) fn told(&self) -> Vec<Setting> {
        effective::told(&self.in_force)
    }

    /// Takes what was read again, as far as a running node does; the rest stays as it was.
    pub(crate) fn take(&mut self, read: Self) -> Taken {
        let Self { file: _, log_level, log_format: _, identity, node, in_force } = read;
        (self.log_level, self.identity) = (log_level, identity);
        self.node.certificates = node.certificates;
        self.node.peers = node.peers;
        effective::take(&mut self.in_force, in_force)
    }

    fn read(file: &Path, overrides: &Overrides, again: bool) -> Result<Self, Failure> {
        Self::from_layers(file, &layers(file, overrides, again)?)
    }

    fn from_layers(file: &Path, layers: &[Layer]) -> Result<Self, Failure> {
        let mut draft = Draft::default();
        for key in &KEYS {
            match find(layers, key) {
                Some((value, layer)) => set(&mut draft, key, value, layer)?,
                None if key.kind.must_be_set() => return Err(missing(file, key)),
                None => {}
            }
        }
        let Draft { log_level, log_format, files, mut config } = draft;
        check_heartbeat(&config.raft, |name| {
            let key = KEYS.iter().find(|key| key.name == name);
            let set = key.and_then(|key| find(layers, key).map(|(_, layer)| layer.name(key)));
            set.unwrap_or_else(|| format!("{name} (the default)"))
        })?;
        config.peers = peers::read(layers)?;
        config.certificates = files.clone().into();
        let (file, in_force) = (file.to_owned(), effective::list(layers)?);
        Ok(Self { file, log_level, log_format, identity: files, node: config, in_force })
    }
}

impl Config {
    /// Returns a configuration with the defaults for all that is not named here.
    pub fn new(data_dir: impl Into<PathBuf>, certificates: impl Into<Certificates>) -> Self {
        let certificates = certificates.into();
        Self { data_dir: data_dir.into(), certificates, ..Draft::default().config }
    }

    /// Listens at this address instead of the default.
    #[must_use]
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Checks each value against the bounds of its key.
    ///
    /// # Errors
    /// Exit 78 with the first key that is out of bounds.
    pub fn check(&self) -> Result<(), Failure> {
        let mut draft = Draft { config: self.clone(), ..Draft::default() };
        for key in &KEYS {
            let value = match key.field {
                Field::Number(field) => vec![*field(&mut draft)],
                Field::Small(field) => vec![u64::from(*field(&mut draft))],
                Field::Optional(field) => vec![field(&mut draft).map_or(0, u64::from)],
                Field::Range(field) => {
                    let range = field(&mut draft);
                    vec![*range.start(), *range.end()]
                }
                Field::Http => {
                    let refused = |address| not_loopback(key.name, key, address);
                    self.http.listen.and_then(refused).map_or(Ok(()), Err)?;
                    continue;
                }
                Field::Advertise => {
                    let refused = |address: &String| peers::not_dialled(key.name, address);
                    self.advertise.as_ref().and_then(refused).map_or(Ok(()), Err)?;
                    continue;
                }
                Field::Listen => {
                    let all: Vec<_> =
                        iter::once(self.listen).chain(self.also_listen.iter().copied()).collect();
                    let refused = |why: String| listen::refused(key.name, key, &all, &why);
                    listen::check(&all).map_err(refused)?;
                    continue;
                }
                Field::Peers => {
                    peers::check(&self.peers)?;
                    continue;
                }
                Field::Path(_) | Field::Level | Field::Format => continue,
            };
            if !key.kind.admits(&value) {
                let shown = if let [one] = *value { one.to_string() } else { format!("{value:?}") };
                return Err(out_of_bounds(key.name, key, &shown));
            }
        }
        check_heartbeat(&self.raft, str::to_owned)
    }
}

impl Default for Draft {
    /// Returns the table's defaults.
    fn default() -> Self {
        let none = Config {
            data_dir: PathBuf::new(),
            listen: LISTEN_DEFAULT.parse().expect("the default is an address"),
            also_listen: Vec::new(),
            advertise: None,
            certificates: CertificateFiles::default().into(),
            raft: Raft {
                election_timeout_ms: 0..=0,
                heartbeat_ms: 0,
                inflight_max: 0,
                entries_max: 0,
                lease_clock_error_ppm: None,
            },
            limits: Limits {
                requests_max: 0,
                connections_max: 0,
                connections_per_identity_max: None,
                uncommitted_bytes_max: 0,
                uncommitted_entries_max: 0,
                log_cache_bytes_max: 0,
                persist_interval_s: 0,
                state_scrub_interval_s: 0,
                log_keep_entries_max: 0,
                log_keep_bytes_max: 0,
                snapshot_bytes_per_s_max: 0,
            },
            peers: BTreeMap::new(),
            http: Http { listen: None, connections_max: 0 },
        };
        let files = CertificateFiles::default();
        let (log_level, log_format) = (Level::default(), Format::default());
        let mut draft = Self { log_level, log_format, files, config: none };
        for key in &KEYS {
            match (key.field, key.kind) {
                (Field::Path(field), Kind::Path { default: Some(default) }) => {
                    *field(&mut draft) = default.into();
                }
                (field, Kind::Number { default, .. }) => put(&mut draft, field, default..=default),
                (field, Kind::Pair { default: (low, high), .. }) => {
                    put(&mut draft, field, low..=high);
                }
                (_, Kind::Level { default }) => draft.log_level = default,
                (_, Kind::Format { default }) => draft.log_format = default,
                (
                    _,
                    Kind::Path { .. }
                    | Kind::Listen { .. }
                    | Kind::Advertised
                    | Kind::Addresses
                    | Kind::Loopback,
                ) => {}
            }
        }
        draft
    }
}

/// Puts numbers that are within the bounds of the table into a field.
fn put(draft: &mut Draft, field: Field, numbers: RangeInclusive<u64>) {
    let one = *numbers.start();
    let small = || u32::try_from(one).expect("the table's upper bound fits 32 bits");
    match field {
        Field::Number(field) => *field(draft) = one,
        Field::Small(field) => *field(draft) = small(),
        Field::Optional(field) => *field(draft) = Some(small()).filter(|number| *number > 0),
        Field::Range(field) => *field(draft) = numbers,
        Field::Path(_)
        | Field::Listen
        | Field::Advertise
        | Field::Level
        | Field::Format
        | Field::Peers
        | Field::Http => {
            unreachable!("the table has numbers for fields with numbers only")
        }
    }
}

/// Checks a value, and sets its field.
fn set(draft: &mut Draft, key: &Key, value: &Value, layer: &Layer) -> Result<(), Failure> {
    match value {
        Value::Path(path) => {
            let Field::Path(field) = key.field else {
                unreachable!("the table says that {} is a path", key.name);
            };
            if environment::text(path.as_os_str()).is_none() {
                return Err(empty(layer, key));
            }
            let path = layer.origin.resolve(key.name, path)?;
            if key.name == "data_dir" {
                check_directory(&path, &layer.name(key))?;
            }
            *field(draft) = path;
        }
        Value::Text(text) if matches!(key.field, Field::Http) => {
            draft.config.http.listen = loopback(text, key, layer)?;
        }
        Value::Text(text) if matches!(key.field, Field::Advertise) => {
            draft.config.advertise = advertised(text, key, layer)?;
        }
        Value::Text(text) => {
            (draft.config.listen, draft.config.also_listen) = addresses(text, key, layer)?;
        }
        Value::Level(level) => draft.log_level = *level,
        Value::Format(format) => draft.log_format = *format,
        Value::Number(number) => {
            let found = u64::try_from(*number).ok().filter(|number| key.kind.admits(&[*number]));
            let refused = || out_of_bounds(&layer.name(key), key, &number.to_string());
            let number = found.ok_or_else(refused)?;
            put(draft, key.field, number..=number);
        }
        Value::Numbers(numbers) => {
            let unsigned = numbers.iter().map(|number| u64::try_from(*number)).collect();
            let found: Vec<u64> = Result::unwrap_or_default(unsigned);
            let refused = || out_of_bounds(&layer.name(key), key, &format!("{numbers:?}"));
            match *found {
                [low, high] if key.kind.admits(&found) => put(draft, key.field, low..=high),
                _ => return Err(refused()),
            }
        }
    }
    Ok(())
}

/// Reads all sources, those that go before others behind them.
fn layers(file: &Path, overrides: &Overrides, again: bool) -> Result<Vec<Layer>, Failure> {
    let mut layers = vec![Layer::read(file, again)?];
    for extra in drop_ins(file)? {
        layers.push(Layer::read(&extra, again)?);
    }
    layers.extend(overrides.layers());
    Ok(layers)
}

/// Returns the last layer's value, which goes before all earlier ones.
fn find<'a>(layers: &'a [Layer], key: &Key) -> Option<(&'a Value, &'a Layer)> {
    let mut found = layers.iter().rev();
    found.find_map(|layer| layer.values.get(key.name).map(|value| (value, layer)))
}

fn address(text: &str, key: &Key, layer: &Layer) -> Result<SocketAddr, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(empty(layer, key));
    }
    text.parse().map_err(|_| {
        let name = layer.name(key);
        let message = format!("{name} = {text:?} is not an IP address and a port");
        Failure::new(Exit::Config, message).hint("for instance 0.0.0.0:7400 or [::]:7400")
    })
}

fn advertised(text: &str, key: &Key, layer: &Layer) -> Result<Option<String>, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(empty(layer, key));
    }
    if text == keys::ADVERTISE_DEFAULT {
        return Ok(None);
    }
    peers::not_dialled(&layer.name(key), text).map_or_else(|| Ok(Some(text.to_owned())), Err)
}

fn loopback(text: &str, key: &Key, layer: &Layer) -> Result<Option<SocketAddr>, Failure> {
    if text.trim() == "off" {
        return Ok(None);
    }
    let listen = address(text, key, layer)?;
    not_loopback(&layer.name(key), key, listen).map_or(Ok(Some(listen)), Err)
}

/// Metrics are offered to this machine alone: their port has no TLS, and asks nobody who he is.
fn not_loopback(shown: &str, key: &Key, address: SocketAddr) -> Option<Failure> {
    (!address.ip().to_canonical().is_loopback()).then(|| {
        let message = format!("{shown} = \"{address}\" is no address of the loopback interface");
        Failure::new(Exit::Config, message).hint(format!(
            "{}: {}; it has neither TLS nor passwords: let a proxy with TLS, or an agent of your \
             monitoring, on this machine pass it on",
            key.name, key.kind
        ))
    })
}

/// A leader must be heard at least twice before its followers campaign. `shown` says how a key is
/// called in the message.
fn check_heartbeat(raft: &Raft, shown: impl Fn(&str) -> String) -> Result<(), Failure> {
    let (heartbeat_ms, shortest) = (raft.heartbeat_ms, *raft.election_timeout_ms.start());
    if heartbeat_ms.saturating_mul(2) <= shortest {
        return Ok(());
    }
    let (heartbeat, election) = (shown("raft.heartbeat_ms"), shown("raft.election_timeout_ms"));
    let message = format!(
        "{heartbeat} = {heartbeat_ms} is above half of the shortest election timeout, \
         {shortest} ms in {election}"
    );
    Err(Failure::new(Exit::Config, message))
}

/// Refuses what no restart makes a directory of.
fn check_directory(path: &Path, name: &str) -> Result<(), Failure> {
    let why = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "is a file, not a directory".to_owned(),
        Err(error) => {
            let never = [Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP];
            let is_never = Errno::from_io_error(&error).is_some_and(|errno| never.contains(&errno));
            if !is_never && error.kind() != std::io::ErrorKind::InvalidInput {
                return Ok(());
            }
            format!("can be no directory: {error}")
        }
    };
    let shown = path.as_os_str().to_string_lossy();
    let message = format!("{name} = {shown:?} {why}");
    Err(Failure::new(Exit::Config, message).hint("a directory that is there, or can be made"))
}

fn missing(file: &Path, key: &Key) -> Failure {
    let message = format!("{}: {} is missing", file.display(), key.name);
    Failure::new(Exit::Config, message).hint(format!("set {}: {}", key.name, key.meaning))
}

/// An empty text is a template that was not filled in, rather than a wish for the default.
fn empty(layer: &Layer, key: &Key) -> Failure {
    let message = format!("{} is empty", layer.name(key));
    Failure::new(Exit::Config, message).hint(format!("{}: {}; {}", key.name, key.meaning, key.kind))
}

fn out_of_bounds(shown: &str, key: &Key, value: &str) -> Failure {
    let message = format!("{shown} = {value} is out of bounds");
    Failure::new(Exit::Config, message).hint(format!("{}: {}", key.name, key.kind))
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
        // What begins with a dot is an editor's, as for any shell.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
