//! What people ask nodes for: writes, reads, transfers of leadership, changes of members.

use std::sync::Arc;

use bytes::Bytes;
use consensus::{Body, EntryId, Input, Message, ReadRound, Reply, RequestId, RoleKind};

use super::action::Action;
use super::members::{id, place_of};
use super::world::{World, spend};

impl World {
    /// Asks a node; `false` if that cannot be, or is refused at once.
    pub(super) fn ask(&mut self, at: usize, action: &Action) -> Result<bool, String> {
        let request = self.request();
        let Some(input) = self.asked(request, action) else {
            return Ok(false);
        };
        let passes_ns = self.passes_ns;
        if matches!(action, Action::Reconfigure(..)) {
            self.hold_time();
            self.hear_all(at)?;
        }
        let replies = self.step_with(at, input)?;
        self.passes_ns = passes_ns;
        let refused = |reply: &Reply| match reply {
            Reply::Rejected { request: refused, .. } => *refused == request,
            Reply::Appended { .. }
            | Reply::ReadAt { .. }
            | Reply::Done { .. }
            | Reply::Undecided { .. } => false,
        };
        Ok(!replies.iter().any(refused))
    }

    /// Takes what a request uses up; `None` if it cannot be.
    fn asked(&mut self, request: RequestId, action: &Action) -> Option<Input> {
        let leads = |at: &usize| self.nodes[*at].raft.status().role == RoleKind::Leader;
        match action {
            Action::Propose(at) => {
                leads(at).then_some(())?;
                spend(&mut self.budget.proposals)?;
                let commands = vec![Bytes::copy_from_slice(&request.get().to_le_bytes())];
                Some(Input::Propose { request, commands })
            }
            Action::Read(_) => {
                spend(&mut self.budget.reads)?;
                Arc::make_mut(&mut self.oracle).asked(request);
                Some(Input::Read { request })
            }
            Action::Transfer(at, to) => {
                leads(at).then_some(())?;
                spend(&mut self.budget.transfers)?;
                Some(Input::Transfer { request, to: id(*to) })
            }
            Action::Reconfigure(at, change) => {
                leads(at).then_some(())?;
                spend(&mut self.budget.changes)?;
                let target = self.target(*at, *change)?;
                Some(Input::Reconfigure { request, target })
            }
            Action::Deliver(_)
            | Action::Repeat(_)
            | Action::Drop(_)
            | Action::Timeout(..)
            | Action::Persist(_)
            | Action::Crash(..)
            | Action::RollBack(..)
            | Action::Compact(_)
            | Action::Arrive(_)
            | Action::Cut(_) => None,
        }
    }

    /// Lets a leader hear from all members that it feeds, by answers that tell nothing else.
    fn hear_all(&mut self, at: usize) -> Result<(), String> {
        let status = self.nodes[at].raft.status();
        let term = status.term;
        let peers: Vec<usize> = status.peers.iter().map(|peer| place_of(peer.id)).collect();
        for peer in peers {
            let (refused, hint, round) = (EntryId::ZERO, EntryId::ZERO, ReadRound::ZERO);
            let message = Message { term, body: Body::Conflict { refused, hint, round } };
            let (from, incarnation) = (id(peer), self.nodes[peer].incarnation);
            self.step_with(at, Input::Receive { from, incarnation, message })?;
        }
        Ok(())
    }
}
