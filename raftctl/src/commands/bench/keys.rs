//! The keys of a bench: made for those who read, and removed in the end.

use bytes::Bytes;
use client::{Client, ClientError};
use state_machine::KvCommand as Change;
use tokio::task::JoinSet;

use crate::codes;
use crate::output::Output;
use crate::output::progress::Progress;
use crate::report::{Report, Result};

/// What the bench's keys begin with.
pub(super) const PREFIX: &str = "raftctl-bench/";

/// Puts or deletes in a message while the bench's keys are made or removed, and such messages under
/// way.
const PREPARE_BATCH: usize = 256;
const PREPARE_IN_FLIGHT: usize = 4;

/// Removes the keys of the bench; where that is impossible, it is said that they are left.
///
/// # Errors
/// If the cluster does not take it.
pub(super) async fn remove(output: &Output, client: &Client, count: u32) -> Result<()> {
    let delete = |key| Change::Delete { key };
    let removed = for_each(output, "removing keys", client, count, delete).await;
    if removed.is_err() {
        output.remark(&format!(
            "warning: keys \"{PREFIX}..\" may be left: a bench with --keys {count} removes them"
        ));
    }
    removed
}

/// Makes the keys that reads will find, or one of them, to know that the cluster takes writes.
///
/// # Errors
/// If it does not.
pub(super) async fn prepare(
    output: &Output,
    client: &Client,
    (count, value): (u32, &Bytes),
    reads: bool,
) -> Result<()> {
    let put = |key| Change::Put { key, value: value.clone() };
    if reads {
        return for_each(output, "writing keys", client, count, put).await;
    }
    client.propose(put(key(0)).encode()).await.map(|_| ()).map_err(Report::from)
}

/// Changes every key of the bench, many at a time.
async fn for_each(
    output: &Output,
    what: &str,
    client: &Client,
    count: u32,
    change: impl Fn(Bytes) -> Change,
) -> Result<()> {
    let mut progress = Progress::new(output, what, count.into());
    let mut flight: JoinSet<std::result::Result<(), ClientError>> = JoinSet::new();
    for first in (0..count).step_by(PREPARE_BATCH) {
        if flight.len() >= PREPARE_IN_FLIGHT
            && let Some(joined) = flight.join_next().await
        {
            settled(joined)?;
        }
        let numbers = (first..count).take(PREPARE_BATCH);
        let commands = numbers.map(|number| change(key(number)).encode()).collect();
        let client = client.clone();
        flight.spawn(async move {
            client.propose_all(commands).await.into_iter().try_for_each(|one| one.map(drop))
        });
        progress.set(first.into(), "");
    }
    while let Some(joined) = flight.join_next().await {
        settled(joined)?;
    }
    progress.finish();
    Ok(())
}

fn settled(
    joined: std::result::Result<std::result::Result<(), ClientError>, tokio::task::JoinError>,
) -> Result<()> {
    match joined {
        Ok(done) => done.map_err(Report::from),
        Err(error) => Err(Report::new(codes::INTERNAL, error.to_string())),
    }
}

/// Returns a key of the bench.
pub(super) fn key(number: u32) -> Bytes {
    format!("{PREFIX}{number:08}").into()
}
