//! Which threads still use the files of a node. They may outlive its loop for a moment, and the
//! data directory must not be opened again before they have ended.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};

/// Held by whatever uses the files.
#[derive(Clone)]
pub(crate) struct Alive {
    held: Vec<Sender<()>>,
}

/// Waits for all that hold an [`Alive`].
pub(crate) struct Gone(Receiver<()>);

impl Alive {
    /// Returns the first one, and who waits for it and all its copies.
    pub(crate) fn new() -> (Self, Gone) {
        let (held, gone) = channel();
        (Self { held: vec![held] }, Gone(gone))
    }

    /// Returns one for a part of this one's life, and who waits for that part.
    pub(crate) fn part(&self) -> (Self, Gone) {
        let (mut part, gone) = Self::new();
        part.held.extend(self.held.iter().cloned());
        (part, gone)
    }

    /// Does what may wait for the disk on a thread of its own. It is waited for, also where nobody
    /// asks for what it returns any more, and until that is dropped.
    ///
    /// # Errors
    /// If it panics.
    pub(crate) async fn try_aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let alive = self.clone();
        let (done, _alive) = spawn_blocking(move || (work(), alive)).await?;
        Ok(done)
    }

    /// The same; a panic goes on here.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let done = self.try_aside(work).await;
        done.unwrap_or_else(|ended| resume_unwind(ended.into_panic()))
    }
}

impl Gone {
    /// Waits until all are gone; `false` if some are not within this time.
    pub(crate) fn wait(&self, within: Duration) -> bool {
        self.0.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_waited_for_alone_and_with_the_whole() {
        let (alive, all_gone) = Alive::new();
        let (part, part_gone) = alive.part();
        drop(alive);
        assert!(!all_gone.wait(Duration::from_millis(1)), "the part belongs to it");
        drop(part);
        assert!(part_gone.wait(Duration::from_secs(60)));
        assert!(all_gone.wait(Duration::from_secs(60)));
    }

    #[test]
    fn copies_are_waited_for_and_not_for_ever() {
        let (alive, gone) = Alive::new();
        let copy = alive.clone();
        drop(alive);
        assert!(!gone.wait(Duration::from_millis(1)));
        drop(copy);
        assert!(gone.wait(Duration::from_secs(60)));
    }
    #[tokio::test]
    async fn what_is_done_aside_is_waited_for_also_when_nobody_wants_it_any_more() {
        let (alive, gone) = Alive::new();
        let (go_on, waits) = channel::<()>();
        let done = alive.aside(move || waits.recv());
        assert!(tokio::time::timeout(Duration::from_millis(1), done).await.is_err());
        drop(alive);
        assert!(!gone.wait(Duration::from_millis(1)));
        go_on.send(()).expect("it waits");
        assert!(gone.wait(Duration::from_secs(60)));
    }
}
