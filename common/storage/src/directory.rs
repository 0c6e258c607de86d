//! The data directory: locked by one process, owned by one node of one cluster.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use consensus::{Incarnation, NodeId};
use protocol::{BootstrapRecord, Generation};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::bootstrap;
use crate::condition::Loss;
use crate::error::StorageError;
use crate::files;
use crate::forgotten::{Forgotten, Former};
use crate::inode::Inode;
use crate::layout::Owner;
use crate::names::{
    BOOTSTRAP, BOOTSTRAP_SECOND, CHECKPOINTS, LOCK, LOG, RESERVE, SET_ASIDE, SNAPSHOTS, STATE,
    SUPERBLOCK, TAIL,
};
use crate::opening_room::check_room;
use crate::peers::PeerMemory;
use crate::presence::Presence;
use crate::processor;
use crate::reset_key;
use crate::superblock::Superblock;
use crate::tail::TailFound;

/// A data directory that this process has to itself for as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    superblock: Superblock,
    lock: File,
}

impl DataDirectory {
    /// Opens the directory of this node for a start of it, or makes one. A new directory gets a
    /// random incarnation, which is on the disk when this returns; so does a copy, since the
    /// original may have promised what the copy does not know ([`DataDirectory::former`]).
    ///
    /// # Errors
    /// If another process uses it, it belongs to another node or cluster, is damaged, or cannot be
    /// written.
    pub fn open_or_create(
        path: &Path,
        cluster: [u8; 16],
        node: NodeId,
    ) -> Result<Self, StorageError> {
        processor::check()?;
        files::create_directory(path)?;
        files::close_to_others(path)?;
        let lock = lock(path)?;
        check_rights(path)?;
        let file = path.join(SUPERBLOCK);
        let (mut superblock, inode) = match Superblock::read(&file)? {
            Some(found) => found,
            None => (create(path, cluster, node)?, Inode::UNKNOWN),
        };
        if (superblock.cluster, superblock.node) != (cluster, node) {
            let name = |cluster: [u8; 16], node| {
                format!("node {node} of cluster {}", files::hex(&cluster))
            };
            return Err(StorageError::Foreign {
                path: path.to_path_buf(),
                owner: name(superblock.cluster, superblock.node),
                claimed: name(cluster, node),
            });
        }
        // Whoever starts without room leaves everything as it is.
        if path.join(LOG).exists() {
            check_room(&path.join(LOG))?;
        }
        // Who put it there, or wrote it before a crash, need not have synced it: what this node
        // promises from now on must not rest on what a loss of power takes.
        files::sync_found(path)?;
        if let Some(generation) = superblock.generation {
            bootstrap::mend(path, generation)?;
        }
        if !superblock.inode.may_be(inode) {
            give_up_name(path, &mut superblock, Forgotten::Copied)?;
        }
        superblock.starts = superblock.starts.saturating_add(1);
        let boot = random(path, "draw a number for")?;
        sign_tail(path, &mut superblock, boot)?;
        superblock.boot = boot;
        superblock.store(&file)?;
        if superblock.inode == Inode::UNKNOWN {
            tracing::info!(
                name: "copies-not-noticed",
                "the file system of {} does not tell a copy of a file from the file: if the data \
                 directory is copied, only the other nodes can notice",
                path.display()
            );
        }
        Ok(Self { path: path.to_path_buf(), superblock, lock })
    }

    /// Gives up the directory's name, durably, and returns the new one: votes and acknowledgements
    /// of the node do not count any more until its cluster has taken it in under that.
    ///
    /// # Errors
    /// If it cannot be stored: the old name is then still there, and must not be used.
    pub fn forget(&mut self, why: Forgotten) -> Result<Incarnation, StorageError> {
        let mut superblock = self.superblock;
        give_up_name(&self.path, &mut superblock, why)?;
        superblock.store(&self.path.join(SUPERBLOCK))?;
        self.superblock = superblock;
        Ok(superblock.incarnation)
    }

