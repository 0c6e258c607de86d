//! Lines on their way to the log. Logging never waits for the sink: lines that find no room are
//! lost, and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may wait for the sink.
pub(super) const LINES_MAX: usize = 8_192;

/// Bytes of lines that may wait for the sink.
pub(super) const BYTES_MAX: usize = 4 << 20;

/// One part in so many of both is kept for errors and last words.
const PARTS: usize = 8;

/// How much a line matters when there is little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// It may be lost.
    Plain,
    /// An error, or what the process says last.
    Grave,
}

impl Weight {
    /// Returns that of a line of this level.
    pub(super) fn of(level: tracing::Level) -> Self {
        if level == tracing::Level::ERROR { Self::Grave } else { Self::Plain }
    }
}

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write this.
    Line(Vec<u8>),
    /// The time is up for which it wanted to wait.
    Due,
}

/// Lines in the sink's own format, from everybody who logs to the one thread that writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line is being written.
    busy: bool,
    /// Lines that found no room and were not spoken of yet.
    gap: u64,
    /// All lines that were lost.
    lost: u64,
}

impl Queue {
    /// Queues a line, or counts it as lost.
    pub(super) fn push(&self, weight: Weight, line: Vec<u8>) {
        let mut state = self.lock();
        let parts = if weight == Weight::Grave { PARTS } else { PARTS - 1 };
        let bytes = state.bytes + line.len();
        if state.lines.len() >= LINES_MAX / PARTS * parts || bytes > BYTES_MAX / PARTS * parts {
            state.gap += 1;
            state.lost += 1;
            return;
        }
        state.bytes = bytes;
        state.lines.push_back(line);
        self.filled.notify_one();
    }

    /// Waits for a line, until a moment; the line before counts as written.
    pub(super) fn next(&self, until: Instant) -> Next {
        let mut state = self.lock();
        state.busy = false;
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.busy = true;
                return Next::Line(line);
            }
            self.emptied.notify_all();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Due;
            }
            let waited = self.filled.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns how many lines found no room, once there is plenty of room again; each is returned
    /// once.
    pub(super) fn gap(&self) -> Option<u64> {
        let mut state = self.lock();
        let roomy = state.lines.len() <= LINES_MAX / 2 && state.bytes <= BYTES_MAX / 2;
        (roomy && state.gap > 0).then(|| std::mem::take(&mut state.gap))
    }

    /// Counts a line that was taken and could not be written.
    pub(super) fn note_lost(&self) {
        self.lock().lost += 1;
    }

    /// Returns how many lines were lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// Waits until all that is queued is written, no longer than this; says whether it is.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .emptied
            .wait_timeout_while(state, within, |state| state.busy || !state.lines.is_empty());
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &Queue, weight: Weight, line: &[u8], times: usize) {
        for _ in 0..times {
            queue.push(weight, line.to_vec());
        }
    }

    fn drain(queue: &Queue) -> usize {
        let now = Instant::now();
        std::iter::from_fn(|| (queue.next(now) != Next::Due).then_some(())).count()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_errors_find_room_for_longer() {
        let queue = Queue::default();
        fill(&queue, Weight::Plain, b"x", LINES_MAX);
        let lost = (LINES_MAX / PARTS) as u64;
        assert_eq!(queue.lost(), lost);
        fill(&queue, Weight::Grave, b"!", LINES_MAX / PARTS);
        assert_eq!(queue.lost(), lost, "there was room left for errors");
        fill(&queue, Weight::Grave, b"!", 1);
        assert_eq!(queue.lost(), lost + 1, "and not for ever");
        assert_eq!(queue.gap(), None, "it is said when there is room to say it");
        assert_eq!(drain(&queue), LINES_MAX);
        assert_eq!(queue.gap(), Some(lost + 1));
        assert_eq!(queue.gap(), None, "once");
        assert_eq!(queue.lost(), lost + 1);
    }

    #[test]
    fn the_bytes_are_bounded_as_well_as_the_lines() {
        let queue = Queue::default();
        let line = vec![b'x'; BYTES_MAX / 4];
        fill(&queue, Weight::Plain, &line, 9);
        assert_eq!((drain(&queue), queue.lost()), (3, 6));
        fill(&queue, Weight::Plain, &line, 1);
        assert_eq!(drain(&queue), 1, "what was taken makes room");
    }

    #[test]
    fn a_flush_ends_when_all_is_written_or_its_time_is_up() {
        let queue = Queue::default();
        assert!(queue.flush(Duration::ZERO), "nothing waits");
        fill(&queue, Weight::Plain, b"x", 1);
        assert!(!queue.flush(Duration::from_millis(1)), "nobody writes");
        let now = Instant::now();
        assert_eq!(queue.next(now), Next::Line(b"x".to_vec()));
        assert!(!queue.flush(Duration::from_millis(1)), "it is being written");
        assert_eq!(queue.next(now), Next::Due);
        assert!(queue.flush(Duration::ZERO));
    }
}
