//! What people give to be read: a file, a pipe, a device, stdin. It is opened once, and judged by
//! what is open, never by its name: a pipe can be read only once, and has no size.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, Read, Seek as _, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::codes;
use crate::report::{Report, Result};

/// How long to wait before a pipe that gives nothing is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// What stands for stdin where a file is named; `./-` is a file of that name.
pub(crate) const STDIN: &str = "-";

/// What messages call stdin.
pub(crate) const STDIN_NAME: &str = "stdin";

/// Something that is open for reading.
#[derive(Debug)]
pub(crate) struct Input {
    name: String,
    file: File,
    /// Where reading began, if it can begin again.
    start: Option<u64>,
}

/// By what one sees that a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: (i64, i64),
}

/// Says whether stdin was closed when the program began: the runtime opens /dev/null for both
/// directions then. Who redirects it opens it for one.
fn is_closed(stdin: &impl AsFd) -> bool {
    let null = rustix::fs::makedev(1, 3);
    let is_null = rustix::fs::fstat(stdin).is_ok_and(|found| found.st_rdev == null);
    is_null && rustix::fs::fcntl_getfl(stdin).is_ok_and(|flags| flags.contains(OFlags::RDWR))
}

impl Input {
    /// Opens a file, or stdin for `-`. A FIFO that nobody writes to is waited for.
    ///
    /// # Errors
    /// If it cannot be opened, or is a directory.
    pub(crate) fn open_or_stdin(path: &Path) -> Result<Self> {
        if path != Path::new(STDIN) {
            return Self::open(path);
        }
        let failed = |error: io::Error| Report::new(codes::LOCAL_FILE, format!("stdin: {error}"));
        let file = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        if is_closed(&file) {
            let message = "stdin gives nothing: it is closed, or is /dev/null";
            return Err(Report::new(codes::LOCAL_FILE, message));
        }
        Self::new(STDIN_NAME.to_owned(), file.into())
    }

    /// Opens a file, whatever it is called. A FIFO that nobody writes to is waited for.
    ///
    /// # Errors
    /// If it cannot be opened, or is a directory.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| match std::fs::metadata(path) {
            Ok(found) if found.file_type().is_socket() => not_to_be_read(&name, "a socket"),
            Ok(_) | Err(_) => Report::io(path, &error),
        })?;
        Self::new(name, file)
    }

    fn new(name: String, mut file: File) -> Result<Self> {
        let failed = |error: io::Error| Report::new(codes::LOCAL_FILE, format!("{name}: {error}"));
        let found = file.metadata().map_err(failed)?;
        if found.is_dir() {
            return Err(not_to_be_read(&name, "a directory"));
        }
        let start = match found.is_file() {
            // What was read of stdin before is not ours.
            true => Some(file.stream_position().map_err(failed)?),
            false => None,
        };
        Ok(Self { name, file, start })
    }

    /// Returns what it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether people type it.
    pub(crate) fn is_typed(&self) -> bool {
        self.file.is_terminal()
    }

    /// Whether it can be read again: it is a plain file.
    pub(crate) fn is_plain(&self) -> bool {
        self.start.is_some()
    }

    /// Returns its size in bytes; `None` if only its end tells.
    ///
    /// # Errors
    /// If the system does not say.
    pub(crate) fn size(&self) -> Result<Option<u64>> {
        let Some(start) = self.start else {
            return Ok(None);
        };
        Ok(Some(self.metadata()?.len().saturating_sub(start)))
    }

    /// Returns by what one sees later whether it was changed.
    ///
    /// # Errors
    /// If the system does not say.
    pub(crate) fn stamp(&self) -> Result<Stamp> {
        let found = self.metadata()?;
        Ok(Stamp { size: found.len(), modified: (found.mtime(), found.mtime_nsec()) })
    }

    /// Begins again.
    ///
    /// # Errors
    /// If it can be read only once.
    pub(crate) fn rewind(&mut self) -> Result<()> {
        let Some(start) = self.start else {
            let message = format!("{}: it can be read only once", self.name);
            return Err(Report::new(codes::LOCAL_FILE, message));
        };
        let sought = self.file.seek(SeekFrom::Start(start));
        sought.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Makes a report of an error while it is read.
    pub(crate) fn failed(&self, error: &io::Error) -> Report {
        Report::new(codes::LOCAL_FILE, format!("{}: {error}", self.name))
    }

    fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(|error| self.failed(&error))
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                // Somebody else who has this pipe open does not want to wait for it; we do.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(AGAIN_AFTER),
                read => return read,
            }
        }
    }
}

fn not_to_be_read(name: &str, what: &str) -> Report {
    Report::new(codes::LOCAL_FILE, format!("{name}: it is {what}, not a file"))
}

/// Writes a path as a shell takes it, and as a command takes it for a path: it is no flag.
pub(crate) fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-+=:,@%".contains(c);
    let here = if path.starts_with('-') { "./" } else { "" };
    match !path.is_empty() && path.chars().all(plain) {
        true => format!("{here}{path}"),
        false => format!("'{here}{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &str) -> std::result::Result<Input, String> {
        Input::open(Path::new(path)).map_err(|report| report.message)
    }

    #[test]
    fn a_plain_file_is_read_again_from_where_it_began() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("-");
        std::fs::write(&path, "twice").expect("it may be written");
        let mut input = Input::open(&path).expect("it is there");
        let before = input.stamp().expect("it is open");
        for _ in 0..2 {
            let mut text = String::new();
            input.read_to_string(&mut text).expect("it is text");
            assert_eq!((text.as_str(), input.size()), ("twice", Ok(Some(5))));
            input.rewind().expect("it is a plain file");
        }
        assert_eq!(input.stamp(), Ok(before));
        std::fs::write(&path, "twice and more").expect("it may be written");
        assert_ne!(input.stamp(), Ok(before));
    }

    #[test]
    fn what_is_no_file_is_told_by_what_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("it is free");
        assert_eq!(open("/").map(|_| ()), Err("/: it is a directory, not a file".to_owned()));
        let socket = socket.display().to_string();
        let why = Err(format!("{socket}: it is a socket, not a file"));
        assert_eq!(open(&socket).map(|_| ()), why);
    }

    #[test]
    fn a_device_has_no_size_and_is_not_begun_again() {
        let mut null = open("/dev/null").expect("every system has one");
        assert!(!null.is_plain());
        assert_eq!(null.size(), Ok(None));
        let why = null.rewind().map_err(|report| report.message);
        assert_eq!(why, Err("/dev/null: it can be read only once".to_owned()));
    }

    #[test]
    fn a_pipe_that_others_do_not_wait_for_is_waited_for() {
        let (reader, mut writer) = io::pipe().expect("two descriptors");
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).expect("it is open");
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        let mut input = Input::new("pipe".to_owned(), file).expect("it is no directory");
        assert!(input.file.read(&mut [0]).is_err(), "it would not wait by itself");
        let writing = std::thread::spawn(move || io::Write::write_all(&mut writer, b"late"));
        let mut text = String::new();
        input.read_to_string(&mut text).expect("it is text");
        assert_eq!(text, "late");
        writing.join().expect("it has ended").expect("it was read");
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_cut_it() {
        for (path, shown) in [
            ("data.tsv", "data.tsv"),
            ("/a b/c", "'/a b/c'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
            ("-d.tsv", "./-d.tsv"),
            ("- d", "'./- d'"),
        ] {
            assert_eq!(quoted(path), shown);
        }
    }
}
