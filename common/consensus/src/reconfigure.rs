//! Changing the members (§4.1-4.3): one change at a time, through a joint configuration where
//! voters change, to the end by whichever leader finds it.

use crate::actions::{Rejection, Reply};
use crate::configuration::{Configuration, Voters};
use crate::entry::{Entry, Payload};
use crate::ids::{EntryId, NodeId, RequestId, Timestamp};
use crate::progress::Progress;
use crate::raft::Raft;
use crate::role::Role;

impl Raft {
    /// Begins a change to `target`, or refuses it.
    pub(crate) fn reconfigure(
        &mut self,
        now: Timestamp,
        request: RequestId,
        target: &Configuration,
    ) {
        match self.judge_change(now, target) {
            Ok(next) => {
                if let Some(leader) = self.role.leader_mut() {
                    leader.change = Some(request);
                }
                // A change to what is in force already is done when that is committed.
                if let Some(next) = next {
                    self.append_configuration(now, next);
                }
            }
            Err(reason) => self.reject(request, reason),
        }
    }

    /// Returns the configuration to append for a change to `target`, `None` if that is in force.
    fn judge_change(
        &self,
        now: Timestamp,
        target: &Configuration,
    ) -> Result<Option<Configuration>, Rejection> {
        let Some(leader) = self.role.leader() else {
            return Err(Rejection::NotLeader { leader: self.leader() });
        };
        let current = self.membership.latest();
        // One change at a time, and none before an entry of this leader's term is committed: a
        // change of an earlier leader may be in force elsewhere (§4.1, museum C1).
        let began = self.commit >= leader.first;
        let stable = self.membership.index() <= self.commit;
        if !began || current.voters().is_joint() || !stable {
            return Err(Rejection::Reconfiguring);
        }
        if leader.transfer.is_some() {
            return Err(Rejection::Transferring);
        }
        if target.voters().is_joint() {
            return Err(Rejection::Invalid);
        }
        let renamed = |id: NodeId| {
            let (now, then) = (current.member(id), target.member(id));
            now.zip(then).is_some_and(|(now, then)| now.incarnation != then.incarnation)
        };
        if target.members().keys().any(|id| renamed(*id)) {
            return Err(Rejection::Invalid);
        }
        if current == target {
            return Ok(None);
        }
        self.check_newcomers(target)?;
        self.check_reachable(now, target)?;
        if current.voters() == target.voters() {
            return Ok(Some(target.clone()));
        }
        joint(current, target).map(Some).ok_or(Rejection::Invalid)
    }

    /// New voters must have caught up as learners, or they would hold up every commit (§4.2.1); and
    /// they must hold a configuration, for a node that knows of no cluster never votes.
    fn check_newcomers(&self, target: &Configuration) -> Result<(), Rejection> {
        let (current, last) = (self.membership.latest(), self.log.last().index);
        for id in target.voters().iter().filter(|id| !current.is_voter(*id)) {
            let matched = self.matched(id).ok_or(Rejection::NotCaughtUp { node: id })?;
            let member = matched >= self.membership.index();
            if !member || last.since(matched) > self.config.catch_up_max {
                return Err(Rejection::NotCaughtUp { node: id });
            }
        }
        Ok(())
    }

    /// A majority of the voters to be must have answered of late, or the change would end service.
    fn check_reachable(&self, now: Timestamp, target: &Configuration) -> Result<(), Rejection> {
        let patience_ns = 2 * self.config.election_timeout_ns.start;
        let heard = |id: NodeId| {
            let progress = self.role.leader().and_then(|leader| leader.progress.get(&id));
            progress.is_some_and(|progress| now.since(progress.heard) < patience_ns)
        };
        let alive = |id: NodeId| Some(id == self.id || heard(id));
        match target.voters().tally(alive) {
            crate::Tally::Won => Ok(()),
            crate::Tally::Lost | crate::Tally::Undecided => Err(Rejection::WouldLoseQuorum),
        }
    }

