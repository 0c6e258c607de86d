//! The queue of messages with entries for a peer, and how many of them are still on this side.
//!
//! Streams lose nothing as long as their connection lives. Where a way carries less than is sent,
//! whoever sends must know that a message is late and not lost: a copy would only make all that
//! follows later.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{SendStream, WriteError};
use tokio::sync::{mpsc, watch};

use crate::stream::pump;

/// The end that takes messages.
pub(crate) struct Lane {
    queue: mpsc::Sender<Vec<Bytes>>,
    unsent: Arc<watch::Sender<usize>>,
}

/// The end that writes them.
pub(crate) struct Outlet {
    queue: mpsc::Receiver<Vec<Bytes>>,
    unsent: Arc<watch::Sender<usize>>,
}

/// Makes a lane for so many messages.
pub(crate) fn lane(messages_max: usize) -> (Lane, Outlet) {
    let (sender, receiver) = mpsc::channel(messages_max);
    let unsent = Arc::new(watch::Sender::new(0));
    (Lane { queue: sender, unsent: Arc::clone(&unsent) }, Outlet { queue: receiver, unsent })
}

impl Lane {
    /// Queues a message; `false` if the queue is full.
    pub(crate) fn send(&self, chunks: Vec<Bytes>) -> bool {
        // First, for the other end may be faster.
        self.unsent.send_modify(|unsent| *unsent += 1);
        let queued = self.queue.try_send(chunks).is_ok();
        if !queued {
            leave(&self.unsent, 1);
        }
        queued
    }

    /// Says whether messages wait, or are being written.
    pub(crate) fn has_unsent(&self) -> bool {
        *self.unsent.borrow() > 0
    }

    /// Waits until no message is left, since all were written or their connection has ended.
    pub(crate) fn all_sent(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut unsent = self.unsent.subscribe();
        // Without a lane nothing waits in it.
        async move { drop(unsent.wait_for(|unsent| *unsent == 0).await) }
    }
}

impl Outlet {
    /// Writes everything that is queued until the stream breaks.
    pub(crate) async fn pump(&mut self, stream: &mut SendStream) -> Result<(), WriteError> {
        pump(&mut self.queue, stream, |messages| leave(&self.unsent, messages)).await
    }

    /// Drops what is queued.
    pub(crate) fn clear(&mut self) {
        while self.queue.try_recv().is_ok() {}
        self.unsent.send_replace(0);
    }
}

fn leave(unsent: &watch::Sender<usize>, messages: usize) {
    unsent.send_modify(|unsent| *unsent = unsent.saturating_sub(messages));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_waits_until_it_is_dropped_and_a_refused_one_does_not() {
        let (lane, mut outlet) = lane(1);
        assert!(!lane.has_unsent());
        assert!(lane.send(vec![Bytes::from_static(b"entries")]));
        assert!(!lane.send(vec![Bytes::from_static(b"more")]), "it is full");
        assert!(lane.has_unsent());
        let all_sent = lane.all_sent();
        outlet.clear();
        assert!(!lane.has_unsent());
        all_sent.await;
    }
}
