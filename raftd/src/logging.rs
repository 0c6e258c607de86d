//! Logging: what each level means, where lines go, and changing the level while running.
//!
//! | level | means | may repeat |
//! |---|---|---|
//! | error | this node cannot do its work, and an operator must act | no: it stops |
//! | warn | something is wrong that will not mend itself, or a peer is refused | ever more rarely |
//! | info | what belongs in last month's log: start, stop, role, leader, members | counted |
//! | debug | one line an unusual event: a lost dial, a refused vote, a dropped message | yes |
//! | trace | one line a message; for a test cluster | yes |
//!
//! What strangers, clients or peers can cause again and again goes through [`repeat`]: it counts.
//!
//! Below a service manager, lines go to the journal with their fields; else to stderr, for people,
//! or as JSON. Messages at error, warn and info have stable [`ids`].
//! Logging never waits: lines are queued, up to a limit, and one thread writes them. Texts of
//! others cannot forge a line or drive a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::os::linux::fs::MetadataExt as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Deserialize;
use tracing::Metadata;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use crate::logging::journal::Journal;
use crate::logging::json::Json;
use crate::logging::plain::Plain;
use crate::logging::queue::{Queue, Weight};
use crate::logging::writer::{Sink as _, Stderr};

mod ids;
mod journal;
mod json;
mod plain;
mod queue;
pub(crate) mod repeat;
mod writer;

pub use ids::{MESSAGES, Message};

/// How long the end of the process waits for the log to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What is logged: this level and the graver ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// This node cannot do its work, and an operator must act
    Error,
    /// Something is wrong that will not mend itself, or a peer is refused
    Warn,
    /// Start, stop, role, leader, members
    #[default]
    Info,
    /// One line an unusual event
    Debug,
    /// One line a message
    Trace,
}

/// How lines are written, and where to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// journald if a service manager has connected stderr to the journal, else text
    #[default]
    Auto,
    /// For people, to stderr
    Text,
    /// One JSON object a line, to stderr
    Json,
    /// With fields, to the journal of systemd; to stderr as text if none listens
    Journald,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
            Self::Journald => "journald",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&LevelFilter::from(*self), f)
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Changes what is logged.
#[derive(Clone, Debug)]
pub(crate) struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
}

impl Logging {
    /// Starts logging for the whole process. A second call changes nothing and its handle nothing.
    pub(crate) fn start(level: Level, format: Format) -> Self {
        let (filter, handle) = reload::Layer::new(LevelFilter::from(level));
        let Log { queue, place, .. } = log(format);
        let queue = Arc::clone(queue);
        let ours = filter_fn(is_ours).with_max_level_hint(LevelFilter::TRACE);
        let filter = filter.and(ours);
        let registry = tracing_subscriber::registry();
        // Fails only if the embedding program logs already, which then has its way.
        let _ = match place {
            Place::Journal => registry.with(Journal::new(queue).with_filter(filter)).try_init(),
            Place::Json => registry.with(Json::new(queue).with_filter(filter)).try_init(),
            Place::Stderr => {
                let lines = tracing_subscriber::fmt::layer()
                    .with_writer(Lines(queue))
                    .fmt_fields(debug_fn(show).delimited(" "))
                    .with_ansi(is_colorful())
                    .with_target(false);
                registry.with(lines.with_filter(filter)).try_init()
            }
        };
        if format == Format::Journald && *place != Place::Journal {
            let socket = journal::SOCKET;
            tracing::warn!(name: "journal-missing", socket, "no journal listens: the log is here");
        }
        Self { level: handle }
    }

    /// Changes what is logged from now on.
    pub(crate) fn set_level(&self, level: Level) {
        // Fails only if another subscriber is in force.
        let _ = self.level.modify(|filter| *filter = level.into());
    }
}

/// Returns how many lines were lost since the start, because the log took none.
pub(crate) fn lost_lines() -> u64 {
    LOG.get().map_or(0, |log| log.queue.lost())
}

/// Says what was counted and not said yet, and waits a short time until all is written.
pub(crate) fn finish() {
    if let Some(log) = LOG.get() {
        repeat::summarise(Instant::now(), true);
        log.queue.flush(FLUSH_TIMEOUT);
    }
}

/// Says what a process says at its end, whatever the level is; several lines may be. A log that
/// takes nothing holds up the end for a short time only.
pub(crate) fn last_words(level: tracing::Level, text: &str) {
    let Log { queue, place, is_written } = log(Format::Auto);
    let line = match place {
        Place::Journal => journal::encode_text(level, text),
        Place::Json => json::encode_text(level, text),
        Place::Stderr => format!("{text}\n").into_bytes(),
    };
    if *is_written {
        queue.push(Weight::Grave, line);
        queue.flush(FLUSH_TIMEOUT);
    } else {
        // If this cannot be written, there is no other place for it.
        let _ = Stderr::default().write(text.as_bytes());
    }
}

