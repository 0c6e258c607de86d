//! What a node's lanes do in the modelled world: the part of the daemon's disk, network, apply lane
//! and clients.

use consensus::{Body, Event, LogIndex, Message, NodeId, Payload, RoleKind, Send};
use replica::{Input, Lanes, Question, Reply};

use crate::changes::{CHANGE, TRANSFER};
use crate::disk::cut;
use crate::faults::MS;
use crate::oracle::Broken;
use crate::world::{Happening, World};

impl World {
    /// Hands lanes on; says whether something was promised to another node.
    pub(crate) fn dispatch(&mut self, node: usize, lanes: Lanes) -> Result<bool, Broken> {
        // Nothing is compacted here, so that nothing is installed.
        let Lanes { write, send, install: _, apply, query, reply, event } = lanes;
        if let Some(write) = write {
            self.write(node, write)?;
        }
        let mut promised = false;
        for send in send {
            promised |= self.send(node, send)?;
        }
        for event in event {
            if let Event::Configuration { .. } = event {
                let replica = self.nodes[node].replica.as_ref().expect("it was stepped");
                self.oracle.reconfigured(self.nodes[node].id, replica.raft());
            }
            if let Event::Role(RoleKind::Leader, term) = event {
                self.coverage.elections += 1;
                if self.leader != node {
                    self.previous_leader = std::mem::replace(&mut self.leader, node);
                }
                self.elected = self.now;
                self.oracle.leads(&self.nodes[node], term)?;
                promised = true;
            }
        }
        if let Some(range) = apply {
            self.apply(node, *range.end());
        }
        for Question { request, .. } in query {
            let replica = self.nodes[node].replica.as_ref().expect("it was stepped");
            self.clients.read(request, replica.raft().applied())?;
        }
        for reply in reply {
            self.reply(node, reply)?;
        }
        Ok(promised)
    }

    fn write(&mut self, node: usize, write: consensus::Write) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        if let Some(from) = write.truncate_from {
            self.coverage.truncations += 1;
            cut(&mut place.memory, from);
        }
        let prev = place.memory.last().map(|entry| entry.id).unwrap_or_default();
        self.oracle.appended(prev, &write.append)?;
        place.memory.extend(write.append.iter().cloned());
        if place.disk.queue(write) {
            self.schedule_disk(node);
        }
        Ok(())
    }

    fn send(&mut self, node: usize, send: Send) -> Result<bool, Broken> {
        let (to, message) = match send {
            Send::Message { to, message } => {
                self.oracle.says(&self.nodes[node], to, &message)?;
                (to, message)
            }
            Send::Entries { to, term, prev, range, commit, round } => {
                let first = usize::try_from(range.start.get() - 1).expect("a log fits");
                let end = usize::try_from(range.end.get() - 1).expect("a log fits");
                let mut entries = self.nodes[node].memory[first..end].to_vec();
                let mut prev = prev;
                if entries.len() > 1 && self.chance.permille(self.profile.split) {
                    let rest = entries.split_off(self.chance.index(entries.len() - 1) + 1);
                    let last = entries[entries.len() - 1].id;
                    let body = Body::AppendEntries { prev, entries, commit, round };
                    self.post(node, to, &Message { term, body });
                    (entries, prev) = (rest, last);
                }
                (to, Message { term, body: Body::AppendEntries { prev, entries, commit, round } })
            }
            Send::Snapshot { to, .. } => {
                let why = format!("node {to} needs a snapshot of a log that is whole");
                return Err(Broken::new("nothing is compacted", why));
            }
        };
        let promise = matches!(message.body, Body::Vote { .. } | Body::Appended { .. });
        self.post(node, to, &message);
        Ok(promise)
    }

    fn post(&mut self, node: usize, to: NodeId, message: &Message) {
        self.coverage.messages += 1;
        let from = self.nodes[node].id;
        let Some(to) = self.nodes.iter().position(|node| node.id == to) else {
            return;
        };
        let copies = if self.calm {
            1
        } else if self.chance.permille(self.profile.loss) {
            self.coverage.lost += 1;
            0
        } else {
            1 + usize::from(self.chance.permille(self.profile.duplicates))
        };
        for _ in 0..copies {
            let mut delay = self.chance.between(MS / 10, MS);
            // A vote that comes after the next campaign has begun is worth more than most.
            let weight = if matches!(message.body, Body::Vote { .. }) { 4 } else { 1 };
            if !self.calm && self.chance.permille(weight * self.profile.late) {
                self.coverage.late += 1;
                delay += self.chance.between(0, self.profile.late_ns);
            }
            self.after(delay, Happening::Deliver { from, to, message: message.clone() });
        }
    }

    fn apply(&mut self, node: usize, to: LogIndex) {
        self.nodes[node].to_apply.push_back(to);
        if self.nodes[node].to_apply.len() == 1 {
            self.schedule_apply(node);
        }
    }

    pub(crate) fn applied(&mut self, node: usize) -> Result<(), Broken> {
        let Some(to) = self.nodes[node].to_apply.pop_front() else {
            return Ok(());
        };
        self.oracle.applies(&self.nodes[node], to)?;
        let place = &mut self.nodes[node];
        let first = usize::try_from(place.applied.get()).expect("a log fits");
        let end = usize::try_from(to.get()).expect("a log fits");
        let mut responses = Vec::new();
        for entry in &place.memory[first..end] {
            if let Payload::Command(command) = &entry.payload {
                responses.push((entry.id.index, command.clone()));
            }
        }
        place.applied = to;
        if self.chance.permille(100) {
            place.flushed = to;
        }
        if !place.to_apply.is_empty() {
            self.schedule_apply(node);
        }
        self.step(node, Input::Applied { index: to, responses })
    }

    fn reply(&mut self, node: usize, reply: Reply) -> Result<(), Broken> {
        match reply {
            Reply::Applied { request, index, response } => {
                let place = usize::try_from(index.get() - 1).expect("a log fits");
                let content = match &self.nodes[node].memory[place].payload {
                    Payload::Command(command) if *command == response => Some(command),
                    Payload::Command(_) | Payload::Noop | Payload::Configuration(_) => None,
                };
                self.clients.acknowledged(request, index, content)
            }
            Reply::Done { request } => {
                if request.get() & TRANSFER == TRANSFER {
                    self.coverage.transfers += 1;
                } else {
                    self.coverage.changes += 1;
                }
                Ok(())
            }
            Reply::Refused { request, .. } | Reply::Unknown { request }
                if request.get() & CHANGE != 0 =>
            {
                Ok(())
            }
            Reply::Refused { request, .. }
            | Reply::Behind { request, .. }
            | Reply::Superseded { request } => {
                self.coverage.refused += 1;
                self.clients.refused(request)
            }
            Reply::Unknown { request } => self.clients.unknown(request),
        }
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
}
