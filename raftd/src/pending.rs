//! Clients that wait for an answer: a slab with names that are never used twice.

use std::collections::HashMap;

use consensus::{RequestId, Term, Timestamp};

use crate::lanes::query::Part;

/// Bits of a name that tell the slot; the others count how often the slot was used.
const SLOT_BITS: u32 = 20;

/// Requests that are kept for operators, beyond those that anybody may have: who fills these would
/// keep away the very command that ends it.
pub(crate) const OPERATOR_REQUESTS_MAX: u32 = 64;

/// Names stay below this bit, which the replica uses for itself.
const COUNT_MAX: u64 = (1 << (63 - SLOT_BITS)) - 1;

/// Waiting clients, at most as many as were agreed on.
#[derive(Debug)]
pub(crate) struct Pending<R> {
    slots: Vec<Slot<R>>,
    free: Vec<u32>,
    /// The most of all, and the most of all but operators.
    limit: usize,
    common: usize,
    /// The term in which this node leads, if it does.
    leads: Option<Term>,
    /// Under which names commands of sessions wait that were proposed in that term.
    numbered: HashMap<Numbered, RequestId>,
}

/// A command that has the effect of one however often it is sent: whose, the session, and its
/// number there (§6.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Numbered {
    pub(crate) owner: String,
    pub(crate) session: u64,
    pub(crate) sequence: u64,
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
    /// The command that it waits for, if that is one of a session.
    numbered: Option<Numbered>,
}

impl<R> Pending<R> {
    /// Makes room for `limit` clients and for so many operators more, at most 2^20 in all.
    pub(crate) fn new(limit: u32, operators: u32) -> Self {
        let within = |count: u32| count.min(1 << SLOT_BITS) as usize;
        let (limit, common) = (within(limit.saturating_add(operators)), within(limit));
        let (slots, free, numbered) = (Vec::new(), Vec::new(), HashMap::new());
        Self { slots, free, limit, common, leads: None, numbered }
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
        entry.waiting = Some(Waiting { responder, since, part, numbered: None });
        Ok(RequestId::new(entry.count << SLOT_BITS | u64::from(slot)))
    }

    /// Says in which term this node leads, if it does. What was proposed in another one is not
    /// waited for by who asks again: who leads now knows what became of it, and this node may not
    /// for as long as it is cut off, or its disk hangs.
    pub(crate) fn lead(&mut self, term: Option<Term>) {
        if self.leads != term {
            self.leads = term;
            self.numbered.clear();
        }
    }

    /// Lets a client wait in the place of the one that waits for the same command, and returns that
    /// one; gives the responder back if there is none.
    pub(crate) fn take_over(&mut self, command: &Numbered, responder: R) -> Result<R, R> {
        let Some(request) = self.numbered.get(command) else {
            return Err(responder);
        };
        match self.waiting(*request) {
            Some(waiting) => Ok(std::mem::replace(&mut waiting.responder, responder)),
            None => Err(responder),
        }
    }

    /// Notes which command of a session a client waits for.
    pub(crate) fn number(&mut self, request: RequestId, command: Numbered) {
        if let Some(waiting) = self.waiting(request) {
            waiting.numbered = Some(command.clone());
            self.numbered.insert(command, request);
        }
    }

    fn waiting(&mut self, request: RequestId) -> Option<&mut Waiting<R>> {
        let slot = self.slots.get_mut(slot_of(request))?;
        slot.waiting.as_mut().filter(|_| slot.count == request.get() >> SLOT_BITS)
    }

    /// Says whether there is room for so many more of an operator, or of somebody else.
    pub(crate) fn has_room_for(&self, more: usize, of_operator: bool) -> bool {
        let limit = if of_operator { self.limit } else { self.common };
        self.count() + more <= limit
    }

    /// Returns how many wait.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes the client that waits under this name, if it still does.
    pub(crate) fn remove(&mut self, request: RequestId) -> Option<Waiting<R>> {
        let slot = slot_of(request);
        let entry = self.slots.get_mut(slot)?;
        if entry.count != request.get() >> SLOT_BITS {
            return None;
        }
        let waiting = entry.waiting.take()?;
        self.free.push(u32::try_from(slot).expect("the limit is below 2^32"));
        if let Some(command) = &waiting.numbered
            && self.numbered.get(command) == Some(&request)
        {
            self.numbered.remove(command);
        }
        Some(waiting)
    }
}

