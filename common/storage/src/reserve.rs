//! Room on the disk that a node holds, for the moment when others have taken all the rest.
//!
//! A file that is really allocated, and holds nothing. While it is there it counts as free: what a
//! node takes and refuses is the same with it and without. It is given back at the last moment,
//! when those who fill the disk have been refused already, or they would take that, too; term and
//! vote, deletions, truncation and the end of the process then find room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

use crate::error::StorageError;
use crate::files;
use crate::names::RESERVE;
use crate::space::{Sizes, Space};

/// The unit of [`MetadataExt::blocks`], in bytes.
const BLOCK_BYTES: u64 = 512;

/// Where room cannot be had without writing, so much is written at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The reserve of a data directory.
#[derive(Clone, Debug)]
pub struct Reserve {
    directory: PathBuf,
    path: PathBuf,
    sizes: Sizes,
}

impl Reserve {
    /// Returns the reserve of a data directory, be it there or not, on a disk of these sizes.
    pub fn of(directory: &Path, sizes: Sizes) -> Self {
        Self { directory: directory.to_owned(), path: directory.join(RESERVE), sizes }
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the room that it holds, in bytes: what is really allocated, which is nothing in a
    /// copy that a program has made sparse.
    pub fn held_bytes(&self) -> u64 {
        fs::symlink_metadata(&self.path)
            .map_or(0, |found| found.len().min(found.blocks().saturating_mul(BLOCK_BYTES)))
    }

    /// Asks the system about the file system, and counts what is held.
    ///
    /// # Errors
    /// The system's.
    pub fn space(&self) -> io::Result<Space> {
        Ok(Space { reserve_bytes: self.held_bytes(), ..Space::at(&self.directory)? })
    }

    /// Says whether it is to be given back before so many bytes are written, and whatever the
    /// databases write by themselves until somebody looks again.
    pub fn is_needed(&self, space: &Space, bytes: u64) -> bool {
        let least = self.sizes.unasked_bytes().saturating_add(bytes);
        space.reserve_bytes > 0 && space.free_bytes < least
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If that fails.
    pub fn give_back(&self) -> Result<(), StorageError> {
        // Some file systems cannot take away a name without room for it, but can cut a file.
        let cut = OpenOptions::new().write(true).custom_flags(no_link()).open(&self.path);
        let cut = cut.and_then(|file| file.set_len(0));
        files::remove(&self.path).or_else(|error| cut.map_err(|_| error))
    }

    /// Says whether there is room to hold it, so that a node is left what it needs in hand.
    pub fn has_room(&self, space: &Space, needed_bytes: u64) -> bool {
        let missing = self.sizes.reserve_bytes().saturating_sub(space.reserve_bytes);
        missing > 0
            && !space.lacks_inodes()
            && space.free_bytes >= needed_bytes.saturating_add(missing)
    }

    /// Takes the room, and returns how much it is. What is there in part is made whole.
    ///
    /// # Errors
    /// If there is none, or it cannot be taken: then nothing is held.
    pub fn make(&self) -> Result<u64, StorageError> {
        let bytes = self.sizes.reserve_bytes();
        let made = self.take(bytes).map_err(|e| StorageError::io("allocate", &self.path, e));
        if let Err(error) = made {
            // The first error is the one to tell.
            let _ = self.give_back();
            return Err(error);
        }
        files::sync_parent(&self.path)?;
        Ok(bytes)
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link());
        let mut file = options.open(&self.path)?;
        if file.metadata()?.len() > bytes {
            file.set_len(bytes)?;
        }
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_noise(&mut file, bytes)?,
            done => done?,
        }
        file.sync_all()
    }
}

/// The flags of an open that follows no link: it would empty a file elsewhere.
fn no_link() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// Writes what no file system can compress.
fn write_noise(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut noise = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        getrandom::fill(&mut noise).map_err(io::Error::other)?;
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        file.write_all(&noise[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn where_nothing_can_be_allocated_it_is_written() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join(RESERVE);
        let mut file = File::create(&path).expect("a file");
        write_noise(&mut file, 3 * PIECE_BYTES as u64 + 5).expect("there is room");
        assert_eq!(file.metadata().expect("it is there").len(), 3 * PIECE_BYTES as u64 + 5);
    }

    #[test]
    fn it_is_given_back_late_and_taken_only_beside_what_is_needed() {
        let sizes = Sizes::on(24 * MIB);
        let reserve = Reserve::of(Path::new("/nowhere"), sizes);
        let space = |free_bytes, reserve_bytes| Space {
            total_bytes: 24 * MIB,
            free_bytes,
            free_inodes: None,
            reserve_bytes,
        };
        let held = sizes.reserve_bytes();
        assert!(held > sizes.least_bytes(), "deletions go on with it");
        assert!(held < sizes.needed_bytes(0, 0), "but nothing else does");
        let unasked = sizes.unasked_bytes();
        assert!(unasked < sizes.least_bytes(), "who fills the disk gets to its end first");
        assert!(reserve.is_needed(&space(unasked - 1, held), 0));
        assert!(!reserve.is_needed(&space(unasked, held), 0));
        assert!(reserve.is_needed(&space(unasked, held), 1));
        assert!(!reserve.is_needed(&space(0, 0), 1), "there is none");

        let needed = 8 * MIB;
        assert!(reserve.has_room(&space(needed + held, 0), needed));
        assert!(!reserve.has_room(&space(needed + held - 1, 0), needed));
        assert!(reserve.has_room(&space(needed + held - 1, 1), needed), "some of it is there");
        assert!(!reserve.has_room(&space(24 * MIB, held), needed), "all of it is there");
        let no_inodes = Space { free_inodes: Some(1), ..space(24 * MIB, 0) };
        assert!(!reserve.has_room(&no_inodes, needed));
    }
}
