//! Writes a snapshot: aside, synced, renamed, and the directory synced before it counts (museum
//! G12, H2).

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::StorageError;
use crate::files;
use crate::snapshot::frame::{CHUNK_BYTES_MAX, PAIR_BYTES_MAX, Tally, encode_pair};
use crate::snapshot::header::SnapshotHeader;
use crate::snapshot::place::{ASIDE, SnapshotFile};

/// The file is synced each time that so many bytes are written: one sync of a large file at the end
/// would hold up the log's.
const SYNC_BYTES: u64 = 1024 * 1024;

/// A snapshot that is being written. Dropped before the end, it leaves nothing behind.
pub struct SnapshotWriter {
    file: File,
    aside: PathBuf,
    path: PathBuf,
    header: SnapshotHeader,
    tally: Tally,
    /// The chunk that is being filled, and what it holds.
    body: Vec<u8>,
    pairs: u32,
    bytes: u64,
    last_key: Option<Bytes>,
    written: u64,
    synced: u64,
    finished: bool,
}

impl SnapshotWriter {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path, header: &SnapshotHeader) -> Result<Self, StorageError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".");
        aside.push(ASIDE);
        let aside = PathBuf::from(aside);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&aside).map_err(|e| StorageError::io("create", &aside, e))?;
        let mut writer = Self {
            file,
            aside,
            path: path.to_owned(),
            header: header.clone(),
            tally: Tally::new(header.id()),
            body: Vec::new(),
            pairs: 0,
            bytes: 0,
            last_key: None,
            written: 0,
            synced: 0,
            finished: false,
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Returns what is written.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Returns how many bytes are written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// If the file cannot be written, or the pair is larger than 64 MiB.
    ///
    /// # Panics
    /// If the key is not behind the one before: the caller reads them in order.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let follows = self.last_key.as_deref().is_none_or(|last| last < key);
        assert!(follows, "pairs are written in the order of their keys");
        let size = key.len() + value.len();
        if size > PAIR_BYTES_MAX {
            return Err(StorageError::PairTooLarge { bytes: size, limit: PAIR_BYTES_MAX });
        }
        // What is over the limit of a chunk alone has a chunk alone.
        if !self.body.is_empty() && self.body.len() + 8 + size > CHUNK_BYTES_MAX {
            self.flush()?;
        }
        encode_pair(key, value, &mut self.body);
        self.pairs += 1;
        self.bytes += size as u64;
        self.last_key = Some(Bytes::copy_from_slice(key));
        Ok(())
    }

    /// Ends the file, syncs it and gives it its name.
    ///
    /// # Errors
    /// If that fails; there is no snapshot then.
    pub fn finish(mut self) -> Result<SnapshotFile, StorageError> {
        if !self.body.is_empty() {
            self.flush()?;
        }
        let (head, body, _) = self.tally.clone().trailer();
        self.put(&head)?;
        self.put(&body)?;
        self.file.sync_all().map_err(|e| StorageError::io("sync", &self.aside, e))?;
        fs::rename(&self.aside, &self.path)
            .map_err(|e| StorageError::io("rename to", &self.path, e))?;
        self.finished = true;
        files::sync_parent(&self.path)?;
        let (id, bytes) = (self.header.id(), self.written);
        Ok(SnapshotFile { path: self.path.clone(), id, header: self.header.clone(), bytes })
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let body = std::mem::take(&mut self.body);
        let head = self.tally.chunk(&body, self.pairs, self.bytes);
        self.put(&head)?;
        self.put(&body)?;
        self.body = body;
        self.body.clear();
        (self.pairs, self.bytes) = (0, 0);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all(bytes).map_err(|e| StorageError::io("write", &self.aside, e))?;
        self.written += bytes.len() as u64;
        if self.written - self.synced >= SYNC_BYTES {
            self.file.sync_data().map_err(|e| StorageError::io("sync", &self.aside, e))?;
            self.synced = self.written;
        }
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed when the node starts again.
            let _ = fs::remove_file(&self.aside);
        }
    }
}
