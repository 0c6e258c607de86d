//! A disk that loses power: what a process did to its files is replayed up to any of its calls, and
//! the directories that a power cut may leave then are made.
//!
//! Of a file, what was written since its last sync may be gone, or the last of it be torn. Of a
//! directory, each name that was made, moved or removed since its last sync may be as before.
//! RocksDB builds on a file system that keeps the order of names: in its directories they are
//! durable as they come.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Call, CallsShim};
use tempfile::tempdir;

use crate::kit::image::Image;

/// Where the process works that is watched; set for that one only.
const PLACE: &str = "STORAGE_TEST_POWER";

/// What the names of databases begin with.
const DATABASES: [&str; 2] = ["log", "state"];

type Id = usize;

/// The root of what is watched.
const ROOT: Id = 0;

#[derive(Clone, Debug)]
enum Node {
    /// And where it was written last, as long as that is not synced.
    File {
        now: Vec<u8>,
        durable: Vec<u8>,
        written: Range<usize>,
    },
    Directory {
        now: BTreeMap<String, Id>,
        durable: BTreeMap<String, Id>,
    },
}

impl Default for Node {
    fn default() -> Self {
        Self::File { now: Vec::new(), durable: Vec::new(), written: 0..0 }
    }
}

/// Names that change together: a directory, a name in it, and what that stands for then.
type Change = Vec<(Id, String, Option<Id>)>;

/// Files and directories, as they are and as they were last synced.
#[derive(Debug)]
struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// The directories of databases.
    databases: HashSet<Id>,
    /// What happened to names and is not synced, in order.
    pending: Vec<Change>,
}

impl Disk {
    fn new(root: &Path) -> Self {
        let nodes = vec![Node::Directory { now: BTreeMap::new(), durable: BTreeMap::new() }];
        Self { root: root.to_owned(), nodes, databases: HashSet::new(), pending: Vec::new() }
    }

    /// Takes what lies in a directory, unsynced.
    fn load(&mut self, path: &Path) {
        for child in fs::read_dir(path).unwrap() {
            let path = child.unwrap().path();
            if path.is_dir() {
                self.apply(&Call::Directory(path.clone()));
                self.load(&path);
            } else {
                self.apply(&Call::Create { path: path.clone(), truncate: false });
                let data = fs::read(&path).unwrap();
                self.apply(&Call::Write { path, at: 0, data });
            }
        }
    }

    fn sync_all(&mut self) {
        self.pending.clear();
        for node in &mut self.nodes {
            match node {
                Node::File { now, durable, written } => {
                    durable.clone_from(now);
                    *written = 0..0;
                }
                Node::Directory { now, durable } => durable.clone_from(now),
            }
        }
    }

    fn names(&self, directory: Id) -> &BTreeMap<String, Id> {
        match &self.nodes[directory] {
            Node::Directory { now, .. } => now,
            Node::File { .. } => panic!("a file has no names in it"),
        }
    }

    fn find(&self, path: &Path) -> Option<Id> {
        let below = path.strip_prefix(&self.root).ok()?;
        below.iter().try_fold(ROOT, |at, name| self.names(at).get(name.to_str()?).copied())
    }

