//! The lines of a load, `KEY<TAB>VALUE` each. A plain file is checked as a whole before anything is
//! sent. What can be read only once - a pipe, a FIFO, a device - is checked line by line as it
//! comes. Either way a thread reads ahead by a few batches, so that memory has a limit.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use bytes::Bytes;
use state_machine::text::unquoted;
use state_machine::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use tokio::sync::mpsc::{Receiver, channel};

use crate::codes;
use crate::commands::kv::pairs::check;
use crate::input::{Input, STDIN_NAME as STDIN, Stamp, quoted};
use crate::report::{Report, Result};

/// The longest line, with its tab and newline, in bytes.
const LINE_BYTES_MAX: usize = KEY_BYTES_MAX + VALUE_BYTES_MAX + 2;

/// The longest line in which each byte may be written as `\xHH`, and both texts stand in quotes.
const QUOTED_BYTES_MAX: usize = 4 * LINE_BYTES_MAX;

/// How a line is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// What stands before the first tab is the key, what stands behind it is the value.
    Plain,
    /// The same, and each of them may stand in `$'..'`, as `kv list --lines` writes them.
    Quoted,
}

impl Grammar {
    fn bytes_max(self) -> usize {
        match self {
            Self::Plain => LINE_BYTES_MAX,
            Self::Quoted => QUOTED_BYTES_MAX,
        }
    }

    /// Returns how the command is told, behind the file.
    fn flag(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Quoted => " --quoted",
        }
    }

    fn read(self, text: Bytes) -> std::result::Result<Bytes, String> {
        match self {
            Self::Plain => Ok(text),
            Self::Quoted => match unquoted(&text).map_err(|why| why.to_string())? {
                Cow::Borrowed(_) => Ok(text),
                Cow::Owned(bytes) => Ok(bytes.into()),
            },
        }
    }
}

/// What is read at a time, in bytes; a batch is that long, but for its last line.
const READ_BYTES: usize = 64 * 1024;

/// Batches that are read ahead.
const BATCHES_MAX: usize = 4;

/// Where lines come from.
pub(super) struct Source {
    input: Input,
    grammar: Grammar,
    checked: Option<Checked>,
}

/// What was seen when a plain file was checked.
#[derive(Clone, Copy)]
struct Checked {
    count: Count,
    stamp: Stamp,
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

/// What comes of reading.
pub(super) enum Fed {
    /// Lines, in order.
    Lines(Vec<Line>),
    /// The end, or what is wrong with the next line.
    End(Result<Count>),
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// All lines, also those that were skipped.
    pub(super) lines: u64,
    /// How many values end with a carriage return, and the first line with one.
    pub(super) returns: Option<(u64, u64)>,
    /// As what it begins that is hardly meant to be lines.
    pub(super) foreign: Option<&'static str>,
    /// Whether the last line has no newline.
    pub(super) is_open: bool,
}

impl Count {
    /// Says what should be looked at.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warning = |(count, first)| {
            let values = if count == 1 { "value ends" } else { "values end" };
            format!(
                "{count} {values} with a carriage return, the first on line {first}: it is part \
                 of the value (lines that end as on Windows?)"
            )
        };
        let begins = |what| format!("it begins like {what}: that is part of the first key");
        let open = self.is_open.then(|| {
            format!("line {}, the last one, has no newline: is the input whole?", self.lines)
        });
        let all = [self.returns.map(warning), self.foreign.map(begins), open];
        all.into_iter().flatten().collect()
    }
}

impl Source {
    /// Opens a file, or stdin. A plain file is checked as a whole.
    ///
    /// # Errors
    /// If it cannot be read, or a line of a plain file is bad.
    pub(super) fn open(path: &Path, grammar: Grammar) -> Result<Self> {
        let mut source = Self { input: Input::open_or_stdin(path)?, grammar, checked: None };
        if source.input.is_plain() {
            let stamp = source.input.stamp()?;
            let count = source.count()?;
            source.input.rewind()?;
            source.checked = Some(Checked { count, stamp });
        }
        Ok(source)
    }

