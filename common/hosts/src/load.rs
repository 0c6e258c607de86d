//! Writes, one after the other in several clients, while something happens to the cluster.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Clock, Running, start};
use crate::failure::{Failure, Result};
use crate::operator::Operator;

/// How many clients write at a time, on so many connections.
const CLIENTS: &str = "bench --writes --clients 16 --connections 4 --keys 1000 --duration 24h";

/// How long the bench takes to end, and to delete its keys.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// Writes that go on.
pub(crate) struct Load(Running);

/// What became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writes {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    /// The slowest, in milliseconds.
    pub(crate) slowest_ms: u64,
}

impl Load {
    /// Begins to write.
    ///
    /// # Errors
    /// If raftctl cannot be started.
    pub(crate) fn begin(operator: &Operator) -> Result<Self> {
        start(&mut operator.command(&format!("-o json --timeout 30s {CLIENTS}"))).map(Self)
    }

    /// Ends it, and returns what came of all writes.
    ///
    /// # Errors
    /// If it does not say.
    pub(crate) fn end(self, clock: &Clock) -> Result<Writes> {
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            // If it has ended already, it says why.
            let _ = kill_process(pid, Signal::INT);
        }
        let said = self.0.end(clock, END_PATIENCE)?;
        read(&said.out).ok_or_else(|| Failure::Wrong(format!("the load: {}", said.all().trim())))
    }
}

/// Reads the bench's answer.
fn read(json: &str) -> Option<Writes> {
    let answer: serde_json::Value = serde_json::from_str(json).ok()?;
    let writes = &answer["data"]["operations"][0];
    let number = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    Some(Writes {
        done: number(&writes["count"])?,
        failed: number(&writes["failed"])?,
        unknown: number(&writes["unknown"])?,
        slowest_ms: number(&writes["maxUs"])? / 1_000,
    })
}
