//! Events as one JSON object a line, for those who collect logs: numbers stay numbers, everything
//! else is text.

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;

use crate::logging::ids;
use crate::logging::queue::{Queue, Weight};

/// Turns events into lines of JSON.
pub(super) struct Json {
    queue: Arc<Queue>,
}

impl Json {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let from = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let mut line = head(*from.level());
        if let Some(id) = ids::of(from) {
            line.insert("id".to_owned(), id.into());
        }
        line.insert("message".to_owned(), said.message.into());
        line.insert("target".to_owned(), from.target().into());
        if !said.fields.is_empty() {
            line.insert("fields".to_owned(), said.fields.into());
        }
        self.queue.push(Weight::of(*from.level()), encode(line));
    }
}

/// Returns a text as a line of JSON.
pub(super) fn encode_text(level: Level, text: &str) -> Vec<u8> {
    let mut line = head(level);
    line.insert("message".to_owned(), text.into());
    encode(line)
}

/// Returns when it is, and how grave it is.
fn head(level: Level) -> Map<String, Value> {
    let mut time = String::new();
    // A text takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let mut line = Map::new();
    line.insert("time".to_owned(), time.into());
    line.insert("level".to_owned(), level.as_str().to_lowercase().into());
    line
}

fn encode(line: Map<String, Value>) -> Vec<u8> {
    let mut line = Value::Object(line).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    fn add(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.add(field, text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::queue::Next;
    use std::time::Instant;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn an_event_is_an_object_on_one_line_whatever_others_have_put_into_it() {
        let queue = Arc::new(Queue::default());
        let subscriber = tracing_subscriber::registry().with(Json::new(Arc::clone(&queue)));
        let evil = "a\n{\"level\":\"error\"}\u{1b}[2J";
        tracing::subscriber::with_default(subscriber, || {
            let up = true;
            tracing::warn!(name: "an-id", peer = 2, up, who = evil, why = %evil, "it: {evil}");
            tracing::debug!("no id");
        });
        let next = || match queue.next(Instant::now()) {
            Next::Line(line) => line,
            Next::Due => panic!("nothing was logged"),
        };
        let line = next();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(!line.contains(&0x1b), "it drives no terminal");
        let line: Value = serde_json::from_slice(&line).expect("it is JSON");
        assert_eq!(line["id"], "an-id");
        assert_eq!(line["level"], "warn");
        assert_eq!(line["message"], format!("it: {evil}"));
        assert_eq!(line["fields"], json!({"peer": 2, "up": true, "who": evil, "why": evil}));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        let line: Value = serde_json::from_slice(&next()).expect("it is JSON");
        assert!(line.get("id").is_none() && line.get("fields").is_none(), "{line}");
    }
}
