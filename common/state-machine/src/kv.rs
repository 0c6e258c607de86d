//! A key/value machine on the ordered store: put, delete, compare-and-swap, increment; get, list.
//!
//! Each key remembers its revision, the log index of its last change.

use std::borrow::Cow;

use bytes::Bytes;

use crate::kv_codec::{KvCommand, KvQuery, KvResponse};
use crate::machine::{Command, Response, StoredMachine};
use crate::store::{StoreError, Transaction, View};
use crate::text;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The longest value, in bytes; with key and envelope it fits in one entry.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024 - 4 * 1024;

/// The most keys in one page of a list.
pub const PAGE_KEYS_MAX: u32 = 1_000;

/// The most bytes of keys and values in one page, beyond the first pair.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// So many keys are read at a time: a page of long values holds no more than these beside it.
const CHUNK_KEYS: usize = 32;

/// The machine; all its state is in the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

impl StoredMachine for Kv {
    fn name(&self) -> &'static str {
        "kv"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let response = match KvCommand::decode(&Bytes::copy_from_slice(command.data)) {
            Ok(decoded) => apply(command.index.get(), decoded, transaction)?,
            Err(error) => KvResponse::Refused { reason: error.to_string() },
        };
        Ok(response.encode())
    }

    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError> {
        let response = match KvQuery::decode(&Bytes::copy_from_slice(query)) {
            Ok(KvQuery::Get { key }) => match view.get(&key)? {
                Some(stored) => value(&stored),
                None => KvResponse::NotFound,
            },
            Ok(KvQuery::List { prefix, after, limit }) => list(view, &prefix, &after, limit)?,
            Err(error) => KvResponse::Refused { reason: error.to_string() },
        };
        Ok(response.encode())
    }

    fn describe(&self, command: &[u8], values: bool) -> Option<String> {
        let command = KvCommand::decode(&Bytes::copy_from_slice(command)).ok()?;
        Some(describe(&command, values))
    }

    fn frees_space(&self, command: &[u8]) -> bool {
        match KvCommand::decode(&Bytes::copy_from_slice(command)) {
            Ok(KvCommand::Delete { .. } | KvCommand::CompareAndSwap { new: None, .. }) => true,
            Ok(
                KvCommand::Put { .. }
                | KvCommand::CompareAndSwap { new: Some(_), .. }
                | KvCommand::Increment { .. },
            )
            | Err(_) => false,
        }
    }
}

fn describe(command: &KvCommand, values: bool) -> String {
    let value = |value: &Bytes| match values {
        true => word(value).into_owned(),
        false => format!("({} bytes)", value.len()),
    };
    match command {
        KvCommand::Put { key, value: new } => format!("put {} {}", word(key), value(new)),
        KvCommand::Delete { key } => format!("del {}", word(key)),
        KvCommand::CompareAndSwap { key, expected, new } => {
            let expected = expected.as_ref().map_or_else(|| "absent".to_owned(), value);
            let new = new.as_ref().map_or_else(|| "delete".to_owned(), value);
            format!("cas {} from {expected} to {new}", word(key))
        }
        KvCommand::Increment { key, delta } => {
            let delta = value(&Bytes::from(delta.to_string()));
            format!("increment {} by {delta}", word(key))
        }
    }
}

/// Writes bytes one to one; what has blanks, or would be taken for a word of ours, is quoted.
fn word(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        b"absent" | b"delete" => text::in_quotes(bytes).into(),
        _ if bytes.contains(&b' ') => text::in_quotes(bytes).into(),
        _ => text::quoted(bytes),
    }
}

fn apply(
    revision: u64,
    command: KvCommand,
    transaction: &mut Transaction<'_>,
) -> Result<KvResponse, StoreError> {
    if let Some(reason) = refusal(&command) {
        return Ok(KvResponse::Refused { reason });
    }
    let done = KvResponse::Done { revision };
    match command {
        KvCommand::Put { key, value } => {
            transaction.put(&key, stored(revision, &value));
            Ok(done)
        }
        KvCommand::Delete { key } => {
            if transaction.get(&key)?.is_none() {
                return Ok(KvResponse::NotFound);
            }
            transaction.delete(&key);
            Ok(done)
        }
        KvCommand::CompareAndSwap { key, expected, new } => {
            let present = transaction.get(&key)?;
            let actual = present.as_ref().map(|stored| stored.slice(8..));
            if actual != expected {
                return Ok(present.map_or(KvResponse::NotFound, |stored| {
                    let (revision, actual) = split(&stored);
                    KvResponse::Differs { revision, actual }
                }));
            }
            match new {
                Some(value) => transaction.put(&key, stored(revision, &value)),
                None => transaction.delete(&key),
            }
            Ok(done)
        }
        KvCommand::Increment { key, delta } => increment(revision, &key, delta, transaction),
    }
}

