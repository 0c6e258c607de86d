//! Events in the journal's own format, with their fields: `journalctl F_PEER=2` finds all lines
//! about that peer. The fields are part of the message too, for those who read it as it is.
//!
//! `tracing-journald` sends from the thread that logs, and waits there for a journal that takes
//! nothing; and what it logs reads "connected", without the peer.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::logging::ids;
use crate::logging::plain::{Plain, plain};
use crate::logging::queue::{Queue, Weight};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// The most bytes of a message: what is longer would not fit into one datagram.
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// The most bytes of a field.
const FIELD_BYTES_MAX: usize = 4 * 1024;

/// Turns events into the journal's format.
pub(super) struct Journal {
    queue: Arc<Queue>,
}

impl Journal {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        self.queue.push(Weight::of(level), encode(level, Some(event.metadata()), &fields));
    }
}

/// Returns a text in the journal's format.
pub(super) fn encode_text(level: Level, text: &str) -> Vec<u8> {
    encode(level, None, &Fields { message: text.to_owned(), ..Fields::default() })
}

fn encode(level: Level, from: Option<&Metadata<'static>>, fields: &Fields) -> Vec<u8> {
    let mut record = Vec::with_capacity(512);
    // syslog's: 3 error, 4 warning, 5 notice, 6 informational, 7 debug.
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    };
    put(&mut record, "PRIORITY", priority);
    put(&mut record, "SYSLOG_IDENTIFIER", program());
    let message = format!("{}{}", fields.message, fields.shown);
    put(&mut record, "MESSAGE", cut(&message, MESSAGE_BYTES_MAX));
    if let Some(from) = from {
        if let Some(id) = ids::of(from) {
            put(&mut record, "MESSAGE_ID", &ids::journal_id(id));
            put(&mut record, "RAFTD_EVENT", id);
        }
        put(&mut record, "TARGET", from.target());
        put(&mut record, "CODE_FILE", from.file().unwrap_or_default());
        put(&mut record, "CODE_LINE", &from.line().unwrap_or_default().to_string());
    }
    for (name, value) in &fields.single {
        put(&mut record, &format!("F_{}", name.to_uppercase()), cut(value, FIELD_BYTES_MAX));
    }
    record
}

/// Returns the name of this program.
fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let path = PathBuf::from(std::env::args_os().next().unwrap_or_default());
        path.file_name().map(|name| plain(name.to_string_lossy())).unwrap_or_default()
    })
}

/// Appends a field: its name, its length, its bytes.
fn put(record: &mut Vec<u8>, name: &str, value: &str) {
    record.extend_from_slice(name.as_bytes());
    record.push(b'\n');
    record.extend_from_slice(&(value.len() as u64).to_le_bytes());
    record.extend_from_slice(value.as_bytes());
    record.push(b'\n');
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max.min(text.len()))]
}

/// What an event says.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    /// All others, as they follow the message.
    shown: String,
    /// The same, each by itself.
    single: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, plain(value), &format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        // A text takes everything.
        let _ = write!(Plain(&mut text), "{value:?}");
        if field.name() == "message" {
            self.message = text;
            return;
        }
        let shown = text.clone();
        self.add(field, text, &shown);
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: String, shown: &str) {
        self.shown.push_str(&format!(" {}={shown}", field.name()));
        self.single.push((field.name(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::queue::Next;
    use std::time::Instant;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn logged(log: impl FnOnce()) -> Vec<(String, String)> {
        let queue = Arc::new(Queue::default());
        let subscriber = tracing_subscriber::registry().with(Journal::new(Arc::clone(&queue)));
        tracing::subscriber::with_default(subscriber, log);
        let Next::Line(record) = queue.next(Instant::now()) else {
            panic!("nothing was logged");
        };
        decode(&record)
    }

    fn decode(mut record: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
        let mut fields = Vec::new();
        while !record.is_empty() {
            let end = record.iter().position(|byte| *byte == b'\n').expect("a name ends");
            let (name, rest) = record.split_at(end);
            let (length, rest) = rest[1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
            let (value, rest) = rest.split_at(usize::try_from(length).expect("it is short"));
            assert_eq!(rest[0], b'\n');
            fields.push((text(name), text(value)));
            record = &rest[1..];
        }
        fields
    }

    #[test]
    fn an_event_is_a_message_with_its_fields_and_each_field_by_itself() {
        let fields = logged(|| {
            tracing::warn!(name: "ready", peer = 2, who = "n\n2", why = %"a\nb", "lost\r!");
        });
        let of = |name: &str| {
            let mut found = fields.iter().filter(|(field, _)| field == name);
            let value = found.next().map(|(_, value)| value.as_str());
            assert!(found.next().is_none(), "{name} is there twice");
            value
        };
        assert_eq!(of("PRIORITY"), Some("4"));
        assert_eq!(of("RAFTD_EVENT"), Some("ready"));
        assert_eq!(of("MESSAGE_ID"), Some(ids::journal_id("ready").as_str()));
        assert!(of("SYSLOG_IDENTIFIER").is_some_and(|name| name.starts_with("raftd")));
        assert_eq!(of("MESSAGE"), Some("lost\\r! peer=2 who=\"n\\n2\" why=a\\nb"));
        assert_eq!(
            (of("F_PEER"), of("F_WHO"), of("F_WHY")),
            (Some("2"), Some("n\\n2"), Some("a\\nb"))
        );
        assert!(of("CODE_FILE").is_some_and(|file| file.ends_with("journal.rs")), "{fields:?}");
    }

    #[test]
    fn last_words_keep_their_lines_and_long_ones_are_cut() {
        let fields = decode(&encode_text(Level::ERROR, "error: a\nhelp: b"));
        assert!(fields.contains(&("PRIORITY".into(), "3".into())));
        assert!(fields.contains(&("MESSAGE".into(), "error: a\nhelp: b".into())));
        let long = encode_text(Level::ERROR, &"ü".repeat(MESSAGE_BYTES_MAX));
        assert!(long.len() < MESSAGE_BYTES_MAX + 200);
        decode(&long);
    }
}
