//! The network lane: messages to peers, and entries in frames bounded in bytes.
//!
//! Entries come from the replica's cache; those that it has no longer are read from the disk on
//! another thread, one read a peer at a time, so that a peer's messages keep their order. A full
//! lane drops and says so, and the leader sends again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consensus::{
    Body, Configuration, Entry, EntryId, LogIndex, Member, Message, NodeId, Send, Term, Timestamp,
};
use protocol::Hello;
use replica::Replica;
use transport::{ConnectError, Mesh, SnapshotRoad};

use crate::exit::Failure;
use crate::lanes::{Change, Done, Reports};
use crate::status::Link;

/// The most bytes of entries in one frame, beyond the first entry. Small enough that a lane of
/// [`transport::limits::ENTRY_MESSAGES_MAX`] frames keeps at most 64 MiB of old entries in memory.
const FRAME_BYTES_MAX: usize = 512 << 10;

/// The most ranges that wait for a peer's disk read; the protocol's window is the narrower limit.
const FEEDS_MAX: usize = 4_096;

/// Who is no member any more is talked to for at least so long, in nanoseconds: long enough for its
/// leader to bring it the removal, and to say that it is committed.
const FAREWELL_NS: u64 = 5_000_000_000;

/// How long all nodes that a change brings in may take to say who they are: longer than a node that
/// is there needs, shorter than operators wait.
const MEETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads entries from the disk, at least one and at most so many bytes.
pub(crate) type ReadLog =
    Arc<dyn Fn(Range<LogIndex>, usize) -> Result<Vec<Entry>, Failure> + std::marker::Send + Sync>;

/// The loop's end of the lane.
pub(crate) struct Network {
    mesh: Mesh,
    read: ReadLog,
    reports: Reports,
    /// Ranges that wait for a disk read, by peer; a read is under way for the first of each.
    feeds: BTreeMap<NodeId, VecDeque<Feed>>,
    /// Where the members are.
    members: BTreeMap<NodeId, String>,
    /// Where those are who were members until lately, and until when they are talked to.
    leaving: BTreeMap<NodeId, (String, Timestamp)>,
}

/// `AppendEntries` that is to be made of a range.
#[derive(Clone, Debug)]
struct Feed {
    term: Term,
    prev: EntryId,
    range: Range<LogIndex>,
    commit: LogIndex,
    round: consensus::ReadRound,
}

/// What became of a range.
enum Fed {
    /// All of it is queued.
    All,
    /// The rest must be read from the disk.
    Missing(Feed),
    /// The lane is full, or there is no connection.
    Dropped,
}

impl Network {
    pub(crate) fn new(mesh: Mesh, read: ReadLog, reports: Reports) -> Self {
        let (feeds, members, leaving) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { mesh, read, reports, feeds, members, leaving }
    }

    /// Receives on a connection that a peer dialled.
    pub(crate) fn accept(&self, accepted: transport::Accepted) {
        self.mesh.accept(accepted);
    }

    /// Talks to these members from now on. Who is none any more is still talked to for a while: it
    /// has yet to hear that its removal is committed, or it would campaign against it (museum C16).
    pub(crate) fn set_peers(&mut self, now: Timestamp, configuration: &Configuration) {
        let members = configuration.members();
        let until = now.after(FAREWELL_NS);
        let gone = self.members.iter().filter(|(id, _)| !members.contains_key(id));
        self.leaving.extend(gone.map(|(id, address)| (*id, (address.clone(), until))));
        self.leaving.retain(|id, _| !members.contains_key(id));
        self.members = members.iter().map(|(id, member)| (*id, member.address.clone())).collect();
        self.connect();
    }

    /// Stops talking to those who left long enough ago and whom no leader feeds any more.
    pub(crate) fn forget(&mut self, now: Timestamp, replica: &Replica) {
        if self.leaving.is_empty() {
            return;
        }
        let status = replica.status();
        let fed = |id: &NodeId| status.peers.iter().any(|peer| peer.id == *id);
        let before = self.leaving.len();
        self.leaving.retain(|id, (_, until)| now < *until || fed(id));
        if self.leaving.len() < before {
            self.connect();
        }
    }

    fn connect(&mut self) {
        let Self { members, leaving, feeds, mesh, .. } = self;
        feeds.retain(|id, _| members.contains_key(id) || leaving.contains_key(id));
        let members = members.iter().map(|(id, address)| (*id, address.as_str()));
        let leaving = leaving.iter().map(|(id, (address, _))| (*id, address.as_str()));
        mesh.set_peers(members.chain(leaving));
    }

    /// Returns the way for a snapshot to a peer, if there is one.
    pub(crate) fn road(&self, to: NodeId) -> Option<SnapshotRoad> {
        self.mesh.road(to)
    }

    /// Returns which entry removed a node, as far as the log is applied.
    pub(crate) fn removed_by(&self, node: NodeId) -> Option<LogIndex> {
        self.mesh.removed().by(node)
    }