fn increment(
    revision: u64,
    key: &[u8],
    delta: i64,
    transaction: &mut Transaction<'_>,
) -> Result<KvResponse, StoreError> {
    let refused = |reason: &str| Ok(KvResponse::Refused { reason: reason.into() });
    let present = match transaction.get(key)? {
        Some(stored) => number(&split(&stored).1),
        None => Some(0),
    };
    let Some(present) = present else {
        return refused("the value is no whole number of 64 bits in decimal digits");
    };
    let Some(sum) = present.checked_add(delta) else {
        return refused("the sum has more than 64 bits");
    };
    let value = Bytes::from(sum.to_string());
    transaction.put(key, stored(revision, &value));
    Ok(KvResponse::Value { revision, value })
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Says why a command is refused, whatever the state: the same on every node.
fn refusal(command: &KvCommand) -> Option<String> {
    let (key, values) = match command {
        KvCommand::Put { key, value } => (key, [Some(value), None]),
        KvCommand::Delete { key } | KvCommand::Increment { key, delta: _ } => (key, [None, None]),
        KvCommand::CompareAndSwap { key, expected, new } => {
            (key, [expected.as_ref(), new.as_ref()])
        }
    };
    if key.is_empty() {
        return Some("the key is empty".into());
    }
    if key.len() > KEY_BYTES_MAX {
        let size = key.len();
        return Some(format!("the key has {size} bytes, at most {KEY_BYTES_MAX} are allowed"));
    }
    let large = values.into_iter().flatten().find(|value| value.len() > VALUE_BYTES_MAX)?;
    let size = large.len();
    Some(format!("the value has {size} bytes, at most {VALUE_BYTES_MAX} are allowed"))
}

/// What the store holds for a key: the revision, then the value.
fn stored(revision: u64, value: &Bytes) -> Bytes {
    let mut bytes = Vec::with_capacity(8 + value.len());
    bytes.extend_from_slice(&revision.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.into()
}

fn value(stored: &Bytes) -> KvResponse {
    let (revision, value) = split(stored);
    KvResponse::Value { revision, value }
}

fn split(stored: &Bytes) -> (u64, Bytes) {
    let revision = stored.first_chunk::<8>().expect("every stored value begins with a revision");
    (u64::from_le_bytes(*revision), stored.slice(8..))
}

fn list(
    view: &dyn View,
    prefix: &[u8],
    after: &[u8],
    limit: u32,
) -> Result<KvResponse, StoreError> {
    let limit = limit.clamp(1, PAGE_KEYS_MAX) as usize;
    // The first key behind `after` is `after` and a zero byte.
    let behind = |key: &[u8]| [key, &[0]].concat();
    let mut from = behind(after);
    if after.is_empty() || from.as_slice() < prefix {
        from = prefix.to_vec();
    }
    let end = end_of(prefix);
    let (mut items, mut bytes) = (Vec::new(), 0);
    loop {
        let wanted = CHUNK_KEYS.min(limit + 1 - items.len());
        let pairs = view.range(&from, end.as_deref(), wanted)?;
        let is_last = pairs.len() < wanted;
        for (key, stored) in pairs {
            let (revision, value) = split(&stored);
            bytes += key.len() + value.len();
            if items.len() == limit || (bytes > PAGE_BYTES_MAX && !items.is_empty()) {
                return Ok(KvResponse::Page { items, more: true });
            }
            from = behind(&key);
            items.push((key, value, revision));
        }
        if is_last {
            return Ok(KvResponse::Page { items, more: false });
        }
    }
}

/// Returns the first key behind all that begin with `prefix`; `None` if there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
