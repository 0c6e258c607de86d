//! The network lane: messages to peers, and entries in frames bounded in bytes.
//!
//! Entries come from the replica's cache. A peer that needs some that the cache has no longer is
//! fed piece by piece until it keeps up: another thread reads and encodes, one piece a peer at a
//! time, so that a peer's messages keep their order. A full lane drops and says so, and the leader
//! sends again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consensus::{Configuration, Entry, LogIndex, Member, Message, NodeId, Outgoing};
use protocol::Generation;
use replica::{Answer, Meeting, Replica};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use transport::{Mesh, PeerInfo, SnapshotSender};

use crate::exit::{Exit, Failure};
use crate::lanes::{Done, Reports};
use crate::logging::repeat::{self, Kind};
use crate::status::Link;

mod elsewhere;
mod feed;

pub(crate) use elsewhere::{Elsewhere, differs};
pub(crate) use feed::Piece;
use feed::{Feed, Feeder};

/// The most bytes of entries in one frame, beyond the first entry. Small enough that a lane of
/// [`transport::limits::ENTRY_MESSAGES_MAX`] frames keeps at most 64 MiB of old entries in memory.
const FRAME_BYTES_MAX: usize = 512 << 10;

/// How long all nodes that a change brings in may take to say who they are: longer than a node that
/// is there needs, shorter than operators wait.
const MEETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads entries from the disk, at least one and at most so many bytes.
pub(crate) type ReadLog =
    Arc<dyn Fn(Range<LogIndex>, usize) -> Result<Vec<Entry>, Failure> + Send + Sync>;

/// The loop's end of the lane.
pub(crate) struct Network {
    mesh: Mesh,
    read: ReadLog,
    generation: Generation,
    bytes_per_s_max: u64,
    reports: Reports,
    /// Peers that lack entries which the cache has no longer.
    feeders: BTreeMap<NodeId, Feeder>,
    feeders_begun: u64,
    /// Where members are dialled, whatever the configuration says.
    elsewhere: Elsewhere,
    /// The nodes that are talked to.
    peers: BTreeMap<NodeId, Member>,
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
    /// Makes the lane of a node of this generation. A peer that is far behind is fed at a rate.
    pub(crate) fn new(
        mesh: Mesh,
        (read, generation): (ReadLog, Generation),
        bytes_per_s_max: u64,
        reports: Reports,
    ) -> Self {
        Self {
            mesh,
            read,
            generation,
            bytes_per_s_max,
            reports,
            feeders: BTreeMap::new(),
            feeders_begun: 0,
            elsewhere: Elsewhere::default(),
            peers: BTreeMap::new(),
        }
    }

    /// Receives on a connection that a peer dialled.
    pub(crate) fn accept(&self, accepted: transport::Accepted) {
        self.mesh.accept(accepted);
    }

    /// Talks to these nodes from now on.
    pub(crate) fn set_peers(&mut self, peers: BTreeMap<NodeId, Member>) {
        self.feeders.retain(|id, _| peers.contains_key(id));
        self.peers = peers;
        self.connect();
    }

    /// Dials members elsewhere than the configuration says.
    pub(crate) fn redirect(&mut self, elsewhere: Elsewhere) {
        self.elsewhere = elsewhere;
        self.connect();
    }

