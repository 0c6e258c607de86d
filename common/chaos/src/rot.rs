//! One file of a data directory rots, any of them and in any way.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result, file};
use crate::random::Random;

/// What a sector or a page of a disk takes with it.
const PAGE: u64 = 4096;

/// A node has no other proof of who it is: both of its copies at once are for the operator.
const SUPERBLOCK: &str = "superblock";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Bit,
    Page,
    Zeros,
    Empty,
    Removed,
}

const DAMAGES: [Damage; 5] =
    [Damage::Bit, Damage::Page, Damage::Zeros, Damage::Empty, Damage::Removed];

/// Damages one file below a directory that no process uses, and says which and how.
///
/// # Errors
/// If the file cannot be written, or there is none.
pub(crate) fn one_file(directory: &Path, random: &mut Random) -> Result<String> {
    let mut files = Vec::new();
    find(directory, &mut files)?;
    files.sort();
    let count = files.len() as u64;
    let nth = usize::try_from(random.below(count.max(1))).unwrap_or(0);
    let Some((path, bytes)) = files.get(nth) else {
        return Err(Failure::Machine(format!("nothing can rot in {}", directory.display())));
    };
    let is_superblock = path.file_name().is_some_and(|name| name == SUPERBLOCK);
    let ways = if is_superblock { 2 } else { DAMAGES.len() as u64 };
    let damage = DAMAGES[usize::try_from(random.below(ways)).unwrap_or(0)];
    damage_file(path, *bytes, damage, random).map_err(file("cannot damage", path))?;
    let name = path.strip_prefix(directory).unwrap_or(path);
    Ok(format!("{} ({bytes} bytes) rots: {damage:?}", name.display()))
}

fn damage_file(
    path: &Path,
    bytes: u64,
    damage: Damage,
    random: &mut Random,
) -> std::io::Result<()> {
    let open = || File::options().read(true).write(true).open(path);
    let zeros = |from: u64, until: u64| {
        let zeros = vec![0; usize::try_from(until - from).unwrap_or(0)];
        open()?.write_all_at(&zeros, from)
    };
    match damage {
        Damage::Bit => {
            let (file, at) = (open()?, random.below(bytes.max(1)));
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            file.write_all_at(&[byte[0] ^ 1 << random.below(8)], at)
        }
        Damage::Page => {
            let from = random.below(bytes.max(1)) / PAGE * PAGE;
            zeros(from, bytes.min(from + PAGE))
        }
        Damage::Zeros => zeros(0, bytes),
        Damage::Empty => File::options().write(true).truncate(true).open(path).map(drop),
        Damage::Removed => fs::remove_file(path),
    }
}

/// Removes the snapshots in a data directory that were found to be damaged and set aside.
///
/// # Errors
/// If one cannot be removed.
pub(crate) fn remove_set_aside(directory: &Path) -> Result<()> {
    let Ok(children) = fs::read_dir(directory.join("snapshots")) else { return Ok(()) };
    for path in children.flatten().map(|child| child.path()) {
        if path.extension().is_some_and(|end| end == "damaged") {
            fs::remove_file(&path).map_err(file("cannot remove", &path))?;
        }
    }
    Ok(())
}

/// Finds the files that mean something, and are not empty: no locks, nothing that is for people.
fn find(directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let failed = file("cannot read", directory);
    let children = fs::read_dir(directory).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    for child in children.map_err(failed)? {
        let path = child.path();
        let found = child.metadata().map_err(file("cannot read", &path))?;
        let name = child.file_name().to_string_lossy().into_owned();
        if found.is_dir() {
            if name != "set-aside" && !name.starts_with("damaged") {
                find(&path, files)?;
            }
        } else if found.len() > 0 && !name.starts_with("LO") && name != "reserve" {
            files.push((path, found.len()));
        }
    }
    Ok(())
}
