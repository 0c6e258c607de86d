//! Histories of honest nodes: elections, entries, restarts, directories that forget and take
//! another name. Nobody is told that it has forgotten who has not, and nobody that it runs twice.

use super::*;
use crate::hello::PROTOCOL_VERSION;
use consensus::{ReadRound, Vote};
use proptest::prelude::*;

/// As many as it takes for entries that two of them hold to be lost to another leader's.
const NODES: usize = 5;

/// Bit of who is reached by entries: those who answer are heard later, if at all.
const LATE: u8 = 1 << 7;

/// A node, with what is on its disk.
struct Node {
    id: NodeId,
    incarnation: Incarnation,
    boot: u64,
    promises: Promises,
    /// What its hello says: what the disk held when the process started.
    hello: Promises,
    last_term: Term,
    commit: LogIndex,
    /// It neither votes nor counts until the others have taken it in again.
    forgot: bool,
    memory: Memory,
}

/// What happens; nodes are counted from 0.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node asks all others for their votes; those whose bit is set hear it, and are heard.
    Elect(usize, u8),
    /// The leader appends so many entries, likewise.
    Append(u64, u8),
    /// The answers that are late arrive, at whoever leads by then.
    Arrive,
    Restart(usize),
    /// A node loses so many entries from its end, notices when it starts, and takes another name.
    Forget(usize, u64),
    Tell(usize, usize),
}

struct Cluster {
    nodes: Vec<Node>,
    leader: Option<usize>,
    /// Answers on their way: to whom, from whom, and what was said.
    late: Vec<(usize, (NodeId, Incarnation), Message)>,
    drawn: u64,
}

