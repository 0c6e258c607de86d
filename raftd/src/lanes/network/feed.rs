//! What a follower lacks that is far behind: entries that the cache has no longer. They go out one
//! piece at a time and at a rate, so that clients do not wait for the leader and its disk.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consensus::{Body, Entry, EntryId, LogIndex, Message, ReadRound, Term};
use protocol::limits::ENTRIES_PER_FRAME_MAX;
use protocol::{Generation, ProtocolError, encode_message};

use crate::lanes::pacer::Pacer;

/// How many times as fast as the log grows a follower is fed at the least: it would never catch up
/// at a rate below that.
const GROWTH_MULTIPLE: u64 = 2;

/// How fast the log grows is known after so long.
const GROWTH_TIME: Duration = Duration::from_millis(100);

/// `AppendEntries` that is to be made of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feed {
    pub(super) term: Term,
    pub(super) prev: EntryId,
    pub(super) range: Range<LogIndex>,
    pub(super) commit: LogIndex,
    pub(super) round: ReadRound,
}

impl Feed {
    pub(super) fn message(&self, entries: Vec<Entry>) -> Message {
        let Self { term, prev, commit, round, .. } = self.clone();
        Message { term, body: Body::AppendEntries { prev, entries, commit, round } }
    }

    /// Goes on behind `last`.
    pub(super) fn advance(&mut self, last: EntryId) {
        self.prev = last;
        self.range.start = last.index.next();
    }

    /// Returns the part that fits into one message by number.
    pub(super) fn head(&self) -> Range<LogIndex> {
        let most = self.range.start.advanced(ENTRIES_PER_FRAME_MAX as u64);
        self.range.start..self.range.end.min(most)
    }

    /// Makes the message of these entries, in bytes.
    pub(super) fn piece(
        &self,
        generation: &Generation,
        entries: Vec<Entry>,
    ) -> Result<Option<Piece>, ProtocolError> {
        let Some(last) = entries.last().map(|entry| entry.id) else {
            return Ok(None);
        };
        let chunks = encode_message(generation, &self.message(entries))?;
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Ok(Some(Piece { term: self.term, first: self.range.start, last, bytes, chunks }))
    }
}

/// A message with entries, ready to be written.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(super) term: Term,
    pub(super) first: LogIndex,
    pub(super) last: EntryId,
    pub(super) bytes: u64,
    pub(super) chunks: Vec<Bytes>,
}

/// A peer that is fed; one piece is under way at a time.
#[derive(Debug)]
pub(super) struct Feeder {
    /// Tells the pieces of this one from those of an earlier one.
    pub(super) number: u64,
    /// What is still to be sent.
    pub(super) feed: Feed,
    bytes_per_s_max: u64,
    pacer: Pacer,
    began: Instant,
    /// The end of the log then.
    log_began: LogIndex,
    sent_entries: u64,
    sent_bytes: u64,
}

impl Feeder {
    pub(super) fn new(
        number: u64,
        feed: Feed,
        bytes_per_s_max: u64,
        log_last: LogIndex,
        now: Instant,
    ) -> Self {
        let pacer = Pacer::new(bytes_per_s_max, now);
        let (sent_entries, sent_bytes) = (0, 0);
        let (began, log_began) = (now, log_last);
        Self { number, feed, bytes_per_s_max, pacer, began, log_began, sent_entries, sent_bytes }
    }

    /// Takes over what the leader sends next. What does not go on from here counts alone: the
    /// leader has looked again for the place where the logs agree.
    pub(super) fn push(&mut self, next: Feed) {
        let goes_on = next.term == self.feed.term && next.range.start == self.feed.range.end;
        if goes_on {
            self.feed.range.end = next.range.end;
            (self.feed.commit, self.feed.round) = (next.commit, next.round);
        } else {
            self.feed = next;
        }
    }

    /// Notes that a piece was sent, while the log ends at `log_last`; returns how long to wait
    /// before the next.
    pub(super) fn sent(&mut self, piece: &Piece, log_last: LogIndex, now: Instant) -> Duration {
        self.sent_entries += piece.last.index.next().since(piece.first);
        self.sent_bytes += piece.bytes;
        self.feed.advance(piece.last);
        self.pacer.set_rate(self.bytes_per_s_max.max(GROWTH_MULTIPLE * self.growth(log_last, now)));
        self.pacer.pass(piece.bytes, now)
    }

    /// Returns how many bytes a second the log grows by, with entries as large as those sent.
    fn growth(&self, log_last: LogIndex, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.began).max(GROWTH_TIME);
        let entries = log_last.since(self.log_began) as f64 / elapsed.as_secs_f64();
        (entries * self.sent_bytes as f64 / self.sent_entries.max(1) as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    fn feed(term: u64, range: Range<u64>) -> Feed {
        let (term, start) = (Term::new(term), LogIndex::new(range.start));
        Feed {
            term,
            prev: EntryId { term, index: LogIndex::new(range.start - 1) },
            range: start..LogIndex::new(range.end),
            commit: LogIndex::new(range.end),
            round: ReadRound::ZERO,
        }
    }

    fn piece(entries: Range<u64>, bytes: u64) -> Piece {
        Piece {
            term: Term::new(1),
            first: LogIndex::new(entries.start),
            last: EntryId { term: Term::new(1), index: LogIndex::new(entries.end - 1) },
            bytes,
            chunks: Vec::new(),
        }
    }

    #[test]
    fn what_goes_on_is_joined_and_anything_else_counts_alone() {
        let mut feeder = Feeder::new(1, feed(1, 10..20), RATE, LogIndex::new(30), Instant::now());
        feeder.push(feed(1, 20..30));
        let joined = Feed { commit: LogIndex::new(30), ..feed(1, 10..30) };
        assert_eq!(feeder.feed, joined);
        for other in [feed(1, 10..12), feed(1, 40..50), feed(2, 50..60)] {
            feeder.push(other.clone());
            assert_eq!(feeder.feed, other);
        }
    }

    #[test]
    fn a_follower_is_fed_at_the_rate_or_twice_as_fast_as_the_log_grows() {
        let begin = Instant::now();
        let end = LogIndex::new(10_000);
        let mut feeder = Feeder::new(1, feed(1, 1..10_001), RATE, end, begin);
        // A thousand bytes an entry, and the log stands still.
        let wait = feeder.sent(&piece(1..101, 100_000), end, begin);
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(feeder.feed.range.start, LogIndex::new(101));
        assert_eq!(feeder.feed.prev.index, LogIndex::new(100));
        // It grows by 5,000 entries a second, so by 5 MB.
        let (now, end) = (begin + Duration::from_secs(1), LogIndex::new(15_000));
        let wait = feeder.sent(&piece(101..1_101, 1_000_000), end, now);
        assert!(wait <= Duration::from_millis(100), "10 MB a second, not {wait:?} for one");
        assert!(wait >= Duration::from_millis(50), "{wait:?}");
    }

    #[test]
    fn a_message_has_no_more_entries_than_a_frame_may_carry() {
        let most = ENTRIES_PER_FRAME_MAX as u64;
        assert_eq!(feed(1, 5..8).head(), LogIndex::new(5)..LogIndex::new(8));
        let (start, end) = (LogIndex::new(5), LogIndex::new(5 + most));
        assert_eq!(feed(1, 5..1 << 40).head(), start..end);
    }
}
