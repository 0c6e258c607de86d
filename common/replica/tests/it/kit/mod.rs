//! One replica in a test's hand: the test is its peers, its disk and its state machine.
#![allow(unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use consensus::{
    Body, ClusterTime, Config, Configuration, Entry, EntryId, HardState, Incarnation, Input as Raw,
    LogIndex, LogView, Majority, Member, Membership, Message, NodeId, Outgoing, Payload, Raft,
    ReadRound, RequestId, Restored, RoleKind, Term, TermRun, Timer, Timestamp, Verdict, Voters,
    Write,
};
use replica::{
    Alarm, Consistency, Input, Lanes, Limits, Meeting, Piece, Purpose, Question, Removal, Replica,
    Reply, RoomAction, SnapshotAction,
};

pub const MS: u64 = 1_000_000;

pub fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub fn at(term: u64, index: u64) -> EntryId {
    EntryId { term: Term::new(term), index: LogIndex::new(index) }
}

pub fn request(number: u64) -> RequestId {
    RequestId::new(number)
}

pub fn entry(term: u64, index: u64, text: &str) -> Entry {
    let payload = Payload::Command(Bytes::copy_from_slice(text.as_bytes()));
    Entry::new(at(term, index), ClusterTime::ZERO, payload)
}

pub fn applied(number: u64, index: u64, response: &str) -> Reply {
    let response = Bytes::copy_from_slice(response.as_bytes());
    Reply::Applied { request: request(number), index: LogIndex::new(index), response }
}

pub fn configuration(voters: &[u64]) -> Configuration {
    let member = |number: &u64| {
        let incarnation = Incarnation::new(100 + number);
        let member = Member { incarnation, name: String::new(), address: String::new() };
        (id(*number), member)
    };
    let majority = Majority::new(voters.iter().map(|number| id(*number)));
    let members = voters.iter().map(member).collect();
    Configuration::new(Voters::Stable(majority), [].into(), members).unwrap()
}

/// Node 1, whose log holds the configuration as entry (1,1).
pub struct Node {
    pub replica: Replica,
    pub now: Timestamp,
    /// All entries, as the test sees them go to the disk.
    pub log: Vec<Entry>,
    /// Writes that are not acknowledged.
    pub writes: VecDeque<Write>,
    /// Ranges that are not applied: first and last index.
    pub to_apply: VecDeque<(u64, u64)>,
    pub sent: Vec<Outgoing>,
    /// Pieces of old entries that are to be read and sent.
    pub pieces: Vec<Piece>,
    pub snapshots: Vec<SnapshotAction>,
    pub room: Vec<RoomAction>,
    /// Alarms that were to be raised or cleared.
    pub alarms: Vec<Alarm>,
    pub dropped: u64,
    /// Whom this node was to talk to, each time that it changed.
    pub peers: Vec<Vec<u64>>,
    /// Where those of the last time are.
    pub addresses: BTreeMap<u64, String>,
    /// The nodes that were to be asked who they are.
    pub meetings: Vec<Meeting>,
    pub removed: Option<Removal>,
    pub replies: Vec<Reply>,
    pub views_asked: usize,
    /// Questions that may be answered now.
    pub questions: Vec<Question>,
}

impl Node {
    pub fn new(voters: &[u64], limits: Limits) -> Self {
        Self::restarted(configuration(voters), limits)
    }

    /// One that knows nothing but what stands in its log.
    pub fn restarted(configuration: Configuration, limits: Limits) -> Self {
        let payload = Payload::Configuration(configuration.clone());
        let first = Entry::new(at(1, 1), ClusterTime::ZERO, payload);
        let runs = vec![TermRun { term: Term::new(1), first: LogIndex::new(1) }];
        let base = (LogIndex::ZERO, Configuration::unknown());
        let disk = Restored {
            incarnation: Incarnation::new(101),
            hard_state: HardState { term: Term::new(1), vote: None },
            log: LogView::restore(EntryId::ZERO, runs, LogIndex::new(1)).unwrap(),
            membership: Membership::restore(base, vec![(LogIndex::new(1), configuration)]).unwrap(),
            applied: LogIndex::ZERO,
            stamp: ClusterTime::ZERO,
        };
        let now = Timestamp::new(1_000 * MS);
        let raft = Raft::restore(id(1), Config::new(1), disk, now).unwrap();
        Self {
            replica: Replica::new(now, raft, limits, Vec::new()),
            now,
            log: vec![first],
            writes: VecDeque::new(),
            to_apply: VecDeque::new(),
            sent: Vec::new(),
            pieces: Vec::new(),
            snapshots: Vec::new(),
            room: Vec::new(),
            alarms: Vec::new(),
            dropped: 0,
            peers: Vec::new(),
            addresses: BTreeMap::new(),
            meetings: Vec::new(),
            removed: None,
            replies: Vec::new(),
            views_asked: 0,
            questions: Vec::new(),
        }
    }

    /// A leader of term 2 with its first entry applied: the only voter, or with node 2's vote.
    pub fn leader(voters: &[u64], limits: Limits) -> Self {
        let mut node = Self::new(voters, limits);
        node.campaign();
        node.hear(2, 2, appended(2));
        node.finish();
        assert_eq!(node.replica.status().applied, LogIndex::new(2));
        node.sent.clear();
        node
    }

