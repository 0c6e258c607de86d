//! Three nodes that are values, in turns: in a round each node is handed what was sent to it, and
//! then does all that comes of it. The same loop drives every system that can be driven so.

use std::time::Instant;

use crate::work::{Done, ENTRIES, LEADER, Work, value};

/// A node with a log and a state machine, both in memory.
pub(crate) trait Node {
    type Message;

    /// Starts a node, of 0 to 2, of a cluster of three.
    fn start(place: usize) -> Self;

    /// Lets it stand for election.
    fn campaign(&mut self);

    fn leads(&self) -> bool;

    /// Lets a leader's timer for heartbeats fire.
    fn heartbeat(&mut self);

    fn propose(&mut self, value: Vec<u8>);

    /// Hands it a message.
    fn step(&mut self, from: usize, message: Self::Message);

    /// Writes, sends and applies all that what it was handed leads to. A write is durable at once.
    fn turn(&mut self, letters: &mut Vec<(usize, Self::Message)>);

    /// Returns how many values its state machine has got.
    fn applied(&self) -> u64;
}

/// Three nodes, and for each the messages that it has not been handed yet, with their senders.
pub(crate) struct Trio<N: Node> {
    nodes: [N; 3],
    inboxes: [Vec<(usize, N::Message)>; 3],
    /// Where the messages of a turn are put; empty between turns, kept for its memory.
    letters: Vec<(usize, N::Message)>,
    steps: u64,
}

impl<N: Node> Trio<N> {
    /// Starts three nodes and elects one.
    pub(crate) fn elected() -> Self {
        let nodes = std::array::from_fn(N::start);
        let inboxes = std::array::from_fn(|_| Vec::new());
        let mut trio = Self { nodes, inboxes, letters: Vec::new(), steps: 0 };
        trio.nodes[LEADER].campaign();
        trio.turn(LEADER);
        trio.settle();
        assert!(trio.nodes[LEADER].leads(), "nobody stands against it");
        trio
    }

    /// Proposes all values, until all nodes have applied all of them.
    pub(crate) fn run(&mut self, work: Work) -> Done {
        let (before, began) = (self.steps, Instant::now());
        let mut proposed = 0;
        while self.nodes[LEADER].applied() < ENTRIES {
            while proposed < ENTRIES && proposed - self.nodes[LEADER].applied() <= work.room() {
                for number in proposed + 1..=proposed + work.batch {
                    self.nodes[LEADER].propose(value(number));
                }
                proposed += work.batch;
                self.turn(LEADER);
            }
            assert!(self.round(), "{proposed} values are proposed, and nothing happens");
        }
        // Followers learn of a commit with the next values; of the last one, by a heartbeat.
        self.nodes[LEADER].heartbeat();
        self.turn(LEADER);
        self.settle();
        let done = Done { took: began.elapsed(), steps: self.steps - before };
        for node in &self.nodes {
            assert_eq!(node.applied(), ENTRIES, "a node does not have all values");
        }
        done
    }

    /// Goes on until nobody has a message for anybody.
    fn settle(&mut self) {
        while self.round() {}
    }

    /// Gives each node a turn that has messages; says whether there was one.
    fn round(&mut self) -> bool {
        let mut any = false;
        for place in 0..self.nodes.len() {
            let mut inbox = std::mem::take(&mut self.inboxes[place]);
            if inbox.is_empty() {
                continue;
            }
            any = true;
            self.steps += inbox.len() as u64;
            for (from, message) in inbox.drain(..) {
                self.nodes[place].step(from, message);
            }
            // Nobody sends to itself, so nothing has come meanwhile; the memory is kept.
            self.inboxes[place] = inbox;
            self.turn(place);
        }
        any
    }

    fn turn(&mut self, place: usize) {
        self.nodes[place].turn(&mut self.letters);
        for (to, message) in self.letters.drain(..) {
            self.inboxes[to].push((place, message));
        }
    }
}