    /// Moves what a directory that has forgotten still holds to one side, to be looked at or
    /// deleted by people: its node begins anew as one that joins. May be called again after a
    /// crash.
    ///
    /// # Errors
    /// If it cannot be moved.
    ///
    /// # Panics
    /// If the directory has not given up its name: what it holds may be needed.
    pub fn begin_anew(&mut self) -> Result<(), StorageError> {
        assert!(self.superblock.former.is_some(), "only who has forgotten begins anew");
        let aside = self.path.join(SET_ASIDE);
        let is_moved = |name: &String| {
            [LOG, TAIL, SNAPSHOTS, CHECKPOINTS].contains(&name.as_str()) || name.starts_with(STATE)
        };
        let moved = files::names(&self.path)?.into_iter().filter(is_moved);
        let moved: Vec<String> = moved.collect();
        if moved.iter().any(|name| name == LOG) {
            files::remove_directory(&aside)?;
        }
        files::create_directory(&aside)?;
        // The log first, and durably: without it, this goes on at the next start, and what is moved
        // stays.
        let (log, others): (Vec<_>, Vec<_>) = moved.iter().partition(|name| *name == LOG);
        for names in [log, others] {
            for name in names {
                set_aside(&self.path.join(name), &aside.join(name))?;
            }
            files::sync_moved(&self.path, &aside)?;
        }
        let mut superblock = Superblock { generation: None, ..self.superblock };
        superblock.store(&self.path.join(SUPERBLOCK))?;
        self.superblock = superblock;
        Ok(())
    }

    /// Says whether the directory of a node with a history lacks its log, since it has begun anew
    /// and was interrupted.
    pub fn is_half_moved(&self) -> bool {
        let began = self.superblock.former.is_some() && self.path.join(SET_ASIDE).exists();
        began && self.superblock.generation.is_some() && !self.path.join(LOG).exists()
    }

    /// Returns the bootstrap record of a directory that has begun anew, and was interrupted before
    /// it had a history again; `None` of all others, and where its copies are not the same.
    pub fn half_joined(&self) -> Option<BootstrapRecord> {
        let began = self.superblock.former.is_some() && self.path.join(SET_ASIDE).exists();
        let is_it = began && self.superblock.generation.is_none();
        is_it.then(|| bootstrap::left(&self.path)).flatten()
    }

