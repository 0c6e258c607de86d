//! Which of the directories in a data directory holds the state in force.
//!
//! The first is `state`; each restore fills another one, `state-1`, `state-2` and so on, and then
//! names it in the file `state-current`, which is replaced as a whole: a crash leaves the old state
//! or the new one in force, never a mix.
//!
//! ```text
//! state-current    the directory's name, a blank, crc32c of the name as 8 digits, end of line
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StorageError;
use crate::files;
use crate::names::{STATE, STATE_CURRENT};

const CURRENT_BYTES_MAX: u64 = 64;

/// A directory with a state; removed at the end of its life if another one took its place.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    number: u64,
    replaced: AtomicBool,
}

impl Place {
    fn new(data_directory: &Path, number: u64) -> Self {
        let path = data_directory.join(name(number));
        Self { path, number, replaced: AtomicBool::new(false) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory for the state that comes after this one.
    pub(crate) fn next(&self, data_directory: &Path) -> Result<Self, StorageError> {
        let next = Self::new(data_directory, self.number + 1);
        files::remove_directory(&next.path)?;
        files::create_directory(&next.path)?;
        // Until it is in force, nobody needs it.
        next.replaced.store(true, Ordering::Relaxed);
        Ok(next)
    }

    /// Puts the state in this directory in force; everything in it must be durable.
    pub(crate) fn enforce(&self, data_directory: &Path) -> Result<(), StorageError> {
        let name = name(self.number);
        let line = format!("{name} {:08x}\n", crc32c::crc32c(name.as_bytes()));
        // Should this fail, nobody knows which one is in force: both stay.
        self.replaced.store(false, Ordering::Relaxed);
        files::replace(&data_directory.join(STATE_CURRENT), line.as_bytes())
    }

    /// Says whether another state is in force, or this one is not yet.
    pub(crate) fn is_given_up(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Notes that another state is in force: the directory goes when nobody reads it any more.
    pub(crate) fn give_up(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if *self.replaced.get_mut() {
            // What stays is removed when the node starts again.
            let _ = files::remove_directory(&self.path);
        }
    }
}

/// Returns the directory of the state in force.
pub(crate) fn current(data_directory: &Path) -> Result<Place, StorageError> {
    let path = data_directory.join(STATE_CURRENT);
    let corrupt = |why: String| Err(StorageError::corrupt(path.display().to_string(), why));
    let Some(bytes) = files::read(&path, CURRENT_BYTES_MAX)? else {
        let first = Place::new(data_directory, 0);
        let lost = !first.path.exists() && !others(data_directory, &first)?.is_empty();
        return if lost { corrupt("it is missing beside a state".into()) } else { Ok(first) };
    };
    let Some(number) = parse(&bytes) else {
        return corrupt(format!("it says {:?}", String::from_utf8_lossy(&bytes)));
    };
    let place = Place::new(data_directory, number);
    if !place.path.exists() {
        return corrupt(format!("it names {}, which is missing", name(number)));
    }
    Ok(place)
}

/// Removes what restores have left behind, also a pointer that was not put in force any more.
pub(crate) fn remove_others(data_directory: &Path, place: &Place) -> Result<(), StorageError> {
    files::remove(&files::aside(&data_directory.join(STATE_CURRENT)))?;
    for path in others(data_directory, place)? {
        files::remove_directory(&path)?;
    }
    Ok(())
}

/// Removes every state; for a directory whose node has no history yet.
pub(crate) fn remove_all(data_directory: &Path) -> Result<(), StorageError> {
    files::remove(&data_directory.join(STATE_CURRENT))?;
    let first = Place::new(data_directory, 0);
    files::remove_directory(&first.path)?;
    remove_others(data_directory, &first)
}

/// Returns the directory of the state that was made last, if there is any.
pub(crate) fn newest(data_directory: &Path) -> Result<Option<PathBuf>, StorageError> {
    let names = files::names(data_directory)?;
    let newest = names.iter().filter_map(|name| number_of(name)).max();
    Ok(newest.map(|number| data_directory.join(name(number))))
}

/// Returns the directories of states but for one.
fn others(data_directory: &Path, place: &Place) -> Result<Vec<PathBuf>, StorageError> {
    let names = files::names(data_directory)?;
    let others = names.iter().filter(|name| number_of(name).is_some_and(|n| n != place.number));
    Ok(others.map(|name| data_directory.join(name)).collect())
}

fn name(number: u64) -> String {
    if number == 0 { STATE.to_owned() } else { format!("{STATE}-{number}") }
}

fn number_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(STATE)?;
    if rest.is_empty() {
        return Some(0);
    }
    let number = rest.strip_prefix('-')?.parse().ok()?;
    (number > 0 && rest[1..].bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let (name, checksum) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let right = format!("{:08x}", crc32c::crc32c(name.as_bytes()));
    number_of(name).filter(|_| checksum == right)
}