    /// Returns what it is called.
    pub(super) fn name(&self) -> &str {
        self.input.name()
    }

    /// Whether people type the lines.
    pub(super) fn is_typed(&self) -> bool {
        self.input.is_typed()
    }

    /// Returns how many lines there are, if that is known before they are read.
    pub(super) fn lines(&self) -> Option<u64> {
        self.checked.map(|checked| checked.count.lines)
    }

    /// Checks everything, unless that is done, and returns what there is.
    ///
    /// # Errors
    /// If a line is bad, or it cannot be read.
    pub(super) fn count(&mut self) -> Result<Count> {
        if let Some(checked) = self.checked {
            return Ok(checked.count);
        }
        let mut lines = Lines::new(&mut self.input, self.grammar, 1);
        while lines.next()?.is_some() {}
        Ok(lines.count)
    }

    /// Returns what says how a load goes on.
    pub(super) fn again(&self) -> Again {
        let name = self.name();
        match self.checked {
            Some(_) if name != STDIN => Again::Path(name.to_owned(), self.grammar),
            Some(_) | None => Again::Gone(name.to_owned()),
        }
    }

    /// Reads in a thread of its own, from this line on.
    pub(super) fn feed(self, from_line: u64) -> Receiver<Fed> {
        let (sender, receiver) = channel(BATCHES_MAX);
        tokio::task::spawn_blocking(move || {
            let Self { mut input, grammar, checked } = self;
            let mut lines = Lines::new(&mut input, grammar, from_line);
            // What is written to a file meanwhile was not checked.
            lines.last = checked.map_or(u64::MAX, |checked| checked.count.lines);
            let end = loop {
                let (batch, ended) = lines.batch();
                if !batch.is_empty() && sender.blocking_send(Fed::Lines(batch)).is_err() {
                    return;
                }
                if let Some(ended) = ended {
                    break ended;
                }
            };
            let end = match checked {
                Some(checked) => checked.compare(&input, end),
                None => end,
            };
            // Whoever does not listen any more is stopping.
            let _ = sender.blocking_send(Fed::End(end));
        });
        receiver
    }
}

/// How a load goes on.
pub(super) enum Again {
    /// With the same file.
    Path(String, Grammar),
    /// With the same lines, from wherever they came.
    Gone(String),
}

impl Again {
    /// Says how to load what was changed meanwhile: what was loaded of it is of the past.
    pub(super) fn anew(&self) -> String {
        match self {
            Self::Path(path, grammar) => {
                let how = grammar.flag();
                format!("raftctl kv load {}{how}    (as it is now)", quoted(path))
            }
            Self::Gone(name) => format!("give {name} the lines as they are now"),
        }
    }

    /// Says how to go on from this line.
    pub(super) fn from(&self, line: u64) -> String {
        match self {
            Self::Path(path, grammar) => {
                let how = grammar.flag();
                format!("raftctl kv load {}{how} --from-line {line}    (goes on)", quoted(path))
            }
            Self::Gone(name) => format!(
                "what came from {name} is gone: give the same lines again, with --from-line {line}"
            ),
        }
    }
}

impl Checked {
    /// Finds out whether the file is still the one that was checked.
    fn compare(self, input: &Input, read: Result<Count>) -> Result<Count> {
        let stamp = input.stamp()?;
        let same = stamp == self.stamp;
        match read {
            Ok(count) if same && count.lines == self.count.lines => Ok(count),
            Ok(count) => {
                let (name, then, now) = (input.name(), self.count.lines, count.lines);
                let message = format!(
                    "{name} was changed while it was loaded: it had {then} lines when it was \
                     checked, and {now} of them when it was read"
                );
                Err(Report::new(codes::INPUT_CHANGED, message))
            }
            Err(report) if same => Err(report),
            Err(report) => {
                let message = format!("{}: the file was changed meanwhile", report.message);
                Err(Report::new(codes::INPUT_CHANGED, message))
            }
        }
    }
}

/// Lines, or the first thing that is wrong with one.
struct Lines<'a> {
    name: String,
    reader: BufReader<&'a mut Input>,
    grammar: Grammar,
    from_line: u64,
    /// The last line that is read, if there are more.
    last: u64,
    count: Count,
}

