//! What a disk holds behind a power cut, to be written down as a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir, tempdir_in};

/// Where the superblock names its own inode, and what is checked by the checksum behind.
const INODE: std::ops::Range<usize> = 101..117;
const CHECKED: usize = 126;
const SECOND_AT: usize = 4096;

/// What is on the disk: files with their bytes, and directories.
#[derive(Clone, Debug, Hash)]
pub struct Image(pub BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Image {
    /// Writes it down in a new directory.
    pub fn write(&self) -> TempDir {
        let place = new_place();
        for (path, bytes) in &self.0 {
            let path = place.path().join(path);
            match bytes {
                None => fs::create_dir_all(path).unwrap(),
                Some(bytes) => {
                    let is_superblock = path.file_name().is_some_and(|name| name == "superblock");
                    let mut bytes = bytes.clone();
                    if is_superblock && bytes.len() == SECOND_AT + CHECKED + 4 {
                        unname(&mut bytes[..CHECKED + 4]);
                        unname(&mut bytes[SECOND_AT..]);
                    }
                    fs::write(path, bytes).unwrap();
                }
            }
        }
        place
    }

    /// Takes all files in a directory from another image.
    pub fn with_directory_of(&self, directory: &str, other: &Self) -> Self {
        let is_there = |path: &Path| path.starts_with(directory);
        let mut files = self.0.clone();
        files.retain(|path, _| !is_there(path));
        files.extend(other.0.clone().into_iter().filter(|(path, _)| is_there(path)));
        Self(files)
    }

    /// Lists it.
    pub fn describe(&self) -> String {
        let one = |(path, bytes): (&PathBuf, &Option<Vec<u8>>)| match bytes {
            Some(bytes) => format!("{} ({})", path.display(), bytes.len()),
            None => format!("{}/", path.display()),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Takes the inode's number from a superblock: the image of it is a file of its own, and no copy.
/// One that is torn stays so.
fn unname(copy: &mut [u8]) {
    if copy[CHECKED..] != crc32c::crc32c(&copy[..CHECKED]).to_le_bytes() {
        return;
    }
    copy[INODE].fill(0);
    let checksum = crc32c::crc32c(&copy[..CHECKED]);
    copy[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
}

/// Makes a directory, in memory where there is such a file system.
pub fn new_place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempdir_in(memory) } else { tempdir() }.unwrap()
}
