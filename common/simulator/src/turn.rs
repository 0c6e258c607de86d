//! The turn of a node, as the daemon's loop takes it: what has arrived is stepped, input after
//! input, then the replica is drained once and its lanes are handed on. While a turn's work goes on
//! nothing is taken, so that a busy or paused node finds many inputs at once, in an order of kinds.

use consensus::{Body, Configuration, EntryId, Event, Input as Raw, Message, RoleKind, Timestamp};
use replica::Input;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::crash_points;
use crate::faults::MS;
use crate::inbox::{Kind, Taken, kind};
use crate::scenarios::Trigger;
use crate::watch::PATIENCE_NS;
use crate::world::{Happening, World};

/// Timers that fire in one turn, at most, as in the daemon.
const TIMERS_MAX: usize = 4;

/// How long after its election a leader is young.
const YOUNG_NS: u64 = 20 * MS;

impl World {
    /// Something reaches a node's loop: taken at once if that is free.
    pub(crate) fn step(&mut self, node: usize, input: Input) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        if place.replica.is_none() {
            return Ok(());
        }
        place.turns.inbox.push(input);
        if place.paused || place.turns.gathers {
            return Ok(());
        }
        if place.turns.busy_until > self.now {
            self.come_back(node);
            return Ok(());
        }
        self.take_turn(node)
    }

    /// As [`Self::step`], whether the loop is busy or not.
    pub(crate) fn step_at_once(&mut self, node: usize, input: Input) -> Result<(), Broken> {
        if self.nodes[node].replica.is_none() {
            return Ok(());
        }
        self.nodes[node].turns.inbox.push(input);
        self.take_turn(node)
    }

    /// Takes the turn that is due, if any; what is left is lost.
    pub(crate) fn finish_turn(&mut self, node: usize) -> Result<(), Broken> {
        if !self.nodes[node].turns.inbox.is_empty() {
            self.take_turn(node)?;
            self.nodes[node].turns.inbox.clear();
        }
        Ok(())
    }

    /// What `arrive` lets arrive at a node arrives at the same time.
    pub(crate) fn at_the_same_time(
        &mut self,
        node: usize,
        arrive: impl FnOnce(&mut Self) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let life = self.nodes[node].life;
        self.nodes[node].turns.gathers = true;
        arrive(self)?;
        let place = &mut self.nodes[node];
        place.turns.gathers = false;
        let empty = place.turns.inbox.is_empty();
        if place.life != life || place.replica.is_none() || place.paused {
            return Ok(());
        }
        if empty {
            // A timer may have been all that came while it stood still.
            return self.due(node);
        }
        if place.turns.busy_until > self.now {
            self.come_back(node);
            return Ok(());
        }
        self.take_turn(node)
    }

    fn come_back(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        if !std::mem::replace(&mut place.turns.due, true) {
            let (at, life) = (place.turns.busy_until, place.life);
            self.at(at, Happening::Turn { node, life });
        }
    }

    /// A loop is free again.
    pub(crate) fn loop_is_free(&mut self, node: usize, life: u32) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        if place.life != life {
            return Ok(());
        }
        place.turns.due = false;
        if place.paused || place.replica.is_none() {
            return Ok(());
        }
        self.take_turn(node)
    }

    /// A paused node goes on: all that has arrived meanwhile is there at once.
    pub(crate) fn resume(&mut self, node: usize) -> Result<(), Broken> {
        self.nodes[node].paused = false;
        let life = self.nodes[node].life;
        let backlog = std::mem::take(&mut self.nodes[node].backlog);
        self.at_the_same_time(node, |world| {
            backlog.into_iter().try_for_each(|late| world.if_alive(node, life, late))
        })?;
        self.wakes(node);
        Ok(())
    }

    /// A deadline of a node may have passed.
    pub(crate) fn due(&mut self, node: usize) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let local = place.local(self.now);
        let deadline = place.replica.as_ref().and_then(|replica| replica.deadline());
        if deadline.is_none_or(|(at, _)| at > local) {
            self.schedule_wake(node);
        } else if place.turns.busy_until > self.now {
            self.come_back(node);
        } else if !place.turns.gathers {
            return self.take_turn(node);
        }
        Ok(())
    }

    /// Steps all that has arrived and the timers that are due, drains once, and hands the lanes on.
    fn take_turn(&mut self, node: usize) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        let fresh = place.local(self.now);
        let frozen = place.turns.frozen.take();
        if frozen.is_some() {
            self.coverage.meet(Met::ClockReadBefore);
        }
        let mut now = frozen.unwrap_or(fresh);
        place.turns.began = now;
        let Some(replica) = place.replica.as_mut() else {
            return Ok(());
        };
        let before = replica.raft().clone();
        let inputs = place.turns.take();
        let leases = self.profile.lease_ppm.is_some();
        let (count, held, asked) = (inputs.len(), replica.held(), replica.waiting().1);
        let mut taken = Taken { count, held, ..Taken::default() };
        for mut input in inputs {
            if let Input::Reconfigure { removed, .. } = &mut input {
                *removed = self.removed_before(node);
            }
            // The clock is read again behind each message.
            now = if kind(&input) == Kind::Peer { fresh } else { now };
            let place = &mut self.nodes[node];
            taken.note(&place.memory, &input);
            let replica = place.replica.as_mut().expect("it is up");
            let seen = place.watch.first_seen(&input, replica.raft(), now);
            let end = replica.raft().last();
            if let Input::Raft(Raw::Receive { from, incarnation, message }) = &input {
                place.acquaintances.note((*from, *incarnation), message, replica.raft());
                taken.answered_too_late |= is_too_late(message, replica.raft());
            }
            replica.step(now, input);
            let raft = replica.raft();
            let cut = end.index > before.last().index || end.term > before.last().term;
            taken.cut_unwritten |= cut && !has(raft, end);
            place.watch.seen(seen, raft, leases)?;
        }
        let place = &mut self.nodes[node];
        let replica = place.replica.as_mut().expect("it is up");
        for _ in 0..TIMERS_MAX {
            match replica.deadline() {
                Some((at, timer)) if at <= now => {
                    replica.step(now, Input::Raft(Raw::Timeout(timer)));
                }
                Some(_) | None => break,
            }
        }
        let raft = replica.raft();
        let counts = raft.leads() && raft.commit() < raft.last().index;
        place.turns.now = now;
        taken.counts_by = counts.then(|| raft.configuration().clone());
        let lanes = replica.drain(now);
        let raft = replica.raft();
        raft.check_state();
        raft.check_transition(&before);
        taken.last_voter_asked = asked > 0 && leads_alone(raft) && !leads_alone(&before);
        place.acquaintances.keep(raft);
        self.tell_of(&taken);
        self.hand_on(node, &before, (now, taken), lanes)?;
        self.stay_busy(node);
        Ok(())
    }

    /// A turn's lanes are handed on, or what of them leaves the machine before it dies.
    fn hand_on(
        &mut self,
        node: usize,
        before: &consensus::Raft,
        (now, taken): (Timestamp, Taken),
        mut lanes: replica::Lanes,
    ) -> Result<(), Broken> {
        let raft = self.nodes[node].replica.as_ref().expect("it was stepped").raft();
        let raft_commits = raft.leads() && raft.commit() > before.commit();
        let received = !taken.received.is_empty() && raft.installing().is_some();
        let installed = before.installing().is_some() && raft.installing().is_none();
        if before.is_transferring() && raft.is_transferring() && crash_points::proposes(&lanes) {
            let why = format!("node {} takes writes meanwhile", self.nodes[node].id);
            return Err(Broken::new("nothing is proposed while leadership is handed over", why));
        }
        self.watch_turn(node, before, (now, &taken), &lanes)?;
        let crash_points = crash_points::of(&lanes, received, installed);
        let led = lanes.event.iter().any(|e| matches!(e, Event::Role(RoleKind::Leader, _)));
        let trigger = Trigger::of(self.nodes[node].id, &lanes);
        let scripted = self.dies_in_figure_3_7(node, led);
        let young = node == self.leader && self.now.since(self.elected) < YOUNG_NS;
        let young = young && self.rng.permille(self.profile.crash_young_leader);
        let crash_point = crash_points::strikes(crash_points, &self.profile.odds, &mut self.rng);
        let doomed = (young || scripted || crash_point.is_some()) && !self.faults_over;
        let mute = scripted || (young || crash_point == Some(Met::CrashElected)) && doomed;
        let commits = raft_commits && self.strikes(self.habits.crash_committed);
        if commits {
            self.coverage.meet(Met::CrashCommitted);
            self.scenarios.doomed = Some(node);
            lanes.send.clear();
        }
        if doomed && mute && (scripted || self.rng.permille(500)) {
            // It dies before anything leaves the machine.
            lanes.send.clear();
        }
        // What a leader commits is in its log already, and decides what it may do now.
        let counts_by = taken.counts_by.as_ref();
        if counts_by.is_some() {
            self.look_at_commit(node, counts_by)?;
        }
        self.nodes[node].note_under_way(taken.space.is_some());
        self.dispatch(node, lanes)?;
        self.note_room(node, now, taken.space.map(|space| (space, taken.least_bytes)));
        self.look_at_commit(node, counts_by)?;
        self.watch_limits(node, &taken)?;
        self.look_back(node, &taken)?;
        self.schedule_wake(node);
        self.observe(node, &trigger, led);
        if self.scenarios.doomed.take() == Some(node) || doomed {
            if let Some(met) = crash_point.or(young.then_some(Met::CrashYoungLeader)) {
                self.coverage.meet(met);
            }
            self.crash(node);
        }
        if scripted {
            self.advance_figure_3_7(node)?;
        }
        Ok(())
    }

    /// What was stepped in a turn is looked at once more when its lanes are handed on.
    fn look_back(&mut self, node: usize, taken: &Taken) -> Result<(), Broken> {
        for from in &taken.appended {
            self.check_match(node, *from)?;
        }
        let replica = self.nodes[node].replica.as_ref();
        let installing = replica.and_then(|replica| replica.raft().installing());
        for (meta, kept) in &taken.received {
            self.coverage.meet(match installing {
                Some(wanted) if wanted == meta && *kept => Met::SnapshotKeepsLog,
                Some(wanted) if wanted == meta => Met::SnapshotDropsLog,
                Some(_) | None => Met::SnapshotUnwanted,
            });
        }
        Ok(())
    }

    fn tell_of(&mut self, taken: &Taken) {
        for (met, is_so) in [
            (Met::WritesHeld, taken.held > 0),
            (Met::TurnOfSome, taken.count > 1),
            (Met::TurnOfMany, taken.count >= 64),
            (Met::BatchOfMany, taken.proposals >= 64),
            (Met::MixedTurn, taken.proposals > 0 && taken.questions > 0 && taken.requests > 0),
            (Met::CutUnwritten, taken.cut_unwritten),
            (Met::AnsweredTooLate, taken.answered_too_late),
            (Met::LastVoterAsked, taken.last_voter_asked),
        ] {
            if is_so {
                self.coverage.meet(met);
            }
        }
    }

    /// The turn's work takes a while.
    fn stay_busy(&mut self, node: usize) {
        let most = if self.faults_over { MS } else { u64::MAX };
        let most = self.habits.turn_ns.min(most);
        let place = &mut self.nodes[node];
        if most > 0 {
            place.turns.busy_until = self.now.after(self.rng.between(0, most));
        }
        if std::mem::take(&mut place.turns.stands) && !self.faults_over && self.rng.permille(60) {
            // Until others stand as well: the votes and what ends the term come together.
            let long = self.rng.between(PATIENCE_NS / 2, 3 * PATIENCE_NS);
            place.turns.busy_until = self.now.after(long);
        }
        let more = !place.turns.inbox.is_empty() && place.replica.is_some();
        if more {
            place.turns.busy_until = place.turns.busy_until.max(self.now.after(1));
            self.come_back(node);
        }
    }

    fn look_at_commit(
        &mut self,
        node: usize,
        counts_by: Option<&Configuration>,
    ) -> Result<(), Broken> {
        let Some(replica) = self.nodes[node].replica.as_ref() else {
            return Ok(());
        };
        let raft = replica.raft();
        if raft.has_failed() {
            // What it took in its last turn is not written any more.
            return Ok(());
        }
        let (term, commit) = (raft.term(), raft.commit());
        let seen = self.nodes[node].seen_commit;
        if commit > seen {
            if raft.leads()
                && self.nodes[node].memory.id(seen.next()).is_some_and(|id| id.term < term)
            {
                self.coverage.meet(Met::OldTermsCommitted);
            }
            self.oracle.commits(&self.nodes, node, (term, commit, counts_by), &self.clients)?;
            self.nodes[node].seen_commit = commit;
        }
        Ok(())
    }
}

fn has(raft: &consensus::Raft, id: EntryId) -> bool {
    raft.term_at(id.index) == Some(id.term) || id.index <= raft.base().index
}

/// Says whether nobody but its leader votes.
fn leads_alone(raft: &consensus::Raft) -> bool {
    raft.leads() && raft.configuration().voters().iter().eq([raft.id()])
}

/// Says whether an answer to a leader's entries is of a term that it led before.
fn is_too_late(message: &Message, raft: &consensus::Raft) -> bool {
    let answers = matches!(
        message.body,
        Body::Appended { .. } | Body::Conflict { .. } | Body::SnapshotInstalled { .. }
    );
    answers && raft.leads() && message.term < raft.term()
}
