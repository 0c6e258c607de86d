//! One source of settings: a file, or flags and environment.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, Visitor,
};
use serde::{Deserialize, Deserializer};
use state_machine::text;
use toml::Spanned;

use crate::config::keys::{KEYS, Key, Kind};
use crate::exit::{Exit, Failure, unreadable};
use crate::logging::{Format, Level};

/// The largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The longest line that is shown when it makes no sense, in bytes.
const SHOWN_BYTES_MAX: usize = 200;

/// The section whose keys are names of members.
const PEERS: &str = "peers";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Flags.
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
}

/// A value as it was given, of its key's type but not yet within its bounds. Numbers are signed
/// here, so that a negative one is out of bounds like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A path.
    Path(PathBuf),
    /// A text.
    Text(String),
    /// A level of the log.
    Level(Level),
    /// A format of the log.
    Format(Format),
    /// A number.
    Number(i64),
    /// Several numbers.
    Numbers(Vec<i64>),
}

/// Values by the names of their keys.
pub(crate) type Values = BTreeMap<&'static str, Value>;

/// The settings that one source has.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) values: Values,
    pub(super) peers: BTreeMap<String, String>,
    /// On which line of a file each of them stands, by its dotted name.
    lines: BTreeMap<String, usize>,
}

impl Layer {
    /// Names a key in the way in which its source spells it, and where it stands there.
    pub(super) fn name(&self, key: &Key) -> String {
        match &self.origin {
            Origin::Flags => format!("--{}", key.flag.map_or(key.name, |flag| flag.name)),
            Origin::Environment => {
                let variable = key.flag.map_or(key.name, |flag| flag.variable);
                format!("the environment variable {variable}")
            }
            Origin::File(_) => format!("{}: {}", self.place(key.name), key.name),
        }
    }

    /// Says where a setting of a file stands: the file and the line.
    pub(super) fn place(&self, name: &str) -> String {
        match &self.origin {
            Origin::Flags => "the command line".to_owned(),
            Origin::Environment => "the environment".to_owned(),
            Origin::File(file) => {
                let line = self.lines.get(name).map(|line| format!(":{line}")).unwrap_or_default();
                format!("{}{line}", file.display())
            }
        }
    }

    /// Reads a file or a pipe. With `again`, for a node that runs already, only a plain file is
    /// read: a pipe would keep it waiting for a writer.
    pub(super) fn read(file: &Path, again: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let failed = |error: std::io::Error| unreadable(file, &error);
        if again && !std::fs::metadata(file).map_err(failed)?.is_file() {
            let message = format!("{name}: it is no plain file, so it cannot be read again");
            return Err(Failure::new(Exit::Config, message));
        }
        let opened = File::open(file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                failed(error).hint("write it with `raftctl init`, or name another with --config")
            }
            _ => failed(error),
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

    /// Reads a text; unknown keys are errors.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, Failure> {
        let Parsed { values, peers, places } = toml::from_str(text).map_err(|error| {
            let message = format!("{}: {}", file.display(), misread(text, &error));
            Failure::new(Exit::Config, message).hint("raftd.toml(5) describes every key")
        })?;
        let line = |place: usize| 1 + text[..place].matches('\n').count();
        let lines = places.into_iter().map(|(name, place)| (name, line(place))).collect();
        Ok(Self { origin: Origin::File(file.to_owned()), values, peers, lines })
    }

    /// Returns what the environment says and, going before it, what flags say: a value belongs to
    /// the environment if its variable is one of those named.
    pub(super) fn of_command_line(given: &Values, variables: &[String]) -> [Self; 2] {
        let is_variable = |name: &str| {
            let key = KEYS.iter().find(|key| key.name == name);
            let flag = key.and_then(|key| key.flag);
            flag.is_some_and(|flag| variables.iter().any(|set| set == flag.variable))
        };
        [Origin::Environment, Origin::Flags].map(|origin| {
            let wanted = origin == Origin::Environment;
            let of_origin = given.iter().filter(|(name, _)| is_variable(name) == wanted);
            let values = of_origin.map(|(name, value)| (*name, value.clone())).collect();
            Self { origin, values, peers: BTreeMap::new(), lines: BTreeMap::new() }
        })
    }
}

/// What a file holds.
#[derive(Default)]
struct Parsed {
    values: Values,
    peers: BTreeMap<String, String>,
    /// At which byte of the text each of them begins, by its dotted name.
    places: BTreeMap<String, usize>,
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut parsed = Self::default();
        Section { name: "", into: &mut parsed }.deserialize(from)?;
        Ok(parsed)
    }
}

