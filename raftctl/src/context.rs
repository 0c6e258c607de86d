//! Contexts: the clusters that raftctl knows, in `contexts.toml` of its configuration directory
//! (mode 0600), by name: nodes, the authority's certificate, the operator's certificate and key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Generation;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::files::misread;
use crate::report::{Report, Result};

pub(crate) mod lock;
mod replace;

/// How long another raftctl that changes the contexts is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest file of contexts that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A node, as a context knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// Its name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// `host:port`.
    pub(crate) address: String,
}

/// A cluster, as raftctl knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// The cluster's id, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// The history that is followed, where it is known: what has another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<String>,
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The operator's certificate.
    pub(crate) cert: PathBuf,
    /// The operator's key.
    pub(crate) key: PathBuf,
    /// Some or all nodes.
    pub(crate) nodes: Vec<Node>,
    /// Where nodes with a history were that was followed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<Node>,
}

/// All contexts, and which one is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The one that was used before, for `use -`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    /// All, by name.
    #[serde(default, rename = "context")]
    pub(crate) all: BTreeMap<String, Context>,
}

impl Context {
    /// Follows another history from now on, which these nodes have. Where nodes were is kept: those
    /// of the old one may run on.
    pub(crate) fn lead_to(&mut self, nodes: &[Node], generation: &Generation) {
        let text = generation.to_string();
        if self.generation.as_ref() != Some(&text) {
            self.former.append(&mut self.nodes);
        }
        self.nodes = nodes.to_vec();
        self.generation = Some(text);
        let mut seen: BTreeSet<String> = nodes.iter().map(|node| node.address.clone()).collect();
        self.former.retain(|node| seen.insert(node.address.clone()));
    }

    /// Returns the history that is followed, if one is known.
    ///
    /// # Errors
    /// If it is not written as one.
    pub(crate) fn followed(&self) -> Result<Option<Generation>> {
        let read = |text: &String| text.parse::<Generation>();
        self.generation.as_ref().map(read).transpose().map_err(|error| {
            Report::new(codes::BAD_CONTEXTS, format!("a context's generation: {error}"))
                .help("take the line out: the context learns it anew")
        })
    }
}

impl Contexts {
    /// Reads the file; without one there are no contexts.
    ///
    /// # Errors
    /// If it cannot be read or makes no sense.
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let mut text = String::new();
        // Whoever opened a pipe here would wait for its other end.
        let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).expect("it is a flag of open(2)");
        let opened = std::fs::File::options().read(true).custom_flags(no_wait).open(file);
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Report::io(file, &error)),
        };
        if !opened.metadata().is_ok_and(|found| found.is_file()) {
            return Err(Report::io(file, &Error::other("this is no plain file")));
        }
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
        toml::from_str(&text).map_err(|error| bad(misread(&text, &error)))
    }

    /// Changes the file: reads it, lets `change` work on it, and replaces it if something is
    /// different then, with no other raftctl in between. `change` is called twice: what it would
    /// refuse, or leave as it is, needs no lock and no right to write.
    ///
    /// # Errors
    /// Whatever `change` refuses; if the file cannot be read or written, or another raftctl does
    /// not let go of it.
    pub(crate) async fn change<T>(
        file: &Path,
        change: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut contexts = Self::load(file)?;
        let before = contexts.clone();
        let done = change(&mut contexts)?;
        if contexts == before {
            return Ok(done);
        }
        let _lock = Self::lock(file).await?;
        let mut contexts = Self::load(file)?;
        let done = change(&mut contexts)?;
        contexts.store(file).map_err(|report| elsewhere(file, report))?;
        Ok(done)
    }

    /// Checks that the file could be changed, before anything else is done whose last step that is.
    ///
    /// # Errors
    /// If it could not.
    pub(crate) async fn check_writable(file: &Path) -> Result<()> {
        Self::lock(file).await.map(drop)
    }

    async fn lock(file: &Path) -> Result<lock::Lock> {
        // Two links may lead to one file.
        let place = replace::destination(file)?;
        if let Some(directory) = place.parent() {
            make_private_directory(directory).map_err(|report| elsewhere(file, report))?;
        }
        let what = file.display().to_string();
        let locked = lock::wait(&lock::beside(&place), &what, LOCK_TIMEOUT).await;
        locked.map_err(|report| elsewhere(file, report))
    }

    fn store(&self, file: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self).map_err(|error| {
            // A path that is no text is all that can be wrong.
            Report::new(codes::LOCAL_FILE, format!("{}: {error}", file.display()))
        })?;
        replace::replace(file, text.as_bytes(), 0o600)
    }

    /// Returns a context by its name.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context> {
        self.all.get(name).ok_or_else(|| {
            Report::new(codes::NO_CONTEXT, format!("no context is named \"{name}\""))
                .help("raftctl context list")
        })
    }

    /// Makes a context the current one and remembers the one before.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(crate) fn switch(&mut self, name: &str) -> Result<()> {
        self.get(name)?;
        if self.current.as_deref() != Some(name) {
            self.previous = self.current.replace(name.to_owned());
        }
        Ok(())
    }
}

/// Says what else can be done where the contexts cannot be written.
fn elsewhere(file: &Path, report: Report) -> Report {
    if !matches!(report.code, Some(codes::LOCAL_FILE | codes::NO_FILE)) {
        return report;
    }
    let message = format!("{} cannot be changed: {}", file.display(), report.message);
    Report::new(codes::LOCAL_FILE, message)
        .help("export RAFTCTL_CONFIG_DIR=DIR    (a directory that can be written)")
}