    /// The cluster knows the directory under its name: what it was called before is forgotten.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub fn is_known(&mut self) -> Result<(), StorageError> {
        if self.superblock.former.is_none() {
            return Ok(());
        }
        let mut superblock = Superblock { former: None, ..self.superblock };
        superblock.store(&self.path.join(SUPERBLOCK))?;
        self.superblock = superblock;
        Ok(())
    }

    /// An operator gives their word that this directory of a stopped node is the latest of its
    /// node, and the only one: it has the name back that it had.
    ///
    /// # Errors
    /// [`StorageError::NotAdopted`] if it is no copy, or something else was forgotten; if it is in
    /// use, or cannot be read or written.
    pub fn adopt(path: &Path) -> Result<Incarnation, StorageError> {
        let _lock = lock(path)?;
        let mut superblock = Self::adopted(path)?;
        superblock.store(&path.join(SUPERBLOCK))?;
        Ok(superblock.incarnation)
    }

    /// Returns the name that [`DataDirectory::adopt`] would give back, and changes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn adoptable(path: &Path) -> Result<Incarnation, StorageError> {
        let _lock = lock(path)?;
        Self::adopted(path).map(|superblock| superblock.incarnation)
    }

    fn adopted(path: &Path) -> Result<Superblock, StorageError> {
        let file = path.join(SUPERBLOCK);
        let (mut superblock, inode) = Superblock::read(&file)?
            .ok_or_else(|| StorageError::corrupt(file.display().to_string(), "it is missing"))?;
        let refused = |why: String| StorageError::NotAdopted { path: path.to_owned(), why };
        match superblock.former {
            Some(Former { incarnation, why }) if why.is_mended_by_word() => {
                superblock.incarnation = incarnation;
            }
            Some(Former { why, incarnation: _ }) => return Err(refused(why.to_string())),
            None if superblock.inode.may_be(inode) => {
                return Err(refused("it is no copy, and remembers everything".into()));
            }
            None => {}
        }
        superblock.former = None;
        Ok(superblock)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory's random name, under which its node's votes and acknowledgements
    /// count.
    pub fn incarnation(&self) -> Incarnation {
        self.superblock.incarnation
    }

    /// Returns its first name, with which the records in it are sealed.
    pub(crate) fn seal(&self) -> Incarnation {
        self.superblock.seal
    }

    /// Returns the name that it has given up, and why, until its cluster knows the new one.
    pub fn former(&self) -> Option<Former> {
        self.superblock.former
    }

    /// Returns how often a node was started with it, this time included.
    pub fn starts(&self) -> u64 {
        self.superblock.starts
    }

    /// Returns the random number of this start.
    pub fn boot(&self) -> u64 {
        self.superblock.boot
    }

    /// Returns the key of this node's stateless resets, by which peers notice its restart at once.
    /// Directories of old have none yet: then it is made.
    ///
    /// # Errors
    /// If it cannot be read or stored. A node may do without: its restarts are noticed later.
    pub fn reset_key(&self) -> Result<[u8; 32], StorageError> {
        reset_key::load_or_create(&self.path)
    }

    /// Returns what tells whether the directory stays where it is.
    ///
    /// # Errors
    /// If the system does not say which file the lock is.
    pub fn presence(&self) -> Result<Presence, StorageError> {
        Presence::of(&self.path, &self.lock)
    }

    /// Returns where the node remembers the other members.
    pub fn peers(&self) -> PeerMemory {
        PeerMemory::at(&self.path)
    }

    /// Returns the cluster that it belongs to.
    pub fn cluster(&self) -> [u8; 16] {
        self.superblock.cluster
    }

    /// Returns the node that it belongs to.
    pub fn node(&self) -> NodeId {
        self.superblock.node
    }

    /// Returns the history that it belongs to; `None` before the cluster is bootstrapped.
    pub fn generation(&self) -> Option<Generation> {
        self.superblock.generation
    }

    /// Returns the bootstrap record.
    ///
    /// # Errors
    /// If it cannot be read, or is not the one that the superblock names.
    pub fn bootstrap(&self) -> Result<Option<BootstrapRecord>, StorageError> {
        let generation = self.superblock.generation;
        generation.map(|generation| bootstrap::read(&self.path, generation)).transpose()
    }

    /// Stores the bootstrap record, first the record and then the superblock that names it. The log
    /// must hold the first entry already: a node with a generation may vote.
    ///
    /// # Errors
    /// If it cannot be stored, or another one is.
    pub fn set_bootstrap(&mut self, record: &BootstrapRecord) -> Result<(), StorageError> {
        let offered = record.generation();
        if let Some(present) = self.superblock.generation {
            return match present == offered {
                true => Ok(()),
                false => Err(StorageError::OtherGeneration { present, offered }),
            };
        }
        bootstrap::store(&self.path, record)?;
        let mut superblock = Superblock { generation: Some(offered), ..self.superblock };
        superblock.store(&self.path.join(SUPERBLOCK))?;
        self.superblock = superblock;
        Ok(())
    }
}

