//! What is looked at after each turn of a node: rules that its replica must keep whatever the
//! others do, and counts that are made here once more.

use consensus::{Payload, Raft, Rejection, RequestId, RoleKind, Term, Timestamp, Write};
use replica::{Lanes, Reply};

use crate::alarms::is_alarm;
use crate::broken::Broken;
use crate::changes::{CHANGE, TRANSFER};
use crate::coverage::Met;
use crate::inbox::Taken;
use crate::node::Node;
use crate::watch::PATIENCE_NS;
use crate::world::World;

const LIMIT: &str = "limits are kept, and refuse nothing else";

impl World {
    /// Looks at a node behind a turn, before its lanes are handed on.
    pub(crate) fn watch_turn(
        &mut self,
        node: usize,
        before: &Raft,
        (now, taken): (Timestamp, &Taken),
        lanes: &Lanes,
    ) -> Result<(), Broken> {
        self.watch_role(node, before, lanes)?;
        self.watch_leadership(node, before, now)?;
        self.watch_transfer(node, (before, now), lanes)?;
        self.watch_uncommitted(node, lanes)?;
        self.watch_refusals(node, before, taken, lanes)
    }

    /// A node is elected: by then the leases of all leaders before have run out (§6.4.1), as long
    /// as clocks are as good as they are said to be.
    pub(crate) fn no_lease_holds(&mut self, elected: usize, term: Term) -> Result<(), Broken> {
        let bound = self.profile.lease_ppm.map(u64::from);
        if bound.is_none_or(|bound| bound < self.profile.drift_ppm) {
            return Ok(());
        }
        for (node, place) in self.nodes.iter().enumerate().filter(|(node, _)| *node != elected) {
            let Some(raft) = place.replica.as_ref().map(|replica| replica.raft()) else {
                continue;
            };
            let until = raft.lease_until().filter(|_| raft.term() < term);
            if until.is_some_and(|until| place.local(self.now) < until) {
                let why = format!("node {} leads term {term}, node {node} has one", elected + 1);
                return Err(Broken::new("nobody is elected while a lease holds (§6.4.1)", why));
            }
            if raft.leads() && until.is_some() {
                self.coverage.meet(Met::LeaseRunOut);
            }
        }
        Ok(())
    }

