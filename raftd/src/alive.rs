//! Which threads still use the files of a node. They may outlive its loop for a moment, and the
//! data directory must not be opened again before they have ended.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

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
}
