//! Keeps the page cache free of large values that were just written.
//!
//! Nobody reads most of them soon, and a process that writes on needs new pages all the time: the
//! system finds those fast that were given back a moment ago, and others slowly. So the pages of a
//! file are given back when it is complete. What is read comes back to stay. Tables go another way:
//! they hold small values, and what was merged a moment ago is read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{Advice, fadvise};

/// The files of large values that are there.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<BTreeMap<String, Seen>>);

/// How a file was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It had so many bytes.
    Growing(u64),
    /// It was complete, and its pages were given back.
    Free,
}

impl Pages {
    /// Gives back the pages of files that have not grown since they were looked at last. To be
    /// called from time to time while large values are written; returns of how many files.
    pub(super) fn give_back(&self, directory: &Path) -> usize {
        let mut seen = self.0.lock().expect("nothing panics while it is held");
        let mut now = BTreeMap::new();
        let mut given = 0;
        for file in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(name) = file.file_name().into_string() else { continue };
            let Ok(bytes) = file.metadata().map(|found| found.len()) else { continue };
            if !name.ends_with(".blob") {
                continue;
            }
            let next = match seen.get(&name) {
                Some(Seen::Free) => Seen::Free,
                Some(Seen::Growing(before)) if *before == bytes && is_given(&file.path()) => {
                    given += 1;
                    Seen::Free
                }
                Some(Seen::Growing(_)) | None => Seen::Growing(bytes),
            };
            now.insert(name, next);
        }
        *seen = now;
        given
    }
}

/// Advice that the system does not take costs nothing.
fn is_given(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| fadvise(&file, 0, None, Advice::DontNeed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_given_back_once_when_it_grows_no_more() {
        let place = tempfile::tempdir().expect("there is room");
        let write = |name: &str, bytes: usize| {
            fs::write(place.path().join(name), vec![7; bytes]).expect("there is room");
        };
        let pages = Pages::default();
        let give_back = || pages.give_back(place.path());
        write("000007.blob", 10_000);
        write("000008.sst", 10_000);
        assert_eq!(give_back(), 0, "it may grow");
        write("000007.blob", 20_000);
        write("000009.blob", 10_000);
        assert_eq!(give_back(), 0);
        assert_eq!(give_back(), 2);
        assert_eq!(give_back(), 0, "once");
        fs::remove_file(place.path().join("000007.blob")).expect("it is there");
        assert_eq!((give_back(), pages.0.lock().unwrap().len()), (0, 1), "it is forgotten");
    }
}
