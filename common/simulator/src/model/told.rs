//! What stands in the envelope of a command, read by the table of its documentation.

use bytes::Bytes;

/// What the state is told by an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// For the system's part of the state, and not for the machine.
    pub(super) to_system: bool,
    pub(super) session: u64,
    pub(super) sequence: u64,
    pub(super) low_water: u64,
    pub(super) owner: String,
    pub(super) is_operator: bool,
    pub(super) body: Bytes,
}

impl Told {
    /// Reads an envelope; `None` if it is none.
    pub(super) fn read(command: &Bytes) -> Option<Self> {
        let (head, rest) = command.split_first_chunk::<32>()?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight"));
        let (kind, flags, owner_bytes) = match head {
            [1, kind, ..] => (*kind, 0, 0),
            [2, kind, flags, owner_bytes, ..] => (*kind, *flags, usize::from(*owner_bytes)),
            _ => return None,
        };
        Some(Self {
            to_system: kind == 1,
            session: number(8),
            sequence: number(16),
            low_water: number(24),
            owner: String::from_utf8_lossy(rest.get(..owner_bytes)?).into_owned(),
            is_operator: flags & 1 == 1,
            body: command.slice(32 + owner_bytes..),
        })
    }
}