    /// Steps all inputs, then drains once.
    pub fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.replica.step(self.now, input);
        }
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
            views: _,
            query,
            reply,
            peers,
            meet,
            removed,
            differing: _,
            event: _,
        } = self.replica.drain(self.now);
        assert_eq!(install, None, "nobody sends this node a snapshot");
        if let Some(write) = write {
            if let Some(from) = write.truncate_from {
                self.log.truncate(from.get() as usize - 1);
            }
            self.log.extend(write.append.iter().cloned());
            self.writes.push_back(write);
        }
        self.to_apply.extend(apply.map(|range| (range.start().get(), range.end().get())));
        self.sent.extend(send);
        self.pieces.extend(feed);
        self.snapshots.extend(snapshot);
        self.room.extend(room);
        self.alarms.extend(alarm);
        self.dropped += dropped;
        if let Some(peers) = peers {
            self.peers.push(peers.keys().map(|id| id.get()).collect());
            self.addresses = peers.into_iter().map(|(id, m)| (id.get(), m.address)).collect();
        }
        self.meetings.extend(meet);
        self.removed = removed.or(self.removed.take());
        self.questions.extend(query);
        self.views_asked += usize::from(view);
        self.replies.extend(reply);
    }

    /// Acknowledges all writes, and what comes of it.
    pub fn persist(&mut self) {
        while let Some(write) = self.writes.pop_front() {
            self.turn([Input::Raft(Raw::Persisted { write: write.id })]);
        }
    }

    /// Applies what was handed out, a range at a time; each command is answered with its bytes.
    pub fn apply(&mut self) {
        while let Some((first, last)) = self.to_apply.pop_front() {
            let entries = &self.log[first as usize - 1..last as usize];
            let answer = |entry: &Entry| match &entry.payload {
                Payload::Command(bytes) => Some((entry.id.index, bytes.clone())),
                Payload::Noop | Payload::Configuration(_) => None,
            };
            let responses = entries.iter().filter_map(answer).collect();
            let applied = LogIndex::new(last);
            self.turn([Input::Viewed { applied }, Input::Applied { index: applied, responses }]);
        }
    }

    /// Acknowledges and applies until nothing is left.
    pub fn finish(&mut self) {
        while !self.writes.is_empty() || !self.to_apply.is_empty() {
            self.persist();
            self.apply();
        }
    }

    /// Hears from a peer.
    pub fn hear(&mut self, from: u64, term: u64, body: Body) {
        let message = Message { term: Term::new(term), body };
        let incarnation = Incarnation::new(100 + from);
        self.turn([Input::Raft(Raw::Receive { from: id(from), incarnation, message })]);
    }

    /// Times out and is elected: by itself, by node 2, or of five by nodes 2 and 3.
    pub fn campaign(&mut self) {
        self.now = self.now.after(10_000 * MS);
        self.turn([Input::Raft(Raw::Timeout(Timer::Election))]);
        let term = self.replica.status().term.get();
        let granted = || Verdict::Granted;
        self.hear(2, term + 1, Body::PreVote { verdict: granted() });
        if self.replica.status().role == RoleKind::PreCandidate {
            self.hear(3, term + 1, Body::PreVote { verdict: granted() });
        }
        self.persist();
        let term = self.replica.status().term.get();
        let vote = || Body::Vote { candidate: Incarnation::new(101), verdict: granted() };
        self.hear(2, term, vote());
        if self.replica.status().role == RoleKind::Candidate {
            self.hear(3, term, vote());
        }
        assert_eq!(self.replica.status().role, RoleKind::Leader);
    }

    /// Follows node 3 in this term, with these entries behind `prev`.
    pub fn follow(&mut self, term: u64, prev: EntryId, entries: Vec<Entry>, commit: u64) {
        let (commit, round) = (LogIndex::new(commit), ReadRound::ZERO);
        self.hear(3, term, Body::AppendEntries { prev, entries, commit, round });
    }

    pub fn propose(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let inputs: Vec<Input> = numbers.into_iter().map(|n| proposal(n, &n.to_string())).collect();
        self.turn(inputs);
    }

    pub fn ask(&mut self, number: u64, consistency: Consistency) {
        let query = Bytes::from(format!("q{number}"));
        self.turn([Input::Query { request: request(number), query, consistency }]);
    }

    pub fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Takes the numbers of the questions that may be answered.
    pub fn take_questions(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.questions).into_iter().map(|asked| asked.request.get()).collect()
    }
}

pub fn proposal(number: u64, text: &str) -> Input {
    let command = Bytes::copy_from_slice(text.as_bytes());
    Input::Propose { request: request(number), command, purpose: Purpose::Data }
}

/// A change of members by an operator who has seen the configuration at `expected`.
pub fn reconfigure(number: u64, target: Configuration, expected: u64) -> Input {
    let (request, expected_index) = (request(number), LogIndex::new(expected));
    Input::Reconfigure { request, target, expected_index, removed: BTreeMap::new() }
}

pub fn appended(matched: u64) -> Body {
    Body::Appended { matched: LogIndex::new(matched), round: ReadRound::ZERO }
}
