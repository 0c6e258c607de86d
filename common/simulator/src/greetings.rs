//! Two processes meet, and tell each other what they remember.
//!
//! A copy is noticed here by its first file before it runs, so that every process that runs is
//! honest: whoever accuses one is wrong. What peers would have said to the copy is asked all the
//! same, and compared with what they are known to have seen.

use consensus::NodeId;
use protocol::{Hello, PROTOCOL_VERSION, Promises, Refusal, Speaker};

use crate::acquaintances::{Acquaintances, promises};
use crate::broken::Broken;
use crate::coverage::Met;
use crate::node::Node;
use crate::world::World;

const HONEST: &str = "who has forgotten nothing is not accused";
const RECOGNISED: &str = "who knows of a promise recognises a directory without it";

/// Without news, one of so many messages brings what its sender remembers.
const TOLD_EVERY: u64 = 64;

impl World {
    /// Two processes meet before the first message of one reaches the other, and what is new to one
    /// of them is told with a later message.
    pub(crate) fn greet(&mut self, from: NodeId, to: usize) -> Result<(), Broken> {
        let Some(from) = self.nodes.iter().position(|node| node.id == from) else {
            return Ok(());
        };
        let life = (self.nodes[from].id, self.nodes[from].acquaintances.boot);
        let has_met = self.nodes[to].acquaintances.processes.contains(&life);
        if !self.reaches(to, from) {
            if !has_met {
                self.nodes[to].acquaintances.strangers.insert(life.0);
            }
            return Ok(());
        }
        if !has_met {
            self.nodes[to].acquaintances.strangers.remove(&life.0);
            for (ours, theirs) in [(to, from), (from, to)] {
                self.judge(ours, theirs)?;
            }
            self.coverage.meet(Met::Greeted);
        }
        let Node { id: node, incarnation, .. } = self.nodes[from];
        let speaker = Speaker { node, incarnation, boot: life.1 };
        let heard = self.nodes[to].acquaintances.memory.still_hears(speaker);
        heard.map_err(|why| self.accused(to, from, &why.1))?;
        let known = &self.nodes[from].acquaintances.memory;
        let (news, told) = (known.news(), self.nodes[to].acquaintances.told.get(&life));
        if told == Some(&news) && !self.coverage.events.is_multiple_of(TOLD_EVERY) {
            return Ok(());
        }
        let all = known.to_tell();
        let own = hello(&self.nodes[to]);
        let place = &mut self.nodes[to].acquaintances;
        place.told.insert(life, news);
        match place.memory.told(&own, &all) {
            Some(why) => Err(self.accused(from, to, &why)),
            None => Ok(()),
        }
    }

    fn judge(&mut self, ours: usize, theirs: usize) -> Result<(), Broken> {
        let (own, hello) = (hello(&self.nodes[ours]), hello(&self.nodes[theirs]));
        let (id, starts) = (self.nodes[theirs].id, hello.promises.starts);
        let place = &mut self.nodes[ours].acquaintances;
        let judged = place.memory.meet(&own, &hello);
        place.processes.insert((id, hello.boot));
        place.met.insert((id, hello.incarnation), starts);
        self.nodes[ours].disk.remembered = self.nodes[ours].acquaintances.all();
        judged.map_err(|why| self.accused(ours, theirs, &why.1))
    }

    fn accused(&self, by: usize, whom: usize, why: &str) -> Broken {
        let (by, whom) = (self.nodes[by].id, self.nodes[whom].id);
        Broken::new(HONEST, format!("node {by} says of node {whom}: {why}"))
    }

    /// What peers would say to a directory that has forgotten something, if it spoke to them.
    pub(crate) fn would_be_recognised(&mut self, node: usize) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let disk = &place.disk;
        let promises = Promises { starts: disk.starts + 1, ..promises(disk) };
        let copy = Hello { promises, boot: u64::MAX, ..hello(place) };
        let (id, incarnation) = (place.id, place.incarnation);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            let peer = &self.nodes[peer];
            if !peer.is_up() {
                continue;
            }
            let Acquaintances { met, terms, votes, acknowledged, memory, .. } = &peer.acquaintances;
            let vote = votes.get(&(id, incarnation)) == Some(&promises.term)
                && promises.vote.is_none_or(|vote| vote.candidate != peer.id);
            let term = terms.get(&(id, incarnation)).is_some_and(|term| *term > promises.term);
            let started = met.get(&(id, incarnation)).is_some_and(|met| *met >= promises.starts);
            let entries = acknowledged
                .get(&(id, incarnation))
                .is_some_and(|known| (promises.term, promises.last) < *known);
            let judged: Result<(), Refusal> = memory.clone().meet(&hello(peer), &copy);
            match (judged, started || term || vote || entries) {
                (Ok(()), true) => {
                    let why = format!(
                        "node {} would take node {id} with {promises:?} for what it was",
                        peer.id
                    );
                    return Err(Broken::new(RECOGNISED, why));
                }
                (Err(_), _) => self.coverage.meet(Met::CopyRecognised),
                (Ok(()), false) => {}
            }
        }
        Ok(())
    }
}

fn hello(node: &Node) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: [7; 16],
        generation: None,
        node: Some(node.id),
        incarnation: node.incarnation,
        boot: node.acquaintances.boot,
        software: String::new(),
        lease: None,
        promises: node.acquaintances.promises,
    }
}
