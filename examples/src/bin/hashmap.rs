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
        // Any text may stand in a key or a value, so each goes behind its length.
        let mut bytes = Vec::new();
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Box::new(Cursor::new(Bytes::from(bytes)))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), RestoreError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let mut rest = &bytes[..];
        self.0.clear();
        while !rest.is_empty() {
            let key = text(&mut rest).ok_or(RestoreError::Malformed("a key"))?;
            let value = text(&mut rest).ok_or(RestoreError::Malformed("a value"))?;
            self.0.insert(key, value);
        }
        Ok(())
    }
}

/// Takes a text and its length from the front.
fn text(rest: &mut &[u8]) -> Option<String> {
    let (length, behind) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (text, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(text.to_vec()).ok()
}

fn main() -> ExitCode {
    raftd::Server::new(Plain::new("hashmap", 1, Hashmap::default)).main()
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftd::machine::{ClusterTime, LogIndex};

    /// A node that is started again has what it had, whatever clients have written.
    #[test]
    fn a_map_with_any_text_is_the_same_behind_its_snapshot() {
        let mut map = Hashmap::default();
        for data in [&b"a=b\0c"[..], b"=", b"\0=\0=", b"k==", b"x=y\0k=v\n"] {
            let (index, time) = (LogIndex::new(1), ClusterTime::new(1));
            map.apply(&Command { index, time, data });
        }
        let mut again = Hashmap::default();
        again.restore(&mut map.snapshot()).expect("it was written by the same machine");
        assert_eq!(again.0, map.0);
        again.restore(&mut Hashmap::default().snapshot()).expect("it is empty");
        assert!(again.0.is_empty(), "a snapshot takes the place of what was there");
        assert!(again.restore(&mut &b"\x05\0\0\0\0\0\0\0ab"[..]).is_err(), "it is cut off");
    }
}
