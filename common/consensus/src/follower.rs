//! Follows a leader, or waits for one (§3.4).

use crate::core::Core;
use crate::vocabulary::actions::{Event, Rejection};
use crate::vocabulary::ids::{EntryId, NodeId, Timestamp};
use crate::vocabulary::input::Timer;

use forwarding::Forwarding;

mod append;
mod forwarding;
mod reads;
mod snapshot;

/// What a follower knows beside its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// The leader of this term, if known.
    leader: Option<NodeId>,
    /// When that leader was last heard from.
    heard: Timestamp,
    /// Its process has ended since then.
    gone: bool,
    /// When to campaign.
    election: Timestamp,
    /// Reads that wait for the leader's answer.
    forwarding: Forwarding,
}

impl Follower {
    pub(crate) fn new(leader: Option<NodeId>, heard: Timestamp, election: Timestamp) -> Self {
        Self { leader, heard, gone: false, election, forwarding: Forwarding::default() }
    }

    /// Returns the leader of this term, if known.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Returns when to campaign.
    pub(crate) fn election(&self) -> Timestamp {
        self.election
    }

    /// Returns when to wake this follower, and why. One that may not stand only waits for answers.
    pub(crate) fn deadline(&self, core: &Core) -> Option<(Timestamp, Timer)> {
        let from = if core.may_campaign() { Some(self.election) } else { core.stands_in_from() };
        let election = from.map(|from| (self.election.max(from), Timer::Election));
        let read = self.forwarding.deadline().map(|due| (due, Timer::ReadIndex));
        election.into_iter().chain(read).min()
    }

    /// Follows `from`, which leads this term, and waits anew before it campaigns; `false` if this
    /// node follows another leader of the same term, which no correct cluster shows.
    pub(crate) fn heed(&mut self, core: &mut Core, now: Timestamp, from: NodeId) -> bool {
        let election = core.draw_election(now);
        match self.leader {
            Some(leader) if leader != from => return false,
            Some(_) => {}
            None => core.tell(Event::Leader(Some(from))),
        }
        self.leader = Some(from);
        self.heard = now;
        self.gone = false;
        self.election = election;
        core.note_contact(from, now);
        true
    }

    /// The leader's process has ended: no vote waits for it any more, and this node asks soon
    /// whether it would be elected. That changes nothing if the others still hear from that leader
    /// (§9.6). Leases are a promise about time, which no news makes shorter (§6.4.1).
    pub(crate) fn gone(&mut self, core: &Core, now: Timestamp, peer: NodeId) {
        if self.leader == Some(peer) && !core.grants_leases() {
            self.gone = true;
            self.election = self.election.min(now.after(core.turn_behind_ns(peer)));
        }
    }

    /// Says whether its leader's process has ended, as far as is known.
    pub(crate) fn is_left(&self) -> bool {
        self.gone
    }

    /// Waits anew before it campaigns: it has granted its vote. Refusing puts nothing off (museum
    /// A22).
    pub(crate) fn put_off_election(&mut self, core: &mut Core, now: Timestamp) {
        self.election = core.draw_election(now);
    }

    /// Says whether this node hears from a leader other than `candidate` (§4.2.3).
    pub(crate) fn hears_from_leader(
        &self,
        core: &Core,
        now: Timestamp,
        candidate: Option<NodeId>,
    ) -> bool {
        let fresh = !self.gone && now.since(self.heard) < core.patience_ns();
        fresh && self.leader.is_some() && self.leader != candidate
    }

    /// Says whether to campaign at once, because the leader asks for it: this node holds the
    /// leader's whole log, may stand (§3.10, museum E7), and its disk does not hang.
    pub(crate) fn on_timeout_now(
        &self,
        core: &Core,
        now: Timestamp,
        from: NodeId,
        last: EntryId,
    ) -> bool {
        let complete = self.leader == Some(from) && core.log().last() == last;
        complete && core.may_campaign() && !core.disk_hangs(now)
    }

    /// Takes another role, or follows another leader: what the old one still answers is thrown away
    /// (museum F4).
    pub(crate) fn leave(self, core: &mut Core) {
        for request in self.forwarding.into_requests() {
            core.reject(request, Rejection::NoQuorum);
        }
    }

    /// Checks what must hold between two steps.
    pub(crate) fn check(&self, core: &Core) {
        assert!(self.leader != Some(core.id()), "nobody follows itself");
        let waiting = self.forwarding.len();
        assert!(waiting <= core.config().reads_max as usize, "reads are bounded (F12)");
        assert!(self.leader.is_some() || waiting == 0, "reads wait for a leader");
    }
}
