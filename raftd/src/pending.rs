//! Clients that wait for an answer: a slab with names that are never used twice.

use consensus::{RequestId, Timestamp};

use crate::lanes::query::Part;

/// Bits of a name that tell the slot; the others count how often the slot was used.
const SLOT_BITS: u32 = 20;

/// Names stay below this bit, which the replica uses for itself.
const COUNT_MAX: u64 = (1 << (63 - SLOT_BITS)) - 1;

/// Waiting clients, at most as many as were agreed on.
#[derive(Debug)]
pub(crate) struct Pending<R> {
    slots: Vec<Slot<R>>,
    free: Vec<u32>,
    limit: usize,
}

#[derive(Debug)]
struct Slot<R> {
    count: u64,
    waiting: Option<Waiting<R>>,
}

/// A client that waits.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    /// Where the answer goes.
    pub(crate) responder: R,
    /// When the request arrived.
    pub(crate) since: Timestamp,
    /// Which part of the state a question is about.
    pub(crate) part: Part,
}

impl<R> Pending<R> {
    /// Makes room for `limit` clients, at most 2^20.
    pub(crate) fn new(limit: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit: limit.min(1 << SLOT_BITS) as usize }
    }

    /// Names a client's request, about one part of the state; gives the responder back if there is
    /// no room.
    pub(crate) fn insert(
        &mut self,
        part: Part,
        since: Timestamp,
        responder: R,
    ) -> Result<RequestId, R> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.limit => {
                self.slots.push(Slot { count: 0, waiting: None });
                u32::try_from(self.slots.len() - 1).expect("the limit is below 2^32")
            }
            None => return Err(responder),
        };
        let entry = &mut self.slots[slot as usize];
        entry.count = (entry.count + 1) & COUNT_MAX;
        entry.waiting = Some(Waiting { responder, since, part });
        Ok(RequestId::new(entry.count << SLOT_BITS | u64::from(slot)))
    }

    /// Says whether there is room for so many more.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        self.count() + more <= self.limit
    }

    /// Returns how many wait.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes the client that waits under this name, if it still does.
    pub(crate) fn remove(&mut self, request: RequestId) -> Option<Waiting<R>> {
        let slot = u32::try_from(request.get() & ((1 << SLOT_BITS) - 1)).ok()?;
        let entry = self.slots.get_mut(slot as usize)?;
        if entry.count != request.get() >> SLOT_BITS {
            return None;
        }
        let waiting = entry.waiting.take()?;
        self.free.push(slot);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_answers_once_and_is_not_used_again() {
        let mut pending = Pending::new(4);
        let first = pending.insert(Part::Machine, Timestamp::ZERO, "a").expect("room");
        assert_eq!(pending.remove(first).map(|waiting| waiting.responder), Some("a"));
        assert!(pending.remove(first).is_none());
        let second = pending.insert(Part::Machine, Timestamp::ZERO, "b").expect("room");
        assert_ne!(first, second, "the slot is the same, the name is not");
        assert!(pending.remove(first).is_none());
        assert!(pending.remove(second).is_some());
    }

    #[test]
    fn beyond_the_limit_the_responder_comes_back() {
        let mut pending = Pending::new(2);
        let first = pending.insert(Part::Machine, Timestamp::ZERO, 1).expect("room");
        pending.insert(Part::Machine, Timestamp::ZERO, 2).expect("room");
        assert_eq!(pending.insert(Part::Machine, Timestamp::ZERO, 3), Err(3));
        pending.remove(first).expect("it waits");
        assert!(pending.insert(Part::Machine, Timestamp::ZERO, 3).is_ok());
    }

    #[test]
    fn names_leave_the_highest_bit_to_the_replica() {
        let mut pending = Pending::new(1);
        pending.slots.push(Slot { count: COUNT_MAX - 1, waiting: None });
        pending.free.push(0);
        let name = pending.insert(Part::Machine, Timestamp::ZERO, ()).expect("room");
        assert!(name.get() < 1 << 63);
        pending.remove(name).expect("it waits");
        assert!(pending.insert(Part::Machine, Timestamp::ZERO, ()).expect("room").get() < 1 << 63);
    }
}