    /// Returns the members that are dialled elsewhere than the configuration says, and where.
    pub(crate) fn moved<'a>(
        &'a self,
        configuration: &'a Configuration,
    ) -> impl Iterator<Item = (&'a Member, &'a str)> {
        self.elsewhere.moved(configuration)
    }

    /// Returns where a member is dialled.
    pub(crate) fn address<'a>(&'a self, id: NodeId, member: &'a Member) -> &'a str {
        self.elsewhere.address(id, member)
    }

    fn connect(&mut self) {
        let peers = self.peers.iter();
        self.mesh.set_peers(peers.map(|(id, member)| (*id, self.elsewhere.address(*id, member))));
    }

    /// Returns the way for a snapshot to a peer, if there is one.
    pub(crate) fn snapshot_sender(&self, to: NodeId) -> Option<SnapshotSender> {
        self.mesh.snapshot_sender(to)
    }

    /// Returns which of these nodes were removed, and by which entry, as far as the log is applied.
    pub(crate) fn removed<'a>(
        &self,
        nodes: impl Iterator<Item = &'a NodeId>,
    ) -> BTreeMap<NodeId, LogIndex> {
        let removed = self.mesh.removed();
        nodes.filter_map(|node| Some((*node, removed.by(*node)?))).collect()
    }

    /// Asks nodes that are no peers yet who they are, all at the same time, and reports.
    pub(crate) fn meet(&self, meeting: Meeting) {
        let Meeting { request, newcomers } = meeting;
        let ask = |(id, member): (NodeId, Member)| {
            let hello = self.mesh.identify(id, member.address, MEETING_TIMEOUT);
            (id, tokio::spawn(hello))
        };
        let asked: Vec<_> = newcomers.into_iter().map(ask).collect();
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let mut answers = BTreeMap::new();
            for (id, hello) in asked {
                let answer: Answer = match hello.await {
                    Ok(Ok(hello)) => Ok(hello.incarnation),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                answers.insert(id, answer);
            }
            // A loop that is gone needs no report.
            let _ = reports.send(Done::Met { request, answers }).await;
        });
    }

    /// Says how the way to a peer is.
    pub(crate) fn link(&self, peer: NodeId) -> Link {
        let info = self.mesh.info(peer);
        let rtt_us = info.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
        let since_ms =
            info.since.map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        let PeerInfo { connected, trouble, boot, .. } = info;
        Link { connected, rtt_us, trouble, boot, since_ms, ..Link::default() }
    }

    /// Sends; `false` if something was dropped.
    pub(crate) fn send(&mut self, send: Outgoing, replica: &Replica) -> bool {
        match send {
            Outgoing::Message { to, message } => self.message(to, &message),
            Outgoing::Entries { to, term, prev, range, commit, round } => {
                let feed = Feed { term, prev, range, commit, round };
                if let Some(feeder) = self.feeders.get_mut(&to) {
                    feeder.push(feed);
                    return true;
                }
                match self.try_feed(to, feed, replica) {
                    Fed::All => true,
                    Fed::Missing(rest) => {
                        self.begin(to, rest, replica);
                        true
                    }
                    Fed::Dropped => false,
                }
            }
            Outgoing::Snapshot { .. } => unreachable!("snapshots have a lane of their own"),
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

    /// Begins to feed a peer piece by piece.
    fn begin(&mut self, to: NodeId, feed: Feed, replica: &Replica) {
        self.feeders_begun += 1;
        let (number, last) = (self.feeders_begun, replica.raft().status().last.index);
        let feeder = Feeder::new(number, feed, self.bytes_per_s_max, last, Instant::now());
        self.ask(to, &feeder, Duration::ZERO, None, replica);
        self.feeders.insert(to, feeder);
    }

    /// Goes on with the next piece for a peer; `false` if something was dropped. What was to be
    /// sent in an earlier term is forgotten: the log may not be the one that it spoke of.
    pub(crate) fn fed(
        &mut self,
        to: NodeId,
        number: u64,
        piece: Option<Piece>,
        replica: &Replica,
    ) -> bool {
        let status = replica.raft().status();
        let (term, last) = (status.term, status.last.index);
        let Some(mut feeder) = self.feeders.remove(&to) else {
            return true;
        };
        if feeder.number != number {
            self.feeders.insert(to, feeder);
            return true;
        }
        if feeder.feed.term != term {
            return true;
        }
        // Compacted meanwhile (museum G17): the leader begins anew with this peer.
        let Some(mut piece) = piece else {
            return false;
        };
        let mut wait = Duration::ZERO;
        // The leader may have looked again where the logs agree, while this one was read.
        if piece.term == term && piece.first == feeder.feed.range.start {
            if !self.mesh.send_entries(to, std::mem::take(&mut piece.chunks)) {
                return false;
            }
            wait = feeder.sent(&piece, last, Instant::now());
        }
        let rest = feeder.feed.head();
        let at_hand = replica.entries(rest.clone(), FRAME_BYTES_MAX);
        let reaches = at_hand.as_ref().and_then(|entries| entries.last()).map(|last| last.id.index);
        // What is left fits into one message from the cache: from here on the peer keeps up.
        if feeder.feed.range.is_empty()
            || reaches.map(LogIndex::next) == Some(feeder.feed.range.end)
        {
            return at_hand.is_none_or(|entries| self.message(to, &feeder.feed.message(entries)));
        }
        self.ask(to, &feeder, wait, at_hand, replica);
        self.feeders.insert(to, feeder);
        true
    }

    fn message(&self, to: NodeId, message: &Message) -> bool {
        self.mesh.send(to, message).unwrap_or_else(|error| {
            repeat::tell(Kind::Message, to, error);
            false
        })
    }

    /// Makes the next piece on another thread, which reports: of entries at hand, or of those on
    /// the disk.
    fn ask(
        &self,
        to: NodeId,
        feeder: &Feeder,
        wait: Duration,
        at_hand: Option<Vec<Entry>>,
        replica: &Replica,
    ) {
        let (number, feed) = (feeder.number, feeder.feed.clone());
        let (read, reports, generation) =
            (Arc::clone(&self.read), self.reports.clone(), self.generation);
        let range = on_disk(&feed.head(), replica);
        let make = move || {
            let entries = match at_hand {
                Some(entries) => entries,
                None => read(range, FRAME_BYTES_MAX)?,
            };
            let made = feed.piece(&generation, entries);
            made.map_err(|error| Failure::from_error(Exit::Data, "the log cannot be sent", &error))
        };
        tokio::spawn(async move {
            sleep(wait).await;
            spawn_blocking(move || {
                // A loop that is gone needs no report.
                let _ = reports.blocking_send(Done::Fed { to, number, result: make() });
            });
        });
    }
}

/// Returns the part of a range that can be read back: a leader sends entries that its own disk
/// does not have yet (§10.2.1), and the cache holds all of those.
fn on_disk(range: &Range<LogIndex>, replica: &Replica) -> Range<LogIndex> {
    range.start..range.end.min(replica.raft().durable().next())
}
