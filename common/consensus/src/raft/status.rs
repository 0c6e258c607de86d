//! What a replica tells about itself: all at once, for people, or one thing at a time, which costs
//! next to nothing.

use super::Raft;
use crate::role::Role;
use crate::vocabulary::configuration::Configuration;
use crate::vocabulary::ids::{EntryId, Incarnation, LogIndex, NodeId, Term, Timestamp};
use crate::vocabulary::input::SnapshotMeta;
use crate::vocabulary::message::Verdict;
use crate::vocabulary::status::{PeerStatus, RoleKind, Status};

impl Raft {
    /// Returns all that this replica tells about itself. That collects what is known of each
    /// member: where one thing is needed, and often, there is a method for it.
    pub fn status(&self) -> Status<'_> {
        Status {
            id: self.id(),
            incarnation: self.incarnation(),
            term: self.term(),
            voted_for: self.core.vote().map(|vote| vote.candidate),
            role: self.role(),
            leader: self.leader(),
            base: self.base(),
            last: self.last(),
            durable: self.durable(),
            commit: self.commit(),
            applied: self.applied(),
            configuration: self.configuration(),
            configuration_index: self.configuration_index(),
            leading_since: self.leading_since(),
            contact: self.contact(),
            lease_until: self.lease_until(),
            peers: self.peers().collect(),
            refusals: self.refusals(),
            failed: self.has_failed(),
        }
    }

    /// Returns this node.
    pub fn id(&self) -> NodeId {
        self.core.id()
    }

    /// Returns this node's data directory.
    pub fn incarnation(&self) -> Incarnation {
        self.core.incarnation()
    }

    /// Returns the current term.
    pub fn term(&self) -> Term {
        self.core.term()
    }

    /// Returns what this node is.
    pub fn role(&self) -> RoleKind {
        self.role.kind()
    }

    /// Says whether this node leads.
    pub fn leads(&self) -> bool {
        self.role.leader().is_some()
    }

    /// Returns the leader of this term, if known.
    pub fn leader(&self) -> Option<NodeId> {
        self.role.known_leader(&self.core)
    }

    /// Returns the entry before the first one that is still in the log.
    pub fn base(&self) -> EntryId {
        self.core.log().base()
    }

    /// Returns the first index that is still in the log, or would be if the log is empty.
    pub fn first(&self) -> LogIndex {
        self.core.log().base().index.next()
    }

    /// Returns the last entry of the log.
    pub fn last(&self) -> EntryId {
        self.core.log().last()
    }

    /// Returns the term of the entry at `index`, where the log still knows it.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.core.log().term(index)
    }

    /// Returns the last index that is on this node's disk.
    pub fn durable(&self) -> LogIndex {
        self.core.durable()
    }

    /// Returns the highest index known to be committed.
    pub fn commit(&self) -> LogIndex {
        self.core.commit()
    }

    /// Returns how many more entries a leader takes now: one that is not committed waits in its
    /// memory.
    pub fn places(&self) -> u64 {
        let uncommitted = self.core.last_index().since(self.core.commit());
        self.core.config().uncommitted_max.saturating_sub(uncommitted)
    }

    /// Returns the highest index that the state machine has applied.
    pub fn applied(&self) -> LogIndex {
        self.core.applied()
    }

    /// Returns the configuration in force: the latest in the log, committed or not (§4.1).
    pub fn configuration(&self) -> &Configuration {
        self.core.configuration()
    }

    /// Returns where the configuration in force stands in the log.
    pub fn configuration_index(&self) -> LogIndex {
        self.core.membership().index()
    }

    /// Says whether the configuration before the one in force names this node as a member: if the
    /// one in force does not, it was removed.
    pub fn was_member(&self) -> bool {
        self.core.was_member()
    }

    /// Returns when this node became leader; `None` if it does not lead.
    pub fn leading_since(&self) -> Option<Timestamp> {
        self.role.leader().map(|leader| leader.since())
    }

    /// Returns when this node last heard from a leader, or, if it led since, from a quorum. `None`
    /// at a leader, and at a node that has heard from none since it started.
    pub fn contact(&self) -> Option<Timestamp> {
        self.core.contact().filter(|_| !self.leads())
    }

    /// Returns until when this node may serve reads by its lease (§6.4.1), as far as it knows by
    /// now; `None` if it may not.
    pub fn lease_until(&self) -> Option<Timestamp> {
        self.role.leader()?.lease_until(&self.core)
    }

    /// Says whether this node hands leadership over, and takes no writes meanwhile.
    pub fn is_transferring(&self) -> bool {
        self.role.leader().is_some_and(|leader| leader.is_transferring())
    }

    /// Returns what a leader knows of each other member, in order of their ids; nothing elsewhere.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.role.leader().into_iter().flat_map(|leader| leader.peers(&self.core))
    }

    /// Returns what a leader knows to agree and to be durable on a member; `None` elsewhere.
    pub fn matched(&self, member: NodeId) -> Option<LogIndex> {
        self.role.leader()?.matched(member)
    }

    /// Returns the voter that had best lead next, as this leader knows, of those that answer, whose
    /// disks do not hang, and which are `ready`; `None` elsewhere.
    pub fn successor(&self, now: Timestamp, ready: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        self.role.leader()?.successor(&self.core, now, ready)
    }

    /// Returns since when a write is under way that is not finished: the oldest one.
    pub fn writing_since(&self) -> Option<Timestamp> {
        self.core.oldest_write().map(|(begun, _)| begun)
    }

    /// Returns what a snapshot covers that ends at `index`; `None` where the log does not know.
    pub fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        self.core.snapshot_meta(index)
    }

    /// Returns the snapshot that replaces the state, until it is applied.
    pub fn installing(&self) -> Option<&SnapshotMeta> {
        self.core.installing()
    }

    /// Says whether the disk has failed, so that this node promises nothing any more.
    pub fn has_failed(&self) -> bool {
        self.core.has_failed()
    }

    fn refusals(&self) -> Vec<(NodeId, Verdict)> {
        match &self.role {
            Role::PreCandidate(candidate) => candidate.refusals(),
            Role::Candidate(candidate) => candidate.refusals(),
            Role::Follower(_) | Role::Leader(_) => Vec::new(),
        }
    }
}
