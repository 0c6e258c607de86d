//! Changes of members: the leader itself meets the nodes that a change brings in, or moves, before
//! anything is written. A mistyped address would otherwise be a member that never answers, and cost
//! a small cluster its quorum; and that an operator's machine reaches a node proves nothing for the
//! leader's.
//!
//! A change goes on only from the configuration that its operator has seen, one at a time waits for
//! its newcomers, and the id of a removed member is never used again: a node that slept through its
//! removal could take itself for the new member (§4.4).

use std::collections::BTreeMap;
use std::mem;

use consensus::{Configuration, LogIndex, Member, NodeId, Raft, RequestId};

use crate::input::Answer;
use crate::lanes::{ChangeRefusal, Meeting, NotMet};

/// A change of members that somebody asks for.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) request: RequestId,
    pub(crate) target: Configuration,
    /// Where the configuration stands that the operator has seen.
    pub(crate) expected_index: LogIndex,
}

/// What becomes of a change.
#[derive(Debug)]
pub(crate) enum Next {
    /// The core begins it, or says why not.
    Begin(Change),
    /// Its newcomers are asked who they are.
    Meet,
    /// Nothing: nothing was written.
    Refuse(RequestId, ChangeRefusal),
}

/// The change whose newcomers are asked who they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newcomers {
    waiting: Option<Waiting>,
    todo: Option<Meeting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    change: Change,
    /// The configuration that was in force when they were asked.
    present: Configuration,
    newcomers: BTreeMap<NodeId, Member>,
}

impl Newcomers {
    /// Somebody asks for a change. These members were removed so far, and by which entry, as the
    /// applied state tells.
    pub(crate) fn ask(
        &mut self,
        raft: &Raft,
        change: Change,
        removed: &BTreeMap<NodeId, LogIndex>,
    ) -> Next {
        // A node that does not lead asks nobody: the core says which one leads.
        if !raft.leads() {
            return Next::Begin(change);
        }
        let present = raft.configuration();
        let newcomers = newcomers(present, &change.target);
        let unused = is_seen(raft, &change).and_then(|()| are_unused(raft, &newcomers, removed));
        if let Err(why) = unused {
            return Next::Refuse(change.request, why);
        }
        if newcomers.is_empty() {
            return Next::Begin(change);
        }
        if self.waiting.is_some() {
            return Next::Refuse(change.request, ChangeRefusal::Meeting);
        }
        self.todo = Some(Meeting { request: change.request, newcomers: newcomers.clone() });
        self.waiting = Some(Waiting { change, present: present.clone(), newcomers });
        Next::Meet
    }

    /// The newcomers of a change have said who they are, or have not answered. Other nodes may lead
    /// meanwhile, and another change may have been made.
    pub(crate) fn met(
        &mut self,
        raft: &Raft,
        request: RequestId,
        mut answers: BTreeMap<NodeId, Answer>,
    ) -> Option<Next> {
        let waiting = self.waiting.take_if(|waiting| waiting.change.request == request)?;
        let Waiting { change, present, newcomers } = waiting;
        if !raft.leads() {
            return Some(Next::Begin(change));
        }
        let judged = newcomers.into_iter().try_for_each(|(node, member)| {
            let answer = answers.remove(&node).unwrap_or_else(|| Err("no answer".to_owned()));
            judge(node, member, answer)
        });
        let unchanged = || match *raft.configuration() == present {
            true => Ok(()),
            // At the same place, but in the log of another leader.
            false => Err(ChangeRefusal::UnderWay),
        };
        Some(match judged.and_then(|()| is_seen(raft, &change)).and_then(|()| unchanged()) {
            Ok(()) => Next::Begin(change),
            Err(why) => Next::Refuse(request, why),
        })
    }

    /// Takes the nodes that are to be asked.
    pub(crate) fn take(&mut self) -> Option<Meeting> {
        mem::take(&mut self.todo)
    }

    /// Takes the operator that waits: the node stops.
    pub(crate) fn abandon(&mut self) -> Option<RequestId> {
        self.todo = None;
        self.waiting.take().map(|waiting| waiting.change.request)
    }
}

/// Checks that the operator has seen the configuration that is in force.
fn is_seen(raft: &Raft, change: &Change) -> Result<(), ChangeRefusal> {
    let (found, expected) = (raft.configuration_index(), change.expected_index);
    if found == expected { Ok(()) } else { Err(ChangeRefusal::Stale { found, expected }) }
}

/// Checks that no node comes under the id of a removed member. The state tells of all that were
/// removed once it holds the configuration that is in force.
fn are_unused(
    raft: &Raft,
    newcomers: &BTreeMap<NodeId, Member>,
    removed: &BTreeMap<NodeId, LogIndex>,
) -> Result<(), ChangeRefusal> {
    let mut new = newcomers.keys().filter(|id| raft.configuration().member(**id).is_none());
    if new.clone().next().is_some() && raft.applied() < raft.configuration_index() {
        return Err(ChangeRefusal::UnderWay);
    }
    match new.find_map(|id| Some((*id, *removed.get(id)?))) {
        Some((node, index)) => Err(ChangeRefusal::IdUsed { node, index }),
        None => Ok(()),
    }
}

/// Decides whether a node that is to be a member is the one that its description names.
fn judge(node: NodeId, member: Member, answer: Answer) -> Result<(), ChangeRefusal> {
    let why = match answer {
        Ok(found) if found == member.incarnation => return Ok(()),
        Ok(found) => NotMet::Other(found),
        Err(trouble) => NotMet::Silent(trouble),
    };
    Err(ChangeRefusal::NotMet { node, member, why })
}

/// Returns the members that are new in `target`, or have another data directory there, or another
/// address.
fn newcomers(present: &Configuration, target: &Configuration) -> BTreeMap<NodeId, Member> {
    let is_new = |id: &NodeId, member: &Member| {
        present.member(*id).is_none_or(|known| {
            (known.incarnation, &known.address) != (member.incarnation, &member.address)
        })
    };
    let members = target.members().iter().filter(|(id, member)| is_new(id, member));
    members.map(|(id, member)| (*id, member.clone())).collect()
}