/// Returns the path of the file of contexts: `$RAFTCTL_CONFIG_DIR`, else
/// `$XDG_CONFIG_HOME/raftctl`, else `~/.config/raftctl`.
///
/// # Errors
/// If none of the three is known.
pub(crate) fn file() -> Result<PathBuf> {
    if let Some(directory) = variable("RAFTCTL_CONFIG_DIR") {
        return Ok(directory.join("contexts.toml"));
    }
    Ok(home("XDG_CONFIG_HOME", ".config")?.join("raftctl/contexts.toml"))
}

/// Returns where clusters are kept: `$XDG_DATA_HOME/raftctl`, else `~/.local/share/raftctl`.
///
/// # Errors
/// If neither is known.
pub(crate) fn data_directory() -> Result<PathBuf> {
    Ok(home("XDG_DATA_HOME", ".local/share")?.join("raftctl"))
}

/// Returns a directory of the user's; a relative one is ignored, as the XDG base directory
/// specification asks.
fn home(name: &str, below: &str) -> Result<PathBuf> {
    let xdg = variable(name);
    if let Some(directory) = xdg.clone().filter(|path| path.is_absolute()) {
        return Ok(directory);
    }
    let home = variable("HOME");
    if let Some(home) = home.clone().filter(|path| path.is_absolute()) {
        return Ok(home.join(below));
    }
    let said = |name: &str, value: Option<PathBuf>| match value {
        Some(value) => format!("{name} is \"{}\", no absolute path", value.display()),
        None => format!("{name} is not set"),
    };
    let message = format!("no home directory: {}, and {}", said("HOME", home), said(name, xdg));
    Err(Report::new(codes::USAGE, message).help(format!("export {name}=/absolute/path")))
}

/// Returns a variable without blanks around it; one that says nothing is not set.
fn variable(name: &str) -> Option<PathBuf> {
    environment::text(&std::env::var_os(name)?).map(PathBuf::from)
}

/// Makes a directory that only its owner may enter, with all above it.
///
/// # Errors
/// If it cannot be made.
pub(crate) fn make_private_directory(path: &Path) -> Result<()> {
    certs::create_directory(path).map_err(|error| Report::io(path, &error))
}

/// Replaces a file that only its owner may read, by one rename, and syncs it. Where it is a link,
/// the link's target is replaced.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    replace::replace(path, bytes, 0o600)
}

/// Replaces a file without secrets in the same way: everybody may read it.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    replace::replace(path, bytes, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn context() -> Context {
        let node = Node { name: Some("n1".into()), address: "n1:7400".into() };
        Context {
            cluster: None,
            generation: None,
            ca: "/ca".into(),
            cert: "/c".into(),
            key: "/k".into(),
            nodes: vec![node],
            former: Vec::new(),
        }
    }

    #[test]
    fn a_context_that_follows_another_history_keeps_where_nodes_of_the_old_one_were() {
        let node = |name: &str| Node { name: Some(name.into()), address: format!("{name}:7400") };
        let generation = |byte: u8| Generation::new([byte; 32]);
        let mut led = Context { nodes: vec![node("n1"), node("n2"), node("n3")], ..context() };
        led.lead_to(&[node("n1")], &generation(1));
        assert_eq!(led.nodes, [node("n1")]);
        assert_eq!(led.former, [node("n2"), node("n3")]);
        led.lead_to(&[node("n1"), node("n4")], &generation(1));
        assert_eq!(led.former, [node("n2"), node("n3")], "n1 did not leave the history");
        led.lead_to(&[node("n3")], &generation(2));
        assert_eq!(led.former, [node("n2"), node("n1"), node("n4")], "each once");
    }

    #[tokio::test]
    async fn what_was_stored_is_loaded_and_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("sub/contexts.toml");
        assert_eq!(Contexts::load(&file), Ok(Contexts::default()));
        let mut contexts = Contexts::default();
        contexts.all.insert("prod".into(), context());
        contexts.all.insert("a.b c".into(), context());
        contexts.switch("prod").expect("it exists");
        let stored = Contexts::change(&file, |now| {
            now.clone_from(&contexts);
            Ok(())
        });
        stored.await.expect("it is writable");
        assert_eq!(Contexts::load(&file), Ok(contexts));
        assert_eq!(file.metadata().expect("it exists").mode() & 0o777, 0o600);
        let files = std::fs::read_dir(file.parent().expect("it has one")).expect("it is there");
        let names = files.map(|file| file.expect("it is there").file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, [".contexts.toml.lock", "contexts.toml"]);
    }

    #[tokio::test]
    async fn a_lock_that_is_held_is_waited_for_and_then_told_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(".x.lock");
        let held = lock::take(&path).expect("it is writable").expect("it is free");
        let waited = lock::wait(&path, "x", Duration::from_millis(20)).await;
        let report = waited.expect_err("it is held");
        assert_eq!(report.code, Some(codes::LOCKED));
        assert!(report.help[1].contains(".x.lock"), "{:?}", report.help);
        drop(held);
        lock::wait(&path, "x", Duration::from_secs(60)).await.expect("it is free");
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
            assert!(!report.message.contains(char::is_control), "{:?}", report.message);
        }
    }
}
