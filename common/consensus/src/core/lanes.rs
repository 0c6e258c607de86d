//! Filling the lanes, and handing them out.

use std::mem;

use super::Core;
use super::durability::Promise;
use crate::vocabulary::actions::{Actions, Event, Ignored, Outgoing, Rejection, Reply, Write};
use crate::vocabulary::ids::{LogIndex, NodeId, RequestId, Term, Timestamp, WriteId};
use crate::vocabulary::message::{Body, Message};

impl Core {
    /// Says something at once. Only for what claims nothing that is not durable.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        self.send_in(self.term(), to, body);
    }

    /// Says something at once that is of another term: that of an election to come (§9.6).
    pub(crate) fn send_in(&mut self, term: Term, to: NodeId, body: Body) {
        self.out.send.push(Outgoing::Message { to, message: Message { term, body } });
    }

    /// Says something at once that was held back until now.
    pub(crate) fn send_released(&mut self, to: NodeId, message: Message) {
        self.out.send.push(Outgoing::Message { to, message });
    }

    /// Sends entries or a snapshot, whose bytes the driver has.
    pub(crate) fn send_bytes(&mut self, send: Outgoing) {
        self.out.send.push(send);
    }

    /// Says something as soon as everything that stands at the next drain is durable.
    pub(crate) fn promise(&mut self, to: NodeId, body: Body) {
        let message = Message { term: self.term(), body };
        self.out.promises.push(Promise::Message { to, message });
    }

    /// Counts the own vote as soon as it is durable.
    pub(crate) fn promise_own_vote(&mut self) {
        self.out.promises.push(Promise::OwnVote { term: self.term() });
    }

    pub(crate) fn reply(&mut self, reply: Reply) {
        self.out.reply.push(reply);
    }

    pub(crate) fn reject(&mut self, request: RequestId, reason: Rejection) {
        self.out.reply.push(Reply::Rejected { request, reason });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.out.event.push(event);
    }

    pub(crate) fn ignore(&mut self, from: NodeId, why: Ignored) {
        self.out.event.push(Event::Ignored { from, why });
    }

    /// Notes that `write` and all before it are on disk, and returns what may be said now.
    pub(crate) fn persisted(&mut self, write: WriteId) -> Vec<Promise> {
        self.applying.persisted(write);
        self.durability.persisted(write)
    }

    /// Returns the write of all that has changed since the last one.
    pub(crate) fn take_write(&mut self, now: Timestamp) -> Option<Write> {
        if !self.out.writes() {
            return None;
        }
        let hard_state = mem::take(&mut self.out.hard_state).then_some(self.hard_state);
        let id = self.durability.begin(now, self.log.last().index, hard_state.is_some());
        self.applying.written_by(id);
        Some(Write {
            id,
            hard_state,
            truncate_from: self.out.truncate_from.take(),
            append: mem::take(&mut self.out.append),
            compact_to: self.out.compact_to.take(),
        })
    }

    /// Holds the promises back that were made since the last drain; returns those that need not
    /// wait, because no write is under way.
    pub(crate) fn hold_promises(&mut self) -> Vec<Promise> {
        let promises = mem::take(&mut self.out.promises);
        let hold = |promise| self.durability.hold(promise);
        promises.into_iter().filter_map(hold).collect()
    }

    /// Hands out all lanes, with this write. After the disk has failed, nothing more is applied.
    pub(crate) fn take_actions(&mut self, write: Option<Write>) -> Actions {
        let install = self.applying.take_install();
        let durable = if self.has_failed() { LogIndex::ZERO } else { self.durable() };
        Actions {
            write,
            send: mem::take(&mut self.out.send),
            apply: self.applying.take_ready(durable),
            install,
            reply: mem::take(&mut self.out.reply),
            event: mem::take(&mut self.out.event),
        }
    }
}
