//! Leads: what only a leader knows, and may do.

use std::collections::BTreeMap;

use crate::core::Core;
use crate::vocabulary::actions::{Rejection, Reply};
use crate::vocabulary::configuration::Member;
use crate::vocabulary::entry::Payload;
use crate::vocabulary::ids::{ClusterTime, LogIndex, NodeId, RequestId, Timestamp};
use crate::vocabulary::input::Timer;
use crate::vocabulary::status::PeerStatus;

use evasion::Evasion;
use progress::Progress;
use read_rounds::ReadRounds;
use vetting::Vetting;

mod change;
mod commit;
mod evasion;
mod heartbeat;
mod lease;
mod pace;
mod progress;
mod read_rounds;
mod reads;
mod replication;
mod snapshot;
mod transfer;
mod vetting;
mod wait;

/// What a leader knows beside its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// This leader's first entry, the no-op; nothing may be read before it is committed (§6.4).
    first: LogIndex,
    /// When it was elected.
    since: Timestamp,
    /// Cluster time at that moment.
    stamp: ClusterTime,
    /// All other members.
    progress: BTreeMap<NodeId, Progress>,
    /// When heartbeats are due.
    heartbeat: Timestamp,
    /// When contact with a quorum must be shown.
    quorum_check: Timestamp,
    /// Reads that wait for confirmation.
    reads: ReadRounds,
    /// Who asked for the change of members that is under way.
    change: Option<RequestId>,
    /// A change of members that may begin.
    vetting: Option<Vetting>,
    /// Until when members are fed that leave with the latest configuration.
    departing: Option<Timestamp>,
    /// The transfer of leadership that is under way.
    transfer: Option<Transfer>,
    /// Attempts to hand over because of the own disk.
    evasion: Evasion,
    /// A successor was told to campaign: the lease is gone for the rest of the term (museum E10).
    handed_over: bool,
}

/// A transfer under way. While it lasts, the leader takes no proposals, so that its successor can
/// catch up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Transfer {
    /// The successor.
    to: NodeId,
    /// When to give up.
    until: Timestamp,
    /// Who asked; nobody if this node's disk is the reason.
    request: Option<RequestId>,
    /// Whether the successor has been told.
    told: bool,
}

/// Whether a leader goes on leading.
#[must_use = "a leader that must step down does not do so by itself"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leadership {
    GoesOn,
    Ends,
}

impl Leader {
    /// A leader that is just elected: of the followers nothing is known.
    pub(crate) fn new(core: &Core, now: Timestamp) -> Self {
        let first = core.last_index().next();
        let members = core.configuration().members().iter();
        let others = members.filter(|(id, _)| **id != core.id());
        let begin = |member: &Member| Progress::new(member.incarnation, first, now);
        Self {
            first,
            since: now,
            stamp: core.stamp(),
            progress: others.map(|(id, member)| (*id, begin(member))).collect(),
            heartbeat: now.after(core.config().heartbeat_ns),
            quorum_check: now.after(core.patience_ns()),
            reads: ReadRounds::default(),
            change: None,
            vetting: None,
            departing: None,
            transfer: None,
            evasion: Evasion::default(),
            handed_over: false,
        }
    }

    /// Takes office: a no-op opens the term (§3.6.2, §6.4).
    pub(crate) fn take_office(&mut self, core: &mut Core, now: Timestamp) {
        core.append_own(core.stamp(), Payload::Noop);
        self.sync_progress(core, now);
        self.renew_lease(core, now);
        self.broadcast_heartbeat(core);
    }

    /// Steps down, and answers what only a leader could have finished. A transfer has happened, as
    /// far as this node can tell: the client may look who leads now.
    pub(crate) fn leave(self, core: &mut Core) {
        for request in self.reads.into_requests() {
            core.reject(request, Rejection::NoQuorum);
        }
        if let Some(request) = self.change {
            core.reply(Reply::Undecided { request });
        }
        if let Some(vetting) = self.vetting {
            core.reject(vetting.request, Rejection::NotLeader { leader: None });
        }
        if let Some(request) = self.transfer.and_then(|transfer| transfer.request) {
            core.reply(Reply::Done { request });
        }
    }

    /// Returns when to wake this leader, and why.
    pub(crate) fn deadline(&self) -> (Timestamp, Timer) {
        let due = (self.heartbeat, Timer::Heartbeat).min((self.quorum_check, Timer::QuorumCheck));
        let transfer = self.transfer.as_ref().map(|transfer| (transfer.until, Timer::Transfer));
        transfer.map_or(due, |transfer| due.min(transfer))
    }

    /// Returns when it was elected.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// Returns what is known to agree and to be durable on a member.
    pub(crate) fn matched(&self, member: NodeId) -> Option<LogIndex> {
        self.progress.get(&member).map(Progress::matched)
    }

    /// Returns what is known of each other member, in order of their ids.
    pub(crate) fn peers(&self, core: &Core) -> impl Iterator<Item = PeerStatus> {
        let (voters, last) = (core.voters(), core.last_index());
        self.progress.iter().map(move |(id, progress)| {
            let catch_up = (!voters.contains(*id)).then(|| progress.catch_up(last));
            progress.status(*id, catch_up)
        })
    }

    /// Notes that the log is about to grow.
    fn note_growth(&mut self, core: &Core, now: Timestamp) {
        let last = core.last_index();
        self.progress.values_mut().for_each(|progress| progress.note_growth(last, now));
    }

    /// Returns the highest value that a quorum of voters has reached, of whatever is known of each
    /// member; `own` is this node's. Learners do not count (museum C9, F9), and a single voter is a
    /// quorum by itself (museum F10).
    fn quorum<T: Ord + Copy + Default>(
        &self,
        core: &Core,
        own: T,
        known: impl Fn(&Progress) -> T,
    ) -> T {
        core.voters().reached(|id| match self.progress.get(&id) {
            Some(progress) => known(progress),
            None if id == core.id() => own,
            None => T::default(),
        })
    }

    /// Checks what must hold between two steps.
    pub(crate) fn check(&self, core: &Core) {
        let last = core.last_index();
        assert!(core.has_own_vote(), "a leader has its own vote");
        assert!(self.first <= last, "a leader's no-op is in its log");
        let own = core.log().term(self.first) == Some(core.term());
        let compacted = self.first <= core.log().base().index;
        assert!(own || compacted, "a leader's no-op is of its own term");
        self.reads.check(core.config().reads_max as usize, self.quorum_round(core));
        for progress in self.progress.values() {
            progress.check(last, self.reads.newest());
        }
    }

    /// Checks the step from `before`, in the same term, to this state.
    pub(crate) fn check_transition(&self, before: &Self) {
        assert!(self.handed_over >= before.handed_over, "a lease given up stays so (E10)");
        assert!(self.reads.newest() >= before.reads.newest(), "rounds are never reused (F3)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::{id, node};
    use crate::vocabulary::config::Config;

    #[test]
    fn a_voter_of_whom_nothing_is_known_counts_for_nothing_s3_6_2() {
        let core = node(Config::new(1));
        let mut leader = Leader::new(&core, Timestamp::ZERO);
        let own = LogIndex::new(1);
        let heard = |leader: &Leader| leader.quorum(&core, own, |_| own);
        leader.progress.remove(&id(2));
        assert_eq!(heard(&leader), own, "this node and one of two others");
        leader.progress.remove(&id(3));
        assert_eq!(heard(&leader), LogIndex::ZERO, "this node is no quorum");
    }
}
