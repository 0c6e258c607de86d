//! A replicated map of texts in memory, as the plainest machine: `key=value` sets, `key` deletes,
//! and a question is a key.
//!
//! ```text
//! raftctl dev --raftd target/release/hashmap --machine hashmap
//! ```

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::process::ExitCode;

use raftd::machine::{Bytes, Command, Plain, Response, RestoreError, SnapshotSource, StateMachine};

/// Ordered, so that equal maps are written alike on all nodes.
#[derive(Default)]
struct Hashmap(BTreeMap<String, String>);

impl StateMachine for Hashmap {
    /// Answers with the value before.
    fn apply(&mut self, command: &Command<'_>) -> Response {
        let text = String::from_utf8_lossy(command.data);
        let before = match text.split_once('=') {
            Some((key, value)) => self.0.insert(key.to_owned(), value.to_owned()),
            None => self.0.remove(&*text),
        };
        before.unwrap_or_default().into()
    }

    fn query(&self, key: &[u8]) -> Response {
        let key = String::from_utf8_lossy(key);
        self.0.get(&*key).cloned().unwrap_or_default().into()
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        let lines = self.0.iter().map(|(key, value)| format!("{key}={value}\0"));
        Box::new(Cursor::new(Bytes::from(lines.collect::<String>())))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), RestoreError> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let pair = |line: &str| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        let pairs = text.split_terminator('\0').map(pair).collect::<Option<_>>();
        self.0 = pairs.ok_or(RestoreError::Malformed("a line without ="))?;
        Ok(())
    }
}

fn main() -> ExitCode {
    raftd::Server::new(Plain::new("hashmap", 1, Hashmap::default)).main()
}
