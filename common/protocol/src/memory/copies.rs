//! A disk is copied whole, and both copies run: no file of either says so. Peers that each hear
//! another one have told each other so after a word in each direction, and what one process
//! promised to a peer is not given to another that lacks it.
//!
//! Which of the two is the older one nobody can know: with peers that cannot talk to each other,
//! both go on. What that may cost is bounded by the number of nodes that a cluster can lose.

use std::collections::BTreeMap;

use super::tests::{hello, id};
use super::*;
use consensus::{ReadRound, Vote};
use proptest::prelude::*;

/// The peers, besides the node whose disk is copied.
const PEERS: usize = 4;
const NODE: u64 = PEERS as u64 + 1;
const DIRECTORY: Incarnation = Incarnation::new(NODE);

/// A process that runs with the directory, or with the copy.
#[derive(Clone, Copy, Debug)]
struct Process {
    boot: u64,
    /// What its hello says: what its disk held when it started.
    said: Promises,
    disk: Promises,
}

/// What a peer has heard from a process that it had met.
#[derive(Clone, Copy, Debug, Default)]
struct Heeded {
    term: Term,
    voted: Option<Term>,
    acknowledged: EntryId,
    kept: LogIndex,
}

struct Peer {
    number: u64,
    memory: Memory,
    leads: Option<Term>,
    /// The end of its log.
    last: LogIndex,
    /// The process that it has met last, and was to hear since.
    met: Option<u64>,
    heeded: BTreeMap<u64, Heeded>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A process votes for a peer, in a term of its own.
    Vote(bool, usize),
    /// A peer leads in a term of its own.
    Lead(usize),
    /// A leader appends so many entries, and a process acknowledges them.
    Append(bool, usize, u64),
    /// What has been acknowledged is committed.
    Commit(usize),
    Start(bool),
    Meet(bool, usize),
    Tell(usize, usize),
    /// The disk is copied, once, and the copy runs.
    Copy,
}

struct World {
    processes: Vec<Process>,
    peers: Vec<Peer>,
    term: Term,
    commit: LogIndex,
    drawn: u64,
}

impl World {
    fn new() -> Self {
        let disk = Promises { starts: 1, term: Term::ZERO, vote: None, last: LogIndex::ZERO };
        let peer = |number| Peer {
            number,
            memory: Memory::default(),
            leads: None,
            last: LogIndex::ZERO,
            met: None,
            heeded: BTreeMap::new(),
        };
        Self {
            processes: vec![Process { boot: 1, said: disk, disk }],
            peers: (1..=PEERS as u64).map(peer).collect(),
            term: Term::ZERO,
            commit: LogIndex::ZERO,
            drawn: 1,
        }
    }

    fn start(&mut self, place: usize) {
        self.drawn += 1;
        let process = &mut self.processes[place];
        process.boot = self.drawn;
        process.disk.starts += 1;
        process.said = process.disk;
    }

    fn hello_of(&self, place: usize) -> Hello {
        let Process { boot, said, .. } = self.processes[place];
        hello(NODE, boot, said)
    }

    fn own_hello(&self, peer: usize) -> Hello {
        let last = Promises { starts: 1, term: Term::ZERO, vote: None, last: LogIndex::ZERO };
        hello(self.peers[peer].number, 1_000 + self.peers[peer].number, last)
    }

    /// Says whether a peer hears the process that it has met last.
    fn hears(&self, peer: usize) -> Option<u64> {
        let Peer { memory, met, .. } = &self.peers[peer];
        let speaker = |boot| Speaker { node: id(NODE), incarnation: DIRECTORY, boot };
        met.filter(|boot| memory.still_hears(speaker(*boot)).is_ok())
    }

    /// A peer meets a process: if it takes it, the process holds all that the peer was promised.
    fn meet(&mut self, place: usize, peer: usize) -> Result<(), TestCaseError> {
        let (own, theirs) = (self.own_hello(peer), self.hello_of(place));
        let Process { boot, said, .. } = self.processes[place];
        let is_copied = self.processes.len() > 1;
        let peer = &mut self.peers[peer];
        let met = peer.memory.meet(&own, &theirs);
        if let Err(why) = met {
            prop_assert!(is_copied, "{} is accused, and nothing was copied: {why:?}", place);
            return Ok(());
        }
        peer.met = Some(boot);
        for (other, heeded) in peer.heeded.iter().filter(|(other, _)| **other != boot) {
            let Heeded { term, voted, acknowledged, kept } = *heeded;
            let is_known = said.vote.is_some_and(|vote| vote.candidate == id(peer.number));
            prop_assert!(said.term >= term, "process {other} was in {term}: {said:?}");
            prop_assert!(voted != Some(said.term) || is_known, "process {other} voted: {said:?}");
            prop_assert!(
                (said.term, said.last) >= (acknowledged.term, acknowledged.index),
                "process {other} acknowledged {acknowledged:?}: {said:?}"
            );
            prop_assert!(said.last >= kept, "process {other} kept {kept}: {said:?}");
        }
        Ok(())
    }

