//! Asks for votes (§3.4), or first whether it would get them (§9.6).

use std::collections::BTreeMap;

use crate::core::Core;
use crate::vocabulary::actions::Event;
use crate::vocabulary::configuration::Tally;
use crate::vocabulary::ids::{NodeId, Term, Timestamp};
use crate::vocabulary::message::{Body, Verdict};

/// Asks whether an election could be won, before it disturbs anybody with a new term (§9.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PreCandidate {
    candidacy: Candidacy,
    /// So often it asks again soon, for its leader has gone, and others may notice that later.
    hurries: u32,
    /// It leaves this round to another one that is in as much of a hurry.
    yields: bool,
}

/// Asks for votes in a new term (§3.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate(Candidacy);

/// Votes, as they come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Candidacy {
    /// Each voter's last answer; a voter counts once.
    votes: BTreeMap<NodeId, Verdict>,
    /// When to try again.
    election: Timestamp,
}

impl PreCandidate {
    /// A pre-candidate would vote for itself: that promises nothing, so it counts at once.
    pub(crate) fn new(id: NodeId, election: Timestamp, hurries: u32) -> Self {
        let votes = BTreeMap::from([(id, Verdict::Granted)]);
        Self { candidacy: Candidacy { votes, election }, hurries, yields: false }
    }

    /// Returns how often it asks again soon.
    pub(crate) fn hurries(&self) -> u32 {
        self.hurries
    }

    /// Leaves this round to `other`, which would have this node's vote as well, if this node
    /// hurries because its leader has gone: else they would split the votes. The one with the lower
    /// id goes first, and the round is short.
    pub(crate) fn give_way(&mut self, core: &Core, other: NodeId) {
        self.yields |= self.hurries > 0 && other < core.id();
    }

    /// Asks all other voters.
    pub(crate) fn ask(&self, core: &mut Core) {
        let (term, last) = (core.term().next(), core.log().last());
        for voter in core.other_voters() {
            core.send_in(term, voter, Body::RequestPreVote { last });
        }
    }

    /// Counts an answer. A grant names the proposed term: with another term it answers an older
    /// question.
    pub(crate) fn on_pre_vote(
        &mut self,
        core: &mut Core,
        from: NodeId,
        term: Term,
        verdict: Verdict,
    ) -> Tally {
        if verdict == Verdict::Granted && term != core.term().next() {
            return Tally::Undecided;
        }
        let tally = self.candidacy.count(core, from, verdict);
        if self.yields { Tally::Undecided } else { tally }
    }

    /// Counts what has come in so far.
    pub(crate) fn tally(&self, core: &Core) -> Tally {
        self.candidacy.tally(core)
    }

    pub(crate) fn election(&self) -> Timestamp {
        self.candidacy.election
    }

    pub(crate) fn refusals(&self) -> Vec<(NodeId, Verdict)> {
        self.candidacy.refusals()
    }
}

impl Candidate {
    /// The own vote is missing: it counts when it is durable.
    pub(crate) fn new(election: Timestamp) -> Self {
        Self(Candidacy { votes: BTreeMap::new(), election })
    }

    /// Asks all other voters, and itself. Neither the requests nor the own vote leave before term
    /// and vote are durable: a candidate that forgot its campaign could repeat it with a shorter
    /// log.
    pub(crate) fn ask(&self, core: &mut Core, transfer: bool) {
        let last = core.log().last();
        for voter in core.other_voters() {
            core.promise(voter, Body::RequestVote { last, transfer });
        }
        core.promise_own_vote();
    }

    /// Counts an answer.
    pub(crate) fn on_vote(&mut self, core: &mut Core, from: NodeId, verdict: Verdict) -> Tally {
        self.0.count(core, from, verdict)
    }

    /// Counts the own vote, which is durable now.
    pub(crate) fn on_own_vote(&mut self, core: &mut Core) -> Tally {
        self.0.count(core, core.id(), Verdict::Granted)
    }

    pub(crate) fn election(&self) -> Timestamp {
        self.0.election
    }

    pub(crate) fn refusals(&self) -> Vec<(NodeId, Verdict)> {
        self.0.refusals()
    }
}

impl Candidacy {
    fn count(&mut self, core: &mut Core, from: NodeId, verdict: Verdict) -> Tally {
        self.votes.insert(from, verdict);
        if verdict != Verdict::Granted {
            core.tell(Event::VoteRefused { by: from, verdict });
        }
        self.tally(core)
    }

    /// Votes are counted under the latest configuration in the log, committed or not (§4.1).
    fn tally(&self, core: &Core) -> Tally {
        let vote = |voter| self.votes.get(&voter).map(|verdict| *verdict == Verdict::Granted);
        core.voters().tally(vote)
    }

    fn refusals(&self) -> Vec<(NodeId, Verdict)> {
        let refused = |(by, verdict): (&NodeId, &Verdict)| {
            (*verdict != Verdict::Granted).then_some((*by, *verdict))
        };
        self.votes.iter().filter_map(refused).collect()
    }
}
