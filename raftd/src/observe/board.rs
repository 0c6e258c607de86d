//! Where a node's loop puts up what it does, for others to read. They never ask the loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::NodeStatus;

use crate::observe::counted::Counted;

/// What a node shows; copies share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    counted: Arc<Counted>,
    /// There is a port at which somebody may read it.
    is_read: Arc<AtomicBool>,
    posted: Arc<Mutex<Posted>>,
}

/// What the loop has posted last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Posted {
    /// When the loop turned last; `None` before it first does.
    pub(crate) turned: Option<Instant>,
    /// In a few words, what the node does.
    pub(crate) line: String,
    /// The node is stopping.
    pub(crate) is_stopping: bool,
    /// Its state; `None` before there is any.
    pub(crate) report: Option<Arc<Report>>,
}

/// A node's state.
#[derive(Debug)]
pub(crate) struct Report {
    /// When it was so.
    pub(crate) at: Instant,
    /// What status tells.
    pub(crate) status: NodeStatus,
    /// What waits, and takes memory.
    pub(crate) load: Load,
}

/// What waits in a node, and what takes memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// Bytes of entries in memory, for peers and the state machine.
    pub(crate) log_cache_bytes: usize,
    /// Bytes of commands that are proposed and not applied.
    pub(crate) unapplied_bytes: usize,
    /// What users, operators and nodes make the node keep, in bytes: of what came in, and of
    /// answers.
    pub(crate) kept: Vec<(&'static str, usize, usize)>,
    /// Writes and questions that are admitted and not answered.
    pub(crate) waiting: (usize, usize),
    /// Requests of any kind that are admitted and not answered.
    pub(crate) requests: usize,
    /// Connections, by kind.
    pub(crate) connections: Vec<(String, usize)>,
    /// How often all of log and state is read, in seconds.
    pub(crate) scrub_interval_s: u64,
    /// Inodes that are free on the file system with the data; `None` if it has as many as one
    /// likes.
    pub(crate) free_inodes: Option<u64>,
    /// The state's size on the disk.
    pub(crate) state_bytes: u64,
}

impl Board {
    /// Returns what is counted.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Returns the same, for another thread.
    pub(crate) fn counted_shared(&self) -> Arc<Counted> {
        Arc::clone(&self.counted)
    }

    /// Says whether anybody may read what is posted.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }

    /// Somebody may read it from now on.
    pub(crate) fn will_be_read(&self) {
        self.is_read.store(true, Ordering::Relaxed);
    }

    /// The loop has turned, and does this.
    pub(crate) fn turned(&self, line: &str) {
        if self.is_read() {
            let mut posted = self.lock();
            posted.turned = Some(Instant::now());
            line.clone_into(&mut posted.line);
        }
    }

    /// The node is about to stop.
    pub(crate) fn stopping(&self) {
        self.lock().is_stopping = true;
    }

    /// Posts the state, if anybody may read it.
    pub(crate) fn post(&self, report: impl FnOnce() -> (NodeStatus, Load)) {
        if self.is_read() {
            let (status, load) = report();
            let report = Arc::new(Report { at: Instant::now(), status, load });
            let before = self.lock().report.replace(report);
            drop(before);
        }
    }

    /// Returns what was posted last.
    pub(crate) fn read(&self) -> Posted {
        self.lock().clone()
    }

    /// Held for a few instructions only. A panic elsewhere leaves it as it was.
    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
