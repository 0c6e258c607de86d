//! The key/value machine, as its manual describes it.

use bytes::Bytes;
use consensus::LogIndex;
use state_machine::{KvCommand, KvQuery, KvResponse};

use super::past::Past;

/// What each key had at each place of the log, and since when.
#[derive(Debug, Default)]
pub(super) struct Keys(Past<Bytes, (u64, Bytes)>);

impl Keys {
    /// Does what a command says, which stands at `index`. Reasons are left empty.
    pub(super) fn apply(&mut self, index: LogIndex, command: KvCommand) -> KvResponse {
        let revision = index.get();
        match command {
            KvCommand::Put { key, .. }
            | KvCommand::Delete { key }
            | KvCommand::CompareAndSwap { key, .. }
            | KvCommand::Increment { key, .. }
                if key.is_empty() =>
            {
                refused()
            }
            KvCommand::Put { key, value } => self.changed(index, key, Some(value)),
            KvCommand::Delete { key } => match self.0.get(&key) {
                Some(_) => self.changed(index, key, None),
                None => KvResponse::NotFound,
            },
            KvCommand::CompareAndSwap { key, expected, new } => match self.0.get(&key).cloned() {
                None if expected.is_none() => self.changed(index, key, new),
                None => KvResponse::NotFound,
                Some((_, actual)) if expected.as_ref() == Some(&actual) => {
                    self.changed(index, key, new)
                }
                Some((revision, actual)) => KvResponse::Differs { revision, actual },
            },
            KvCommand::Increment { key, delta } => {
                let present = match self.0.get(&key) {
                    Some((_, value)) => String::from_utf8_lossy(value).parse::<i64>().ok(),
                    None => Some(0),
                };
                let Some(sum) = present.and_then(|present| present.checked_add(delta)) else {
                    return refused();
                };
                let value = Bytes::from(sum.to_string());
                self.changed(index, key, Some(value.clone()));
                KvResponse::Value { revision, value }
            }
        }
    }

    fn changed(&mut self, index: LogIndex, key: Bytes, value: Option<Bytes>) -> KvResponse {
        let revision = index.get();
        self.0.set(index, key, value.map(|value| (revision, value)));
        KvResponse::Done { revision }
    }

    /// Answers a question behind an entry.
    pub(super) fn answer(&self, index: LogIndex, query: &KvQuery) -> KvResponse {
        match query {
            KvQuery::Get { key } => match self.0.get_at(index, key).cloned() {
                Some((revision, value)) => KvResponse::Value { revision, value },
                None => KvResponse::NotFound,
            },
            KvQuery::List { prefix, after, limit } => {
                let found = self.at(index).filter(|(key, ..)| {
                    key.starts_with(prefix) && (after.is_empty() || *key > *after)
                });
                let mut items: Vec<_> = found.collect();
                let limit = usize::try_from(*limit).expect("small");
                let more = items.len() > limit;
                items.truncate(limit);
                KvResponse::Page { items, more }
            }
        }
    }

    /// Returns keys, values and revisions behind an entry, in order.
    pub(super) fn at(&self, index: LogIndex) -> impl Iterator<Item = (Bytes, Bytes, u64)> {
        let whole = |(key, (revision, value)): (&Bytes, &(u64, Bytes))| {
            (key.clone(), value.clone(), *revision)
        };
        self.0.at(index).map(whole)
    }
}

fn refused() -> KvResponse {
    KvResponse::Refused { reason: String::new() }
}