    /// Does what a commit allows: leaves a joint configuration, and ends a change.
    ///
    /// The joint entry itself must be committed, and an entry of this leader's own term at or
    /// behind it, both under the joint rule (rule 5 of the design).
    pub(crate) fn advance_change(&mut self, now: Timestamp) {
        let Some(leader) = self.role.leader() else {
            return;
        };
        let (latest, index) = (self.membership.latest(), self.membership.index());
        if self.commit < index || self.commit < leader.first {
            return;
        }
        if let Voters::Joint { incoming, .. } = latest.voters() {
            let members = latest.members();
            let stays = |id: &NodeId| incoming.contains(*id) || latest.learners().contains(id);
            let target = Configuration::new(
                Voters::Stable(incoming.clone()),
                latest.learners().clone(),
                members.iter().filter(|(id, _)| stays(id)).map(|(i, m)| (*i, m.clone())).collect(),
            );
            let target = target.expect("a joint configuration was made of a valid target");
            self.append_configuration(now, target);
            return;
        }
        let leads_on = latest.is_voter(self.id);
        if let Some(leader) = self.role.leader_mut()
            && let Some(request) = leader.change.take()
        {
            self.out.reply.push(Reply::Done { request });
        }
        if !leads_on {
            // The last thing that a removed leader says is that its removal is committed (§4.2.2).
            self.broadcast_heartbeat();
            self.follow(now, self.term(), None);
            return;
        }
        self.dismiss(now);
    }

    /// Feeds those who leave until they have their removal, but not for longer than an election
    /// timeout behind its commit (museum C16); then they are told that it is committed.
    fn dismiss(&mut self, now: Timestamp) {
        let index = self.membership.index();
        let patience_ns = self.config.election_timeout_ns.start;
        let latest = self.membership.latest();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(until) = leader.departing else {
            return;
        };
        let until = until.min(now.after(patience_ns));
        leader.departing = Some(until);
        let mut leaving = leader.progress.iter().filter(|(id, _)| latest.member(**id).is_none());
        if now >= until || leaving.all(|(_, progress)| progress.matched >= index) {
            self.broadcast_heartbeat();
            self.sync_progress(now);
        }
    }

    fn append_configuration(&mut self, now: Timestamp, configuration: Configuration) {
        let known = self.membership.latest().voters();
        let grows = configuration.voters().iter().any(|voter| !known.contains(voter));
        let patience_ns = self.config.election_timeout_ns.start;
        if let Some(leader) = self.role.leader_mut().filter(|_| grows) {
            // Whoever votes from now on has one election timeout to answer (museum C19).
            leader.quorum_check = now.after(patience_ns);
        }
        let id = EntryId { term: self.term(), index: self.log.last().index.next() };
        let stamp = self.stamp;
        self.append(Entry { id, stamp, payload: Payload::Configuration(configuration) });
        self.sync_progress(now);
    }

    /// Feeds all members; those who leave until their removal is committed, so that they learn of
    /// it and do not campaign against it.
    pub(crate) fn sync_progress(&mut self, now: Timestamp) {
        let next = self.log.last().index.next();
        let latest = self.membership.latest();
        let uncommitted = self.membership.index() > self.commit;
        let before = uncommitted.then(|| self.membership.previous());
        let member = |id: &NodeId| {
            latest.members().contains_key(id)
                || before.is_some_and(|before| before.members().contains_key(id))
        };
        let departing = before.is_some_and(|before| {
            before.members().keys().any(|id| !latest.members().contains_key(id))
        });
        let joining: Vec<NodeId> = latest.members().keys().copied().collect();
        let own = self.id;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.departing = departing.then_some(Timestamp::new(u64::MAX));
        leader.progress.retain(|id, _| member(id));
        for id in joining.into_iter().filter(|id| *id != own) {
            leader.progress.entry(id).or_insert_with(|| Progress::new(next, now));
        }
    }
}

/// Joins two configurations; `None` if there are too many members.
fn joint(current: &Configuration, target: &Configuration) -> Option<Configuration> {
    let (_, outgoing) = current.voters().halves();
    let (_, incoming) = target.voters().halves();
    let mut members = target.members().clone();
    for id in outgoing.iter() {
        let member = current.member(id).expect("a voter is a member");
        members.entry(id).or_insert_with(|| member.clone());
    }
    let voters = Voters::Joint { outgoing: outgoing.clone(), incoming: incoming.clone() };
    Configuration::new(voters, target.learners().clone(), members).ok()
}
