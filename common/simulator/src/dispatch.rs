//! What a node's lanes do in the modelled world: the part of the daemon's disk, network, apply lane
//! and clients.

use consensus::{
    Body, EntryId, Event, Message, NodeId, Outgoing, Payload, Rejection, RequestId, RoleKind, Term,
};
use replica::{Lanes, Reply};

use crate::alarms::is_alarm;
use crate::broken::Broken;
use crate::changes::{CHANGE, TRANSFER};
use crate::coverage::Met;
use crate::faults::MS;
use crate::node::{Node, Task};
use crate::oracle::Oracle;
use crate::world::{Happening, World};

/// For so long a learner leaves elections to the voters at least: three election timeouts.
const SILENCE_NS: u64 = 3 * 300 * MS;

/// Of a thousand late messages, so many may come after several elections.
const VERY_LATE: u64 = 100;

/// The longest delay of those.
const VERY_LATE_NS: u64 = 5_000 * MS;

impl World {
    /// Hands lanes on.
    pub(crate) fn dispatch(&mut self, node: usize, lanes: Lanes) -> Result<(), Broken> {
        let Lanes {
            write,
            send,
            feed,
            install,
            apply,
            snapshot,
            room,
            alarm,
            dropped,
            view,
            views,
            query,
            reply,
            peers,
            meet,
            removed,
            differing,
            event,
        } = lanes;
        if let Some(one) = differing.first() {
            let why = format!("node {}: {one:?}", node + 1);
            return Err(Broken::new("states behind the same entry are the same (§2.1)", why));
        }
        peers.into_iter().for_each(|all| self.nodes[node].peers = all.into_keys().collect());
        self.forget_given_up(node, &snapshot);
        if let Some(write) = write {
            self.has_room_for(node, &write)?;
            self.heeds_alarms(node, &write)?;
            self.write(node, write)?;
        }
        for send in send {
            self.send(node, send)?;
        }
        for piece in feed {
            self.read_piece(node, piece)?;
        }
        for event in event {
            self.news(node, &event)?;
        }
        if let Some(meta) = install {
            self.enqueue(node, Task::Install(meta.last));
        }
        if let Some(range) = apply {
            let entries = self.at_hand(node, &range);
            self.enqueue(node, Task::Apply(*range.end(), entries));
        }
        self.nodes[node].views = views;
        if view {
            self.enqueue(node, Task::View);
        }
        for action in snapshot {
            self.snapshot(node, action)?;
        }
        self.room_lanes(node, &room, dropped);
        self.alarm_lanes(node, alarm);
        for question in query {
            self.question(node, question)?;
        }
        for reply in reply {
            self.reply(node, reply)?;
        }
        if let Some(meeting) = meet {
            self.ask_newcomers(node, meeting)?;
        }
        match removed {
            Some(removal) => self.removed(node, &removal),
            None => Ok(()),
        }
    }

    fn news(&mut self, node: usize, event: &Event) -> Result<(), Broken> {
        if let Event::Configuration { .. } = event {
            self.oracle.reconfigured(&self.nodes[node])?;
        }
        if let Event::Role(RoleKind::PreCandidate | RoleKind::Candidate, _) = event {
            // It may have heard of one behind that, in the same turn.
            let place = &self.nodes[node];
            let role = place.replica.as_ref().expect("it was stepped").raft().role();
            if matches!(role, RoleKind::PreCandidate | RoleKind::Candidate) {
                Oracle::stands(place, place.turns.now, SILENCE_NS)?;
            }
        }
        if let Event::Role(RoleKind::Leader, term) = event {
            self.elected(node, *term)?;
        }
        Ok(())
    }

    /// Queues a task; ranges that wait become one, as in the daemon, or a slow machine would fall
    /// behind for ever.
    pub(crate) fn enqueue(&mut self, node: usize, task: Task) {
        if self.nodes[node].watch.machine_failed {
            return;
        }
        let tasks = &mut self.nodes[node].tasks;
        let waits = tasks.len() > 1;
        match (tasks.back_mut().filter(|_| waits), task) {
            (Some(Task::Apply(to, read)), Task::Apply(end, more)) => {
                let begin = std::mem::replace(to, end).next();
                let whole = read.as_ref().and_then(|read| read.last());
                if whole.is_some_and(|last| last.id.index.next() == begin) {
                    read.get_or_insert_default().extend(more.unwrap_or_default());
                }
            }
            (_, task) => tasks.push_back(task),
        }
        if self.nodes[node].tasks.len() == 1 {
            self.schedule_apply(node);
        }
    }

