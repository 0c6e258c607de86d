//! Whether a change of members would end service (§6.2): a majority of the voters to be must show
//! that their disks work.
//!
//! A node whose disk hangs goes on answering heartbeats. So what counts is what it has acknowledged
//! of late; and where nothing was written of late, an entry without effect asks for it. Ours.

use super::Leader;
use super::progress::Progress;
use crate::core::Core;
use crate::rules::change;
use crate::vocabulary::actions::Rejection;
use crate::vocabulary::configuration::{Configuration, Tally};
use crate::vocabulary::entry::Payload;
use crate::vocabulary::ids::{LogIndex, NodeId, RequestId, Timestamp};

/// A change that waits until the voters to be have shown that their disks work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vetting {
    pub(super) request: RequestId,
    target: Configuration,
    /// The entry that they are to acknowledge.
    probe: LogIndex,
    /// When to give up.
    until: Timestamp,
}

/// What a voter must have shown of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// Whatever it answers, as long as nothing speaks against its disk.
    Nothing,
    /// Entries that it has acknowledged.
    Acknowledgements,
}

impl Leader {
    /// Begins a change to `target` by the step to `next`; or first asks the voters to be to show
    /// that their disks work, if they have not of late.
    pub(super) fn vet_change(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        request: RequestId,
        (target, next): (&Configuration, Configuration),
    ) {
        if self.has_quorums(core, now, target, Evidence::Acknowledgements) {
            return self.begin_change(core, now, request, next);
        }
        self.note_growth(core, now);
        core.append_own(core.stamp(), Payload::Noop);
        let (probe, until) = (core.last_index(), now.after(2 * core.patience_ns()));
        self.vetting = Some(Vetting { request, target: target.clone(), probe, until });
    }

    /// A majority of the voters to be must have answered of late, or the change would end service.
    pub(super) fn check_reachable(
        &self,
        core: &Core,
        now: Timestamp,
        target: &Configuration,
    ) -> Result<(), Rejection> {
        let reachable = self.has_quorums(core, now, target, Evidence::Nothing);
        reachable.then_some(()).ok_or(Rejection::WouldLoseQuorum)
    }

    /// Goes on with a change when a majority of the voters to be has shown that their disks work,
    /// or refuses it when that takes too long.
    pub(crate) fn advance_vetting(&mut self, core: &mut Core, now: Timestamp) {
        let Some(vetting) = &self.vetting else {
            return;
        };
        let acknowledged = |id: NodeId| {
            let own = (id == core.id()).then(|| core.durable());
            own.or(self.matched(id)).is_some_and(|matched| matched >= vetting.probe)
        };
        let voters = vetting.target.voters();
        let shown = core.commit() >= vetting.probe
            && voters.tally(|id| Some(acknowledged(id))) == Tally::Won;
        let late = now >= vetting.until;
        let Some(vetting) = self.vetting.take_if(|_| shown || late) else {
            return;
        };
        let Vetting { request, target, .. } = vetting;
        if !shown {
            return core.reject(request, Rejection::WouldLoseQuorum);
        }
        match self.judge_change(core, now, &target) {
            Ok(Some(next)) => self.begin_change(core, now, request, next),
            // It cannot be in force already: no other change began meanwhile.
            Ok(None) => core.reject(request, Rejection::Reconfiguring),
            Err(reason) => core.reject(request, reason),
        }
    }

    /// Says whether there is evidence of late for a quorum of the present voters, and for one of
    /// those to be: both must write for the change to be committed.
    fn has_quorums(
        &self,
        core: &Core,
        now: Timestamp,
        target: &Configuration,
        evidence: Evidence,
    ) -> bool {
        let patience_ns = 2 * core.patience_ns();
        let shows = |progress: &Progress| match evidence {
            Evidence::Nothing => true,
            Evidence::Acknowledgements => progress.pace().is_proven(now, patience_ns),
        };
        let sound = |id: NodeId| match self.progress.get(&id) {
            Some(progress) => Some(is_alive(core, now, progress) && shows(progress)),
            None => Some(id == core.id() && !core.disk_hangs(now)),
        };
        [core.voters(), target.voters()].iter().all(|voters| voters.tally(sound) == Tally::Won)
    }
}

/// Says whether a new voter lives and has caught up.
pub(super) fn is_ready(core: &Core, now: Timestamp, progress: &Progress) -> bool {
    let (index, last) = (core.membership().index(), core.last_index());
    let lag_max = core.config().catch_up_max;
    change::has_caught_up(progress.matched(), index, last, lag_max) && is_alive(core, now, progress)
}

/// Says whether a member was heard of late, and does not stand still.
fn is_alive(core: &Core, now: Timestamp, progress: &Progress) -> bool {
    let patience_ns = 2 * core.patience_ns();
    now.since(progress.heard()) < patience_ns
        && !progress.stands_still(core.last_index(), now, patience_ns)
}
