//! What leaders do by themselves to take in again who has forgotten what it promised.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Configuration, Incarnation, NodeId, RequestId};
use replica::Answer;

use crate::coverage::Met;
use crate::node::Node;

/// What leaders do to take in again who has forgotten something.
#[derive(Debug, Default)]
pub(crate) struct Healings {
    /// The data directories that each node has lost.
    pub(crate) lost: BTreeMap<NodeId, BTreeSet<Incarnation>>,
    /// Nodes that leaders ask who they are, by the leader, its life and the change.
    asked: BTreeMap<(NodeId, u32, RequestId), BTreeMap<NodeId, Answer>>,
    /// The directories that leaders have met in their lives.
    met: BTreeSet<(NodeId, u32, NodeId, Incarnation)>,
}

/// What a change does for a node that has forgotten something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its lost directory votes no longer.
    Demotes,
    /// It learns with the one that it has now.
    Renews(Incarnation),
    /// It votes again.
    Promotes,
}

impl Healings {
    /// Says whether a leader has asked for a change by itself.
    pub(crate) fn is_own(request: RequestId) -> bool {
        request.get() >> 62 == 1
    }

    /// A leader asks nodes who they are, and will hear this.
    pub(crate) fn meets(
        &mut self,
        node: &Node,
        request: RequestId,
        answers: BTreeMap<NodeId, Answer>,
    ) {
        self.asked.insert((node.id, node.life, request), answers);
    }

    /// It hears what they say.
    pub(crate) fn met(
        &mut self,
        node: &Node,
        request: RequestId,
    ) -> Option<BTreeMap<NodeId, Answer>> {
        let answers = self.asked.remove(&(node.id, node.life, request))?;
        let found = answers.iter().filter_map(|(id, answer)| Some((*id, *answer.as_ref().ok()?)));
        self.met.extend(found.map(|(id, found)| (node.id, node.life, id, found)));
        Some(answers)
    }

    /// Says what a change does for a node that has forgotten something, if that is all it does.
    pub(crate) fn step(
        &self,
        before: &Configuration,
        next: &Configuration,
    ) -> Option<(NodeId, Step)> {
        let (_, voters) = next.voters().halves();
        let same = |id: &NodeId| {
            before.is_voter(*id) == voters.contains(*id) && before.member(*id) == next.member(*id)
        };
        let mut others = next.members().keys().filter(|id| !same(id));
        let id = others.next().filter(|_| others.next().is_none())?;
        let (known, member) = (before.member(*id)?, next.member(*id)?);
        let lost = self.lost.get(id)?;
        let all = before.members().len() == next.members().len();
        let renews = known.incarnation != member.incarnation;
        match (before.is_voter(*id), voters.contains(*id)) {
            _ if !all => None,
            (true, false) if lost.contains(&known.incarnation) && !renews => {
                Some((*id, Step::Demotes))
            }
            (false, false) if lost.contains(&known.incarnation) && renews => {
                Some((*id, Step::Renews(member.incarnation)))
            }
            (false, true) if !lost.contains(&known.incarnation) && !renews => {
                Some((*id, Step::Promotes))
            }
            (true | false, true | false) => None,
        }
    }

    /// Says what it is if a leader takes such a step by itself: it has met a directory that it
    /// records. Else somebody has asked for it.
    pub(crate) fn is_taken(&self, node: &Node, id: NodeId, step: Step) -> Option<Met> {
        match step {
            Step::Demotes => Some(Met::Demoted),
            Step::Promotes => Some(Met::Promoted),
            Step::Renews(found) => {
                self.met.contains(&(node.id, node.life, id, found)).then_some(Met::Renewed)
            }
        }
    }
}
