//! Questions on their way to an answer: released by the replica, put to the newest view of the
//! state, and answered by the query lane.

use consensus::Timestamp;
use protocol::AGE_UNKNOWN_MS;
use replica::{Consistency, Input, Question};
use state_machine::QueryView;

use crate::lanes::query::Asked;
use crate::node::Node;
use crate::pending::Waiting;

impl Node {
    /// There is a newer view.
    pub(super) fn see(&mut self, now: Timestamp, view: QueryView) {
        self.replica.step(now, Input::Viewed { applied: view.applied() });
        if view.applied() >= self.view.applied() {
            self.view = view;
        }
    }

    /// Answers questions by the newest view.
    pub(super) fn answer_queries(&mut self, now: Timestamp, questions: Vec<Question>) {
        let (leads, age_ms) = (self.leads(), self.age_ms(now));
        let mut batch = Vec::with_capacity(questions.len());
        for Question { request, query, consistency, basis } in questions {
            let Some(Waiting { responder: asker, part, .. }) = self.pending.remove(request) else {
                continue;
            };
            let age_ms = match consistency {
                Consistency::Linearizable if leads => None,
                Consistency::Linearizable | Consistency::AtLeast(_) | Consistency::Stale => {
                    Some(age_ms)
                }
            };
            let responder = asker.responder;
            batch.push(Asked { part, query, responder, basis, age_ms });
        }
        self.queries.answer(&self.view, batch);
    }

    /// Returns how long ago this node last heard from a leader.
    fn age_ms(&self, now: Timestamp) -> u64 {
        if self.leads() {
            return 0;
        }
        let contact = self.replica.raft().contact();
        contact.map_or(AGE_UNKNOWN_MS, |heard| now.since(heard) / 1_000_000)
    }
}

/// Puts a client's wish in the replica's words.
pub(super) fn wanted(consistency: protocol::Consistency) -> Consistency {
    match consistency {
        protocol::Consistency::Linearizable => Consistency::Linearizable,
        protocol::Consistency::AtLeast(index) => {
            Consistency::AtLeast(consensus::LogIndex::new(index))
        }
        protocol::Consistency::Stale => Consistency::Stale,
    }
}
