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

use crate::error::StorageError;
use crate::files;
use crate::names::{BOOTSTRAP, CHECKPOINTS, LOCK, LOG, SNAPSHOTS, STATE, SUPERBLOCK};
use crate::reset_key;
use crate::superblock::{COPY_BYTES, Superblock};

/// A bootstrap record is far smaller, in bytes.
const BOOTSTRAP_BYTES_MAX: u64 = 1024 * 1024;

/// A data directory that this process has to itself for as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    superblock: Superblock,
    _lock: File,
}

impl DataDirectory {
    /// Opens the directory of this node, or makes one. A new directory gets a random incarnation,
    /// which is on the disk when this returns.
    ///
    /// # Errors
    /// If another process uses it, it belongs to another node or cluster, or is damaged.
    pub fn open_or_create(
        path: &Path,
        cluster: [u8; 16],
        node: NodeId,
    ) -> Result<Self, StorageError> {
        files::create_directory(path)?;
        files::close_to_others(path)?;
        let lock = lock(path)?;
        check_rights(path)?;
        let file = path.join(SUPERBLOCK);
        let superblock = match files::read(&file, 4 * COPY_BYTES as u64)? {
            Some(bytes) => Superblock::decode(&bytes)?,
            None => create(path, cluster, node)?,
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
        Ok(Self { path: path.to_path_buf(), superblock, _lock: lock })
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory's random name.
    pub fn incarnation(&self) -> Incarnation {
        self.superblock.incarnation
    }

    /// Returns the key of this node's stateless resets, by which peers notice its restart at once.
    /// Directories of old have none yet: then it is made.
    ///
    /// # Errors
    /// If it cannot be read or stored. A node may do without: its restarts are noticed later.
    pub fn reset_key(&self) -> Result<[u8; 32], StorageError> {
        reset_key::load_or_create(&self.path)
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
        bootstrap(&self.path, &self.superblock)
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
        files::replace(&self.path.join(BOOTSTRAP), &record.encode())?;
        let superblock = Superblock { generation: Some(offered), ..self.superblock };
        files::replace(&self.path.join(SUPERBLOCK), &superblock.encode())?;
        self.superblock = superblock;
        Ok(())
    }
}

/// Returns the bootstrap record that a superblock names.
pub(crate) fn bootstrap(
    directory: &Path,
    superblock: &Superblock,
) -> Result<Option<BootstrapRecord>, StorageError> {
    let path = directory.join(BOOTSTRAP);
    let Some(generation) = superblock.generation else {
        return Ok(None);
    };
    let corrupt = |why: String| StorageError::corrupt(path.display().to_string(), why);
    let bytes =
        files::read(&path, BOOTSTRAP_BYTES_MAX)?.ok_or_else(|| corrupt("it is missing".into()))?;
    let record = BootstrapRecord::decode(&bytes).map_err(|why| corrupt(why.to_string()))?;
    if record.generation() != generation {
        return Err(corrupt("it is not the record that the superblock names".into()));
    }
    Ok(Some(record))
}

/// Checks that this process may read and write what a node keeps in its data directory, before
/// anything is opened: a database would name one file, and not say whose it is.
fn check_rights(data_directory: &Path) -> Result<(), StorageError> {
    for name in files::names(data_directory)? {
        let ours = [LOG, SNAPSHOTS, CHECKPOINTS, BOOTSTRAP, SUPERBLOCK];
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
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| StorageError::Io {
        doing: "draw an incarnation for",
        path: path.to_path_buf(),
        source: std::io::Error::other(error),
    })?;
    let incarnation = Incarnation::new(u64::from_le_bytes(random));
    reset_key::load_or_create(path)?;
    let superblock = Superblock { cluster, node, incarnation, generation: None };
    files::replace(&path.join(SUPERBLOCK), &superblock.encode())?;
    Ok(superblock)
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
