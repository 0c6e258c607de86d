//! The machine that the modelled nodes run: the product's own, of keys and values. What it is told
//! follows from the number of the request alone, so that no other code need read a command to know
//! what was meant by it.

use bytes::Bytes;
use state_machine::{
    ANSWER_KEPT_BYTES_MAX, Command, Kv, KvCommand, KvQuery, KvResponse, Response, StoreError,
    StoredMachine, Transaction, View,
};

/// Keys have two bytes: a group, and a number in it. All of them are more than are read at a time,
/// and one group is the last that there can be.
static KEYS: [[u8; 2]; GROUPS.len() * IN_A_GROUP] = keys();
const GROUPS: [u8; 4] = [b'a', b'b', b'c', u8::MAX];
const IN_A_GROUP: usize = 12;

/// Few values, so that conditions hold now and then: numbers, one that nothing can be added to, and
/// one that is none.
const VALUES: [&str; 5] = ["0", "1", "2", "9223372036854775807", "x"];

/// The most bytes of a command with its envelope; a limit below would let none pass.
pub(crate) const COMMAND_BYTES_MAX: u64 = 120;

/// One answer of so many is too long to be kept for a retry.
const LONG_EVERY: u64 = 97;

/// What is behind a long answer.
const PADDING: usize = ANSWER_KEPT_BYTES_MAX;

/// The machine. Behind each command stands the number of the request that it came from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbered(Kv);

impl Numbered {
    /// The command of a request.
    pub(crate) fn command(number: u64) -> Bytes {
        [&meant(number).encode()[..], &number.to_le_bytes()].concat().into()
    }

    /// The number of the request that a command came from.
    pub(crate) fn request(command: &[u8]) -> Option<u64> {
        command.last_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Says whether a command frees space, as the daemon asks its machine.
    pub(crate) fn frees(command: &[u8]) -> bool {
        Kv.frees_space(bare(command))
    }

    /// Reads an answer, and says whether it is one of the long ones.
    pub(crate) fn read(answer: &Bytes) -> Option<(KvResponse, bool)> {
        let bare = answer.len().checked_sub(PADDING);
        let response = answer.slice(..bare.unwrap_or(answer.len()));
        Some((KvResponse::decode(&response).ok()?, bare.is_some()))
    }
}

impl StoredMachine for Numbered {
    fn name(&self) -> &'static str {
        "numbered kv"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let told = Command { data: bare(command.data), ..*command };
        let answer = self.0.apply(&told, transaction)?;
        Ok(match Self::request(command.data).is_some_and(is_long) {
            true => [&answer[..], &[0; PADDING]].concat().into(),
            false => answer,
        })
    }

    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError> {
        self.0.query(view, query)
    }
}

const fn keys() -> [[u8; 2]; GROUPS.len() * IN_A_GROUP] {
    let mut keys = [[0, b'0']; GROUPS.len() * IN_A_GROUP];
    let mut place = 0;
    while place < keys.len() {
        keys[place] = [GROUPS[place / IN_A_GROUP], b'0' + (place % IN_A_GROUP) as u8];
        place += 1;
    }
    keys
}

fn bare(command: &[u8]) -> &[u8] {
    command.split_last_chunk::<8>().map_or(command, |(bare, _)| bare)
}

/// Says whether the answer to a request's command is too long to be kept.
pub(crate) fn is_long(number: u64) -> bool {
    mix(number).is_multiple_of(LONG_EVERY)
}

/// Says whether what is meant by a request frees space.
pub(crate) fn frees(number: u64) -> bool {
    match meant(number) {
        KvCommand::Delete { .. } | KvCommand::CompareAndSwap { new: None, .. } => true,
        KvCommand::Put { .. }
        | KvCommand::CompareAndSwap { new: Some(_), .. }
        | KvCommand::Increment { .. } => false,
    }
}

/// Returns what is meant by a request that changes something.
pub(crate) fn meant(number: u64) -> KvCommand {
    let mut draw = Draw(mix(number));
    let key = draw.key();
    match draw.below(100) {
        0..=44 => KvCommand::Put { key, value: draw.value() },
        45..=59 => KvCommand::Delete { key },
        60..=79 => {
            let expected = (draw.below(6) > 0).then(|| draw.value());
            let new = (draw.below(3) > 0).then(|| draw.value());
            KvCommand::CompareAndSwap { key, expected, new }
        }
        80..=98 => KvCommand::Increment { key, delta: [1, 2, -1][draw.index(3)] },
        _ => KvCommand::Put { key: Bytes::new(), value: draw.value() },
    }
}

/// Returns what is meant by a request that asks the machine something.
pub(crate) fn asked(number: u64) -> KvQuery {
    let mut draw = Draw(mix(number));
    if draw.below(3) == 0 {
        return KvQuery::Get { key: draw.key() };
    }
    let key = draw.key();
    let prefix = if draw.below(2) == 0 { Bytes::new() } else { key.slice(..1) };
    let after = if draw.below(2) == 0 { Bytes::new() } else { draw.key() };
    let limit = if draw.below(2) == 0 { 1_000 } else { 1 + draw.below(40) };
    KvQuery::List { prefix, after, limit: u32::try_from(limit).expect("small") }
}

/// Numbers that follow from the one of a request.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        let drawn = self.0 % end;
        self.0 = mix(self.0);
        drawn
    }

    fn index(&mut self, count: u64) -> usize {
        usize::try_from(self.below(count)).expect("small")
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(&KEYS[self.index(KEYS.len() as u64)])
    }

    fn value(&mut self) -> Bytes {
        VALUES[self.index(VALUES.len() as u64)].into()
    }
}

fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}