/// Reads a section of a file.
struct Section<'a> {
    name: &'static str,
    into: &'a mut Parsed,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(item) = map.next_key_seed(ItemName { section: self.name })? {
            match item {
                Item::Key(key) => {
                    let value = map.next_value_seed(KeyValue(key))?;
                    self.into.places.insert(key.name.to_owned(), value.span().start);
                    self.into.values.insert(key.name, value.into_inner());
                }
                Item::Section(PEERS) => {
                    for (name, address) in map.next_value::<BTreeMap<String, Spanned<String>>>()? {
                        let place = address.span().start;
                        self.into.places.insert(format!("{PEERS}.{name}"), place);
                        self.into.peers.insert(name, address.into_inner());
                    }
                }
                Item::Section(name) => {
                    map.next_value_seed(Section { name, into: &mut *self.into })?;
                }
            }
        }
        Ok(())
    }
}

/// What a name in a file stands for.
enum Item {
    Key(&'static Key),
    Section(&'static str),
}

/// Reads a name in a section.
struct ItemName {
    section: &'static str,
}

impl<'de> DeserializeSeed<'de> for ItemName {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Item, D::Error> {
        let name = String::deserialize(from)?;
        let keys = || KEYS.iter().filter(|key| key.section() == self.section);
        if let Some(key) = keys().find(|key| key.word() == name) {
            return Ok(Item::Key(key));
        }
        let mut sections: Vec<&'static str> = Vec::new();
        if self.section.is_empty() {
            sections.extend(KEYS.iter().map(Key::section).filter(|section| !section.is_empty()));
            sections.dedup();
        }
        if let Some(section) = sections.iter().find(|section| **section == name) {
            return Ok(Item::Section(section));
        }
        let known = keys().map(Key::word).chain(sections);
        let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
        let known = known.join(", ");
        Err(D::Error::custom(format!("unknown field `{name}`, expected one of {known}")))
    }
}

/// Reads a key's value.
struct KeyValue(&'static Key);

impl<'de> DeserializeSeed<'de> for KeyValue {
    type Value = Spanned<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Spanned<Value>, D::Error> {
        match self.0.kind {
            Kind::Path { .. } => spanned(from, |path: PathBuf| Ok(Value::Path(path))),
            Kind::Listen { .. } => spanned(from, |listen: Listen| Ok(Value::Text(listen.joined()))),
            Kind::Advertised | Kind::Addresses | Kind::Loopback => {
                spanned(from, |text: String| Ok(Value::Text(text)))
            }
            Kind::Level { .. } => spanned(from, |text: String| word(&text).map(Value::Level)),
            Kind::Format { .. } => spanned(from, |text: String| word(&text).map(Value::Format)),
            Kind::Number { .. } => spanned(from, |number: i64| Ok(Value::Number(number))),
            Kind::Pair { .. } => spanned(from, |numbers: Vec<i64>| Ok(Value::Numbers(numbers))),
        }
    }
}

/// One address, or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an address and a port, or a list of them")]
enum Listen {
    One(String),
    Several(Vec<String>),
}

impl Listen {
    fn joined(self) -> String {
        match self {
            Self::One(text) => text,
            Self::Several(texts) => texts.join(", "),
        }
    }
}

/// Shows what is wrong with a text, in its line; only the line's number where that is of no use to
/// people, or would do something to their terminal.
fn misread(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map_or(0, |span| span.start);
    let (before, behind) = text.split_at_checked(place).unwrap_or((text, ""));
    let line = behind.lines().next().unwrap_or_default();
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let shows = |c: char| c == '\t' || !c.is_control();
    if begun.chars().chain(line.chars()).all(shows) && begun.len() + line.len() <= SHOWN_BYTES_MAX {
        return error.to_string().trim_end().to_owned();
    }
    let number = 1 + before.matches('\n').count();
    format!("line {number}: {}", text::inert_line(error.message()))
}

/// Reads a value with its place in the text.
fn spanned<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
    make: impl FnOnce(T) -> Result<Value, D::Error>,
) -> Result<Spanned<Value>, D::Error> {
    let read = Spanned::<T>::deserialize(from)?;
    let span = read.span();
    Ok(Spanned::new(span, make(read.into_inner())?))
}

/// Reads one of some words, in any case of letters, also with blanks around it.
fn word<T: DeserializeOwned, E: serde::de::Error>(text: &str) -> Result<T, E> {
    T::deserialize(text.trim().to_ascii_lowercase().into_deserializer())
}
