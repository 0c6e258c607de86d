//! Notices that this program stood still: nobody drove its runtime, or it was stopped. The other
//! sides of its connections have then given them up, perhaps, and their farewells wait unread in
//! the socket; a request that is written first is lost, with an outcome that nobody knows. A
//! machine whose clock stood still as well, as in a suspended laptop, is not noticed so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::Connection;
use tokio::time::{Instant, sleep};

use crate::limits::STANDSTILL_MAX;

/// How often a pulse beats.
const BEAT: Duration = Duration::from_millis(250);

/// A connection's own sense of time.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When it beat last; nothing once a beat was missed: what was lost meanwhile is not known.
    last: Mutex<Option<Instant>>,
}

impl Pulse {
    fn new() -> Self {
        Self { last: Mutex::new(Some(Instant::now())) }
    }

    /// Makes a pulse that beats for as long as a connection lives.
    pub(crate) fn of(connection: &Connection) -> Arc<Self> {
        let (pulse, connection) = (Arc::new(Self::new()), connection.clone());
        let beating = Arc::clone(&pulse);
        tokio::spawn(async move {
            while beating.beat() {
                tokio::select! {
                    _ = connection.closed() => return,
                    () = sleep(BEAT) => {}
                }
            }
        });
        pulse
    }

    /// Says whether the program has not stood still since the connection was made.
    pub(crate) fn is_steady(&self) -> bool {
        is_recent(&self.lock())
    }

    fn beat(&self) -> bool {
        let mut last = self.lock();
        *last = is_recent(&last).then(Instant::now);
        last.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(last: &Option<Instant>) -> bool {
    last.is_some_and(|last| last.elapsed() < STANDSTILL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_beat_that_was_missed_is_not_made_up_for() {
        let pulse = Pulse::new();
        for _ in 0..10 {
            advance(BEAT).await;
            assert!(pulse.is_steady() && pulse.beat());
        }
        advance(STANDSTILL_MAX).await;
        assert!(!pulse.is_steady(), "whoever looks before the next beat");
        assert!(!pulse.beat() && !pulse.is_steady() && !pulse.beat(), "and whoever looks later");
    }
}
