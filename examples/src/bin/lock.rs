//! A distributed lock with leases: `acquire NAME OWNER SECONDS`, `release NAME OWNER`; a question
//! is a lock's name.
//!
//! Time is cluster time: it is the same on every node and never moves back, so that all agree
//! whether a lease has ended. The answer to a successful `acquire` is a fencing token, the log
//! index of the command: whatever the lock protects must refuse a smaller token than it has seen,
//! for the owner may have been paused for longer than its lease.
//!
//! ```text
//! raftctl dev --raftd target/release/lock --machine lock
//! ```

use std::process::ExitCode;

use raftd::machine::{
    Bytes, ClusterTime, Command, Response, StoreError, StoredMachine, Transaction, View,
};

struct Lock;

impl StoredMachine for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let text = String::from_utf8_lossy(command.data);
        let (now_s, next_s) = seconds(command.time);
        let words: Vec<&str> = text.split(' ').collect();
        let held = |transaction: &Transaction<'_>, name: &str| -> Result<_, StoreError> {
            let record = transaction.get(name.as_bytes())?;
            Ok(record.and_then(|record| parse(&record)).filter(|(_, until, _)| *until > now_s))
        };
        let answer = match words[..] {
            ["acquire", name, owner, seconds] => {
                match (held(transaction, name)?, seconds.parse()) {
                    (_, Err(_)) => "refused: SECONDS is not a number".to_owned(),
                    (Some((other, until, _)), Ok(_)) if other != owner => {
                        format!("held by {other} for {} s", until - now_s)
                    }
                    // Whoever holds it renews the lease and keeps the token.
                    (holder, Ok(seconds)) => {
                        let token = holder.map_or(command.index.get(), |(_, _, token)| token);
                        let until = next_s.saturating_add(seconds);
                        let record = format!("{owner} {until} {token}");
                        transaction.put(name.as_bytes(), Bytes::from(record));
                        format!("acquired {token}")
                    }
                }
            }
            ["release", name, owner] => match held(transaction, name)? {
                Some((holder, _, _)) if holder == owner => {
                    transaction.delete(name.as_bytes());
                    "released".to_owned()
                }
                Some((other, _, _)) => format!("refused: held by {other}"),
                None => "released".to_owned(),
            },
            _ => "refused: acquire NAME OWNER SECONDS, or release NAME OWNER".to_owned(),
        };
        Ok(answer.into())
    }

    /// Answers with owner, end of the lease in seconds of cluster time, and token.
    fn query(&self, view: &dyn View, name: &[u8]) -> Result<Response, StoreError> {
        Ok(view.get(name)?.unwrap_or_default())
    }

    /// A command is a line of text without secrets: the log shows it as it is.
    fn describe(&self, command: &[u8], _values: bool) -> Option<String> {
        Some(String::from_utf8_lossy(command).into_owned())
    }
}

/// Returns the second of a time, and the first one that does not begin before it: a lease ends up
/// to a second late, and never early.
fn seconds(time: ClusterTime) -> (u64, u64) {
    const SECOND_NS: u64 = 1_000_000_000;
    (time.get() / SECOND_NS, time.get().div_ceil(SECOND_NS))
}

fn parse(record: &[u8]) -> Option<(String, u64, u64)> {
    let text = std::str::from_utf8(record).ok()?;
    let [owner, until, token] = text.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    Some((owner.to_owned(), until.parse().ok()?, token.parse().ok()?))
}

fn main() -> ExitCode {
    raftd::main(Lock)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raftd::log::{Entry, EntryId, LogIndex, Payload, Term};
    use state_machine::{Envelope, Host, MemoryStore};

    use super::*;

    #[test]
    fn a_lease_does_not_end_early() {
        let mut host = Host::open(MemoryStore::new(), Arc::new(Lock)).expect("it is empty");
        let mut answer = |index, ms: u64, line: &'static str| {
            let command = Envelope::sessionless(Bytes::from_static(line.as_bytes())).encode();
            let id = EntryId { term: Term::new(1), index: LogIndex::new(index) };
            let time = ClusterTime::new(ms * 1_000_000);
            let entry = Entry::new(id, time, Payload::Command(command));
            host.apply(&[entry]).expect("memory does not fail").remove(0).1
        };
        assert_eq!(answer(1, 10_900, "acquire l a 1"), "acquired 1");
        assert_eq!(answer(2, 11_500, "acquire l b 1"), "held by a for 1 s");
        assert_eq!(answer(3, 12_000, "acquire l b 1"), "acquired 3");
    }
}
