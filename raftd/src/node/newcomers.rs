//! Changes of members: nodes that a change brings in, or moves, are met by the leader itself before
//! anything is written. A mistyped address would otherwise be a member that never answers, and cost
//! a small cluster its quorum; and that an operator's machine reaches a node proves nothing for the
//! leader's.
//!
//! The nodes are asked by the network lane, off the loop; one change at a time is that far.

use consensus::{Configuration, Input as Raw, Member, NodeId, RoleKind, Timestamp};
use protocol::{ErrorCode, ErrorReply, Response};
use transport::Responder;

use crate::answer;
use crate::lanes::Change;
use crate::logging::repeat::{self, Kind};
use crate::node::Node;
use crate::pending::Waiting;

impl Node {
    /// Begins a change of members if the operator has seen the configuration that is in force.
    pub(super) fn reconfigure(
        &mut self,
        now: Timestamp,
        target: Configuration,
        expected_index: u64,
        responder: Responder,
    ) {
        if let Err(refusal) = self.is_seen(expected_index) {
            return responder.send(Response::Error(refusal));
        }
        let status = self.replica.status();
        let leads = status.role == RoleKind::Leader;
        let newcomers = newcomers(status.configuration, &target);
        if leads && let Err(refusal) = self.are_alive(&newcomers) {
            return responder.send(Response::Error(refusal));
        }
        if leads && !newcomers.is_empty() && self.meeting {
            let why = "the nodes of another change of members are being asked who they are";
            return responder.send(Response::Error(answer::refusal(ErrorCode::Busy, why)));
        }
        let Some(request) = self.wait(now, responder) else {
            return;
        };
        // Who does not lead asks nobody: the replica says who leads.
        if !leads || newcomers.is_empty() {
            return self.raw(now, Raw::Reconfigure { request, target });
        }
        self.meeting = true;
        self.network.meet(newcomers, Change { request, target, expected_index });
    }

    /// Goes on with a change when the nodes that it brings in have said who they are.
    pub(super) fn met(&mut self, now: Timestamp, change: Change, result: Result<(), String>) {
        self.meeting = false;
        let Change { request, target, expected_index } = change;
        let met = result.map_err(|why| answer::refusal(ErrorCode::NotMet, why));
        // Another change may have been made meanwhile.
        match met.and_then(|()| self.is_seen(expected_index)) {
            Ok(()) => self.raw(now, Raw::Reconfigure { request, target }),
            Err(refusal) => {
                repeat::tell(Kind::Change, "the leader", &refusal.message);
                if let Some(Waiting { responder, .. }) = self.pending.remove(request) {
                    responder.send(Response::Error(refusal));
                }
            }
        }
    }

    /// Checks that nobody comes back under a removed member's id: who slept through the removal
    /// could then take itself for that member (§4.4).
    fn are_alive(&self, newcomers: &[(NodeId, Member)]) -> Result<(), ErrorReply> {
        let members = self.replica.status().configuration.members();
        let mut strangers = newcomers.iter().filter(|(id, _)| !members.contains_key(id));
        let removed = strangers.find_map(|(id, _)| Some((id, self.network.removed_by(*id)?)));
        let Some((id, index)) = removed else {
            return Ok(());
        };
        let why = format!(
            "node {id} was removed by log entry {index}, and an id is never used again; another \
             is reserved for a name that is added"
        );
        Err(answer::refusal(ErrorCode::Forbidden, why))
    }

    /// Checks that a leader's configuration is the one that the operator has seen.
    fn is_seen(&self, expected_index: u64) -> Result<(), ErrorReply> {
        let status = self.replica.status();
        let (found, leads) = (status.configuration_index.get(), status.role == RoleKind::Leader);
        if !leads || found == expected_index {
            return Ok(());
        }
        let why = format!(
            "the members were changed meanwhile: the configuration stands at {found}, not at \
             {expected_index}; look again"
        );
        Err(answer::refusal(ErrorCode::Forbidden, why))
    }
}

/// Returns who is new in `target`, has another data directory there, or another address.
fn newcomers(present: &Configuration, target: &Configuration) -> Vec<(NodeId, Member)> {
    let is_new = |id: &NodeId, member: &Member| {
        present.member(*id).is_none_or(|known| {
            (known.incarnation, &known.address) != (member.incarnation, &member.address)
        })
    };
    let members = target.members().iter().filter(|(id, member)| is_new(id, member));
    members.map(|(id, member)| (*id, member.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Voters};
    use std::collections::{BTreeMap, BTreeSet};

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn member(name: &str, address: &str, incarnation: u64) -> Member {
        let (name, address) = (name.to_owned(), address.to_owned());
        Member { incarnation: Incarnation::new(incarnation), name, address }
    }

    fn configuration(members: &[(u64, Member)]) -> Configuration {
        let voters = Voters::Stable(Majority::new(members.iter().map(|(number, _)| id(*number))));
        let members = members.iter().map(|(number, member)| (id(*number), member.clone()));
        Configuration::new(voters, BTreeSet::new(), BTreeMap::from_iter(members)).expect("valid")
    }

    #[test]
    fn who_is_new_has_moved_or_has_another_directory_is_met_and_nobody_else() {
        let present = configuration(&[(1, member("n1", "a:1", 1)), (2, member("n2", "b:1", 2))]);
        let met = |members: &[(u64, Member)]| {
            let newcomers = newcomers(&present, &configuration(members));
            newcomers.into_iter().map(|(id, _)| id.get()).collect::<Vec<_>>()
        };
        let (one, two) = ((1, member("n1", "a:1", 1)), (2, member("n2", "b:1", 2)));
        assert!(met(&[one.clone(), two.clone()]).is_empty());
        assert!(met(std::slice::from_ref(&two)).is_empty(), "who leaves is not asked");
        assert!(
            met(&[one.clone(), (2, member("other", "b:1", 2))]).is_empty(),
            "a name is only one"
        );
        assert_eq!(met(&[one.clone(), two, (3, member("n3", "c:1", 3))]), [3]);
        assert_eq!(met(&[one, (2, member("n2", "b:2", 2))]), [2]);
        assert_eq!(met(&[(1, member("n1", "a:1", 9)), (2, member("n2", "b:1", 8))]), [1, 2]);
    }
}