    fn elected(&mut self, node: usize, term: Term) -> Result<(), Broken> {
        self.coverage.meet(Met::Election);
        if self.leader != node {
            self.previous_leader = std::mem::replace(&mut self.leader, node);
        }
        self.elected = self.now;
        self.no_lease_holds(node, term)?;
        self.give_back(node);
        let raft = self.nodes[node].replica.as_ref().expect("it was stepped").raft();
        if !raft.leads() || raft.term() != term {
            self.coverage.meet(Met::LostInOneTurn);
            return self.oracle.led(self.nodes[node].id, term);
        }
        if raft.status().configuration.voters().is_joint() {
            self.coverage.meet(Met::ElectedInJoint);
        }
        if raft.installing().is_some() {
            self.coverage.meet(Met::LeaderInstalls);
        }
        self.oracle.leads(&self.nodes[node], term)
    }

    fn write(&mut self, node: usize, write: consensus::Write) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        if let Some(from) = write.truncate_from {
            self.coverage.meet(Met::Truncation);
            if place.memory.configuration().0 >= from {
                self.coverage.meet(Met::ConfigurationCut);
            }
        }
        if let Some(meta) = &write.compact_to {
            self.coverage.meet(Met::Compacted);
            let installs = raft.installing() == Some(meta);
            self.oracle.compacts(place.id, meta, installs)?;
            let follows = |last: &&EntryId| !installs && last.index < meta.last.index;
            if let Some(last) = place.making.as_ref().filter(follows) {
                let why = format!(
                    "node {} makes one up to {last}, and compacts to {}",
                    place.id, meta.last
                );
                return Err(Broken::new("what follows a snapshot in the making stays", why));
            }
            if let Some(last) = place.sending.values().find(follows) {
                let why = format!(
                    "node {} sends one up to {last}, and compacts to {}",
                    place.id, meta.last
                );
                return Err(Broken::new("what follows a snapshot on its way stays", why));
            }
        }
        let bare = consensus::Write { append: Vec::new(), ..write.clone() };
        place.memory.follow(&bare);
        let prev = place.memory.last();
        let chain = place.memory.chain(prev.index);
        self.stamps(node, prev, &write)?;
        self.oracle.appended(prev, &write.append)?;
        self.chains(node, chain, &write)?;
        let place = &mut self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        for entry in &write.append {
            if let Payload::Configuration(configuration) = &entry.payload {
                let leads = raft.status().role == RoleKind::Leader && entry.id.term == raft.term();
                if leads {
                    self.oracle.changes(place, entry, configuration, &mut self.coverage)?;
                    let oracle = (&self.oracle, self.scenarios.removed_end);
                    let healing = self.changes.begins(oracle, place, entry, configuration)?;
                    healing.into_iter().for_each(|met| self.coverage.meet(met));
                }
            }
            place.memory.append(entry.clone());
        }
        let adds = !write.append.is_empty();
        if place.disk.queue(write) {
            self.schedule_disk(node);
        }
        if adds && self.strikes(self.habits.crash_writing) {
            self.coverage.meet(Met::CrashWriting);
            self.scenarios.doomed = Some(node);
        }
        Ok(())
    }

    fn send(&mut self, node: usize, send: Outgoing) -> Result<(), Broken> {
        let (to, message) = match send {
            Outgoing::Message { to, message } => {
                self.oracle.says(&self.nodes[node], to, &message, &mut self.coverage)?;
                (to, message)
            }
            Outgoing::Entries { to, term, prev, range, commit, round } => {
                let entries = self.at_once(node, to, &range)?;
                if !self.faults_over && self.rng.permille(self.profile.full_lanes) {
                    // The lane is full, or what it shall send is compacted before it is read.
                    self.coverage.meet(Met::LaneFull);
                    self.is_full(node, to);
                    return Ok(());
                }
                let (mut prev, mut entries) =
                    self.without_copies((node, to), term, (prev, entries));
                if entries.is_empty() {
                    return Ok(());
                }
                if entries.len() > 1 && self.rng.permille(self.profile.split) {
                    let rest = entries.split_off(self.rng.index(entries.len() - 1) + 1);
                    let last = entries[entries.len() - 1].id;
                    let body = Body::AppendEntries { prev, entries, commit, round };
                    if !self.post_entries(node, to, &Message { term, body }) {
                        self.is_full(node, to);
                        return Ok(());
                    }
                    (entries, prev) = (rest, last);
                }
                let body = Body::AppendEntries { prev, entries, commit, round };
                if !self.post_entries(node, to, &Message { term, body }) {
                    self.is_full(node, to);
                }
                return Ok(());
            }
            Outgoing::Snapshot { .. } => unreachable!("the replica decides which one is sent"),
        };
        if self.is_last_order(node, to, &message) {
            return Ok(());
        }
        self.post(node, to, &message);
        let hands_over = matches!(message.body, Body::TimeoutNow { .. }) && !self.faults_over;
        if hands_over {
            self.delay_answers(node);
        }
        if hands_over && self.rng.permille(self.profile.deaf_after_handover) {
            self.coverage.meet(Met::DeafHandOver);
            self.deafen(node);
        }
        Ok(())
    }

    /// A lane has dropped what was to be sent.
    fn is_full(&mut self, node: usize, peer: NodeId) {
        let life = self.nodes[node].life;
        self.after(1, Happening::Unreachable { node, life, peer });
    }

    /// Sends entries; says whether there was room for them.
    pub(crate) fn post_entries(&mut self, node: usize, to: NodeId, message: &Message) -> bool {
        self.post_narrow(node, to, message).unwrap_or_else(|| {
            self.post(node, to, message);
            true
        })
    }

    /// Says whether messages pass between two nodes: on a connection that either side has made.
    pub(crate) fn is_connected(&self, one: usize, other: usize) -> bool {
        let dials = |one: &Node, other: &Node| one.peers.contains(&other.id);
        let (one, other) = (&self.nodes[one], &self.nodes[other]);
        dials(one, other) || dials(other, one)
    }

    pub(crate) fn post(&mut self, node: usize, to: NodeId, message: &Message) {
        self.coverage.meet(Met::Message);
        let (from, incarnation) = (self.nodes[node].id, self.nodes[node].incarnation);
        let Some(to) = self.nodes.iter().position(|node| node.id == to) else {
            return;
        };
        if let Body::RequestVote { .. } = message.body {
            self.nodes[node].turns.stands = true;
        }
        if !self.is_connected(node, to) {
            self.coverage.meet(Met::FarewellOver);
            return;
        }
        let safe = self.is_safe(node, to);
        let copies = if safe {
            1
        } else if self.rng.permille(self.profile.loss) {
            self.coverage.meet(Met::MessageLost);
            0
        } else if self.rng.permille(self.profile.duplicates) {
            self.coverage.meet(Met::MessageDoubled);
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut delay = self.rng.between(MS / 10, MS);
            // A vote that comes after the next campaign has begun is worth more than most.
            let weight = if matches!(message.body, Body::Vote { .. }) { 4 } else { 1 };
            if !safe && self.rng.permille(weight * self.profile.late) {
                self.coverage.meet(Met::MessageLate);
                // Some are not overtaken by other messages alone, but by elections.
                let most = if self.rng.permille(VERY_LATE) { VERY_LATE_NS } else { 0 };
                delay += self.rng.between(0, most.max(self.profile.late_ns));
            }
            let message = message.clone();
            self.after(delay, Happening::Deliver { from, incarnation, to, message });
        }
    }

    fn reply(&mut self, node: usize, reply: Reply) -> Result<(), Broken> {
        self.nodes[node].watch.answered(name(&reply));
        if is_alarm(name(&reply)) {
            return Ok(());
        }
        match reply {
            Reply::Applied { request, index, response } => {
                if self.sessions.has(request) {
                    return self.session_answered(request, index, &response);
                }
                let own = self.oracle.is_answer(request, index, &response);
                self.clients.acknowledged(request, index, own)?;
                self.read_at_old_leader();
                Ok(())
            }
            Reply::SnapshotTaken { .. } => Ok(()),
            Reply::Done { request } => {
                self.coverage.meet(match request.get() & TRANSFER == TRANSFER {
                    true => Met::Transferred,
                    false => Met::Changed,
                });
                self.changes.done(request, &self.oracle)
            }
            Reply::Refused { request, .. } | Reply::Unknown { request }
                if request.get() & CHANGE != 0 =>
            {
                if let Reply::Refused { reason: Rejection::TransferTimedOut, .. } = reply {
                    self.coverage.meet(Met::TransferAborted);
                }
                self.changes.ends(request, matches!(reply, Reply::Refused { .. }))
            }
            Reply::ChangeRefused { request, why } => self.change_refused(request, &why),
            Reply::NoRoom { request, deletions, voters } => {
                match voters.is_empty() {
                    true => self.refused_for_room(node, deletions)?,
                    false => self.refused_for_alarms(node, &voters)?,
                }
                self.not_taken(request)
            }
            Reply::Refused { request, .. }
            | Reply::Behind { request, .. }
            | Reply::Differs { request } => {
                self.coverage.meet(Met::Refused);
                self.not_taken(request)
            }
            Reply::Superseded { request } => {
                self.coverage.meet(Met::Superseded);
                self.oracle.supersedes(request)?;
                self.clients.refused(request)
            }
            Reply::Unknown { request } => {
                self.coverage.meet(Met::Unknown);
                self.clients.unknown(request)
            }
        }
    }

    /// A client is told that what it asked for is not done.
    fn not_taken(&mut self, request: RequestId) -> Result<(), Broken> {
        if self.clients.is_cut_off(request) {
            self.coverage.meet(Met::BatchCut);
        }
        self.clients.refused(request)
    }

    pub(crate) fn check_match(&mut self, node: usize, from: NodeId) -> Result<(), Broken> {
        let Some(replica) = self.nodes[node].replica.as_ref() else {
            return Ok(());
        };
        let Some(matched) = replica.raft().matched(from) else {
            return Ok(());
        };
        let term = replica.raft().term();
        let follower = self.nodes.iter().find(|node| node.id == from).expect("a member");
        self.oracle.believes(&self.nodes[node], term, follower, matched)
    }

    pub(crate) fn schedule_wake(&mut self, node: usize) {
        let place = &self.nodes[node];
        let Some((local, _)) = place.replica.as_ref().and_then(|replica| replica.deadline()) else {
            return;
        };
        let at = place.global(local).max(self.now.after(1));
        if place.wake.is_none_or(|wake| at < wake || wake <= self.now) {
            let life = place.life;
            self.nodes[node].wake = Some(at);
            self.at(at, Happening::Wake { node, life });
        }
    }

    pub(crate) fn schedule_disk(&mut self, node: usize) {
        let takes = self.rng.between(MS / 10, self.profile.disk_ns.max(MS / 5));
        let at = self.now.after(takes).max(self.nodes[node].stalled);
        let life = self.nodes[node].life;
        self.at(at, Happening::DiskDone { node, life });
    }

    pub(crate) fn schedule_apply(&mut self, node: usize) {
        let most = match self.nodes[node].tasks.front() {
            Some(Task::Install(_)) => self.install_ns(),
            Some(Task::Apply(..) | Task::View | Task::Checkpoint) | None => self.profile.apply_ns,
        };
        let slow = !self.faults_over && self.habits.machines.permille(self.habits.slow_tasks);
        let most = if slow { most.max(self.habits.slow_task_ns) } else { most };
        if slow {
            self.coverage.meet(Met::SlowTask);
        }
        let takes = self.rng.between(1, most);
        let at = self.now.after(takes).max(self.nodes[node].stalled);
        let life = self.nodes[node].life;
        self.at(at, Happening::Applied { node, life });
    }
}

/// Which request is answered.
fn name(reply: &Reply) -> RequestId {
    match reply {
        Reply::Applied { request, .. }
        | Reply::Done { request }
        | Reply::Refused { request, .. }
        | Reply::ChangeRefused { request, .. }
        | Reply::NoRoom { request, .. }
        | Reply::Differs { request }
        | Reply::Superseded { request }
        | Reply::SnapshotTaken { request, .. }
        | Reply::Unknown { request }
        | Reply::Behind { request, .. } => *request,
    }
}
