//! Receives a snapshot's bytes, in order and in pieces of any size; checks each chunk when it is
//! whole, and goes on after a crash where the last whole chunk ended (museum G11).

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use crate::error::StorageError;
use crate::files;
use crate::snapshot::frame::{FRAME_HEAD_BYTES, Frame, Head, Tally, body_bytes};
use crate::snapshot::header::{HeaderError, PREFIX_BYTES, SnapshotHeader, SnapshotId};
use crate::snapshot::place::{Place, SnapshotFile};

/// So many bytes of a partial file are read at a time, and synced at a time.
const PIECE_BYTES: usize = 256 * 1024;
const SYNC_BYTES: u64 = 1024 * 1024;

/// A snapshot that another node sends. What has arrived stays on the disk until the whole is there,
/// or another snapshot comes.
pub struct SnapshotReceiver {
    path: PathBuf,
    file: File,
    parser: Parser,
    synced: u64,
}

impl SnapshotReceiver {
    /// Begins to receive a snapshot, or goes on with what is there of it; what is there of others
    /// is removed.
    pub(crate) fn open(place: &Place, id: SnapshotId) -> Result<Self, StorageError> {
        let path = place.partial(id);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|e| StorageError::io("open", &path, e))?;
        let mut parser = Parser::new(place.clone(), id);
        // What is damaged, whether by a power cut or otherwise, comes again.
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let size = file.read(&mut piece).map_err(|e| StorageError::io("read", &path, e))?;
            if size == 0 || parser.take(&piece[..size]).is_err() {
                break;
            }
        }
        parser.pending.clear();
        let synced = parser.checked;
        let mut receiver = Self { path, file, parser, synced };
        receiver.cut()?;
        Ok(receiver)
    }

    /// Returns how many bytes are here: the offset to go on from.
    pub fn offset(&self) -> u64 {
        self.parser.checked + self.parser.pending.len() as u64
    }

    /// Says whether everything is here and checked.
    pub fn is_whole(&self) -> bool {
        self.parser.whole
    }

    /// Returns what is received, as soon as that is known.
    pub fn header(&self) -> Option<&SnapshotHeader> {
        self.parser.header.as_ref()
    }

    /// Takes the bytes that stand at `offset` and returns the offset to go on from. Bytes that are
    /// here already are skipped; behind a gap nothing is taken.
    ///
    /// # Errors
    /// If they are not the snapshot's: they are forgotten, back to the last whole chunk. If they
    /// are another cluster's or history's, or cannot be written.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<u64, StorageError> {
        let here = self.offset();
        let known = usize::try_from(here.saturating_sub(offset)).unwrap_or(usize::MAX);
        if offset > here || known >= bytes.len() {
            return Ok(here);
        }
        let new = &bytes[known..];
        self.file.write_all(new).map_err(|e| StorageError::io("write", &self.path, e))?;
        if let Err(error) = self.parser.take(new) {
            self.parser.pending.clear();
            self.cut()?;
            return Err(error);
        }
        if self.offset() - self.synced >= SYNC_BYTES {
            self.file.sync_data().map_err(|e| StorageError::io("sync", &self.path, e))?;
            self.synced = self.offset();
        }
        Ok(self.offset())
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// If it is not whole, or that fails.
    pub fn finish(self) -> Result<SnapshotFile, StorageError> {
        let Some(header) = self.parser.header.clone().filter(|_| self.parser.whole) else {
            let what = format!("snapshot {}", self.path.display());
            return Err(StorageError::corrupt(what, format!("it ends at byte {}", self.offset())));
        };
        self.file.sync_all().map_err(|e| StorageError::io("sync", &self.path, e))?;
        let path = self.parser.place.name(header.meta.last);
        fs::rename(&self.path, &path).map_err(|e| StorageError::io("rename to", &path, e))?;
        files::sync_parent(&path)?;
        Ok(SnapshotFile { path, id: header.id(), header, bytes: self.parser.checked })
    }

    /// Cuts the file down to what is checked.
    fn cut(&mut self) -> Result<(), StorageError> {
        let checked = self.parser.checked;
        self.synced = self.synced.min(checked);
        let cut = self.file.set_len(checked).and_then(|()| {
            self.file.seek(SeekFrom::Start(checked))?;
            Ok(())
        });
        cut.map_err(|error| StorageError::io("cut", &self.path, error))
    }
}

/// Turns pieces of any size into frames.
struct Parser {
    place: Place,
    /// What errors call it.
    name: String,
    id: SnapshotId,
    header: Option<SnapshotHeader>,
    tally: Tally,
    /// So many bytes are checked, up to the end of a frame.
    checked: u64,
    /// What follows them.
    pending: BytesMut,
    whole: bool,
}

impl Parser {
    fn new(place: Place, id: SnapshotId) -> Self {
        let name = place.partial(id).display().to_string();
        let (tally, pending) = (Tally::new(id), BytesMut::new());
        Self { place, name, id, header: None, tally, checked: 0, pending, whole: false }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.pending.extend_from_slice(bytes);
        if self.header.is_none() && !self.take_header()? {
            return Ok(());
        }
        while self.take_frame()? {}
        Ok(())
    }

    fn take_header(&mut self) -> Result<bool, StorageError> {
        let name = &self.name;
        let Some(prefix) = self.pending.first_chunk::<PREFIX_BYTES>() else {
            return Ok(false);
        };
        let size = SnapshotHeader::size(prefix).map_err(|why| why.of(name))?;
        if self.pending.len() < size {
            return Ok(false);
        }
        let decoded = SnapshotHeader::decode(&self.pending[..size]);
        let header = decoded.map_err(|why| why.of(name))?;
        if header.id() != self.id {
            let why = format!("it is {}, not the announced {}", header.id(), self.id);
            return Err(HeaderError::Damaged(why).of(name));
        }
        self.place.check_owner(&header, Path::new(name))?;
        let _ = self.pending.split_to(size);
        self.checked = size as u64;
        self.header = Some(header);
        Ok(true)
    }

    fn take_frame(&mut self) -> Result<bool, StorageError> {
        if self.whole && !self.pending.is_empty() {
            return Err(self.damaged("the file goes on behind the trailer"));
        }
        let head: Option<Head> = self.pending.first_chunk().copied();
        let Some(head) = head else {
            return Ok(false);
        };
        let size = FRAME_HEAD_BYTES + body_bytes(&head).map_err(|why| self.damaged(why))?;
        if self.pending.len() < size {
            return Ok(false);
        }
        let body = Bytes::copy_from_slice(&self.pending[FRAME_HEAD_BYTES..size]);
        match self.tally.check(&head, &body).map_err(|why| self.damaged(why))? {
            Frame::Chunk(_) => {}
            Frame::Trailer(_) => self.whole = true,
        }
        let _ = self.pending.split_to(size);
        self.checked += size as u64;
        Ok(true)
    }

    fn damaged(&self, why: impl Into<String>) -> StorageError {
        let (name, chunk, at) = (&self.name, self.tally.chunks(), self.checked);
        StorageError::corrupt(format!("snapshot {name}, chunk {chunk} at byte {at}"), why)
    }
}
