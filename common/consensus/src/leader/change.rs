//! Changing the members (§4.1-4.3): begun by one leader, brought to its end by whichever leads.

use super::progress::Progress;
use super::{Leader, Leadership, vetting};
use crate::core::Core;
use crate::rules::change;
use crate::vocabulary::actions::{Rejection, Reply};
use crate::vocabulary::configuration::Configuration;
use crate::vocabulary::entry::Payload;
use crate::vocabulary::ids::{NodeId, RequestId, Timestamp};

impl Leader {
    /// Begins a change to `target`, or refuses it. A change to what is in force already is done:
    /// that is committed, or another change would be under way.
    pub(crate) fn reconfigure(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        request: RequestId,
        target: &Configuration,
    ) {
        let target = change::keep_returning(core.configuration(), target);
        match self.judge_change(core, now, &target) {
            Ok(Some(next)) => self.vet_change(core, now, request, (&target, next)),
            Ok(None) => core.reply(Reply::Done { request }),
            Err(reason) => core.reject(request, reason),
        }
    }

    /// Begins a change that nothing speaks against, by the step to `next`.
    pub(super) fn begin_change(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        request: RequestId,
        next: Configuration,
    ) {
        self.change = Some(request);
        self.append_configuration(core, now, next);
    }

    /// Returns the configuration to append for a change to `target`, `None` if that is in force.
    pub(super) fn judge_change(
        &self,
        core: &Core,
        now: Timestamp,
        target: &Configuration,
    ) -> Result<Option<Configuration>, Rejection> {
        let (current, index) = (core.configuration(), core.membership().index());
        let may_begin = change::may_begin(current, index, core.commit(), self.first);
        if !may_begin || self.vetting.is_some() {
            return Err(Rejection::Reconfiguring);
        }
        if self.is_transferring() {
            return Err(Rejection::Transferring);
        }
        change::check_target(current, target)?;
        if current == target {
            return Ok(None);
        }
        self.check_newcomers(core, now, target)?;
        self.check_reachable(core, now, target)?;
        change::step_towards(current, target).map(Some).ok_or(Rejection::Invalid)
    }

    /// New voters must live, and must have caught up.
    fn check_newcomers(
        &self,
        core: &Core,
        now: Timestamp,
        target: &Configuration,
    ) -> Result<(), Rejection> {
        let current = core.configuration();
        let ready = |id: &NodeId| {
            let progress = self.progress.get(id);
            progress.is_some_and(|progress| vetting::is_ready(core, now, progress))
        };
        let mut newcomers = target.voters().iter().filter(|id| !current.is_voter(*id));
        match newcomers.find(|id| !ready(id)) {
            Some(node) => Err(Rejection::NotCaughtUp { node }),
            None => Ok(()),
        }
    }

    /// Does what a commit allows: leaves a joint configuration, whichever leader began it (museum
    /// C6), and ends a change.
    pub(crate) fn advance_change(&mut self, core: &mut Core, now: Timestamp) -> Leadership {
        if !change::is_decided(core.membership().index(), core.commit(), self.first) {
            return Leadership::GoesOn;
        }
        if let Some(left) = change::leave_joint(core.configuration()) {
            self.append_configuration(core, now, left);
            return Leadership::GoesOn;
        }
        if let Some(request) = self.change.take() {
            core.reply(Reply::Done { request });
        }
        if !core.configuration().is_voter(core.id()) {
            // The last thing that a removed leader says is that its removal is committed (§4.2.2).
            self.broadcast_heartbeat(core);
            return Leadership::Ends;
        }
        self.dismiss(core, now);
        Leadership::GoesOn
    }

    /// Feeds members that leave until they have their removal, but not for longer than an election
    /// timeout behind its commit (museum C16); then they are told that it is committed.
    fn dismiss(&mut self, core: &mut Core, now: Timestamp) {
        let Some(until) = self.departing else {
            return;
        };
        let until = until.min(now.after(core.patience_ns()));
        self.departing = Some(until);
        let (latest, index) = (core.configuration(), core.membership().index());
        let mut leaving = self.progress.iter().filter(|(id, _)| latest.member(**id).is_none());
        if now >= until || leaving.all(|(_, progress)| progress.matched() >= index) {
            self.broadcast_heartbeat(core);
            self.sync_progress(core, now);
        }
    }

    fn append_configuration(&mut self, core: &mut Core, now: Timestamp, next: Configuration) {
        let known = core.voters();
        if next.voters().iter().any(|voter| !known.contains(voter)) {
            // A new voter has one election timeout to answer (museum C19).
            self.quorum_check = now.after(core.patience_ns());
        }
        self.note_growth(core, now);
        core.append_own(core.stamp(), Payload::Configuration(next));
        self.sync_progress(core, now);
        // The last voter that is left has nobody whose answer would confirm them.
        self.confirm_reads(core);
    }

    /// Feeds all members; those that leave until their removal is committed, so that they learn of
    /// it and do not campaign against it. What is known of a member that stays is kept (museum
    /// C22), but not of one that comes with another data directory: it has promised nothing.
    pub(super) fn sync_progress(&mut self, core: &Core, now: Timestamp) {
        let next = core.last_index().next();
        let (latest, before) = (core.configuration().members(), core.superseded());
        let leaving = |id: &NodeId| {
            let member = before.is_some_and(|before| before.members().contains_key(id));
            member && !latest.contains_key(id)
        };
        let departing = before.is_some_and(|before| before.members().keys().any(leaving));
        self.departing = departing.then_some(Timestamp::new(u64::MAX));
        self.progress.retain(|id, known| match latest.get(id) {
            Some(member) => member.incarnation == known.incarnation(),
            None => leaving(id),
        });
        for (id, member) in latest.iter().filter(|(id, _)| **id != core.id()) {
            let begin = || Progress::new(member.incarnation, next, now);
            self.progress.entry(*id).or_insert_with(begin);
        }
    }
}
