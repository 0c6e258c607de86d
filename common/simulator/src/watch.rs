//! What is known of a node's present life, as seen from outside: whom it has heard, what it was
//! asked and told.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{
    Body, EntryId, Input as Raw, LogIndex, NodeId, PeerStatus, Raft, RequestId, RoleKind, Term,
    Timestamp,
};
use replica::Input;

use crate::broken::Broken;
use crate::faults::MS;

/// How long a voter stands by a leader, and a leader waits for its successor, by their own clocks.
pub(crate) const PATIENCE_NS: u64 = 150 * MS;

const STANDS_BY: &str = "a voter stands by the leader that it hears (§4.2.3)";
const NOTHING: &str = "who has no say changes nothing (§4.1)";

/// What is known of a node's present life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    started: Timestamp,
    /// Commands that clients wait for: their bytes, and the term in which they were taken.
    pub(crate) writes: BTreeMap<RequestId, (usize, Term)>,
    /// Questions that the replica holds.
    pub(crate) questions: BTreeSet<RequestId>,
    /// What operators wait for, and how often it was asked under the same name.
    operators: BTreeMap<RequestId, u32>,
    /// It is about to end.
    pub(crate) ends: bool,
    /// Since when it hands leadership over.
    pub(crate) transfers: Option<Timestamp>,
    /// Turns since it should have given that up.
    pub(crate) overdue: u64,
    /// Turns in which it led and had been answered by no quorum for long.
    pub(crate) alone: u64,
    /// The leader that it heard last, in which term, and when.
    hears: Option<(NodeId, Term, Timestamp)>,
    /// It was told to campaign since its last turn.
    pub(crate) told: bool,
    pub(crate) disk_failed: bool,
    pub(crate) machine_failed: bool,
    pub(crate) turns: u64,
}

/// What is noted of an input before it is stepped.
#[derive(Debug, Default)]
pub(crate) struct Before {
    now: Timestamp,
    term: Term,
    led: bool,
    /// A leader speaks, in this term, and it is certain that it is heard.
    leader: Option<(NodeId, Term)>,
    speaks: Option<(NodeId, Term)>,
    /// A candidate asks for a vote of its own accord; and whether it cannot be the leader that was
    /// heard under its id, having another data directory than is recorded.
    candidate: Option<(NodeId, bool)>,
    /// The process of this node is said to have ended: without leases, nobody stands by it.
    gone: Option<NodeId>,
    /// What must stay as it is, since the sender has no say.
    stays: Option<Outline>,
}

/// What a message may change.
#[derive(Debug, PartialEq, Eq)]
struct Outline {
    term: Term,
    role: RoleKind,
    leader: Option<NodeId>,
    vote: Option<NodeId>,
    last: EntryId,
    commit: LogIndex,
    peers: Vec<PeerStatus>,
}

impl Outline {
    fn of(raft: &Raft) -> Self {
        let status = raft.status();
        Self {
            term: status.term,
            role: status.role,
            leader: status.leader,
            vote: status.voted_for,
            last: status.last,
            commit: status.commit,
            peers: status.peers,
        }
    }
}

