//! The network lane: messages to peers, and entries in frames bounded in bytes.
//!
//! Entries come from the replica's cache. What it has no longer goes out in pieces that the
//! replica asks for, one a peer at a time: another thread reads and encodes them. A full lane drops
//! and says so, and the leader sends again; what is on its way already is not sent twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consensus::{
    Body, Configuration, Entry, EntryId, Incarnation, LogIndex, Member, Message, NodeId, Outgoing,
};
use protocol::{Generation, LeaderHint};
use replica::{Answer, Meeting, Piece, Replica, Sent, UnderWay};
use state_machine::{Act, SystemCommand};
use tokio::task::spawn_blocking;
use transport::{Forwarder, Mesh, PeerInfo, SnapshotSender};

use crate::exit::Failure;
use crate::lanes::{Done, Reports};
use crate::logging::repeat::{self, Kind};
use crate::status::Link;

mod elsewhere;
mod feed;

pub(crate) use elsewhere::{Elsewhere, differs};
pub(crate) use feed::Encoded;

/// The most bytes of entries in one frame, beyond the first entry. Small enough that a lane of
/// [`transport::limits::ENTRY_MESSAGES_MAX`] frames keeps at most 64 MiB of old entries in memory.
pub(crate) const FRAME_BYTES_MAX: usize = 512 << 10;

/// How long all nodes that a change brings in may take to say who they are: longer than a node that
/// is there needs, shorter than operators wait.
const MEETING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the leader may take to note an act, before it is asked again.
const NOTE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads entries from the disk, at least one and at most so many bytes.
pub(crate) type ReadLog =
    Arc<dyn Fn(Range<LogIndex>, usize) -> Result<Vec<Entry>, Failure> + Send + Sync>;

/// The loop's end of the lane.
pub(crate) struct Network {
    mesh: Mesh,
    /// The way to the leader for what is no message of a replica.
    forwarder: Forwarder,
    read: ReadLog,
    generation: Generation,
    reports: Reports,
    /// Where members are dialled, whatever the configuration says.
    elsewhere: Elsewhere,
    /// The nodes that are talked to.
    peers: BTreeMap<NodeId, Member>,
    /// What need not be sent again yet.
    under_way: UnderWay,
}

impl Network {
    /// Makes the lane of a node of this generation.
    pub(crate) fn new(
        (mesh, forwarder): (Mesh, Forwarder),
        (read, generation): (ReadLog, Generation),
        reports: Reports,
    ) -> Self {
        Self {
            mesh,
            forwarder,
            read,
            generation,
            reports,
            elsewhere: Elsewhere::default(),
            peers: BTreeMap::new(),
            under_way: UnderWay::default(),
        }
    }

    /// Receives on a connection that a peer dialled.
    pub(crate) fn accept(&self, accepted: transport::Accepted) {
        self.mesh.accept(accepted);
    }

    /// Talks to these nodes from now on.
    pub(crate) fn set_peers(&mut self, peers: BTreeMap<NodeId, Member>) {
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

    /// Says whether a node was removed, as far as the log is applied.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.mesh.removed().by(node).is_some()
    }

