//! A replicated map of texts: `key=value` sets, `key` deletes, and a question is a key.
//!
//! ```text
//! raftctl dev --raftd target/release/hashmap --machine hashmap
//! ```

use std::process::ExitCode;

use bytes::Bytes;
use state_machine::{Command, Response, StoreError, StoredMachine, Transaction, View};

struct Hashmap;

impl StoredMachine for Hashmap {
    fn name(&self) -> &'static str {
        "hashmap"
    }

    fn version(&self) -> u32 {
        1
    }

    /// Answers with the value before.
    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let middle = command.data.iter().position(|byte| *byte == b'=');
        let (key, value) = command.data.split_at(middle.unwrap_or(command.data.len()));
        let before = transaction.get(key)?.unwrap_or_default();
        match value.split_first() {
            Some((_, value)) => transaction.put(key, Bytes::copy_from_slice(value)),
            None => transaction.delete(key),
        }
        Ok(before)
    }

    fn query(&self, view: &dyn View, key: &[u8]) -> Result<Response, StoreError> {
        Ok(view.get(key)?.unwrap_or_default())
    }
}

fn main() -> ExitCode {
    raftd::main(Hashmap)
}
