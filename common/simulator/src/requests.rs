//! Clients as they ask: each alone, or with a session.

use bytes::Bytes;
use consensus::{LogIndex, RequestId};
use replica::{Consistency, Input, Proposal};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::node::Late;
use crate::questions::query;
use crate::sessions::{AGAIN, SESSIONS};
use crate::workload::Clients;
use crate::world::{Happening, World};

impl World {
    /// A client asks some node something; several at once, now and then.
    pub(crate) fn request(&mut self) -> Result<(), Broken> {
        let next = self.rng.wait(self.profile.request_ns);
        self.after(next, Happening::Request);
        if self.clients_pause() {
            return Ok(());
        }
        let node = match self.rng.index(10) {
            0 => self.rng.index(self.nodes.len()),
            1 | 2 => self.previous_leader,
            _ => self.leader,
        };
        let flood = !self.faults_over && self.rng.permille(self.habits.floods);
        let burst = if flood {
            self.coverage.meet(Met::Flood);
            self.rng.between(30, 600)
        } else if self.rng.permille(150) {
            self.rng.between(2, 12)
        } else {
            1
        };
        if burst == 1 {
            return self.ask_some(node, 1);
        }
        self.at_the_same_time(node, |world| world.ask_some(node, burst))
    }

    /// Clients and operators ask a node for something.
    fn ask_some(&mut self, node: usize, burst: u64) -> Result<(), Broken> {
        if self.rng.permille(self.profile.changes) {
            self.change_members()?;
        }
        if self.rng.permille(self.profile.transfers) {
            self.transfer()?;
        }
        if self.rng.permille(self.profile.flushes / 20) {
            self.take_snapshot(node)?;
        }
        if burst > 1 && self.rng.permille(300) {
            return self.ask_together(node, burst);
        }
        for _ in 0..burst {
            if self.rng.permille(self.profile.sessions) {
                self.ask_in_session(node)?;
                continue;
            }
            let read = self.rng.permille(self.profile.reads);
            self.ask(node, read)?;
        }
        Ok(())
    }

    /// Asks a node; what a node that is away would be asked is never sent. A paused node finds the
    /// question when it goes on, before or behind what its peers have said meanwhile.
    pub(crate) fn ask(&mut self, node: usize, read: bool) -> Result<(), Broken> {
        if !self.nodes[node].is_up() {
            return Ok(());
        }
        let request = self.clients.ask(self.nodes[node].id, read);
        let input = if read {
            let floor = self.clients.floor();
            let token = self.rng.permille(100) && !self.faults_over;
            let stale = !self.faults_over && self.rng.permille(40);
            let consistency = if stale {
                Consistency::Stale
            } else if token {
                Consistency::AtLeast(floor)
            } else {
                Consistency::Linearizable
            };
            if stale {
                self.clients.takes_anything(request);
            }
            Input::Query { request, query: query(request), consistency }
        } else {
            let command = Clients::command(request);
            Input::Propose { request, purpose: self.rooms.purpose(&command), command }
        };
        self.put_to(node, input)
    }

    /// Commands that come in one message: of one client without a session, and of sessions.
    fn ask_together(&mut self, node: usize, count: u64) -> Result<(), Broken> {
        if !self.nodes[node].is_up() {
            return Ok(());
        }
        let mut proposals = Vec::new();
        let mut before = None;
        for _ in 0..count {
            if self.rng.permille(self.profile.sessions) {
                proposals.push(self.session_command(node));
                continue;
            }
            let request = self.clients.ask(self.nodes[node].id, false);
            if let Some(before) = before.replace(request) {
                self.clients.follows(request, before);
            }
            let command = Clients::command(request);
            proposals.push(Proposal { request, purpose: self.rooms.purpose(&command), command });
        }
        self.coverage.meet(Met::Batch);
        self.put_to(node, Input::ProposeAll { proposals })
    }

    /// Hands a node what a client asks.
    fn put_to(&mut self, node: usize, input: Input) -> Result<(), Broken> {
        if self.nodes[node].paused {
            let place = self.rng.index(self.nodes[node].backlog.len() + 1);
            self.nodes[node].backlog.insert(place, Late::Ask(input));
            return Ok(());
        }
        self.step(node, input)
    }

    /// A client sends a command of its session, new or once more.
    pub(crate) fn ask_in_session(&mut self, node: usize) -> Result<(), Broken> {
        if !self.nodes[node].is_up() || self.nodes[node].paused {
            return Ok(());
        }
        let Proposal { request, command, purpose } = self.session_command(node);
        self.step(node, Input::Propose { request, command, purpose })
    }

    /// Draws a command of a session, which a node is to be asked.
    fn session_command(&mut self, node: usize) -> Proposal {
        let client = self.rng.index(SESSIONS);
        let draw = self.rng.index(AGAIN);
        let again = self.rng.permille(400).then_some(draw);
        let (nonce, sequence, command) = self.sessions.draw(client, again);
        if again.is_some() {
            self.coverage.meet(Met::SessionRetry);
        }
        let request = self.clients.ask(self.nodes[node].id, false);
        self.sessions.sent(request, client, nonce, sequence);
        Proposal { request, purpose: self.rooms.purpose(&command), command }
    }

    /// A request of a session is answered: with what all nodes answer at that place.
    pub(crate) fn session_answered(
        &mut self,
        request: RequestId,
        index: LogIndex,
        answer: &Bytes,
    ) -> Result<(), Broken> {
        let own = self.oracle.answer_at(index) == Some(answer);
        self.clients.acknowledged(request, index, own)?;
        self.sessions.answered(request, answer);
        Ok(())
    }
}
