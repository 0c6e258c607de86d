//! Judges incoming messages: by sender, plausibility and term; then dispatches (§3.3).
//!
//! Requests are judged by term and log alone, whoever sends them: a node that missed a change of
//! members must not refuse the live majority for ever. Answers count only from members with the
//! data directory that the configuration records.

use crate::actions::Ignored;
use crate::ids::{EntryId, Incarnation, LogIndex, NodeId, Term, Timestamp};
use crate::message::{Body, Message, Verdict};
use crate::raft::Raft;
use crate::role::Role;

/// The largest step in term that a message is believed. Terms grow by one an election, so this is
/// decades away from any honest sender, and a single absurd message cannot use the terms up.
pub const TERM_JUMP_MAX: u64 = 1 << 32;

/// No term or index is ever larger.
pub const NUMBER_MAX: u64 = 1 << 62;

impl Raft {
    pub(crate) fn receive(
        &mut self,
        now: Timestamp,
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
    ) {
        if let Err(why) = self.judge(from, incarnation, &message) {
            self.ignore(from, why);
            return;
        }
        let Message { term, body } = message;
        if term > self.term() && !self.keeps_term(now, from, &body) {
            self.follow(now, term, None);
        }
        if term < self.term() && !self.answers_stale(&body) {
            return;
        }
        match body {
            Body::RequestPreVote { last } => self.on_request_pre_vote(now, from, term, last),
            Body::PreVote { verdict } => self.on_pre_vote(now, from, term, verdict),
            Body::RequestVote { last, transfer } => {
                self.on_request_vote(now, from, term, last, transfer);
            }
            Body::Vote { verdict } => self.on_vote(now, from, verdict),
            Body::AppendEntries { prev, entries, commit, round } => {
                if term < self.term() {
                    // The answer carries the newer term: the sender steps down (museum D4).
                    let hint = EntryId::ZERO;
                    self.promise(from, Body::Conflict { refused: prev, hint, round });
                } else {
                    self.on_append_entries(now, from, prev, entries, commit, round);
                }
            }
            Body::Appended { matched, round } => self.on_appended(now, from, matched, round),
            Body::Conflict { refused, hint, round } => {
                self.on_conflict(now, from, refused, hint, round);
            }
            Body::TimeoutNow { last } => self.on_timeout_now(now, from, last),
            Body::SnapshotInstalled { last } => self.on_snapshot_installed(now, from, last),
            Body::ReadIndex { ticket } => self.on_read_index(from, term, ticket),
            Body::ReadIndexReply { ticket, index } => {
                self.on_read_index_reply(from, ticket, index);
            }
        }
    }

    /// Says whether a message of a higher term leaves this node's term alone.
    fn keeps_term(&self, now: Timestamp, from: NodeId, body: &Body) -> bool {
        match body {
            // A pre-vote names a term that nobody is in yet (§9.6).
            Body::RequestPreVote { .. } => true,
            Body::PreVote { verdict } => *verdict == Verdict::Granted,
            // Who hears from a leader does not let a candidate disturb it (§4.2.3), unless that
            // leader asked for it (§3.10).
            Body::RequestVote { transfer, .. } => {
                !transfer && (self.leader_alive(now, from) || self.sits_out(now))
            }
            Body::Vote { .. }
            | Body::AppendEntries { .. }
            | Body::Appended { .. }
            | Body::Conflict { .. }
            | Body::SnapshotInstalled { .. }
            | Body::TimeoutNow { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. } => false,
        }
    }

    /// Says whether a message of an older term gets an answer, which tells the newer one (§3.3).
    fn answers_stale(&self, body: &Body) -> bool {
        match body {
            Body::RequestPreVote { .. }
            | Body::RequestVote { .. }
            | Body::AppendEntries { .. }
            | Body::ReadIndex { .. } => true,
            // Answers, which are about that older term: its leader may lead no more (museum F4),
            // and its votes elect nobody now (museum A7).
            Body::ReadIndexReply { .. }
            | Body::Vote { .. }
            | Body::PreVote { .. }
            | Body::Appended { .. }
            | Body::Conflict { .. }
            | Body::SnapshotInstalled { .. }
            | Body::TimeoutNow { .. } => false,
        }
    }