    /// A process says something to a peer, which heeds it if it hears that process.
    fn say(&mut self, place: usize, peer: usize, message: &Message) {
        let boot = self.processes[place].boot;
        if self.hears(peer) != Some(boot) {
            return;
        }
        let commit = self.commit;
        let peer = &mut self.peers[peer];
        let heeded = peer.heeded.entry(boot).or_default();
        heeded.term = heeded.term.max(message.term);
        match message.body {
            Body::Appended { matched, .. } => {
                let acknowledged = EntryId { term: message.term, index: matched };
                heeded.acknowledged = heeded.acknowledged.max(acknowledged);
                heeded.kept = heeded.kept.max(matched.min(commit));
            }
            _ => heeded.voted = heeded.voted.max(Some(message.term)),
        }
        let own = Incarnation::new(peer.number);
        peer.memory.note((id(NODE), DIRECTORY), message, (own, peer.leads, commit));
    }

    fn vote(&mut self, place: usize, peer: usize) {
        self.term = self.term.next();
        let (term, number) = (self.term, self.peers[peer].number);
        let candidate = Incarnation::new(number);
        let vote = Vote { candidate: id(number), incarnation: candidate };
        let disk = &mut self.processes[place].disk;
        (disk.term, disk.vote) = (term, Some(vote));
        let body = Body::Vote { candidate, verdict: Verdict::Granted };
        self.say(place, peer, &Message { term, body });
        // Who is elected has all that is committed.
        self.peers.iter_mut().for_each(|peer| peer.leads = None);
        let commit = self.commit;
        let peer = &mut self.peers[peer];
        (peer.leads, peer.last) = (Some(term), peer.last.max(commit));
    }

    fn lead(&mut self, peer: usize) {
        self.term = self.term.next();
        self.peers.iter_mut().for_each(|peer| peer.leads = None);
        let peer = &mut self.peers[peer];
        (peer.leads, peer.last) = (Some(self.term), peer.last.max(self.commit));
    }

    fn append(&mut self, place: usize, peer: usize, entries: u64) {
        let Some(term) = self.peers[peer].leads else { return };
        let last = self.peers[peer].last.advanced(entries);
        self.peers[peer].last = last;
        let disk = &mut self.processes[place].disk;
        if disk.term > term {
            return;
        }
        if disk.term < term {
            (disk.term, disk.vote) = (term, None);
        }
        disk.last = last;
        let body = Body::Appended { matched: last, round: ReadRound::ZERO };
        self.say(place, peer, &Message { term, body });
    }

    fn tell(&mut self, from: usize, to: usize) {
        let told = self.peers[from].memory.to_tell();
        let own = self.own_hello(to);
        self.peers[to].memory.told(&own, &told);
    }

    /// Two peers tell each other, and do not hear different processes then.
    fn exchange(&mut self, one: usize, other: usize) -> Result<(), TestCaseError> {
        self.tell(one, other);
        self.tell(other, one);
        let (first, second) = (self.hears(one), self.hears(other));
        let differ = first.is_some() && second.is_some() && first != second;
        prop_assert!(!differ, "{one} hears {first:?}, and {other} {second:?}");
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let place = |copy: bool| usize::from(copy).min(self.processes.len() - 1);
        match step {
            Step::Vote(copy, peer) => self.vote(place(copy), peer),
            Step::Lead(peer) => self.lead(peer),
            Step::Append(copy, peer, entries) => self.append(place(copy), peer, entries),
            Step::Commit(peer) if self.peers[peer].leads.is_some() => {
                self.commit = self.commit.max(self.peers[peer].last);
            }
            Step::Commit(_) => {}
            Step::Start(copy) => self.start(place(copy)),
            Step::Meet(copy, peer) => self.meet(place(copy), peer)?,
            Step::Tell(one, other) if one != other => self.exchange(one, other)?,
            Step::Tell(..) => {}
            Step::Copy if self.processes.len() == 1 => {
                self.processes.push(self.processes[0]);
                self.start(1);
            }
            Step::Copy => {}
        }
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (copy, peer) = (any::<bool>, || 0..PEERS);
    let step = prop_oneof![
        2 => (copy(), peer()).prop_map(|(copy, peer)| Step::Vote(copy, peer)),
        1 => peer().prop_map(Step::Lead),
        5 => (copy(), peer(), 1..9_u64).prop_map(|(copy, peer, n)| Step::Append(copy, peer, n)),
        1 => peer().prop_map(Step::Commit),
        2 => copy().prop_map(Step::Start),
        6 => (copy(), peer()).prop_map(|(copy, peer)| Step::Meet(copy, peer)),
        3 => (peer(), peer()).prop_map(|(one, other)| Step::Tell(one, other)),
        1 => Just(Step::Copy),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn peers_that_talk_to_each_other_do_not_hear_two_processes_of_one_directory(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
    }

    /// When one of the two is gone, the other one is heard again, as soon as its start is later
    /// than any of the other's, if it holds what was promised.
    #[test]
    fn who_is_left_is_heard_again(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
        world.term = world.term.next();
        let starts = world.processes.iter().map(|process| process.disk.starts).max().unwrap_or(0);
        let last = world.peers.iter().map(|peer| peer.last).max().unwrap_or_default();
        let left = &mut world.processes[0].disk;
        (left.starts, left.term, left.vote) = (starts, world.term, None);
        left.last = left.last.max(last).max(world.commit);
        world.start(0);
        for peer in 0..PEERS {
            let (own, theirs) = (world.own_hello(peer), world.hello_of(0));
            prop_assert_eq!(world.peers[peer].memory.meet(&own, &theirs), Ok(()));
            world.peers[peer].met = Some(theirs.boot);
            prop_assert_eq!(world.hears(peer), Some(theirs.boot));
        }
    }
}
