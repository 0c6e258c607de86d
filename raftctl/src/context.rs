//! Contexts: the clusters that raftctl knows, in `contexts.toml` of its configuration directory
//! (mode 0600), by name: nodes, the authority's certificate, the operator's certificate and key.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codes;
use crate::report::{Report, Result};

/// The largest file of contexts that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A node, as a context knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `host:port`.
    pub address: String,
}

/// A cluster, as raftctl knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The cluster's id, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The operator's certificate.
    pub cert: PathBuf,
    /// The operator's key.
    pub key: PathBuf,
    /// Some or all nodes.
    pub nodes: Vec<Node>,
}

/// All contexts, and which one is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The one that was used before, for `use -`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// All, by name.
    #[serde(default, rename = "context")]
    pub all: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the file; without one there are no contexts.
    ///
    /// # Errors
    /// If it cannot be read or makes no sense.
    pub fn load(file: &Path) -> Result<Self> {
        let mut text = String::new();
        let opened = match std::fs::File::open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Report::io(file, &error)),
        };
        let bad = |why: String| {
            Report::new(codes::BAD_CONTEXTS, format!("{}: {why}", file.display()))
                .help("mend the file or move it away")
        };
        opened
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| bad(error.to_string()))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(bad(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        toml::from_str(&text).map_err(|error| bad(error.to_string().trim_end().to_owned()))
    }

    /// Replaces the file, whole: after a crash it is the old one or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store(&self, file: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)
            .map_err(|error| Report::new(codes::INTERNAL, format!("contexts: {error}")))?;
        if let Some(directory) = file.parent() {
            make_private_directory(directory)?;
        }
        write_private(file, text.as_bytes())
    }

    /// Returns a context by its name.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn get(&self, name: &str) -> Result<&Context> {
        self.all.get(name).ok_or_else(|| {
            Report::new(codes::NO_CONTEXT, format!("no context is named \"{name}\""))
                .help("raftctl context list")
        })
    }

    /// Makes a context the current one and remembers the one before.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn switch(&mut self, name: &str) -> Result<()> {
        self.get(name)?;
        if self.current.as_deref() != Some(name) {
            self.previous = self.current.replace(name.to_owned());
        }
        Ok(())
    }
}

/// Returns the path of the file of contexts: `$RAFTCTL_CONFIG_DIR`, else
/// `$XDG_CONFIG_HOME/raftctl`, else `~/.config/raftctl`.
///
/// # Errors
/// If none of the three is known.
pub fn file() -> Result<PathBuf> {
    if let Some(directory) = variable("RAFTCTL_CONFIG_DIR") {
        return Ok(directory.join("contexts.toml"));
    }
    Ok(home("XDG_CONFIG_HOME", ".config")?.join("raftctl/contexts.toml"))
}

/// Returns where clusters are kept: `$XDG_DATA_HOME/raftctl`, else `~/.local/share/raftctl`.
///
/// # Errors
/// If neither is known.
pub fn data_directory() -> Result<PathBuf> {
    Ok(home("XDG_DATA_HOME", ".local/share")?.join("raftctl"))
}

fn home(variable_name: &str, below: &str) -> Result<PathBuf> {
    if let Some(directory) = variable(variable_name).filter(|path| path.is_absolute()) {
        return Ok(directory);
    }
    variable("HOME").map(|home| home.join(below)).ok_or_else(|| {
        Report::new(codes::USAGE, "no home directory: neither HOME nor the XDG variables are set")
            .help(format!("export {variable_name}=/absolute/path"))
    })
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Makes a directory that only its owner may enter, with all above it.
///
/// # Errors
/// If it cannot be made.
pub fn make_private_directory(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Report::io(path, &error))
}

/// Replaces a file that only its owner may read, by one rename, and syncs it.
///
/// # Errors
/// If it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    crate::files::replace(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn context() -> Context {
        let node = Node { name: Some("n1".into()), address: "n1:7400".into() };
        Context {
            cluster: None,
            ca: "/ca".into(),
            cert: "/c".into(),
            key: "/k".into(),
            nodes: vec![node],
        }
    }

    #[test]
    fn what_was_stored_is_loaded_and_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("sub/contexts.toml");
        assert_eq!(Contexts::load(&file), Ok(Contexts::default()));
        let mut contexts = Contexts::default();
        contexts.all.insert("prod".into(), context());
        contexts.all.insert("a.b c".into(), context());
        contexts.switch("prod").expect("it exists");
        contexts.store(&file).expect("it is writable");
        assert_eq!(Contexts::load(&file), Ok(contexts));
        assert_eq!(file.metadata().expect("it exists").mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().expect("it has one")).expect("dir").count(), 1);
    }

    #[test]
    fn switching_remembers_the_one_before() {
        let mut contexts = Contexts::default();
        contexts.all.insert("a".into(), context());
        contexts.all.insert("b".into(), context());
        contexts.switch("a").expect("it exists");
        contexts.switch("b").expect("it exists");
        contexts.switch("b").expect("it exists");
        assert_eq!(contexts.previous.as_deref(), Some("a"));
        assert_eq!(
            contexts.switch("c").map_err(|report| report.code),
            Err(Some(codes::NO_CONTEXT))
        );
        assert_eq!(contexts.current.as_deref(), Some("b"));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("contexts.toml");
        for text in ["current = 3", "colour = \"red\"", "[context.a]\nca = \"x\"", "\u{0}"] {
            std::fs::write(&file, text).expect("it is writable");
            let report = Contexts::load(&file).expect_err("it is damaged");
            assert_eq!(report.code, Some(codes::BAD_CONTEXTS), "{text}");
            assert!(report.message.contains("contexts.toml"), "{}", report.message);
        }
    }
}