    fn judge(
        &self,
        from: NodeId,
        incarnation: Incarnation,
        message: &Message,
    ) -> Result<(), Ignored> {
        if from == self.id {
            return Err(Ignored::FromSelf);
        }
        let term = message.term.get();
        if term > NUMBER_MAX || term > self.term().get().saturating_add(TERM_JUMP_MAX) {
            return Err(Ignored::Implausible);
        }
        let configuration = self.membership.latest();
        let answer = match &message.body {
            Body::RequestPreVote { last } | Body::RequestVote { last, .. } => {
                plausible(*last, message.term)?;
                false
            }
            Body::TimeoutNow { last } => {
                plausible(*last, message.term)?;
                false
            }
            Body::AppendEntries { prev, entries, commit, .. } => {
                plausible(*prev, message.term)?;
                plausible_index(*commit)?;
                let mut before = *prev;
                for entry in entries {
                    plausible(entry.id, message.term)?;
                    if entry.id.index != before.index.next() || entry.id.term < before.term {
                        return Err(Ignored::Malformed);
                    }
                    before = entry.id;
                }
                false
            }
            Body::Conflict { refused, hint, .. } => {
                plausible_index(refused.index)?;
                plausible_index(hint.index)?;
                true
            }
            Body::Appended { matched, .. } => {
                plausible_index(*matched)?;
                true
            }
            Body::SnapshotInstalled { last } => {
                plausible_index(last.index)?;
                true
            }
            Body::PreVote { .. } | Body::Vote { .. } => true,
            Body::ReadIndex { .. } => false,
            // Counts only from the leader that was asked, whom the configuration may not know yet.
            Body::ReadIndexReply { index, .. } => {
                plausible_index(index.unwrap_or_default())?;
                false
            }
        };
        match configuration.member(from) {
            // Whom the latest configuration removes is fed until that is committed.
            None if answer && !self.membership.previous().recognises(from, incarnation) => {
                Err(Ignored::NotMember)
            }
            // A wiped data directory under an old id: neither answers nor campaigns count. But who
            // leads was elected by those who know it, and this node may have missed that its id was
            // given to another directory: it must not refuse that leader for ever.
            Some(member)
                if member.incarnation != incarnation
                    && !matches!(message.body, Body::AppendEntries { .. }) =>
            {
                Err(Ignored::OtherIncarnation)
            }
            None | Some(_) => Ok(()),
        }
    }

    /// Says whether this node hears from a leader other than `candidate`, or leads (§4.2.3).
    pub(crate) fn leader_alive(&self, now: Timestamp, candidate: NodeId) -> bool {
        match &self.role {
            Role::Follower(follower) => {
                let fresh = now.since(follower.heard) < self.config.election_timeout_ns.start;
                let known = follower.leader.is_some_and(|leader| leader != candidate);
                fresh && known || self.stands_by(now, candidate)
            }
            Role::PreCandidate(_) | Role::Candidate(_) => self.stands_by(now, candidate),
            // It steps down by itself when it loses contact with a quorum.
            Role::Leader(_) => true,
        }
    }
}

/// A message of a term cannot speak of entries of later terms, nor of absurd places.
fn plausible(id: EntryId, term: Term) -> Result<(), Ignored> {
    plausible_index(id.index)?;
    if id.term > term { Err(Ignored::Malformed) } else { Ok(()) }
}

fn plausible_index(index: LogIndex) -> Result<(), Ignored> {
    if index.get() > NUMBER_MAX { Err(Ignored::Implausible) } else { Ok(()) }
}
