//! The follower's side of replication (§3.5): check, cut, append, acknowledge.

use crate::actions::Ignored;
use crate::entry::Entry;
use crate::ids::{EntryId, LogIndex, NodeId, ReadRound, Timestamp};
use crate::message::{Body, Message};
use crate::raft::Raft;
use crate::role::Role;

impl Raft {
    /// Takes entries, or a heartbeat, of the leader of the current term.
    pub(crate) fn on_append_entries(
        &mut self,
        now: Timestamp,
        from: NodeId,
        prev: EntryId,
        entries: Vec<Entry>,
        commit: LogIndex,
        round: ReadRound,
    ) {
        if !self.heed(now, from) {
            self.ignore(from, Ignored::Malformed);
            return;
        }
        // What is compacted was committed, so it agrees by definition (museum B16).
        let below = prev.index < self.log.base().index;
        if !below && !self.log.contains(prev) {
            let hint = self.log.agree_hint(prev);
            self.promise(from, Body::Conflict { refused: prev, hint, round });
            return;
        }
        let heartbeat = entries.is_empty();
        let verified = prev.index.advanced(entries.len() as u64);
        self.take_entries(entries);
        self.learn_commit(commit, verified);
        self.acknowledge(from, verified, heartbeat, round);
    }

    /// Follows the sender, the leader of this term; `false` if there is another one, which no
    /// correct cluster shows.
    pub(crate) fn heed(&mut self, now: Timestamp, from: NodeId) -> bool {
        let election = self.draw_election(now);
        let accepted = match &mut self.role {
            Role::Follower(follower) => {
                if follower.leader.is_some_and(|leader| leader != from) {
                    return false;
                }
                let news = follower.leader.is_none();
                follower.leader = Some(from);
                follower.heard = now;
                follower.election = election;
                if news {
                    self.out.event.push(crate::Event::Leader(Some(from)));
                }
                true
            }
            // A candidate concedes to whoever has won its term (§3.4).
            Role::PreCandidate(_) | Role::Candidate(_) => {
                self.follow(now, self.term(), Some(from));
                true
            }
            Role::Leader(_) => false,
        };
        if accepted {
            self.contact = Some((from, now));
        }
        accepted
    }

    /// Appends what is missing. Entries that stand already stay, and nothing behind them is cut
    /// unless one really conflicts: the message may be an old one (museum B5).
    fn take_entries(&mut self, entries: Vec<Entry>) {
        let Some(first) = self.log.first_missing(&entries) else {
            return;
        };
        let index = entries[first].id.index;
        if index <= self.log.last().index {
            self.truncate(index);
        }
        for entry in entries.into_iter().skip(first) {
            self.append(entry);
        }
    }

    /// Learns what is committed, but never beyond what this message has shown to agree: behind it
    /// may stand another leader's leftovers (museum B3).
    fn learn_commit(&mut self, commit: LogIndex, verified: LogIndex) {
        let known = commit.min(verified).min(self.log.last().index);
        self.commit = self.commit.max(known);
    }

    /// Says how far the logs agree, once that is durable, and never beyond what this message has
    /// shown (museum B4). A heartbeat is answered at once, for what is durable: the answer only
    /// says that this node has not voted in a higher term by now (§6.4).
    fn acknowledge(&mut self, to: NodeId, verified: LogIndex, heartbeat: bool, round: ReadRound) {
        if heartbeat && self.hard_state_durable() {
            let matched = verified.min(self.durability.durable());
            let body = Body::Appended { matched, round };
            self.send(to, Message { term: self.term(), body });
        } else {
            self.promise(to, Body::Appended { matched: verified, round });
        }
    }
}
