//! The file of a load: KEY<TAB>VALUE lines, read as often as needed, checked as a whole first.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use state_machine::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::codes;
use crate::commands::kv::check;
use crate::report::{Report, Result};

/// The longest line, with its tab and newline, in bytes.
const LINE_BYTES_MAX: usize = KEY_BYTES_MAX + VALUE_BYTES_MAX + 2;

/// The most bytes that are taken from stdin, which can be read only once.
const STDIN_BYTES_MAX: u64 = 1 << 30;

/// Where lines come from.
pub(super) enum Source {
    /// A file, read twice.
    Path(PathBuf, String),
    /// What stdin gave.
    Memory(Bytes),
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What stands before the first tab.
    pub(super) key: Bytes,
    /// What stands behind it.
    pub(super) value: Bytes,
}

impl Line {
    /// Returns the bytes of key and value.
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Source {
    /// Opens a file, or reads all of stdin.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path != Path::new("-") {
            return Ok(Self::Path(path.to_owned(), path.display().to_string()));
        }
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(STDIN_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Report::new(codes::LOCAL_FILE, format!("stdin: {error}")))?;
        if bytes.len() as u64 > STDIN_BYTES_MAX {
            let message = format!("stdin gives more than {STDIN_BYTES_MAX} bytes");
            return Err(Report::new(codes::USAGE, message).help("write it to a file and load that"));
        }
        Ok(Self::Memory(bytes.into()))
    }

    /// Returns what it is called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Path(_, name) => name,
            Self::Memory(_) => "-",
        }
    }

    /// Checks every line, and returns how many there are.
    pub(super) fn check(&self) -> Result<u64> {
        self.lines()?.try_fold(0, |_, line| line.map(|line| line.number))
    }

    /// Reads the lines from the first on.
    pub(super) fn lines(&self) -> Result<Lines<'_>> {
        let reader: Box<dyn BufRead> = match self {
            Self::Path(path, _) => {
                let file = File::open(path).map_err(|error| Report::io(path, &error))?;
                Box::new(BufReader::new(file))
            }
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
        };
        Ok(Lines { name: self.name(), reader, number: 0 })
    }
}

/// Lines, or the first thing that is wrong with one.
pub(super) struct Lines<'a> {
    name: &'a str,
    reader: Box<dyn BufRead>,
    number: u64,
}

impl Iterator for Lines<'_> {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        let limit = LINE_BYTES_MAX as u64 + 1;
        self.number += 1;
        match (&mut self.reader).take(limit).read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => Some(parse(self.number, bytes).map_err(|why| self.bad(&why))),
            Err(error) => Some(Err(Report::io(Path::new(self.name), &error))),
        }
    }
}

impl Lines<'_> {
    fn bad(&self, why: &str) -> Report {
        let message = format!("{}:{}: {why}", self.name, self.number);
        Report::new(codes::BAD_LINE, message)
    }
}

fn parse(number: u64, mut bytes: Vec<u8>) -> std::result::Result<Line, String> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let Some(tab) = bytes.iter().position(|byte| *byte == b'\t') else {
        let what = if bytes.is_empty() { "an empty line" } else { "no tab" };
        return Err(format!("{what}; a line is KEY<TAB>VALUE"));
    };
    let bytes = Bytes::from(bytes);
    let (key, value) = (bytes.slice(..tab), bytes.slice(tab + 1..));
    check(&key, &value)?;
    Ok(Line { number, key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> std::result::Result<Vec<(String, String)>, String> {
        let source = Source::Memory(Bytes::copy_from_slice(text));
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let lines = source.lines().expect("memory can be read");
        lines
            .map(|line| line.map(|line| (text(&line.key), text(&line.value))))
            .collect::<Result<_>>()
            .map_err(|report| report.message)
    }

    #[test]
    fn a_line_is_a_key_a_tab_and_a_value() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(lines(b""), Ok(vec![]));
        assert_eq!(lines(b"a\t1\nb\t\n"), Ok(vec![pair("a", "1"), pair("b", "")]));
        assert_eq!(lines(b"a\tx\ty"), Ok(vec![pair("a", "x\ty")]));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let long_key = [&[b'k'; KEY_BYTES_MAX + 1][..], b"\tv\n"].concat();
        let long_value = [b"k\t", &vec![b'v'; VALUE_BYTES_MAX + 1][..], b"\n"].concat();
        let endless = vec![b'x'; 3 * LINE_BYTES_MAX];
        for (text, why) in [
            (&b"a\t1\nno tab\n"[..], "-:2: no tab; a line is KEY<TAB>VALUE"),
            (b"a\t1\n\nb\t2\n", "-:2: an empty line; a line is KEY<TAB>VALUE"),
            (b"\tvalue\n", "-:1: the key is empty"),
            (&long_key, "-:1: the key has 1025 bytes, at most 1024 are allowed"),
            (&long_value, "-:1: the value has 1044481 bytes, at most 1044480 are allowed"),
            (&endless, "-:1: longer than 1045506 bytes"),
        ] {
            assert_eq!(lines(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn the_largest_line_is_taken() {
        let text =
            [&[b'k'; KEY_BYTES_MAX][..], b"\t", &vec![b'v'; VALUE_BYTES_MAX], b"\n"].concat();
        assert_eq!(lines(&text).map(|lines| lines.len()), Ok(1));
        assert_eq!(lines(&text[..text.len() - 1]).map(|lines| lines.len()), Ok(1));
    }
}