/// Moves a file or a directory into the place of what was set aside before.
fn set_aside(from: &Path, to: &Path) -> Result<(), StorageError> {
    if from.is_dir() {
        files::remove_directory(to)?;
    }
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("move", from, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks that this process may read and write what a node keeps in its data directory, before
/// anything is opened: a database would name one file, and not say whose it is.
fn check_rights(data_directory: &Path) -> Result<(), StorageError> {
    for name in files::names(data_directory)? {
        let ours = [LOG, SNAPSHOTS, CHECKPOINTS, BOOTSTRAP, BOOTSTRAP_SECOND, SUPERBLOCK, RESERVE];
        if ours.contains(&name.as_str()) || name.starts_with(STATE) {
            files::check_rights(&data_directory.join(name))?;
        }
    }
    Ok(())
}

fn create(path: &Path, cluster: [u8; 16], node: NodeId) -> Result<Superblock, StorageError> {
    // A log without a superblock is no new directory: whose it was cannot be known any more.
    if path.join(LOG).exists() {
        let what = path.join(SUPERBLOCK).display().to_string();
        return Err(StorageError::corrupt(what, "it is missing beside a log"));
    }
    let incarnation = Incarnation::new(random(path, "draw an incarnation for")?);
    reset_key::load_or_create(path)?;
    Ok(Superblock {
        cluster,
        node,
        incarnation,
        seal: incarnation,
        generation: None,
        starts: 0,
        boot: 0,
        inode: Inode::UNKNOWN,
        former: None,
    })
}

/// Draws another name. What the cluster knows the node by is the first name that was given up since
/// it last knew it.
fn give_up_name(
    path: &Path,
    superblock: &mut Superblock,
    why: Forgotten,
) -> Result<(), StorageError> {
    let incarnation = superblock.former.map_or(superblock.incarnation, |known| known.incarnation);
    // Whatever speaks against the directory besides being a copy stays so.
    let why = superblock.former.map_or(why, |known| known.why.max(why));
    superblock.former = Some(Former { incarnation, why });
    superblock.incarnation = Incarnation::new(random(path, "draw an incarnation for")?);
    Ok(())
}

/// Signs the tail file, if there is one, for a start with this number, before the superblock has
/// it. A tail of another time than the superblock was put back, and the log perhaps with it.
fn sign_tail(path: &Path, superblock: &mut Superblock, boot: u64) -> Result<(), StorageError> {
    let Some(generation) = superblock.generation else { return Ok(()) };
    let owner = Owner { node: superblock.node, incarnation: superblock.seal, generation };
    let found = TailFound::read(path, &owner)?;
    if found.newest.is_some_and(|newest| !newest.is_of(superblock.boot)) {
        tracing::error!(name: "directory-put-back", "{}: {}", path.display(), Loss::OtherStart);
        give_up_name(path, superblock, Forgotten::OtherTime)?;
    }
    found.sign(path, &owner, (boot, superblock.boot))
}

fn random(path: &Path, doing: &'static str) -> Result<u64, StorageError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| StorageError::Io {
        doing,
        path: path.to_path_buf(),
        source: std::io::Error::other(error),
    })?;
    Ok(u64::from_le_bytes(random))
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let file = path.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut lock = options.open(&file).map_err(|e| StorageError::io("open", &file, e))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let read = (&mut lock).take(20).read_to_string(&mut pid);
        return Err(in_use(path, if read.is_ok() { &pid } else { "" }));
    }
    // The name of the holder is for people: on a full disk there is none, and that is no error.
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

/// Says which process uses the directory, as far as that is known. A process that only reads a
/// stopped node's directory leaves the number of the process before it in the file.
pub(crate) fn in_use(path: &Path, pid: &str) -> StorageError {
    let pid = pid.trim();
    let number = pid.parse().ok().and_then(Pid::from_raw);
    let lives = number.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH));
    let holder = match (lives, pid) {
        (true, pid) => format!("raftd (pid {pid}) is running"),
        (false, "") => "another process holds its LOCK".to_owned(),
        (false, _) => "another program reads it, such as `raftctl log`".to_owned(),
    };
    StorageError::InUse { path: path.to_path_buf(), holder }
}