impl<'a> Lines<'a> {
    fn new(input: &'a mut Input, grammar: Grammar, from_line: u64) -> Self {
        let name = input.name().to_owned();
        let reader = BufReader::with_capacity(READ_BYTES, input);
        Self { name, reader, grammar, from_line, last: u64::MAX, count: Count::default() }
    }

    /// Returns the lines that are there without waiting for more, at least one; and how reading
    /// ended, if it did.
    fn batch(&mut self) -> (Vec<Line>, Option<Result<Count>>) {
        let mut batch = Vec::new();
        loop {
            match self.next() {
                Ok(Some(line)) => batch.push(line),
                Ok(None) => return (batch, Some(Ok(self.count))),
                Err(report) => return (batch, Some(Err(report))),
            }
            if !self.reader.buffer().contains(&b'\n') {
                return (batch, None);
            }
        }
    }

    /// Returns the next line from the wanted one on.
    fn next(&mut self) -> Result<Option<Line>> {
        while self.count.lines + 1 < self.from_line {
            if !self.skip()? {
                return Ok(None);
            }
        }
        if self.count.lines == self.last {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let limit = self.grammar.bytes_max() as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut bytes);
        if read.map_err(|error| self.reader.get_ref().failed(&error))? == 0 {
            return Ok(None);
        }
        let number = self.count.lines + 1;
        let is_open = bytes.last() != Some(&b'\n');
        let foreign = if number == 1 { foreign(&bytes) } else { self.count.foreign };
        let line = parse(number, bytes, self.grammar).map_err(|why| {
            let hint = foreign.map(|what| format!(" (it begins like {what})")).unwrap_or_default();
            Report::new(codes::BAD_LINE, format!("{}:{number}: {why}{hint}", self.name))
        })?;
        (self.count.foreign, self.count.is_open) = (foreign, is_open);
        self.count.lines = number;
        if line.value.last() == Some(&b'\r') {
            let (count, _) = self.count.returns.get_or_insert((0, number));
            *count += 1;
        }
        Ok(Some(line))
    }

    /// Reads over a line, whatever is in it; says whether there was one.
    fn skip(&mut self) -> Result<bool> {
        let mut any = false;
        loop {
            let buffer = self.reader.fill_buf().map_err(|error| {
                Report::new(codes::LOCAL_FILE, format!("{}: {error}", self.name))
            })?;
            any |= !buffer.is_empty();
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let size = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(size);
            if end.is_some() || size == 0 {
                self.count.lines += u64::from(any);
                return Ok(any);
            }
        }
    }
}

/// Says as what a first line begins that is hardly meant to be one. It may be one all the same: a
/// key is any bytes.
fn foreign(line: &[u8]) -> Option<&'static str> {
    const SIGNS: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "a file that is compressed by gzip"),
        (b"\x28\xb5\x2f\xfd", "a file that is compressed by zstd"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
        (b"\xef\xbb\xbf", "text with a byte order mark"),
    ];
    SIGNS.iter().find(|(sign, _)| line.starts_with(sign)).map(|(_, what)| *what)
}

fn parse(number: u64, mut bytes: Vec<u8>, grammar: Grammar) -> std::result::Result<Line, String> {
    let most = grammar.bytes_max();
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > most {
        return Err(format!("longer than {most} bytes"));
    }
    let Some(tab) = bytes.iter().position(|byte| *byte == b'\t') else {
        let what = if bytes.is_empty() { "an empty line" } else { "no tab" };
        return Err(format!("{what}; a line is KEY<TAB>VALUE"));
    };
    let bytes = Bytes::from(bytes);
    let key = grammar.read(bytes.slice(..tab)).map_err(|why| format!("the key: {why}"))?;
    let value = grammar.read(bytes.slice(tab + 1..)).map_err(|why| format!("the value: {why}"))?;
    check(&key, &value)?;
    Ok(Line { number, key, value })
}

#[cfg(test)]
mod tests;
