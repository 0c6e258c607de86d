//! Taking in again a node whose data directory has forgotten what it promised: such a directory
//! has another incarnation than the configuration records, so it neither votes nor counts.
//!
//! It comes back through the log, by three changes of members that each need a majority of the
//! others: the old directory is demoted to a learner, the learner is recorded with its new
//! directory, and it is promoted when it has caught up. The core judges each of them as it judges
//! an operator's, and keeps the mark that the first of them sets: so whoever leads goes on where
//! another leader stopped, after whatever restarts, and a learner that an operator wants to learn
//! is left alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use consensus::{Configuration, Incarnation, Majority, NodeId, Raft, RequestId, Timestamp, Voters};

use crate::lanes::Reply;
use crate::newcomers::Change;

/// A directory that answered so recently is not given up for another one, in nanoseconds: both may
/// be in use.
const SILENT_NS: u64 = 3_000_000_000;

/// Marks the names of the changes that are made here; the driver's names for requests stay below.
const OURS: u64 = 1 << 62;

/// Taking in who has forgotten. How far that has come is in the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Healing {
    /// The change that is under way, and the forgetful node that it takes in; `None` if it promotes
    /// one that is back.
    waiting: Option<(RequestId, Option<NodeId>)>,
    /// Whose change was refused last: the next in order has its turn.
    refused: Option<NodeId>,
    number: u64,
}

impl Healing {
    /// Takes the answers to changes that no client has asked for: what was refused is tried again.
    pub(crate) fn take_own(&mut self, replies: &mut Vec<Reply>) {
        replies.retain(|reply| {
            let request = reply.request();
            if let Some((_, whose)) = self.waiting.take_if(|(waiting, _)| *waiting == request)
                && !matches!(reply, Reply::Done { .. })
            {
                self.refused = whose;
            }
            request.get() & (OURS << 1 | OURS) != OURS
        });
    }

    /// Returns the next change that brings a node back; `seen` are the directories
    /// with which members are connected.
    pub(crate) fn next(
        &mut self,
        now: Timestamp,
        raft: &Raft,
        seen: &BTreeMap<NodeId, Incarnation>,
    ) -> Option<Change> {
        let latest = raft.configuration();
        if !raft.leads() {
            self.waiting = None;
        }
        let is_settled = !latest.voters().is_joint() && raft.configuration_index() <= raft.commit();
        if !raft.leads() || !is_settled || self.waiting.is_some() {
            return None;
        }
        let silent = |id: NodeId| {
            let peer = raft.peers().find(|peer| peer.id == id);
            peer.is_some_and(|peer| now.since(peer.heard) >= SILENT_NS)
        };
        let mut forgetful = seen.iter().filter(|(id, incarnation)| {
            let member = latest.member(**id);
            member.is_some_and(|known| known.incarnation != **incarnation) && silent(**id)
        });
        let returns =
            |id: &&NodeId| latest.member(**id).map(|known| &known.incarnation) == seen.get(id);
        // One that does not get near must not keep the others from it.
        let back = latest.returning().iter().filter(returns);
        let nearest = back.max_by_key(|id| (raft.matched(**id), Reverse(**id)));
        let taken_in = |(id, incarnation): (&NodeId, &Incarnation)| {
            let target = match latest.is_voter(*id) {
                true => demoted(latest, *id),
                false => renewed(latest, *id, *incarnation),
            };
            target.map(|target| (Some(*id), target))
        };
        // Nor must one that cannot be met: behind it come the others, and who is back.
        let first = forgetful.clone().next();
        let next = forgetful.find(|(id, _)| self.refused.is_none_or(|refused| **id > refused));
        let (whose, target) = match (next, nearest) {
            (Some(next), _) => taken_in(next),
            (None, Some(id)) => promoted(latest, *id).map(|target| (None, target)),
            (None, None) => first.and_then(taken_in),
        }?;
        self.number = (self.number + 1) & (OURS - 1);
        let request = RequestId::new(OURS | self.number);
        self.waiting = Some((request, whose));
        Some(Change { request, target, expected_index: raft.configuration_index() })
    }
}

/// The voter learns, under the name that it has given up: nothing is decided with it any more.
fn demoted(latest: &Configuration, id: NodeId) -> Option<Configuration> {
    let (_, voters) = latest.voters().halves();
    let voters = Majority::new(voters.iter().filter(|voter| *voter != id));
    let mut learners = latest.learners().clone();
    learners.insert(id);
    let target = Configuration::new(Voters::Stable(voters), learners, latest.members().clone());
    Some(target.ok()?.with_returning([id]))
}

/// The learner is recorded with the directory that it has now.
fn renewed(latest: &Configuration, id: NodeId, incarnation: Incarnation) -> Option<Configuration> {
    let mut members = latest.members().clone();
    members.get_mut(&id)?.incarnation = incarnation;
    Configuration::new(latest.voters().clone(), latest.learners().clone(), members).ok()
}

/// The learner votes.
fn promoted(latest: &Configuration, id: NodeId) -> Option<Configuration> {
    let (_, voters) = latest.voters().halves();
    let voters = Majority::new(voters.iter().chain([id]));
    let mut learners = latest.learners().clone();
    learners.remove(&id);
    Configuration::new(Voters::Stable(voters), learners, latest.members().clone()).ok()
}
