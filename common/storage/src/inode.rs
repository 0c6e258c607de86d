//! Which file a file is: its inode, and when that was made. Copies of a file have others.

use std::fs::File;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags, fstatfs, statx};

use crate::error::StorageError;

/// File systems that give a file other numbers when they are mounted again: FUSE, 9p, overlay,
/// virtiofs. See statfs(2).
const UNSTABLE: [i64; 4] = [0x6573_5546, 0x0102_1997, 0x794c_7630, 0x6a65_6a63];

/// Which file a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    /// Its number; 0 where the file system has none that stay.
    pub(crate) number: u64,
    /// When it was made, in nanoseconds since 1970; 0 where the file system does not know.
    pub(crate) born_ns: u64,
}

impl Inode {
    /// Nothing that could be compared.
    pub(crate) const UNKNOWN: Self = Self { number: 0, born_ns: 0 };

    /// Asks the system which file this is.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self, StorageError> {
        let failed = |errno: rustix::io::Errno| StorageError::io("look at", path, errno.into());
        if UNSTABLE.contains(&fstatfs(file).map_err(failed)?.f_type) {
            return Ok(Self::UNKNOWN);
        }
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = statx(file, "", AtFlags::EMPTY_PATH, wanted).map_err(failed)?;
        let has_born = found.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = found.stx_btime;
        let born_ns = u64::try_from(born.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
        let born_ns = born_ns.saturating_add(u64::from(born.tv_nsec));
        Ok(Self { number: found.stx_ino, born_ns: if has_born { born_ns } else { 0 } })
    }

    /// Says whether a file that calls itself `self` can be the one that was found.
    pub(crate) fn may_be(self, found: Self) -> bool {
        let same = |one: u64, other: u64| one == 0 || other == 0 || one == other;
        same(self.number, found.number) && same(self.born_ns, found.born_ns)
    }
}
