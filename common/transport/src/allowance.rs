//! What those outside may make a node keep in memory, in bytes: counted for each connection, for
//! all connections of one certificate, and for all of one kind together.
//!
//! What comes in waits until there is room ([`Intake`]): then a sender is held back by its own
//! connection, or by its own certificate's others, long before anybody else notices. What goes out
//! cannot wait, since a lane that has an answer does not ([`Outlet`]): an answer without room is
//! replaced by a short refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{FRAME_OVERHEAD_BYTES, INTAKE_BYTES_MAX};

/// The room for what comes in, from the narrowest to the widest.
#[derive(Clone, Debug)]
pub(crate) struct Intake(Arc<[Arc<Semaphore>]>);

/// Room that is taken; dropping it gives it back.
#[derive(Debug, Default)]
pub struct Held {
    /// The widest is given back last.
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Intake {
    /// Makes the room of one connection within wider ones, the narrowest first.
    pub(crate) fn within(wider: &[Arc<Semaphore>]) -> Self {
        let own = Arc::new(Semaphore::new(INTAKE_BYTES_MAX));
        Self(std::iter::once(own).chain(wider.iter().cloned()).collect())
    }

    /// Waits until a frame of so many bytes has room.
    pub(crate) async fn hold(&self, frame_bytes: usize) -> Held {
        let bytes = frame_bytes.saturating_add(FRAME_OVERHEAD_BYTES).min(INTAKE_BYTES_MAX);
        let bytes = u32::try_from(bytes).expect("the limit is below 4 GiB");
        let mut permits = Vec::with_capacity(self.0.len());
        for room in self.0.iter() {
            let permit = Arc::clone(room).acquire_many_owned(bytes).await;
            permits.push(permit.expect("it is never closed"));
        }
        Held { _permits: permits }
    }
}

/// The room for what goes out: what is taken counts in all wider ones as well.
#[derive(Debug)]
pub(crate) struct Outlet {
    used: AtomicUsize,
    bytes_max: usize,
    wider: Option<Arc<Outlet>>,
}

/// Bytes on their way out; dropping it gives their room back.
#[derive(Debug)]
pub(crate) struct Taken {
    outlet: Arc<Outlet>,
    bytes: usize,
}

impl Outlet {
    /// Makes room for so many bytes, within a wider one.
    pub(crate) fn new(bytes_max: usize, wider: Option<Arc<Outlet>>) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), bytes_max, wider })
    }

    /// Returns how much is taken, in bytes.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes room, if there is so much.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Taken> {
        self.add(bytes).then(|| Taken { outlet: Arc::clone(self), bytes })
    }

    fn add(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max
            && self.wider.as_ref().is_none_or(|wider| wider.add(bytes));
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(wider) = &self.wider {
            wider.give_back(bytes);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.outlet.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_further_out_takes_none_further_in() {
        let all = Outlet::new(10, None);
        let [one, other] = [8, 8].map(|max| Outlet::new(max, Some(Arc::clone(&all))));
        let first = one.take(6).expect("there is room");
        assert!(one.take(3).is_none(), "8 for one");
        assert!(other.take(5).is_none(), "10 for all");
        let second = other.take(4).expect("there is room");
        drop(first);
        assert!(one.take(8).is_none(), "4 of 10 are taken");
        drop(one.take(6).expect("there is room again"));
        drop(second);
        drop(one.take(8).expect("all is given back"));
    }

    #[tokio::test]
    async fn a_connection_waits_for_its_own_room_and_others_do_not() {
        let all = Arc::new(Semaphore::new(3 * INTAKE_BYTES_MAX));
        let [one, other] = [(); 2].map(|()| Intake::within(&[Arc::clone(&all)]));
        let held = one.hold(INTAKE_BYTES_MAX).await;
        let waits = one.hold(1);
        tokio::pin!(waits);
        assert!(futures_poll(waits.as_mut()).await.is_none());
        drop(other.hold(INTAKE_BYTES_MAX).await);
        drop(held);
        waits.await;
        assert_eq!(all.available_permits(), 3 * INTAKE_BYTES_MAX);
    }

    /// Looks once whether a future is ready.
    async fn futures_poll<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
