//! What is in force, and where each value comes from: `raftd --print-config`, `raftctl config
//! show`, and what a reload changes.

use std::fmt::Write as _;
use std::path::Path;

use protocol::limits::SETTINGS_MAX;
use protocol::{Setting, SettingChange, SettingSource};

use super::find;
use super::keys::{ADVERTISE_DEFAULT, KEYS, Key, Kind};
use super::layer::{Layer, Origin, Value};
use crate::exit::Failure;

/// What became of settings that were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What has changed now.
    pub(crate) changed: Vec<SettingChange>,
    /// What takes a restart.
    pub(crate) waiting: Vec<SettingChange>,
}

/// Returns every key with its value and where that comes from, in the order of the table.
///
/// # Errors
/// If a path leads nowhere.
pub(super) fn list(layers: &[Layer]) -> Result<Vec<Setting>, Failure> {
    let mut settings = Vec::new();
    for key in &KEYS {
        if key.kind == Kind::Addresses {
            for (name, address, layer) in peers(layers) {
                let dotted = format!("{}.{name}", key.section());
                let source = source(layer, key, &dotted);
                settings.push(setting(key, dotted, quoted(address), source));
            }
            continue;
        }
        let (value, source) = match find(layers, key) {
            Some((value, layer)) => {
                (shown(key, value, &layer.origin)?, source(layer, key, key.name))
            }
            None => (default(key.kind), SettingSource::Default),
        };
        settings.push(setting(key, key.name.to_owned(), value, source));
    }
    Ok(settings)
}

/// Writes settings as a configuration file, which means the same again; behind each, where the
/// value comes from, and whether a reload takes another one.
pub(super) fn render(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut present = "";
    for Setting { name, value, source, is_live, next: _ } in settings {
        // A member's name may have dots in it, a section has none.
        let (section, word) = name.split_once('.').unwrap_or(("", name));
        if section != present {
            present = section;
            line(&mut text, &format!("\n[{section}]"));
        }
        let word = if is_bare(word) { word.to_owned() } else { quoted(word) };
        let from = match source {
            SettingSource::Default => "default".to_owned(),
            SettingSource::File(place) | SettingSource::Flag(place) => place.clone(),
            SettingSource::Environment(variable) => format!("the environment variable {variable}"),
        };
        let when = if *is_live { "on reload" } else { "on restart" };
        line(&mut text, &format!("{word} = {value}  # {from}; {when}"));
    }
    text
}

/// Takes what was read again: of the settings that a running node takes the new values, while the
/// others keep theirs and note what a restart brings.
pub(super) fn take(present: &mut Vec<Setting>, read: Vec<Setting>) -> Taken {
    let mut taken = Taken::default();
    let mut left = std::mem::take(present);
    for mut setting in read {
        let before = left.iter().position(|known| known.name == setting.name);
        let before = before.map(|place| left.remove(place));
        let value = before.as_ref().map(|known| known.value.clone()).unwrap_or_default();
        let change = (value != setting.value).then(|| SettingChange {
            name: setting.name.clone(),
            before: value.clone(),
            after: setting.value.clone(),
        });
        match (change, before) {
            (Some(change), Some(known)) if !setting.is_live => {
                taken.waiting.push(change);
                setting.next = Some((setting.value, setting.source.place().to_owned()));
                (setting.value, setting.source) = (known.value, known.source);
            }
            (change, _) => taken.changed.extend(change),
        }
        present.push(setting);
    }
    // Only addresses of members can be left out: every other key has a value.
    taken.changed.extend(left.into_iter().map(|gone| SettingChange {
        name: gone.name,
        before: gone.value,
        after: String::new(),
    }));
    taken.changed.truncate(SETTINGS_MAX);
    taken
}

/// Returns so many settings as an answer has room for.
pub(super) fn told(settings: &[Setting]) -> Vec<Setting> {
    settings.iter().take(SETTINGS_MAX).cloned().collect()
}

fn setting(key: &Key, name: String, value: String, source: SettingSource) -> Setting {
    Setting { name, value, source, is_live: key.is_live, next: None }
}

/// Returns the members that are dialled elsewhere; of several layers, the last one counts.
fn peers(layers: &[Layer]) -> Vec<(&str, &str, &Layer)> {
    let mut found: Vec<(&str, &str, &Layer)> = Vec::new();
    for layer in layers.iter().rev() {
        for (name, address) in &layer.peers {
            if !found.iter().any(|(known, _, _)| *known == name.trim()) {
                found.push((name.trim(), address.trim(), layer));
            }
        }
    }
    found.sort_unstable_by_key(|(name, _, _)| *name);
    found
}

fn source(layer: &Layer, key: &Key, name: &str) -> SettingSource {
    let flag = key.flag;
    match &layer.origin {
        Origin::File(_) => SettingSource::File(layer.place(name)),
        Origin::Environment => {
            let variable = flag.map_or(key.name, |flag| flag.variable);
            SettingSource::Environment(variable.to_owned())
        }
        Origin::Flags => {
            SettingSource::Flag(format!("--{}", flag.map_or(key.name, |flag| flag.name)))
        }
    }
}

fn shown(key: &Key, value: &Value, origin: &Origin) -> Result<String, Failure> {
    Ok(match value {
        Value::Path(path) => path_text(&origin.resolve(key.name, path)?),
        Value::Text(text) => quoted(text.trim()),
        Value::Level(level) => quoted(&level.to_string()),
        Value::Format(format) => quoted(&format.to_string()),
        Value::Number(number) => number.to_string(),
        Value::Numbers(numbers) => format!("{numbers:?}"),
    })
}

fn default(kind: Kind) -> String {
    match kind {
        Kind::Path { default: Some(default) } | Kind::Listen { default } => quoted(default),
        Kind::Level { default } => quoted(&default.to_string()),
        Kind::Format { default } => quoted(&default.to_string()),
        Kind::Number { default, .. } => default.to_string(),
        Kind::Pair { default: (low, high), .. } => format!("[{low}, {high}]"),
        // Without a default they are set, or nothing is in force.
        Kind::Path { default: None } | Kind::Addresses => quoted(""),
        Kind::Advertised => quoted(ADVERTISE_DEFAULT),
        Kind::Loopback => quoted("off"),
    }
}

fn path_text(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// Writes a text as TOML does.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Says whether TOML takes a name without quotation marks.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}