    /// Asks nodes that are no peers yet who they are, all at the same time, and reports.
    pub(crate) fn meet(&self, meeting: Meeting) {
        let Meeting { request, newcomers } = meeting;
        let ask = |(id, member): (NodeId, Member)| {
            let address = self.elsewhere.met(id, &member, self.peers.get(&id)).to_owned();
            let hello = self.mesh.identify(id, address, MEETING_TIMEOUT);
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

    /// Returns the way to report something to the loop.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Lets the leader note acts, one after the other, and reports which it has not noted.
    pub(crate) fn note(&self, leader: LeaderHint, acts: Vec<Act>) {
        let (forwarder, reports) = (self.forwarder.clone(), self.reports.clone());
        tokio::spawn(async move {
            let mut left = acts.into_iter();
            while let Some(act) = left.next() {
                let command = SystemCommand::Note(act.clone()).encode();
                if !forwarder.note(&leader, command, NOTE_TIMEOUT).await {
                    let left = std::iter::once(act).chain(left).collect();
                    // A loop that is gone needs no report.
                    let _ = reports.send(Done::Noted { left }).await;
                    return;
                }
            }
            let _ = reports.send(Done::Noted { left: Vec::new() }).await;
        });
    }

    /// Returns the data directory with which a peer is connected.
    pub(crate) fn directory(&self, peer: NodeId) -> Option<Incarnation> {
        let PeerInfo { connected, incarnation, .. } = self.mesh.info(peer);
        incarnation.filter(|_| connected)
    }

    /// Says how the way to a peer is.
    pub(crate) fn link(&self, peer: NodeId) -> Link {
        let info = self.mesh.info(peer);
        let rtt_us = info.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
        let since_ms =
            info.since.map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        let PeerInfo { connected, trouble, boot, incarnation, doubled, .. } = info;
        let doubled_ms =
            doubled.map(|doubled| u64::try_from(doubled.as_millis()).unwrap_or(u64::MAX));
        Link {
            connected,
            rtt_us,
            trouble,
            boot,
            since_ms,
            incarnation,
            doubled_ms,
            ..Link::default()
        }
    }

    /// Sends; `false` if something was dropped. Entries come from the replica's cache, in messages
    /// bounded in bytes.
    pub(crate) fn send(&mut self, send: Outgoing, replica: &Replica) -> bool {
        match send {
            Outgoing::Message { to, message } => self.message(to, &message),
            Outgoing::Entries { to, term, mut prev, mut range, commit, round } => {
                let unsent = self.mesh.has_unsent(to);
                let rest = self.under_way.rest(to, term, range.clone(), unsent);
                if rest.start > range.start {
                    (prev, range) = match id_before(rest.start, replica) {
                        Some(id) => (id, rest),
                        None => (prev, range),
                    };
                }
                while !range.is_empty() {
                    let entries = replica.entries(range.clone(), FRAME_BYTES_MAX);
                    let entries = entries.expect("entries that are to be sent are in memory");
                    let last = entries.last().expect("a hit has entries").id;
                    let body = Body::AppendEntries { prev, entries, commit, round };
                    if !self.message(to, &Message { term, body }) {
                        self.under_way.forget(to);
                        return false;
                    }
                    prev = last;
                    range.start = last.index.next();
                }
                true
            }
            Outgoing::Snapshot { .. } => unreachable!("snapshots have a lane of their own"),
        }
    }

    fn message(&self, to: NodeId, message: &Message) -> bool {
        self.mesh.send(to, message).unwrap_or_else(|error| {
            repeat::tell(Kind::Message, to, error);
            false
        })
    }

    /// Reads an entry from the disk, here and now.
    pub(crate) fn read_now(&self, index: LogIndex) -> Result<Vec<Entry>, Failure> {
        (self.read)(index..index.next(), 0)
    }

    /// Reads old entries on another thread, which reports.
    pub(crate) fn read(&self, piece: Piece, replica: &Replica) {
        let at_hand = replica.entries(piece.range.clone(), FRAME_BYTES_MAX);
        let (read, reports, generation) =
            (Arc::clone(&self.read), self.reports.clone(), self.generation);
        let all_sent = self.mesh.all_sent(piece.to);
        tokio::spawn(async move {
            let encode = move || {
                let result = feed::encode(&generation, &piece, || match at_hand {
                    Some(entries) => Ok(entries),
                    None => read(piece.range.clone(), FRAME_BYTES_MAX),
                });
                (piece, result)
            };
            // A panic is told where it happens.
            let Ok((piece, result)) = spawn_blocking(encode).await else { return };
            // A slow way is fed as fast as it takes it in.
            all_sent.await;
            // A loop that is gone needs no report.
            let _ = reports.send(Done::Fed { piece, result }).await;
        });
    }

    /// Sends entries that were read; `None` if they were dropped.
    pub(crate) fn feed(&self, to: NodeId, encoded: Encoded) -> Option<Sent> {
        let Encoded { sent, chunks } = encoded;
        self.mesh.send_entries(to, chunks).then_some(sent)
    }
}

/// Returns what stands before an entry, if that is at hand.
fn id_before(index: LogIndex, replica: &Replica) -> Option<EntryId> {
    let before = index.prev()?;
    replica.entries(before..index, 0)?.last().map(|entry| entry.id)
}
