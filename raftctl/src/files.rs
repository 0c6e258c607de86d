//! Files that are written for people: whole or not at all, for their owner alone, and over nothing
//! that is there unless that is wanted. What is written has a random name until it is whole, and is
//! locked: what a killed process has left is removed by whoever writes beside it next. No link is
//! followed.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::codes;
use crate::input::quoted;
use crate::output::units;
use crate::report::{Report, Result};
use crate::signals;

/// The mode of a new file: its owner's alone, whatever the umask.
const MODE: u32 = 0o600;

/// A hidden name is so, with a random number of so many digits between the two.
const ASIDE: (&str, &str) = (".raftctl-", ".part");
const ASIDE_DIGITS: usize = 16;

/// So many names are tried, each of which another raftctl may take for one that was left.
const NAMES_MAX: usize = 8;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// It stays, and the new one is refused.
    Stays,
    /// It gives way, and its mode and owner are kept.
    GivesWay,
}

/// Makes a path absolute, for it goes into a context.
///
/// # Errors
/// If the working directory is unknown.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Report::io(path, &error))
}

/// Says what is wrong with a file's TOML, and in which line: not the line itself, which may be of
/// any length, and anything.
pub(crate) fn misread(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| 1 + before.matches('\n').count());
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{line}{}", units::printable(error.message().as_bytes()))
}

