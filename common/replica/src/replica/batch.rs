//! Commands that come together: they enter the log in their order, up to the first that is refused.

use std::mem;

use consensus::{Input as Raw, LogIndex, RequestId, Term, Timestamp};

use crate::input::Proposal;
use crate::lanes::Reply;
use crate::replica::{BATCH, Replica};

impl Replica {
    /// Takes commands in their order. Behind one that is refused none is taken: all others are
    /// refused for its reason, so that no log ever has a later one without the earlier ones.
    pub(super) fn propose_all(&mut self, now: Timestamp, proposals: Vec<Proposal>) {
        let mut refusal = None;
        for Proposal { request, command, purpose } in proposals {
            if let Some(refused) = &refusal {
                self.reply.push(refused_as(refused, request));
                continue;
            }
            let before = self.reply.len();
            self.propose(now, request, command, purpose);
            refusal = self.reply.get(before).cloned();
        }
    }

    /// Gives the core what has gathered, in one step.
    pub(super) fn step_proposals(&mut self, now: Timestamp) {
        self.batch = BATCH | (self.batch + 1);
        let commands = self.proposed.iter().map(|it| it.command.clone()).collect();
        let request = RequestId::new(self.batch);
        self.raft.step(now, Raw::Propose { request, commands });
    }

    /// What was given to the core stands in the log.
    pub(super) fn appended(&mut self, term: Term, first: LogIndex) {
        let mut index = first;
        for Proposal { request, command, .. } in mem::take(&mut self.proposed) {
            self.requests.appended(request, term, index);
            self.unapplied.push((index, command.len()));
            index = index.next();
        }
    }

    /// What an earlier leadership proposed takes no room any more.
    pub(super) fn forget_unapplied(&mut self) {
        self.unapplied.clear();
        self.unapplied_bytes = self.proposed.iter().map(|it| it.command.len()).sum();
    }
}

/// Makes the refusal of another request of the same one.
fn refused_as(refusal: &Reply, request: RequestId) -> Reply {
    match refusal.clone() {
        Reply::Refused { reason, .. } => Reply::Refused { request, reason },
        Reply::NoRoom { deletions, voters, .. } => Reply::NoRoom { request, deletions, voters },
        Reply::Differs { .. } => Reply::Differs { request },
        Reply::Applied { .. }
        | Reply::Done { .. }
        | Reply::ChangeRefused { .. }
        | Reply::Superseded { .. }
        | Reply::SnapshotTaken { .. }
        | Reply::Unknown { .. }
        | Reply::Behind { .. } => unreachable!("a proposal is not answered so at once"),
    }
}
