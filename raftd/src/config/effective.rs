//! What is in force, and where each value comes from: `raftd --print-config`.

use std::fmt::Write as _;
use std::path::Path;

use super::find;
use super::keys::{KEYS, Key, Kind};
use super::layer::{Layer, Origin, Value};
use crate::exit::Failure;

/// Writes every key with its value as a configuration file, which means the same again; behind
/// each, where the value comes from, and whether a reload takes another one.
///
/// # Errors
/// If a path leads nowhere.
pub(super) fn render(layers: &[Layer]) -> Result<String, Failure> {
    let mut text = String::new();
    let mut section = "";
    for key in &KEYS {
        if key.section() != section {
            section = key.section();
            line(&mut text, &format!("\n[{section}]"));
        }
        let when = if key.is_live { "on reload" } else { "on restart" };
        if key.kind == Kind::Addresses {
            for (name, address, origin) in peers(layers) {
                let setting = format!("{} = {}", quoted(name), quoted(address));
                line(&mut text, &format!("{setting}  # {}; {when}", source(origin, key)));
            }
            continue;
        }
        let (value, from) = match find(layers, key) {
            Some((value, origin)) => (shown(key, value, origin)?, source(origin, key)),
            None => (default(key.kind), "default".to_owned()),
        };
        line(&mut text, &format!("{} = {value}  # {from}; {when}", key.word()));
    }
    Ok(text)
}

/// Returns the members that are dialled elsewhere; of several layers, the last one counts.
fn peers(layers: &[Layer]) -> Vec<(&str, &str, &Origin)> {
    let mut found: Vec<(&str, &str, &Origin)> = Vec::new();
    for layer in layers.iter().rev() {
        for (name, address) in &layer.peers {
            if !found.iter().any(|(known, _, _)| *known == name.trim()) {
                found.push((name.trim(), address.trim(), &layer.origin));
            }
        }
    }
    found.sort_unstable_by_key(|(name, _, _)| *name);
    found
}

fn source(origin: &Origin, key: &Key) -> String {
    match origin {
        Origin::File(file) => file.display().to_string(),
        Origin::Environment | Origin::Flags => origin.name(key),
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

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}
