//! What a follower has not taken for want of room, and what it says of it when there is some.
//!
//! A leader cannot tell what was dropped from what is slow, so it waits ever longer before it sends
//! something again. Who drops says so, as soon as there is room: it answers the last message that
//! it dropped as if that had come without its entries and had asked for them. Its log does not hold
//! them, and the refusal lets the leader go on at once from where the log ends (§3.5).

use std::mem;

use consensus::{Body, Incarnation, Input, Message, NodeId, Term};

/// What was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Untaken {
    /// What asks for the entries of the last message.
    asks: Option<(NodeId, Incarnation, Message)>,
    /// Messages since they were last counted.
    count: u64,
}

impl Untaken {
    /// Drops the entries of a message.
    pub(crate) fn dropped(&mut self, input: Input) {
        self.count += 1;
        if let Input::Receive { from, incarnation, mut message } = input
            && let Body::AppendEntries { prev, entries, .. } = &mut message.body
            && let Some(last) = mem::take(entries).last()
        {
            *prev = last.id;
            self.asks = Some((from, incarnation, message));
        }
    }

    /// There is room: returns what the core is to answer. Whoever led in an earlier term than this
    /// one sends nothing again.
    pub(crate) fn take_question(&mut self, term: Term) -> Option<Input> {
        let asks = self.asks.take().filter(|(_, _, message)| message.term >= term);
        asks.map(|(from, incarnation, message)| Input::Receive { from, incarnation, message })
    }

    /// Returns how many messages were dropped since this was last asked.
    pub(crate) fn take_count(&mut self) -> u64 {
        mem::take(&mut self.count)
    }
}