/// A file that is being written. Dropped before it has its name, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    aside: PathBuf,
    path: PathBuf,
    present: Present,
    named: bool,
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// If something has the name that does not give way, or the directory cannot be written.
    pub(crate) fn create(path: &Path, present: Present) -> Result<Self> {
        look(path, present)?;
        remove_left(path);
        let (file, aside) = begin(path)?;
        Ok(Self { file, aside, path: path.to_owned(), present, named: false })
    }

    /// Opens what is written once more, to be read from its beginning.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn reader(&self) -> io::Result<File> {
        use std::io::Seek as _;
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// If something has got the name meanwhile that does not give way, or the disk fails. Nothing
    /// is left then.
    pub(crate) fn finish(mut self) -> Result<()> {
        let _hold = signals::hold();
        let failed = |error: &io::Error| Report::io(&self.path, error);
        let before = look(&self.path, self.present)?;
        if let Some(before) = &before {
            resemble(&self.file, before).map_err(|error| failed(&error))?;
        }
        self.file.sync_all().map_err(|error| failed(&error))?;
        match before {
            Some(_) => fs::rename(&self.aside, &self.path).map_err(|error| failed(&error))?,
            None => name(&self.aside, &self.path).map_err(|error| {
                let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                if is_taken { exists(&self.path) } else { failed(&error) }
            })?,
        }
        self.named = true;
        sync_directory(&self.path).map_err(|error| failed(&error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.named {
            // The error is told by who drops it; what is left of the file is of no use.
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// Looks at what has the name, without following a link; returns the plain file that gives way.
fn look(path: &Path, present: Present) -> Result<Option<Metadata>> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Report::io(path, &error)),
    };
    let (shown, kind) = (path.display(), found.file_type());
    let in_the_way = |what: &str| Report::new(codes::EXISTS, format!("{shown} {what}"));
    if kind.is_symlink() {
        let to = fs::read_link(path).unwrap_or_default();
        let what = format!("is a link to {}, and links are not followed", to.display());
        return Err(in_the_way(&what).help("name the file itself; - is stdout"));
    }
    if kind.is_dir() {
        return Err(in_the_way("is a directory").help("name a file in it"));
    }
    if !kind.is_file() {
        let what = match () {
            () if kind.is_fifo() => "is a pipe, not a file",
            () if kind.is_socket() => "is a socket, not a file",
            () => "is a device, not a file",
        };
        let into = quoted(&shown.to_string());
        return Err(in_the_way(what).help(format!("write to stdout instead:  - > {into}")));
    }
    match present {
        Present::Stays => Err(exists(path)),
        Present::GivesWay => Ok(Some(found)),
    }
}

fn exists(path: &Path) -> Report {
    let message = format!("{} exists already, and is not replaced", path.display());
    Report::new(codes::EXISTS, message).help("another name, or --force to replace it")
}

/// Gives a file the mode and the owner of another one.
fn resemble(file: &File, other: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    let mut mode = other.mode() & 0o777;
    if (now.uid(), now.gid()) != (other.uid(), other.gid())
        && std::os::unix::fs::fchown(file, Some(other.uid()), Some(other.gid())).is_err()
    {
        // What that group might read is not for another one.
        mode &= 0o700;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Gives a file its name, if nothing has it.
fn name(aside: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, aside, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // Not every file system knows this; a second name fails where there is one, too.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(aside, path)?;
            fs::remove_file(aside)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a file that was not there.
fn new(path: &Path, mode: u32) -> io::Result<File> {
    // This fails where there is anything, also a link to nothing.
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask took away is wanted.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Makes a file with a hidden name, and locks it for as long as it is open.
fn begin(path: &Path) -> Result<(File, PathBuf)> {
    for _ in 0..NAMES_MAX {
        let aside = beside(path)?;
        let file = new(&aside, MODE).map_err(|error| Report::io(path, &error))?;
        // A file system without locks has nothing removed from it, either.
        let is_held_by_another = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        // Before it was locked, another raftctl may have taken it for one that was left.
        if !is_held_by_another && aside.symlink_metadata().is_ok() {
            return Ok((file, aside));
        }
    }
    let message = format!("{}: others remove what is written there", path.display());
    Err(Report::new(codes::LOCAL_FILE, message))
}

/// Removes what killed processes have left beside a file: it has a hidden name, and nobody holds
/// its lock.
fn remove_left(path: &Path) {
    // Whatever is in the way of that is in nobody's way else.
    let Ok(found) = fs::read_dir(directory_of(path)) else { return };
    for left in found.flatten() {
        let is_file = left.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !left.file_name().to_str().is_some_and(is_hidden_name) {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(left.path(), flags, Mode::empty()).map(File::from);
        if opened.is_ok_and(|file| file.try_lock().is_ok() && fs::remove_file(left.path()).is_ok())
        {
            tracing::debug!("removed {}, which nobody writes any more", left.path().display());
        }
    }
}

fn is_hidden_name(name: &str) -> bool {
    let digits = name.strip_prefix(ASIDE.0).and_then(|name| name.strip_suffix(ASIDE.1));
    digits.is_some_and(|it| it.len() == ASIDE_DIGITS && it.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A hidden name that nobody can guess, in the same directory.
fn beside(path: &Path) -> Result<PathBuf> {
    let nameless = || {
        let message = format!("{}: the path ends in no name", path.display());
        Report::new(codes::LOCAL_FILE, message)
    };
    path.file_name().ok_or_else(nameless)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Report::new(codes::INTERNAL, format!("random bytes: {error}")))?;
    let (random, (before, after)) = (u64::from_le_bytes(random), ASIDE);
    Ok(path.with_file_name(format!("{before}{random:0ASIDE_DIGITS$x}{after}")))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path)).and_then(|directory| directory.sync_all())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, present: Present, text: &str) -> std::result::Result<(), String> {
        let write = || {
            let mut file = NewFile::create(path, present)?;
            file.write_all(text.as_bytes()).expect("there is room");
            file.finish()
        };
        write().map_err(|report: Report| {
            assert_eq!(report.exit, crate::exit::Exit::Refused);
            report.message
        })
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("it is there").mode() & 0o777
    }

    #[test]
    fn a_new_file_is_its_owners_alone_and_an_old_one_stays_or_keeps_its_mode() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        write(&path, Present::Stays, "one").expect("nothing is there");
        assert_eq!(mode(&path), 0o600);
        let why = write(&path, Present::Stays, "two").expect_err("something is there");
        assert!(why.ends_with("exists already, and is not replaced"), "{why}");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("it is ours");
        write(&path, Present::GivesWay, "three").expect("it gives way");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "three");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(directory.path().read_dir().expect("it is there").count(), 1);
    }

    #[test]
    fn what_is_no_plain_file_stays_also_where_a_file_would_give_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "precious").expect("it may be written");
        symlink(&target, &link).expect("it may be made");
        for (path, why) in [
            (link.as_path(), "and links are not followed"),
            (directory.path(), "is a directory"),
            (Path::new("/dev/null"), "is a device, not a file"),
        ] {
            for present in [Present::Stays, Present::GivesWay] {
                let said = write(path, present, "x").expect_err("it stays");
                assert!(said.ends_with(why), "{said}");
            }
        }
        fs::remove_file(&target).expect("it is there");
        let said = write(&link, Present::Stays, "x").expect_err("a link to nothing is one, too");
        assert!(said.contains("links are not followed"), "{said}");
    }

    #[test]
    fn what_a_killed_process_has_left_is_removed_by_the_next_one_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        let left = ".raftctl-0123456789abcdef.part";
        let others = [".raftctl-0123456789abcde.part", ".raftctl-0123456789abcdeg.part", "a.part"];
        for name in [left].iter().chain(&others) {
            fs::write(place(name), "half").expect("it may be written");
        }
        let written = NewFile::create(&place("one"), Present::Stays).expect("nothing is there");
        assert!(!place(left).exists(), "nobody holds its lock");
        assert!(others.iter().all(|name| place(name).exists()), "they are not ours");
        let second = NewFile::create(&place("two"), Present::Stays).expect("nothing is there");
        assert!(written.aside.exists(), "it is being written");
        second.finish().expect("it is whole");
        written.finish().expect("it is whole");
        assert_eq!(directory.path().read_dir().expect("it is there").count(), 5);
    }

    #[test]
    fn what_came_meanwhile_stays_and_what_is_dropped_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let file = NewFile::create(&path, Present::Stays).expect("nothing is there");
        fs::write(&path, "first").expect("it may be written");
        let why = file.finish().expect_err("somebody was faster");
        assert_eq!(why.code, Some(codes::EXISTS));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "first");
        assert_eq!(directory.path().read_dir().expect("it is there").count(), 1);
        let aside = directory.path().join("aside");
        fs::write(&aside, "second").expect("it may be written");
        let kind = name(&aside, &path).map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::AlreadyExists));
    }
}
