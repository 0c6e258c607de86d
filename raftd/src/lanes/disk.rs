//! The disk lane: a thread that owns the log store.
//!
//! It takes all writes that are queued, merges them in order into one batch with one sync, and
//! acknowledges the last: that is the group commit. A write that fails is not retried; nothing
//! after it is written or acknowledged.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use consensus::Write;

use crate::exit::Failure;
use crate::lanes::{Done, Reports, entry_bytes, guarded};

/// The most bytes of entries in one batch, beyond the first write.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The loop's end of the lane.
#[derive(Debug)]
pub(crate) struct Disk {
    jobs: Sender<Write>,
    thread: JoinHandle<()>,
}

impl Disk {
    /// Starts the thread; `write` makes a batch durable, all of it or nothing.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(crate) fn start(
        write: impl FnMut(&[Write]) -> Result<(), Failure> + Send + 'static,
        reports: Reports,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || guarded("disk", &reports, || run(write, &queue, &reports)))?;
        Ok(Self { jobs, thread })
    }

    /// Queues a write.
    pub(crate) fn write(&self, write: Write) {
        // The thread has ended only after a failure, which its report tells.
        let _ = self.jobs.send(write);
    }

    /// Ends the lane when all queued writes are done. The reports must still be received, or there
    /// must be room for them.
    pub(crate) fn finish(self) -> JoinHandle<()> {
        self.thread
    }
}

fn run(
    mut write: impl FnMut(&[Write]) -> Result<(), Failure>,
    queue: &Receiver<Write>,
    reports: &Reports,
) {
    let mut batch = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut bytes = write_bytes(&first);
        batch.push(first);
        while bytes < BATCH_BYTES_MAX
            && let Ok(next) = queue.try_recv()
        {
            bytes += write_bytes(&next);
            batch.push(next);
        }
        let (first, last) = (batch[0].id, batch[batch.len() - 1].id);
        let began = Instant::now();
        let report = match write(&batch) {
            Ok(()) => Done::Written { last, took: began.elapsed() },
            Err(failure) => Done::WriteFailed { first, failure },
        };
        batch.clear();
        let failed = matches!(report, Done::WriteFailed { .. });
        // A loop that is gone needs no report, and after a failure there is nothing to do.
        if reports.blocking_send(report).is_err() || failed {
            return;
        }
    }
}

fn write_bytes(write: &Write) -> usize {
    write.append.iter().map(entry_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::lanes::REPORTS_MAX;
    use consensus::WriteId;
    use std::sync::mpsc;

    fn write(id: u64) -> Write {
        Write {
            id: WriteId::new(id),
            hard_state: None,
            truncate_from: None,
            append: Vec::new(),
            compact_to: None,
        }
    }

    #[test]
    fn queued_writes_share_one_sync_and_the_last_is_acknowledged() {
        let (reports, mut reported) = tokio::sync::mpsc::channel(REPORTS_MAX);
        let (gate, open) = mpsc::channel::<()>();
        let (count, counted) = mpsc::channel();
        let slow = move |batch: &[Write]| {
            count.send(batch.len()).expect("the test listens");
            open.recv().expect("the test opens the gate");
            Ok(())
        };
        let disk = Disk::start(slow, reports).expect("a thread");
        disk.write(write(1));
        assert_eq!(counted.recv(), Ok(1), "the first is under way alone");
        for id in 2..=500 {
            disk.write(write(id));
        }
        gate.send(()).expect("the lane waits");
        assert_eq!(counted.recv(), Ok(499), "what gathered meanwhile goes together");
        gate.send(()).expect("the lane waits");
        for wanted in [1, 500] {
            let done = reported.blocking_recv().expect("a report");
            assert!(matches!(done, Done::Written { last, .. } if last == WriteId::new(wanted)));
        }
        disk.finish().join().expect("no panic");
    }

    #[test]
    fn nothing_is_written_after_a_failure() {
        let (reports, mut reported) = tokio::sync::mpsc::channel(REPORTS_MAX);
        let failing = |_: &[Write]| Err(Failure::new(Exit::Io, "no space"));
        let disk = Disk::start(failing, reports).expect("a thread");
        disk.write(write(1));
        let done = reported.blocking_recv().expect("a report");
        assert!(matches!(done, Done::WriteFailed { first, .. } if first == WriteId::new(1)));
        disk.write(write(2));
        assert!(reported.blocking_recv().is_none(), "the lane has ended");
        disk.finish().join().expect("no panic");
    }
}