impl Watch {
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { started, ..Self::default() }
    }

    /// An input is about to be stepped.
    pub(crate) fn first_seen(&mut self, input: &Input, raft: &Raft, now: Timestamp) -> Before {
        let mut before = Before { now, term: raft.term(), led: raft.leads(), ..Before::default() };
        match input {
            Input::Raft(Raw::Receive { from, incarnation, message }) => {
                let member = raft.configuration().member(*from);
                let other = member.is_some_and(|member| member.incarnation != *incarnation);
                // Who leads or asks for votes is judged by term and log, whatever is recorded here.
                let is_heeded = match message.body {
                    // One with entries may find no room.
                    Body::AppendEntries { ref entries, .. } => {
                        before.leader = Some((*from, message.term)).filter(|_| entries.is_empty());
                        before.speaks = Some((*from, message.term));
                        true
                    }
                    Body::RequestVote { transfer, .. } => {
                        before.candidate = Some((*from, other)).filter(|_| !transfer);
                        true
                    }
                    Body::TimeoutNow { .. } => {
                        self.told = true;
                        false
                    }
                    Body::RequestPreVote { .. } => true,
                    Body::PreVote { .. }
                    | Body::Vote { .. }
                    | Body::Appended { .. }
                    | Body::Conflict { .. }
                    | Body::SnapshotInstalled { .. }
                    | Body::ReadIndex { .. }
                    | Body::ReadIndexReply { .. }
                    | Body::Effects { .. }
                    | Body::Room { .. } => false,
                };
                if other && !is_heeded {
                    before.stays = Some(Outline::of(raft));
                }
            }
            Input::Propose { request, command, .. } => {
                _ = self.writes.insert(*request, (command.len(), Term::ZERO));
            }
            Input::ProposeAll { proposals } => {
                let sizes = proposals.iter().map(|one| (one.request, one.command.len()));
                self.writes.extend(sizes.map(|(request, bytes)| (request, (bytes, Term::ZERO))));
            }
            Input::Query { request, .. } => _ = self.questions.insert(*request),
            Input::Reconfigure { request, .. }
            | Input::TakeSnapshot { request }
            | Input::Raft(Raw::Transfer { request, .. }) => {
                *self.operators.entry(*request).or_default() += 1;
            }
            Input::Raft(Raw::Gone { peer }) => before.gone = Some(*peer),
            Input::Raft(_)
            | Input::Applied { .. }
            | Input::Viewed { .. }
            | Input::Flushed { .. }
            | Input::Snapshot(_)
            | Input::Met { .. }
            | Input::Effects { .. }
            | Input::Alarms { .. }
            | Input::Directories { .. }
            | Input::Space(_)
            | Input::Fed { .. }
            | Input::ToldRemoved { .. }
            | Input::Abandon => {}
        }
        before
    }

    /// That input was stepped.
    pub(crate) fn seen(&mut self, before: Before, raft: &Raft, leases: bool) -> Result<(), Broken> {
        let Before { now, term, led, leader, speaks, candidate, gone, stays } = before;
        if !leases {
            self.hears = self.hears.filter(|(leader, ..)| Some(*leader) != gone);
        }
        if stays.is_some_and(|stays| stays != Outline::of(raft)) {
            let why = format!("node {} heeds another data directory than is recorded", raft.id());
            return Err(Broken::new(NOTHING, why));
        }
        if let Some((leader, said)) = leader
            && said == raft.term()
            && raft.leader() == Some(leader)
        {
            self.hears = Some((leader, said, now));
        }
        let follows = |(leader, said)| said == raft.term() && raft.leader() == Some(leader);
        if let Some((_, said)) = speaks.filter(|speaks| follows(*speaks)) {
            // A newer leader was elected by then: nobody need stand by the one before.
            self.hears = self.hears.filter(|(_, heard_in, _)| *heard_in == said);
        }
        if raft.leads() {
            // Its voters stood by nobody any more, nor does it by whom it heard before.
            self.hears = None;
        }
        let Some((candidate, other)) = candidate.filter(|_| raft.term() > term) else {
            return Ok(());
        };
        // With leases on, a newer term is no reason to forget a leader.
        let asks = Some(candidate).filter(|_| !other);
        let stands = self.stands_by(asks, now, (!leases).then_some(term));
        let sits_out = leases && now.since(self.started) < PATIENCE_NS;
        if led || stands || sits_out {
            let why = format!(
                "node {} follows {candidate} into term {}, having heard {:?} at {now:?}",
                raft.id(),
                raft.term(),
                self.hears
            );
            return Err(Broken::new(STANDS_BY, why));
        }
        Ok(())
    }

    /// Says whether another leader than the candidate was heard lately: in this term, if given.
    fn stands_by(&self, candidate: Option<NodeId>, now: Timestamp, term: Option<Term>) -> bool {
        self.hears.is_some_and(|(leader, heard_in, when)| {
            Some(leader) != candidate
                && now.since(when) < PATIENCE_NS
                && term.is_none_or(|term| term == heard_in)
        })
    }

    /// A request is answered.
    pub(crate) fn answered(&mut self, request: RequestId) {
        self.writes.remove(&request);
        self.questions.remove(&request);
        if let Some(count) = self.operators.get_mut(&request) {
            *count -= 1;
            if *count == 0 {
                self.operators.remove(&request);
            }
        }
    }

    /// Returns what an operator waits for.
    pub(crate) fn owes_operators(&self) -> Option<RequestId> {
        self.operators.keys().next().copied()
    }

    /// No client waits any more. Operators see the end of the connection: what they asked for goes
    /// on without this node.
    pub(crate) fn nobody_waits(&self, node: NodeId) -> Result<(), Broken> {
        if self.writes.is_empty() && self.questions.is_empty() {
            return Ok(());
        }
        let why = format!(
            "node {node} ends, and {:?} and {:?} are not answered",
            self.writes.keys(),
            self.questions
        );
        Err(Broken::new("who stops tells all that wait", why))
    }
}