    /// Returns the directory that a path is in, and the name there.
    fn place(&self, path: &Path) -> (Id, String) {
        let parent = self.find(path.parent().unwrap()).expect("its directory is known");
        (parent, path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn change(&mut self, change: Change) {
        for (directory, name, id) in &change {
            let Node::Directory { now, .. } = &mut self.nodes[*directory] else { panic!("a file") };
            set(now, name, *id);
        }
        match change.iter().all(|(directory, _, _)| self.databases.contains(directory)) {
            true => self.settle(change),
            false => self.pending.push(change),
        }
    }

    /// Makes a change durable.
    fn settle(&mut self, change: Change) {
        for (directory, name, id) in change {
            let Node::Directory { durable, .. } = &mut self.nodes[directory] else {
                panic!("a file")
            };
            set(durable, &name, id);
        }
    }

    fn make(&mut self, path: &Path, node: Node) {
        let (parent, name) = self.place(path);
        self.nodes.push(node);
        self.change(vec![(parent, name, Some(self.nodes.len() - 1))]);
    }

    fn contents(&mut self, path: &Path) -> Option<(&mut Vec<u8>, &mut Range<usize>)> {
        let id = self.find(path)?;
        match &mut self.nodes[id] {
            Node::File { now, written, .. } => Some((now, written)),
            Node::Directory { .. } => None,
        }
    }

    /// Says whether something lies in a database.
    fn is_in_database(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let mut above = below.parent().unwrap_or(below).iter();
        above.any(|name| is_database(name.to_str().unwrap()))
    }

    /// Says whether a power cut behind a call may leave what one behind another call does not: of a
    /// database that is so where it has synced something.
    fn is_of_interest(&self, call: &Call) -> bool {
        match call {
            Call::Told(_) | Call::Sync(_) => true,
            Call::Create { path, .. }
            | Call::Write { path, .. }
            | Call::Cut { path, .. }
            | Call::Link(path, _)
            | Call::Remove(path)
            | Call::Directory(path) => !self.is_in_database(path),
            Call::Rename(from, to) => !self.is_in_database(from) || !self.is_in_database(to),
        }
    }

    /// Does what was done; what concerns files without a name is of no interest.
    fn apply(&mut self, call: &Call) {
        match call {
            // RocksDB's journal, for people.
            Call::Create { path, .. } | Call::Rename(path, _) if path.ends_with("LOG") => {}
            Call::Create { path, truncate } => {
                match self.contents(path) {
                    Some((now, _)) if *truncate => now.clear(),
                    Some(_) => {}
                    None => self.make(path, Node::default()),
                };
            }
            Call::Write { path, at, data } => {
                let Some((now, written)) = self.contents(path) else { return };
                now.resize(now.len().max(at + data.len()), 0);
                now[*at..at + data.len()].copy_from_slice(data);
                *written = *at..at + data.len();
            }
            Call::Cut { path, size } => {
                if let Some((now, written)) = self.contents(path) {
                    now.resize(*size, 0);
                    *written = 0..0;
                }
            }
            Call::Sync(path) => self.sync(path),
            Call::Rename(from, to) | Call::Link(from, to) => {
                let Some(id) = self.find(from) else { return };
                let (parent, name) = self.place(to);
                let mut change = vec![(parent, name, Some(id))];
                if matches!(call, Call::Rename(..)) {
                    let (parent, name) = self.place(from);
                    change.push((parent, name, None));
                }
                self.change(change);
            }
            Call::Remove(path) => {
                if self.find(path).is_some() {
                    let (parent, name) = self.place(path);
                    self.change(vec![(parent, name, None)]);
                }
            }
            Call::Directory(path) => {
                let node = Node::Directory { now: BTreeMap::new(), durable: BTreeMap::new() };
                self.make(path, node);
                let name = path.file_name().unwrap().to_str().unwrap();
                if is_database(name) {
                    self.databases.insert(self.nodes.len() - 1);
                }
            }
            Call::Told(_) => {}
        }
    }

    fn sync(&mut self, path: &Path) {
        let Some(id) = self.find(path) else { return };
        if let Node::File { now, durable, written } = &mut self.nodes[id] {
            durable.clone_from(now);
            *written = 0..0;
            return;
        }
        // With a change goes what was done before to the same names.
        let mut names = HashSet::new();
        let mut is_synced = vec![false; self.pending.len()];
        for (change, is_synced) in self.pending.iter().zip(&mut is_synced).rev() {
            *is_synced = change.iter().any(|(directory, name, _)| {
                *directory == id || names.contains(&(*directory, name.clone()))
            });
            if *is_synced {
                names.extend(change.iter().map(|(directory, name, _)| (*directory, name.clone())));
            }
        }
        let pending = std::mem::take(&mut self.pending);
        for (change, is_synced) in pending.into_iter().zip(is_synced) {
            match is_synced {
                true => self.settle(change),
                false => self.pending.push(change),
            }
        }
    }

    /// Returns what a power cut leaves if so much of what is not synced has reached the disk.
    fn image(&self, contents: Contents, has_happened: impl Fn(usize) -> bool) -> Image {
        let mut directories: BTreeMap<Id, BTreeMap<String, Id>> = BTreeMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if let Node::Directory { durable, .. } = node {
                directories.insert(id, durable.clone());
            }
        }
        for (turn, change) in self.pending.iter().enumerate() {
            for (directory, name, id) in change {
                if has_happened(turn) {
                    set(directories.get_mut(directory).unwrap(), name, *id);
                }
            }
        }
        let mut image = Image(BTreeMap::new());
        self.collect(ROOT, Path::new(""), &directories, contents, &mut image);
        image
    }

    fn collect(
        &self,
        id: Id,
        path: &Path,
        directories: &BTreeMap<Id, BTreeMap<String, Id>>,
        contents: Contents,
        image: &mut Image,
    ) {
        match &self.nodes[id] {
            Node::File { now, durable, written } => {
                let bytes = match contents {
                    Contents::Lost => durable.clone(),
                    Contents::Kept => now.clone(),
                    Contents::Torn => torn(now, durable.len(), written),
                };
                image.0.insert(path.to_owned(), Some(bytes));
            }
            Node::Directory { .. } => {
                image.0.insert(path.to_owned(), None);
                for (name, child) in &directories[&id] {
                    self.collect(*child, &path.join(name), directories, contents, image);
                }
            }
        }
    }

    /// Returns all that a power cut may leave, as far as it is looked at: of the names all changes,
    /// none, one alone, and all but one.
    fn images(&self) -> Vec<Image> {
        let mut images = Vec::new();
        for contents in [Contents::Lost, Contents::Kept, Contents::Torn] {
            images.push(self.image(contents, |_| false));
            images.push(self.image(contents, |_| true));
            for one in 0..self.pending.len() {
                images.push(self.image(contents, |turn| turn == one));
                images.push(self.image(contents, |turn| turn != one));
            }
        }
        images
    }
}

/// Says whether a directory of this name is a database.
fn is_database(name: &str) -> bool {
    DATABASES.iter().any(|database| name == *database || name.starts_with(&format!("{database}-")))
}

fn set(names: &mut BTreeMap<String, Id>, name: &str, id: Option<Id>) {
    match id {
        Some(id) => drop(names.insert(name.to_owned(), id)),
        None => drop(names.remove(name)),
    }
}

/// Returns what is there if half of the last write is: a file that grew is shorter, and what was
/// written over something else is neither.
fn torn(now: &[u8], durable: usize, written: &Range<usize>) -> Vec<u8> {
    let mut bytes = now.to_vec();
    let &Range { start, end } = written;
    let middle = start.midpoint(end);
    match start >= durable && end == bytes.len() {
        true => bytes.truncate(middle),
        false => bytes[middle..end].iter_mut().for_each(|byte| *byte = !*byte),
    }
    bytes
}

/// What becomes of what was written and not synced.
#[derive(Clone, Copy, Debug)]
pub enum Contents {
    /// It is gone.
    Lost,
    /// It has reached the disk.
    Kept,
    /// The last write to each file has happened by half.
    Torn,
}

/// What a process did, from a state of the disk on.
pub struct Trace {
    disk: Disk,
    calls: Vec<Call>,
}

/// In the process that is watched: where it works.
pub fn place() -> Option<PathBuf> {
    env::var_os(PLACE).map(PathBuf::from)
}

/// Runs a test of this binary in a process of its own that works in a directory, and returns what
/// it did; `None` where there is no C compiler. What lies there is synced before, or not.
pub fn watch(test: &str, place: &Path, is_synced: bool) -> Option<Trace> {
    let tools = tempdir().unwrap();
    let shim = CallsShim::compile(tools.path())?;
    let mut disk = Disk::new(place);
    disk.load(place);
    if is_synced {
        disk.sync_all();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(PLACE, place);
    shim.stand_before(&mut command, place);
    run(&mut command);
    Some(Trace { disk, calls: shim.calls() })
}

/// Runs one test of this binary in a process of its own, as a command says; it must pass.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let [said, failed] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    let has_passed = output.status.success() && said.contains("1 passed");
    assert!(has_passed, "{said}{failed}");
}

impl Trace {
    /// Checks all that a power cut at any moment may leave: in a directory, with what the process
    /// had told until then.
    pub fn check(mut self, check: impl Fn(&Path, &[String])) {
        let (mut told, mut seen) = (Vec::new(), HashSet::new());
        for (turn, call) in self.calls.iter().enumerate() {
            self.disk.apply(call);
            if let Call::Told(word) = call {
                told.push(word.clone());
            }
            if !self.disk.is_of_interest(call) {
                continue;
            }
            for image in self.disk.images() {
                let mut hasher = DefaultHasher::new();
                (&image, &told).hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    continue;
                }
                let place = image.write();
                let checked = AssertUnwindSafe(|| check(place.path(), &told));
                if let Err(panic) = catch_unwind(checked) {
                    self.describe(turn, &image);
                    resume_unwind(panic);
                }
            }
        }
        assert!(seen.len() > 1, "there is something to be lost");
    }

    fn describe(&self, turn: usize, image: &Image) {
        eprintln!("after {} of {} calls, of which the last are", turn + 1, self.calls.len());
        for call in &self.calls[turn.saturating_sub(20)..=turn] {
            eprintln!("  {}", describe(call, &self.disk.root));
        }
        eprintln!("on the disk is {}", image.describe());
    }

    /// Returns what is left of what the process did until it told a word: names only as far as they
    /// are synced.
    pub fn at(&mut self, word: &str, contents: Contents) -> Image {
        let is_it = |call: &Call| matches!(call, Call::Told(told) if told == word);
        let end = self.calls.iter().position(is_it).expect("it was told");
        self.calls.drain(..=end).for_each(|call| self.disk.apply(&call));
        self.disk.image(contents, |_| false)
    }
}

fn describe(call: &Call, root: &Path) -> String {
    let text = match call {
        Call::Write { path, at, data } => {
            format!("write {} {at} {}", path.display(), data.len())
        }
        call => format!("{call:?}"),
    };
    text.replace(&format!("{}/", root.display()), "")
}
