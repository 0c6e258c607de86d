//! One replicated value: the smallest machine, as a program of its own.
//!
//! ```text
//! raftctl dev --raftd target/release/register --machine register
//! ```

use std::process::ExitCode;

use raftd::machine::{Bytes, Command, Response, StoreError, StoredMachine, Transaction, View};

struct Register;

impl StoredMachine for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn version(&self) -> u32 {
        1
    }

    /// A command is the new value, and is answered with the old one.
    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let before = transaction.get(b"value")?.unwrap_or_default();
        transaction.put(b"value", Bytes::copy_from_slice(command.data));
        Ok(before)
    }

    /// Every question is answered with the value.
    fn query(&self, view: &dyn View, _query: &[u8]) -> Result<Response, StoreError> {
        Ok(view.get(b"value")?.unwrap_or_default())
    }
}

fn main() -> ExitCode {
    raftd::main(Register)
}