    fn watch_role(&mut self, node: usize, before: &Raft, lanes: &Lanes) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        let told = std::mem::take(&mut place.watch.told);
        let (id, leads) = (place.id, raft.leads());
        // One that had to be elected all the same finishes what it found, in its own term.
        let own = raft.term_at(raft.commit()) == Some(raft.term());
        let committed = raft.configuration_index() <= raft.commit() && own;
        if leads && committed && !raft.configuration().is_voter(id) {
            let why = format!("node {id} leads on, outside of its committed configuration");
            return Err(Broken::new("a leader that is removed steps down (§4.2.2)", why));
        }
        if place.watch.disk_failed {
            if leads || !raft.has_failed() {
                let why = format!("node {id} is {:?}, and its disk has failed", raft.role());
                return Err(Broken::new("who cannot write does not lead", why));
            }
            if let Some(Write { id: write, .. }) = lanes.write {
                let why = format!("node {id} writes {write:?} behind a write that failed");
                return Err(Broken::new("a failed write is the last", why));
            }
        }
        let campaigns = raft.role() == RoleKind::Candidate && raft.term() > before.term();
        if campaigns && !told {
            return self.oracle.may_campaign(id, raft.term(), raft.configuration());
        }
        Ok(())
    }

    /// Writes are refused for no longer than a successor has time to take over, and no change of
    /// members begins meanwhile (§3.10).
    fn watch_transfer(
        &mut self,
        node: usize,
        (before, now): (&Raft, Timestamp),
        lanes: &Lanes,
    ) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        let goes_on = before.is_transferring() && raft.is_transferring();
        if goes_on && before.term() == raft.term() && begins_a_change(before, lanes) {
            let why = format!("node {} begins a change of members meanwhile", place.id);
            return Err(Broken::new("no change begins while leadership is handed over", why));
        }
        let ended = lanes.reply.iter().any(|reply| match reply {
            Reply::Done { request } => is_transfer(*request),
            Reply::Refused { request, reason: Rejection::TransferTimedOut } => {
                is_transfer(*request)
            }
            Reply::Refused { .. }
            | Reply::Applied { .. }
            | Reply::SnapshotTaken { .. }
            | Reply::Unknown { .. }
            | Reply::ChangeRefused { .. }
            | Reply::NoRoom { .. }
            | Reply::Differs { .. }
            | Reply::Behind { .. }
            | Reply::Superseded { .. } => false,
        });
        if ended || !raft.is_transferring() {
            place.watch.transfers = None;
        }
        if !raft.is_transferring() {
            return Ok(());
        }
        let since = *place.watch.transfers.get_or_insert(now);
        let overdue = now.since(since) >= PATIENCE_NS;
        place.watch.overdue = if overdue { place.watch.overdue + 1 } else { 0 };
        // A node that stood still has more timers due than fire in one turn.
        if overdue && place.watch.overdue > 2 {
            let why = format!("node {} hands over since {since:?}, now is {now:?}", place.id);
            return Err(Broken::new("a transfer is given up after an election timeout", why));
        }
        Ok(())
    }

    /// A leader takes commands only as far as what is not committed stays within its limit.
    fn watch_uncommitted(&self, node: usize, lanes: &Lanes) -> Result<(), Broken> {
        let (limits, place) = (&self.habits.limits, &self.nodes[node]);
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        let commands = lanes.write.iter().flat_map(|write| &write.append).filter(|entry| {
            raft.leads()
                && entry.id.term == raft.term()
                && matches!(entry.payload, Payload::Command(_))
        });
        let Some(last) = commands.last() else {
            return Ok(());
        };
        // More may be committed by now than was when it was taken.
        if last.id.index.since(raft.commit()) > limits.uncommitted_max {
            let why = format!(
                "node {} appends {}, {} is committed, within {limits:?}",
                place.id,
                last.id,
                raft.commit()
            );
            return Err(Broken::new(LIMIT, why));
        }
        Ok(())
    }

    /// What is refused for a limit has reached it.
    fn watch_refusals(
        &mut self,
        node: usize,
        before: &Raft,
        taken: &Taken,
        lanes: &Lanes,
    ) -> Result<(), Broken> {
        let (limits, place) = (&self.habits.limits, &mut self.nodes[node]);
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        let watch = &mut place.watch;
        let bytes: usize = watch.writes.values().map(|(bytes, _)| bytes).sum();
        let uncommitted =
            raft.last().index.since(before.commit()) + (taken.held + taken.proposals) as u64;
        let writes_full = watch.writes.len() > limits.proposals_max
            || bytes > limits.proposal_bytes_max
            || uncommitted > limits.uncommitted_max;
        let most = limits.questions_max.min(limits.reads_max as usize);
        let questions_full = watch.questions.len() > most;
        for reply in &lanes.reply {
            let Reply::Refused { request, reason: Rejection::Busy } = reply else {
                continue;
            };
            let full = if watch.writes.contains_key(request) {
                self.coverage.meet(Met::WriteRefused);
                writes_full
            } else if watch.questions.contains(request) {
                self.coverage.meet(Met::QuestionRefused);
                questions_full
            } else {
                true
            };
            if !full {
                let why = format!(
                    "node {} refuses {request} with {} writes of {bytes} bytes, {uncommitted} \
                     uncommitted, and {} questions, within {limits:?}",
                    place.id,
                    watch.writes.len(),
                    watch.questions.len()
                );
                return Err(Broken::new(LIMIT, why));
            }
        }
        for (_, term) in watch.writes.values_mut().filter(|(_, term)| *term == Term::ZERO) {
            *term = raft.term();
        }
        let idle = place.disk.under_way().is_none() && before.applied() == raft.commit();
        let idle = idle && !taken.persisted;
        if lanes.dropped > 0 && idle && !self.rooms.fill_up {
            let why = format!("node {} takes no entries, and has nothing to do", place.id);
            return Err(Broken::new(LIMIT, why));
        }
        if lanes.dropped > 0 {
            self.coverage.meet(Met::TooMuchUnwritten);
        }
        Ok(())
    }

    /// What a node holds behind a turn is within its limits, and is what was counted here.
    pub(crate) fn watch_limits(&mut self, node: usize, taken: &Taken) -> Result<(), Broken> {
        let (limits, place) = (&self.habits.limits, &mut self.nodes[node]);
        let Some(replica) = place.replica.as_ref() else {
            return Ok(());
        };
        let (raft, watch) = (replica.raft(), &mut place.watch);
        let own = watch.writes.iter().filter(|(request, (_, term))| {
            // A leader's alarm is not kept away by who waits.
            *term == raft.term() && !is_alarm(**request)
        });
        let (count, bytes) =
            own.fold((0, 0), |(count, sum), (_, (bytes, _))| (count + 1, sum + bytes));
        let most = (limits.proposals_max, limits.proposal_bytes_max, limits.questions_max);
        if count > most.0 || bytes > most.1 || watch.questions.len() > most.2 {
            let why = format!(
                "node {} holds {count} writes of {bytes} bytes, {} questions; {limits:?}",
                place.id,
                watch.questions.len()
            );
            return Err(Broken::new(LIMIT, why));
        }
        let counted = (watch.writes.len(), watch.questions.len());
        if taken.count > 0 && replica.waiting() != counted {
            let why = format!("node {}: {:?}, {counted:?} wait", place.id, replica.waiting());
            return Err(Broken::new("who waits is counted rightly", why));
        }
        watch.turns += 1;
        let most = if watch.turns.is_multiple_of(64) { usize::MAX } else { 3 };
        check_cache(place, most)
    }
}