    /// Asks nodes that are no peers yet who they are, all at the same time, and reports: they are
    /// to be members, with this description each.
    pub(crate) fn meet(&self, newcomers: Vec<(NodeId, Member)>, change: Change) {
        let visit = |(id, member): (NodeId, Member)| {
            let answer = self.mesh.visit(id, member.address.clone(), MEETING_TIMEOUT);
            tokio::spawn(async move { judge(id, &member, answer.await) })
        };
        let visits: Vec<_> = newcomers.into_iter().map(visit).collect();
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let mut result = Ok(());
            for visit in visits {
                let met = visit.await.unwrap_or_else(|error| Err(error.to_string()));
                result = result.and(met);
            }
            // A loop that is gone needs no report.
            let _ = reports.send(Done::Met { change, result }).await;
        });
    }

    /// Says how the way to a peer is.
    pub(crate) fn link(&self, peer: NodeId) -> Link {
        let info = self.mesh.info(peer);
        let rtt_us = info.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
        Link { connected: info.connected, rtt_us, trouble: info.trouble, ..Link::default() }
    }

    /// Sends; `false` if something was dropped.
    pub(crate) fn send(&mut self, send: Send, replica: &Replica) -> bool {
        match send {
            Send::Message { to, message } => self.message(to, &message),
            Send::Entries { to, term, prev, range, commit, round } => {
                let feed = Feed { term, prev, range, commit, round };
                if let Some(feeds) = self.feeds.get_mut(&to) {
                    let room = feeds.len() < FEEDS_MAX;
                    if room {
                        feeds.push_back(feed);
                    }
                    return room;
                }
                self.feed(to, feed, replica)
            }
            Send::Snapshot { .. } => unreachable!("snapshots have a lane of their own"),
        }
    }

    /// Goes on after a disk read; `false` if something was dropped. What was to be sent in an
    /// earlier term is forgotten: the log may not be the one that it spoke of.
    pub(crate) fn read(&mut self, to: NodeId, entries: &[Entry], replica: &Replica) -> bool {
        let Some(mut feeds) = self.feeds.remove(&to) else {
            return true;
        };
        // Compacted meanwhile (museum G17): the leader begins anew with this peer.
        if entries.is_empty() {
            return false;
        }
        let term = replica.raft().status().term;
        feeds.retain(|feed| feed.term == term);
        if let Some(first) = feeds.front_mut()
            && entries.first().is_some_and(|entry| entry.id.index == first.range.start)
        {
            let last = entries.len() - 1;
            if !self.message(to, &first.message(entries.to_vec())) {
                return false;
            }
            first.advance(entries[last].id);
        }
        while let Some(feed) = feeds.pop_front() {
            match self.try_feed(to, feed, replica) {
                Fed::All => {}
                Fed::Missing(rest) => {
                    self.ask(to, on_disk(&rest.range, replica));
                    feeds.push_front(rest);
                    self.feeds.insert(to, feeds);
                    return true;
                }
                Fed::Dropped => return false,
            }
        }
        true
    }

    fn feed(&mut self, to: NodeId, feed: Feed, replica: &Replica) -> bool {
        match self.try_feed(to, feed, replica) {
            Fed::All => true,
            Fed::Missing(rest) => {
                self.ask(to, on_disk(&rest.range, replica));
                self.feeds.insert(to, VecDeque::from([rest]));
                true
            }
            Fed::Dropped => false,
        }
    }

    /// Sends as much of a range as the cache has.
    fn try_feed(&self, to: NodeId, mut feed: Feed, replica: &Replica) -> Fed {
        while !feed.range.is_empty() {
            let Some(entries) = replica.entries(feed.range.clone(), FRAME_BYTES_MAX) else {
                return Fed::Missing(feed);
            };
            let last = entries.last().expect("a hit has entries").id;
            if !self.message(to, &feed.message(entries)) {
                return Fed::Dropped;
            }
            feed.advance(last);
        }
        Fed::All
    }

    fn message(&self, to: NodeId, message: &Message) -> bool {
        self.mesh.send(to, message).unwrap_or_else(|error| {
            tracing::error!(%to, %error, "a message is over a limit of the protocol");
            false
        })
    }

    /// Reads from the disk on another thread, which reports.
    fn ask(&self, to: NodeId, range: Range<LogIndex>) {
        let (read, reports) = (Arc::clone(&self.read), self.reports.clone());
        tokio::task::spawn_blocking(move || {
            let result = read(range, FRAME_BYTES_MAX);
            // A loop that is gone needs no report.
            let _ = reports.blocking_send(Done::Read { to, result });
        });
    }
}

/// Decides whether a node that is to be a member is the one that its description names.
fn judge(id: NodeId, member: &Member, met: Result<Hello, ConnectError>) -> Result<(), String> {
    let Member { name, address, incarnation } = member;
    let why = match met {
        Ok(hello) if hello.incarnation == *incarnation => return Ok(()),
        Ok(hello) => {
            let found = hello.incarnation;
            format!("its data directory is {found}, the change names {incarnation}")
        }
        Err(error) => error.to_string(),
    };
    Err(format!("the leader did not meet {name} (node {id}) at {address}: {why}"))
}

/// Returns the part of a range that can be read back: a leader sends entries that its own disk
/// does not have yet (§10.2.1), and the cache holds all of those.
fn on_disk(range: &Range<LogIndex>, replica: &Replica) -> Range<LogIndex> {
    range.start..range.end.min(replica.raft().durable().next())
}

impl Feed {
    fn message(&self, entries: Vec<Entry>) -> Message {
        let Self { term, prev, commit, round, .. } = self.clone();
        Message { term, body: Body::AppendEntries { prev, entries, commit, round } }
    }

    /// Goes on behind `last`.
    fn advance(&mut self, last: EntryId) {
        self.prev = last;
        self.range.start = last.index.next();
    }
}