fn slot_of(request: RequestId) -> usize {
    usize::try_from(request.get() & ((1 << SLOT_BITS) - 1)).expect("it has few bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_answers_once_and_is_not_used_again() {
        let mut pending = Pending::new(4, 0);
        let first = pending.insert(Part::Machine, Timestamp::ZERO, "a").expect("room");
        assert_eq!(pending.remove(first).map(|waiting| waiting.responder), Some("a"));
        assert!(pending.remove(first).is_none());
        let second = pending.insert(Part::Machine, Timestamp::ZERO, "b").expect("room");
        assert_ne!(first, second, "the slot is the same, the name is not");
        assert!(pending.remove(first).is_none());
        assert!(pending.remove(second).is_some());
    }

    #[test]
    fn a_command_that_is_sent_again_waits_in_the_same_place() {
        let command =
            |owner: &str, sequence| Numbered { owner: owner.to_owned(), session: 7, sequence };
        let mut pending = Pending::new(4, 0);
        assert_eq!(pending.take_over(&command("web", 1), "early"), Err("early"));
        let first = pending.insert(Part::Machine, Timestamp::ZERO, "a").expect("room");
        pending.number(first, command("web", 1));
        for other in [command("web", 2), command("eve", 1)] {
            assert_eq!(pending.take_over(&other, "other"), Err("other"));
        }
        assert_eq!(pending.take_over(&command("web", 1), "b"), Ok("a"));
        assert_eq!(pending.count(), 1);
        assert_eq!(pending.remove(first).map(|waiting| waiting.responder), Some("b"));
        assert_eq!(pending.take_over(&command("web", 1), "late"), Err("late"));
        assert!(pending.numbered.is_empty());
    }

    #[test]
    fn nobody_waits_in_a_place_of_another_leadership() {
        let command = || Numbered { owner: "web".to_owned(), session: 7, sequence: 1 };
        let mut pending = Pending::new(4, 0);
        pending.lead(Some(Term::new(2)));
        let first = pending.insert(Part::Machine, Timestamp::ZERO, "a").expect("room");
        pending.number(first, command());
        pending.lead(Some(Term::new(2)));
        assert_eq!(pending.take_over(&command(), "b"), Ok("a"));
        for next in [None, Some(Term::new(4))] {
            pending.lead(next);
            assert_eq!(pending.take_over(&command(), "c"), Err("c"));
        }
        // Proposed once more, it is found there; that the first one ends changes nothing.
        let second = pending.insert(Part::Machine, Timestamp::ZERO, "c").expect("room");
        pending.number(second, command());
        assert_eq!(pending.remove(first).map(|waiting| waiting.responder), Some("b"));
        assert_eq!(pending.take_over(&command(), "d"), Ok("c"));
    }

    #[test]
    fn beyond_the_limit_the_responder_comes_back() {
        let mut pending = Pending::new(2, 0);
        let first = pending.insert(Part::Machine, Timestamp::ZERO, 1).expect("room");
        pending.insert(Part::Machine, Timestamp::ZERO, 2).expect("room");
        assert_eq!(pending.insert(Part::Machine, Timestamp::ZERO, 3), Err(3));
        pending.remove(first).expect("it waits");
        assert!(pending.insert(Part::Machine, Timestamp::ZERO, 3).is_ok());
    }

    #[test]
    fn some_room_is_kept_for_operators() {
        let mut pending = Pending::new(2, 1);
        assert!(pending.has_room_for(2, false) && !pending.has_room_for(3, false));
        for number in 0..2 {
            pending.insert(Part::Machine, Timestamp::ZERO, number).expect("room");
        }
        assert!(!pending.has_room_for(1, false) && pending.has_room_for(1, true));
        pending.insert(Part::Machine, Timestamp::ZERO, 2).expect("room");
        assert!(!pending.has_room_for(1, true));
    }

    #[test]
    fn names_leave_the_highest_bit_to_the_replica() {
        let mut pending = Pending::new(1, 0);
        pending.slots.push(Slot { count: COUNT_MAX - 1, waiting: None });
        pending.free.push(0);
        let name = pending.insert(Part::Machine, Timestamp::ZERO, ()).expect("room");
        assert!(name.get() < 1 << 63);
        pending.remove(name).expect("it waits");
        assert!(pending.insert(Part::Machine, Timestamp::ZERO, ()).expect("room").get() < 1 << 63);
    }
}