/// What is in memory of the log is the log's end, and of the right contents.
fn check_cache(place: &Node, most: usize) -> Result<(), Broken> {
    let replica = place.replica.as_ref().expect("it is up");
    let log = place.memory.entries();
    let tail = &log[log.len().saturating_sub(most)..];
    let mut found = 0;
    for entry in tail.iter().rev() {
        let index = entry.id.index;
        match replica.entries(index..index.next(), usize::MAX) {
            Some(held) if held == [entry.clone()] => found += 1,
            Some(held) => {
                let why = format!("node {} has {held:?} for {}", place.id, entry.id);
                return Err(Broken::new("what is in memory is what the log holds", why));
            }
            None if index > place.disk.last().index => {
                let why = format!("node {} has {} neither here nor there", place.id, entry.id);
                return Err(Broken::new("what is not on the disk yet is in memory", why));
            }
            None => break,
        }
    }
    let end = place.memory.last().index.next();
    if replica.entries(end..end.next(), usize::MAX).is_some() {
        let why = format!("node {} has an entry {end} in memory", place.id);
        return Err(Broken::new("what is in memory is what the log holds", why));
    }
    if found == 0 && !tail.is_empty() && replica.cache_bytes() > 0 {
        let why = format!("node {} counts {} bytes for nothing", place.id, replica.cache_bytes());
        return Err(Broken::new("memory in use is counted rightly", why));
    }
    Ok(())
}

/// Says whether a leader writes a configuration that ends no joint one.
fn begins_a_change(before: &Raft, lanes: &Lanes) -> bool {
    let mut written = lanes.write.iter().flat_map(|write| &write.append);
    !before.configuration().voters().is_joint()
        && written.any(|entry| matches!(entry.payload, Payload::Configuration(_)))
}

fn is_transfer(request: RequestId) -> bool {
    request.get() & TRANSFER == TRANSFER && request.get() >= CHANGE
}