impl Cluster {
    fn new() -> Self {
        let promises = Promises { starts: 1, term: Term::ZERO, vote: None, last: LogIndex::ZERO };
        let node = |number: u64| Node {
            id: NodeId::new(number).expect("not 0"),
            incarnation: Incarnation::new(number),
            boot: number,
            promises,
            hello: promises,
            last_term: Term::ZERO,
            commit: LogIndex::ZERO,
            forgot: false,
            memory: Memory::default(),
        };
        let nodes = (1..=NODES as u64).map(node).collect();
        Self { nodes, leader: None, late: Vec::new(), drawn: 100 }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    fn hello(&self, at: usize) -> Hello {
        let node = &self.nodes[at];
        Hello {
            protocol: PROTOCOL_VERSION,
            cluster: [7; 16],
            generation: None,
            node: Some(node.id),
            incarnation: node.incarnation,
            boot: node.boot,
            software: String::new(),
            lease: None,
            promises: node.hello,
        }
    }

    /// Two nodes meet, as they do before anything is said.
    fn meet(&mut self, one: usize, other: usize) -> Result<(), TestCaseError> {
        for (ours, theirs) in [(one, other), (other, one)] {
            let (own, hello) = (self.hello(ours), self.hello(theirs));
            let met = self.nodes[ours].memory.meet(&own, &hello);
            prop_assert_eq!(met, Ok(()), "{} judges {}", ours + 1, theirs + 1);
        }
        Ok(())
    }

    fn heard(&mut self, at: usize, from: (NodeId, Incarnation), message: &Message) {
        let node = &mut self.nodes[at];
        let leads = Some(node.promises.term).filter(|_| self.leader == Some(at));
        node.memory.note(from, message, (node.incarnation, leads, node.commit));
    }

    fn speaker(&self, at: usize) -> (NodeId, Incarnation) {
        (self.nodes[at].id, self.nodes[at].incarnation)
    }

    fn elect(&mut self, candidate: usize, reached: u8) -> Result<(), TestCaseError> {
        if self.nodes[candidate].forgot {
            return Ok(());
        }
        let term = self.nodes[candidate].promises.term.next();
        let Node { id, incarnation, last_term, promises: Promises { last, .. }, .. } =
            self.nodes[candidate];
        let vote = Vote { candidate: id, incarnation };
        if self.leader == Some(candidate) {
            self.leader = None;
        }
        let mut votes = 0;
        for voter in 0..NODES {
            let node = &mut self.nodes[voter];
            let is_good = (last_term, last) >= (node.last_term, node.promises.last);
            let hears = voter == candidate || reached & 1 << voter != 0;
            if !hears || node.forgot || node.promises.term >= term || !is_good {
                continue;
            }
            (node.promises.term, node.promises.vote) = (term, Some(vote));
            if self.leader == Some(voter) {
                self.leader = None;
            }
            if voter != candidate {
                self.meet(voter, candidate)?;
                let body = Body::Vote { candidate: incarnation, verdict: Verdict::Granted };
                self.heard(candidate, self.speaker(voter), &Message { term, body });
            }
            votes += 1;
        }
        if 2 * votes > NODES {
            self.leader = Some(candidate);
        }
        Ok(())
    }

    fn append(&mut self, entries: u64, reached: u8) -> Result<(), TestCaseError> {
        let Some(leader) = self.leader else { return Ok(()) };
        let node = &mut self.nodes[leader];
        let (term, commit) = (node.promises.term, node.commit);
        let last = node.promises.last.advanced(entries);
        (node.promises.last, node.last_term) = (last, term);
        let hears = |at: usize| at != leader && reached & 1 << at != 0;
        let followers: Vec<usize> =
            (0..NODES).filter(|at| hears(*at) && self.nodes[*at].promises.term <= term).collect();
        for follower in &followers {
            self.meet(leader, *follower)?;
            let node = &mut self.nodes[*follower];
            if node.promises.term < term {
                (node.promises.term, node.promises.vote) = (term, None);
            }
            (node.promises.last, node.last_term) = (last, term);
            node.commit = node.commit.max(commit);
            let body = Body::Appended { matched: last, round: ReadRound::ZERO };
            let (from, message) = (self.speaker(*follower), Message { term, body });
            if reached & LATE != 0 {
                self.late.push((leader, from, message));
            } else {
                self.heard(leader, from, &message);
            }
        }
        let count = followers.iter().filter(|at| !self.nodes[**at].forgot).count() + 1;
        if 2 * count > NODES && reached & LATE == 0 {
            self.nodes[leader].commit = last;
            followers.iter().for_each(|at| self.nodes[*at].forgot = false);
        }
        for node in &mut self.nodes {
            let kept = node.commit.min(node.promises.last);
            let own = first(node.id, node.incarnation, node.boot, node.promises);
            node.memory.keep(Remembered { kept, ..own });
        }
        Ok(())
    }

    fn restart(&mut self, at: usize) {
        let boot = self.draw();
        if self.leader == Some(at) {
            self.leader = None;
        }
        let node = &mut self.nodes[at];
        let mut memory = Memory::default();
        memory.recall(node.memory.all());
        (node.memory, node.boot) = (memory, boot);
        node.promises.starts += 1;
        node.hello = node.promises;
    }

    fn forget(&mut self, at: usize, entries: u64) {
        if self.nodes.iter().any(|node| node.forgot) {
            return;
        }
        let incarnation = Incarnation::new(self.draw());
        let node = &mut self.nodes[at];
        node.forgot = true;
        let last = node.promises.last.get().saturating_sub(entries);
        node.promises.last = LogIndex::new(last);
        node.commit = node.commit.min(node.promises.last);
        node.incarnation = incarnation;
        self.restart(at);
    }

    fn tell(&mut self, from: usize, to: usize) -> Result<(), TestCaseError> {
        let told = self.nodes[from].memory.to_tell();
        let own = self.hello(to);
        prop_assert_eq!(self.nodes[to].memory.told(&own, &told), None);
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Elect(candidate, reached) => self.elect(candidate, reached)?,
            Step::Append(entries, reached) => self.append(entries, reached)?,
            Step::Arrive => {
                for (at, from, message) in std::mem::take(&mut self.late) {
                    self.heard(at, from, &message);
                }
            }
            Step::Restart(at) => self.restart(at),
            Step::Forget(at, entries) => self.forget(at, entries),
            Step::Tell(from, to) if from != to => self.tell(from, to)?,
            Step::Tell(..) => {}
        }
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..NODES, any::<u8>()).prop_map(|(at, reached)| Step::Elect(at, reached)),
        5 => (1..9_u64, any::<u8>()).prop_map(|(entries, reached)| Step::Append(entries, reached)),
        3 => Just(Step::Arrive),
        3 => (0..NODES).prop_map(Step::Restart),
        1 => (0..NODES, 1..9_u64).prop_map(|(at, entries)| Step::Forget(at, entries)),
        3 => (0..NODES, 0..NODES).prop_map(|(from, to)| Step::Tell(from, to)),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// A node that had taken another name accused those that had voted for the one before.
    #[test]
    fn no_honest_node_is_accused(steps in steps()) {
        let mut cluster = Cluster::new();
        for step in steps {
            cluster.take(step)?;
            for one in 0..NODES {
                for other in one + 1..NODES {
                    cluster.meet(one, other)?;
                }
            }
        }
    }
}

/// Found in seed 900077: the entries that were acknowledged are cut by the next leader, and the
/// answer to them reaches the first one when it leads again and has committed others in their
/// place.
#[test]
fn a_late_answer_to_a_leader_s_first_term_promises_nothing_in_its_second() {
    const ALL: u8 = LATE - 1;
    let mut cluster = Cluster::new();
    let steps = [
        Step::Elect(0, ALL),
        Step::Append(8, LATE | 1 << 1),
        Step::Elect(2, 1 << 3 | 1 << 4),
        Step::Append(2, ALL),
        Step::Elect(0, ALL),
        Step::Append(5, ALL & !(1 << 1)),
        Step::Arrive,
        Step::Restart(1),
    ];
    for step in steps {
        cluster.take(step).expect("all are honest");
    }
    assert!(cluster.nodes[0].commit > cluster.nodes[1].promises.last);
    cluster.meet(0, 1).expect("node 2 has forgotten nothing");
}
