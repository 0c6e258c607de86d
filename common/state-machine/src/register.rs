//! The smallest machine: one value. A command replaces it and is answered with the value before;
//! any question is answered with the value.

use std::io::{Cursor, Read};

use bytes::Bytes;

use crate::machine::{Command, Response, RestoreError, SnapshotSource, StateMachine};

/// One value, empty at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    value: Bytes,
}

impl StateMachine for Register {
    fn apply(&mut self, command: &Command<'_>) -> Response {
        std::mem::replace(&mut self.value, Bytes::copy_from_slice(command.data))
    }

    fn query(&self, _query: &[u8]) -> Response {
        self.value.clone()
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Cursor::new(self.value.clone()))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), RestoreError> {
        let mut value = Vec::new();
        from.read_to_end(&mut value)?;
        self.value = value.into();
        Ok(())
    }
}
