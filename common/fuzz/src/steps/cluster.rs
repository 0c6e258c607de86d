//! Cores, their disks, and the network between them.

mod alter;
mod node;

use ::bytes::Bytes;
use consensus::{
    Actions, Body, Configuration, EntryId, Input, Message, NodeId, Outgoing, RequestId,
};
use protocol::{FrameReader, Generation, decode_message, encode_message};

use super::bytes::Source;
use super::halts::may_halt;
use alter::alter;
use node::{NODES, Node, configuration, id, incarnation};

/// No schedule keeps more messages in flight.
const IN_FLIGHT_MAX: usize = 256;

/// A message on its way.
#[derive(Clone)]
struct Flight {
    from: NodeId,
    to: NodeId,
    message: Message,
}

pub(super) struct Cluster {
    /// Those that have not halted.
    nodes: Vec<Node>,
    flights: Vec<Flight>,
    requests: u64,
    /// Whether a message was altered or invented.
    strangers: bool,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let nodes = (1..=NODES).map(Node::new).collect();
        Self { nodes, flights: Vec::new(), requests: 0, strangers: false }
    }

    /// Does one thing.
    pub(super) fn step(&mut self, choice: u8, source: &mut Source<'_>) {
        if self.nodes.is_empty() {
            return;
        }
        let at = source.below(self.nodes.len());
        match choice % 16 {
            0..=4 => self.arrive(source, true),
            5 => self.arrive(source, false),
            6 => {
                let lost = source.below(self.flights.len());
                if lost < self.flights.len() {
                    self.flights.swap_remove(lost);
                }
            }
            7 | 8 => self.input(at, Node::timeout),
            9 => self.input(at, Node::persisted),
            10 => self.input(at, Node::applied),
            11 => {
                let kept = source.below(4);
                self.nodes[at].crash(kept);
            }
            12 => self.ask(at, source),
            13 => self.input(at, Node::compacted),
            14 => self.invent(at, source),
            _ => self.distort(source),
        }
    }

    fn arrive(&mut self, source: &mut Source<'_>, once: bool) {
        if self.flights.is_empty() {
            return;
        }
        let chosen = source.below(self.flights.len());
        let flight = match once {
            true => self.flights.swap_remove(chosen),
            false => self.flights[chosen].clone(),
        };
        self.deliver(flight);
    }

    fn deliver(&mut self, Flight { from, to, message }: Flight) {
        let Some(place) = self.place(to) else { return };
        let incarnation = incarnation(from.get());
        self.input(place, |_| Some(Input::Receive { from, incarnation, message }));
    }

    fn input(&mut self, at: usize, input: impl FnOnce(&mut Node) -> Option<Input>) {
        let Some(input) = input(&mut self.nodes[at]) else { return };
        let node = &mut self.nodes[at];
        match may_halt(self.strangers, || node.step(input)) {
            Some(actions) => self.send(at, actions),
            None => drop(self.nodes.remove(at)),
        }
    }

    fn send(&mut self, at: usize, actions: Actions) {
        let from = self.nodes[at].raft.id();
        for outgoing in self.nodes[at].follow(actions) {
            // A snapshot arrives at once, of which nodes may halt.
            let Some(at) = self.place(from) else { return };
            let (to, message) = match outgoing {
                Outgoing::Message { to, message } => (to, message),
                Outgoing::Entries { to, term, prev, range, commit, round } => {
                    let Some(entries) = self.nodes[at].entries(range) else { continue };
                    (
                        to,
                        Message {
                            term,
                            body: Body::AppendEntries { prev, entries, commit, round },
                        },
                    )
                }
                Outgoing::Snapshot { to, term, .. } => {
                    self.snapshot(at, to, term);
                    continue;
                }
            };
            if self.flights.len() < IN_FLIGHT_MAX {
                self.flights.push(Flight { from, to, message });
            }
        }
    }

    /// A snapshot arrives at once.
    fn snapshot(&mut self, at: usize, to: NodeId, term: consensus::Term) {
        let from = self.nodes[at].raft.id();
        let meta = self.nodes[at].raft.snapshot_meta(self.nodes[at].raft.applied());
        let place = self.place(to);
        let delivered = match (meta, place) {
            (Some(meta), Some(place)) if meta.last != EntryId::ZERO => {
                self.input(place, |_| Some(Input::SnapshotReceived { from, term, meta }));
                true
            }
            (Some(_) | None, _) => false,
        };
        if let Some(at) = self.place(from) {
            self.input(at, |_| Some(Input::SnapshotSent { to, delivered }));
        }
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.raft.id() == id)
    }

    /// A client or an operator asks for something.
    fn ask(&mut self, at: usize, source: &mut Source<'_>) {
        self.requests += 1;
        let request = RequestId::new(self.requests);
        let input = match source.below(4) {
            0 => {
                let count = 1 + source.below(3);
                let commands = (0..count).map(|_| Bytes::from_static(b"command")).collect();
                Input::Propose { request, commands }
            }
            1 => Input::Read { request },
            2 => Input::Transfer { request, to: id(1 + source.below(4) as u64) },
            _ => Input::Reconfigure { request, target: target(source) },
        };
        self.input(at, |_| Some(input));
    }

    /// A message that was honest is altered, and arrives.
    fn distort(&mut self, source: &mut Source<'_>) {
        if self.flights.is_empty() {
            return;
        }
        let chosen = source.below(self.flights.len());
        let mut flight = self.flights[chosen].clone();
        alter(&mut flight.message, source);
        self.strangers = true;
        self.deliver(flight);
    }

    /// A message arrives that nobody sent: whatever the bytes decode to.
    fn invent(&mut self, at: usize, source: &mut Source<'_>) {
        let from = id(1 + source.below(5) as u64);
        let length = source.below(256);
        let Some(message) = decoded(source.take(length)) else { return };
        let to = self.nodes[at].raft.id();
        self.strangers = true;
        self.deliver(Flight { from, to, message });
    }
}

fn target(source: &mut Source<'_>) -> Configuration {
    let voters: Vec<u64> = (1..=NODES + 1).filter(|_| source.below(2) == 1).collect();
    let learners: Vec<u64> =
        (1..=NODES + 1).filter(|id| !voters.contains(id) && source.below(2) == 1).collect();
    configuration(&voters, &learners)
}

/// Decodes what the network would hand on: a frame, whose length the transport has checked.
fn decoded(bytes: &[u8]) -> Option<Message> {
    let generation = Generation::new([7; 32]);
    let mut reader = FrameReader::new();
    reader.extend(bytes);
    let message = decode_message(&generation, reader.next_frame().ok()??).ok()?;
    encode_message(&generation, &message).expect("it was within the limits");
    Some(message)
}
