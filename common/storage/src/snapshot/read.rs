//! Reads a snapshot and checks it on the way: a chunk is handed out when it is known to be whole,
//! the end is told when everything before it is.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use bytes::Bytes;
use state_machine::Pair;

use crate::error::StorageError;
use crate::snapshot::frame::{FRAME_HEAD_BYTES, Frame, Head, SnapshotTotals, Tally, body_bytes};
use crate::snapshot::header::{HeaderError, PREFIX_BYTES, SnapshotHeader, SnapshotId};

/// A snapshot that is being read, from a file or from elsewhere.
pub struct SnapshotReader<R = BufReader<File>> {
    name: String,
    source: R,
    header: SnapshotHeader,
    id: SnapshotId,
    tally: Tally,
    offset: u64,
    totals: Option<SnapshotTotals>,
}

impl SnapshotReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, is no snapshot, or its header is damaged.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let file = File::open(path).map_err(|error| StorageError::io("open", path, error))?;
        Self::new(path.display().to_string(), BufReader::with_capacity(64 * 1024, file))
    }
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header from `source`, which errors call `name`.
    ///
    /// # Errors
    /// If it cannot be read, is no snapshot, or its header is damaged.
    pub fn new(name: String, mut source: R) -> Result<Self, StorageError> {
        let mut bytes = vec![0; PREFIX_BYTES];
        let cut = || HeaderError::Damaged("the file ends within it".into()).of(&name);
        fill(&mut source, &mut bytes, &name)?.then_some(()).ok_or_else(cut)?;
        let prefix = bytes.first_chunk().expect("as many as were asked for");
        let size = SnapshotHeader::size(prefix).map_err(|why| why.of(&name))?;
        bytes.resize(size, 0);
        fill(&mut source, &mut bytes[PREFIX_BYTES..], &name)?.then_some(()).ok_or_else(cut)?;
        let header = SnapshotHeader::decode(&bytes).map_err(|why| why.of(&name))?;
        let id = header.id();
        let (tally, offset) = (Tally::new(id), size as u64);
        Ok(Self { name, source, header, id, tally, offset, totals: None })
    }

    /// Returns what the snapshot covers, and whose it is.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Returns the snapshot's name.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Returns how many bytes are read and checked.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns what errors call the source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the pairs of the next chunk, in order; `None` when everything was read and found to
    /// be as it was written.
    ///
    /// # Errors
    /// If the rest is cut off, damaged, or cannot be read; the place is named.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Pair>>, StorageError> {
        if self.totals.is_some() {
            return Ok(None);
        }
        let mut head: Head = [0; FRAME_HEAD_BYTES];
        if !fill(&mut self.source, &mut head, &self.name)? {
            return Err(self.damaged("the file ends within it"));
        }
        let size = body_bytes(&head).map_err(|why| self.damaged(why))?;
        let mut body = vec![0; size];
        if !fill(&mut self.source, &mut body, &self.name)? {
            return Err(self.damaged("the file ends within it"));
        }
        let body = Bytes::from(body);
        let frame = self.tally.check(&head, &body).map_err(|why| self.damaged(why))?;
        match frame {
            Frame::Chunk(pairs) => {
                self.offset += (FRAME_HEAD_BYTES + size) as u64;
                Ok(Some(pairs))
            }
            Frame::Trailer(totals) => {
                if fill(&mut self.source, &mut [0], &self.name)? {
                    return Err(self.damaged("the trailer is here, and bytes follow it"));
                }
                self.offset += (FRAME_HEAD_BYTES + size) as u64;
                self.totals = Some(totals);
                Ok(None)
            }
        }
    }

    /// Reads the rest and checks it; tells after each chunk how many bytes are read.
    ///
    /// # Errors
    /// As [`SnapshotReader::next_chunk`].
    pub fn verify(mut self, mut read: impl FnMut(u64)) -> Result<SnapshotTotals, StorageError> {
        while self.next_chunk()?.is_some() {
            read(self.offset);
        }
        Ok(self.totals.expect("the end is told when the totals are known"))
    }

    /// Returns what the snapshot holds as a whole, when all of it is read.
    pub fn totals(&self) -> Option<&SnapshotTotals> {
        self.totals.as_ref()
    }

    fn damaged(&self, why: impl Into<String>) -> StorageError {
        let (name, chunk, offset) = (&self.name, self.tally.chunks(), self.offset);
        StorageError::corrupt(format!("snapshot {name}, chunk {chunk} at byte {offset}"), why)
    }
}

/// Fills the buffer; says whether there were enough bytes.
fn fill(source: &mut impl Read, buffer: &mut [u8], name: &str) -> Result<bool, StorageError> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(StorageError::io("read", Path::new(name), error)),
    }
}
