//! Our core: what the daemon hands on to disk, network and state machine is done at once.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Instant;

use bytes::Bytes;
use consensus::{
    Body, ClusterTime, Config, Configuration, Entry, EntryId, HardState, Incarnation, Input,
    LogIndex, LogView, Majority, Member, Membership, Message, NodeId, Outgoing, Payload, Raft,
    RequestId, Restored, RoleKind, Term, TermRun, Timer, Timestamp, Voters,
};

use crate::lockstep::Node;
use crate::work::Machine;

/// Nodes are restored at time 0 and asked for the first time so much later, in nanoseconds: every
/// election timeout is over by then.
const EPOCH_NS: u64 = 1_000_000_000;

pub(crate) struct Ours {
    raft: Raft,
    /// The entry of index 1 stands first.
    log: Vec<Entry>,
    machine: Machine,
    config: Config,
    began: Instant,
    /// So far its clock is ahead.
    ahead_ns: u64,
}

impl Node for Ours {
    type Message = Message;

    fn start(place: usize) -> Self {
        let first = EntryId { term: Term::new(1), index: LogIndex::new(1) };
        let runs = vec![TermRun { term: first.term, first: first.index }];
        let log = LogView::restore(EntryId::ZERO, runs, first.index);
        let nobody = (LogIndex::ZERO, Configuration::unknown());
        let membership = Membership::restore(nobody, vec![(first.index, configuration())]);
        let restored = Restored {
            incarnation: incarnation(place),
            hard_state: HardState { term: first.term, vote: None },
            log: log.expect("one run of one entry"),
            membership: membership.expect("it stands behind the place before the log"),
            applied: LogIndex::ZERO,
            stamp: ClusterTime::ZERO,
        };
        let config = Config::new(place as u64);
        let raft = Raft::restore(id(place), config.clone(), restored, Timestamp::ZERO);
        let payload = Payload::Configuration(configuration());
        Self {
            raft: raft.expect("the parts agree"),
            log: vec![Entry::new(first, ClusterTime::ZERO, payload)],
            machine: Machine::default(),
            config,
            began: Instant::now(),
            ahead_ns: EPOCH_NS,
        }
    }

    fn campaign(&mut self) {
        self.raft.step(self.now(), Input::Timeout(Timer::Election));
    }

    fn leads(&self) -> bool {
        self.raft.status().role == RoleKind::Leader
    }

    fn heartbeat(&mut self) {
        self.ahead_ns += self.config.heartbeat_ns;
        self.raft.step(self.now(), Input::Timeout(Timer::Heartbeat));
    }

    fn propose(&mut self, value: Vec<u8>) {
        let (request, commands) = (RequestId::ZERO, vec![Bytes::from(value)]);
        self.raft.step(self.now(), Input::Propose { request, commands });
    }

    fn step(&mut self, from: usize, message: Message) {
        let incarnation = incarnation(from);
        self.raft.step(self.now(), Input::Receive { from: id(from), incarnation, message });
    }

    fn turn(&mut self, letters: &mut Vec<(usize, Message)>) {
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            let now = self.now();
            let actions = self.raft.drain(now);
            self.raft.check_state();
            if let Some(write) = actions.write {
                assert!(write.truncate_from.is_none(), "nobody else has led");
                self.log.extend(write.append);
                self.raft.step(now, Input::Persisted { write: write.id });
                goes_on = true;
            }
            letters.extend(actions.send.into_iter().map(|send| self.letter(send)));
            if let Some(range) = actions.apply {
                for entry in &self.log[position(*range.start())..=position(*range.end())] {
                    if let Payload::Command(value) = &entry.payload {
                        self.machine.apply(value);
                    }
                }
                self.raft.step(now, Input::Applied { index: *range.end() });
            }
        }
    }

    fn applied(&self) -> u64 {
        self.machine.applied()
    }
}

impl Ours {
    fn now(&self) -> Timestamp {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).expect("a run is short");
        Timestamp::new(self.ahead_ns + nanos)
    }

    /// Fetches the bytes of what is to be sent.
    fn letter(&self, send: Outgoing) -> (usize, Message) {
        match send {
            Outgoing::Message { to, message } => (place(to), message),
            Outgoing::Entries { to, term, prev, range, commit, round } => {
                let entries = self.log[position(range.start)..position(range.end)].to_vec();
                let body = Body::AppendEntries { prev, entries, commit, round };
                (place(to), Message { term, body })
            }
            Outgoing::Snapshot { .. } => unreachable!("the log is never compacted"),
        }
    }
}

fn position(index: LogIndex) -> usize {
    usize::try_from(index.get()).expect("64 bits") - 1
}

fn id(place: usize) -> NodeId {
    NonZeroU64::MIN.saturating_add(place as u64).into()
}

fn place(id: NodeId) -> usize {
    usize::try_from(id.get()).expect("64 bits") - 1
}

fn incarnation(place: usize) -> Incarnation {
    Incarnation::new(100 + place as u64)
}

fn configuration() -> Configuration {
    let member = |place| {
        let (name, address) = (format!("node-{place}"), format!("localhost:740{place}"));
        (id(place), Member { incarnation: incarnation(place), name, address })
    };
    let voters = Voters::Stable(Majority::new((0..3).map(id)));
    let members: BTreeMap<NodeId, Member> = (0..3).map(member).collect();
    Configuration::new(voters, BTreeSet::new(), members).expect("every voter is a member")
}
