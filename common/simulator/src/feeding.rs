//! Followers that are far behind: pieces of old entries are read from the disk and sent, late or
//! not at all. Which piece, and when, is decided by the replica.

use std::ops::Range;

use consensus::{Body, Entry, LogIndex, Message, NodeId, Payload};
use replica::{Input, Piece, Sent};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::stream::Reading;
use crate::world::{Happening, World};

/// What an entry takes in a message beside its command, in bytes; roughly.
const ENTRY_BYTES: u64 = 40;

impl World {
    /// Begins to read a piece.
    pub(crate) fn read_piece(&mut self, at: usize, piece: Piece) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        if node.feeding.insert(piece.to, true) == Some(true) {
            let why = format!("node {} reads another one for node {}", node.id, piece.to);
            return Err(Broken::new("one piece a follower is under way at a time", why));
        }
        let known = node.memory.id(piece.prev.index);
        let follows = piece.prev.index.next() == piece.range.start;
        if piece.range.is_empty() || !follows || known.is_some_and(|id| id != piece.prev) {
            let why = format!("node {} reads {piece:?}, its log has {known:?} before", node.id);
            return Err(Broken::new("a piece is a part of the leader's log", why));
        }
        let replica = node.replica.as_ref().expect("it was stepped");
        let at_hand = replica.entries(piece.range.clone(), self.profile.feed.piece_bytes_max);
        if at_hand.is_none() && piece.range.end > node.disk.last().index.next() {
            let why = format!("node {} reads {:?} from its disk", node.id, piece.range);
            return Err(Broken::new("a piece is read that the disk has", why));
        }
        let life = node.life;
        let mut takes = self.rng.between(MS / 20, self.profile.disk_ns.max(MS / 10));
        if !self.faults_over && self.rng.permille(self.profile.late) {
            takes += self.rng.between(0, self.profile.late_ns);
        }
        // A slow way is fed as fast as it takes it in.
        let takes = takes.max(self.unsent_ns(at, piece.to));
        let reading = Box::new(Reading { piece, at_hand });
        self.after(takes, Happening::Read(at, life, reading));
        Ok(())
    }

    /// A piece is read, and sent if it is still wanted.
    pub(crate) fn send_piece(&mut self, at: usize, reading: Reading) -> Result<(), Broken> {
        let Reading { piece, at_hand } = reading;
        let node = &mut self.nodes[at];
        let Some(replica) = node.replica.as_ref() else {
            return Ok(());
        };
        node.feeding.insert(piece.to, false);
        let (number, to, wanted) = (piece.number, piece.to, replica.wants(&piece));
        let from_disk = || node.disk.log.range(piece.range.clone()).map(<[Entry]>::to_vec);
        let entries = at_hand.or_else(from_disk).filter(|_| wanted);
        let full = !self.faults_over && self.rng.permille(self.profile.full_lanes);
        let sent = entries.filter(|_| !full);
        let sent = sent.and_then(|entries| self.send_some(at, &piece, entries));
        self.coverage.meet(match sent {
            Some(_) => Met::PieceSent,
            None if wanted => Met::PieceLost,
            None => Met::PieceUnwanted,
        });
        self.step(at, Input::Fed { number, to, sent })
    }

    /// Sends as many of a piece's entries as one message carries, if there is room for it.
    fn send_some(&mut self, at: usize, piece: &Piece, mut entries: Vec<Entry>) -> Option<Sent> {
        let bytes_max = self.profile.feed.piece_bytes_max as u64;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            let fits = first || bytes + entry_bytes(entry) <= bytes_max;
            bytes += if fits { entry_bytes(entry) } else { 0 };
            fits
        };
        let count = entries.iter().take_while(fits).count();
        entries.truncate(count);
        let Piece { to, term, prev, commit, round, .. } = *piece;
        let last = entries.last().expect("one entry always fits").id;
        let body = Body::AppendEntries { prev, entries, commit, round };
        self.post_entries(at, to, &Message { term, body }).then_some(Sent { last, bytes })
    }

    /// Returns entries that go out at once: they are in memory, and no piece is under way.
    pub(crate) fn at_once(
        &mut self,
        at: usize,
        to: NodeId,
        range: &Range<LogIndex>,
    ) -> Result<Vec<Entry>, Broken> {
        let node = &mut self.nodes[at];
        let replica = node.replica.as_ref().expect("it was stepped");
        let entries = replica.entries(range.clone(), usize::MAX).unwrap_or_default();
        let why = format!("node {} sends node {to} {range:?}", node.id);
        if entries.len() as u64 != range.end.since(range.start) {
            return Err(Broken::new("what is sent at once is in memory", why));
        }
        if node.memory.range(range.clone()).is_some_and(|log| log != entries) {
            return Err(Broken::new("what is sent is in the log", why));
        }
        match node.feeding.remove(&to) {
            None => {}
            Some(false) => self.coverage.meet(Met::FeedingEnded),
            Some(true) => return Err(Broken::new("what follows a piece waits for it", why)),
        }
        Ok(entries)
    }
}

pub(crate) fn entry_bytes(entry: &Entry) -> u64 {
    ENTRY_BYTES
        + match &entry.payload {
            Payload::Command(bytes) => bytes.len() as u64,
            Payload::Noop | Payload::Configuration(_) => 0,
        }
}