/// Says whether lines for people are colored.
pub(crate) fn is_colorful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Where this process's lines go.
#[derive(Debug)]
struct Log {
    queue: Arc<Queue>,
    place: Place,
    /// A thread writes what is queued.
    is_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Journal,
    Json,
    Stderr,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Returns the log, which is as whoever speaks first wants it.
fn log(format: Format) -> &'static Log {
    LOG.get_or_init(|| {
        let queue = Arc::new(Queue::default());
        let to_journal = match format {
            Format::Auto => stderr_is_journal(),
            Format::Journald => true,
            Format::Text | Format::Json => false,
        };
        let journal = to_journal.then(|| writer::Journal::open(journal::SOCKET));
        let place = if format == Format::Json { Place::Json } else { Place::Stderr };
        let (place, started) = match journal.and_then(Result::ok) {
            Some(journal) => (Place::Journal, writer::start(Arc::clone(&queue), journal)),
            None => (place, writer::start(Arc::clone(&queue), Stderr::default())),
        };
        Log { queue, place, is_written: started.is_ok() }
    })
}

/// Queues lines for people.
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: &self.0, weight: Weight::Plain }
    }

    fn make_writer_for(&'a self, from: &Metadata<'_>) -> Line<'a> {
        Line { queue: &self.0, weight: Weight::of(*from.level()) }
    }
}

/// Takes one line, as a whole.
struct Line<'a> {
    queue: &'a Queue,
    weight: Weight,
}

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(self.weight, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a field of a line: its name, but for the message, and its value on the same line.
fn show(line: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(line, "{}=", field.name())?;
    }
    write!(Plain(line), "{value:?}")
}

/// Says whether a line is in our words. The socket's library repeats a packet that the system does
/// not send once a minute, for as long as a network is cut; we say once which peer is not reached.
/// That of TLS tells each handshake word by word.
fn is_ours(from: &Metadata<'_>) -> bool {
    let is_word = from.target().starts_with("rustls") && *from.level() > tracing::Level::WARN;
    !is_word && !from.target().starts_with("quinn_udp")
}

/// Says whether stderr is the stream that the service manager connected to the journal, by the
/// device and inode that `JOURNAL_STREAM` names (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev(), stat.st_ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_spelled_alike_everywhere() {
        for level in Level::value_variants() {
            let spelled = level.to_string();
            let flag = Level::from_str(&spelled, false).expect("clap knows it");
            assert_eq!(flag, *level);
            #[derive(Deserialize)]
            struct File {
                level: Level,
            }
            let file: File = toml::from_str(&format!("level = \"{spelled}\"")).expect("serde too");
            assert_eq!(file.level, *level);
        }
    }

    #[test]
    fn a_line_of_others_is_one_line_and_drives_no_terminal() {
        let queue = Arc::new(Queue::default());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(Lines(Arc::clone(&queue)))
            .fmt_fields(debug_fn(show).delimited(" "))
            .with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(lines);
        let evil = "a\n2026-01-01T00:00:00Z ERROR b\u{1b}[2J\u{202e}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(peer = 2, text = evil, why = %evil, "it said {evil}");
        });
        let queue::Next::Line(line) = queue.next(Instant::now()) else {
            panic!("nothing was logged");
        };
        let line = String::from_utf8(line).expect("it is text");
        let shown = "a\\n2026-01-01T00:00:00Z ERROR b\\u{1b}[2J\\u{202e}";
        let wanted = format!("it said {shown} peer=2 text=\"{shown}\" why={shown}\n");
        assert!(line.ends_with(&wanted), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_packet_that_is_not_sent_is_no_line_of_its_own() {
        let queue = Arc::new(Queue::default());
        let layer = Journal::new(Arc::clone(&queue)).with_filter(filter_fn(is_ours));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "quinn_udp", "sendmsg error: Os {{ code: 1 }}");
            tracing::debug!(target: "rustls::client::hs", "Using ciphersuite");
            tracing::warn!("no connection to n2");
        });
        let queue::Next::Line(line) = queue.next(Instant::now()) else {
            panic!("nothing was logged");
        };
        assert!(String::from_utf8_lossy(&line).contains("no connection to n2"));
        assert_eq!(queue.next(Instant::now()), queue::Next::Due);
    }

    #[test]
    fn a_pipe_is_not_the_journal() {
        assert!(!stderr_is_journal(), "tests do not run below a service manager");
    }
}
