//! What a follower lacks that is far behind: entries that the cache has no longer. They go out one
//! piece at a time and at a rate, so that clients do not wait for the leader and its disk.

use std::collections::BTreeMap;
use std::ops::Range;

use consensus::{EntryId, LogIndex, NodeId, Outgoing, Raft, ReadRound, Term, Timestamp};

use crate::cache::Cache;
use crate::input::Sent;
use crate::lanes::Piece;
use crate::limits::FeedLimits;
use crate::pacer::Pacer;

/// How many times as fast as the log grows a follower is fed at the least: it would never catch up
/// at a rate below that.
const GROWTH_MULTIPLE: u64 = 2;

/// How fast the log grows is known after so long, in nanoseconds.
const GROWTH_NS: u64 = 100_000_000;

/// All followers that are fed; one piece a follower is under way at a time.
#[derive(Clone, Debug)]
pub(crate) struct Feeding {
    limits: FeedLimits,
    feeders: BTreeMap<NodeId, Feeder>,
    /// The pieces so far.
    pieces: u64,
}

/// `AppendEntries` that is to be made of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Feed {
    term: Term,
    prev: EntryId,
    range: Range<LogIndex>,
    commit: LogIndex,
    round: ReadRound,
}

/// A follower that is fed.
#[derive(Clone, Debug)]
struct Feeder {
    /// What is still to be sent.
    feed: Feed,
    next: Next,
    pacer: Pacer,
    began: Timestamp,
    /// The end of the log then.
    log_began: LogIndex,
    sent_entries: u64,
    sent_bytes: u64,
}

/// How far the next piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It is to be asked for, not before this time, unless the rest needs none.
    Decide(Timestamp),
    /// It is to be asked for at this time.
    Due(Timestamp),
    /// It is read and sent.
    UnderWay { number: u64, term: Term, first: LogIndex },
}

impl Feeding {
    pub(crate) fn new(limits: FeedLimits) -> Self {
        Self { limits, feeders: BTreeMap::new(), pieces: 0 }
    }

    /// Returns what of a leader's messages goes out as it is, and takes over what a follower lacks
    /// that the cache has no longer. What follows the entries of a follower that is fed goes out
    /// behind them.
    pub(crate) fn take_over(
        &mut self,
        now: Timestamp,
        send: &mut Vec<Outgoing>,
        cache: &Cache,
        log_last: LogIndex,
    ) {
        send.retain(|send| {
            let Outgoing::Entries { to, term, prev, range, commit, round } = send else {
                return true;
            };
            let feeder = self.feeders.get_mut(to).filter(|feeder| !feeder.is_done());
            if feeder.is_none() && cache.has(range.start) {
                return true;
            }
            let range = range.clone();
            let next = Feed { term: *term, prev: *prev, range, commit: *commit, round: *round };
            match feeder {
                Some(feeder) => feeder.push(next),
                None => {
                    let pacer = Pacer::new(self.limits.bytes_per_s_max, now);
                    self.feeders.insert(*to, Feeder::new(next, pacer, log_last, now));
                }
            }
            false
        });
    }

    /// Says whether a piece is still to be sent, now that it is read: the leader may have looked
    /// again where the logs agree.
    pub(crate) fn wants(&self, piece: &Piece, raft: &Raft) -> bool {
        self.feeders.get(&piece.to).is_some_and(|feeder| {
            let Next::UnderWay { number, .. } = feeder.next else {
                return false;
            };
            number == piece.number && feeder.is_of(raft) && feeder.goes_on_with_next()
        })
    }

    /// A piece was sent, or was not; says whether the leader must begin anew with this follower
    /// (museum G17: what it lacks may be compacted meanwhile). What was to be sent in an earlier
    /// term is forgotten: the log may not be the one that it spoke of.
    pub(crate) fn fed(
        &mut self,
        now: Timestamp,
        (number, to): (u64, NodeId),
        sent: Option<Sent>,
        raft: &Raft,
    ) -> bool {
        let limits = self.limits;
        let Some(feeder) = self.feeders.get_mut(&to).filter(|feeder| feeder.awaits(number)) else {
            return false;
        };
        let goes_on = feeder.goes_on_with_next();
        if !feeder.is_of(raft) || (sent.is_none() && goes_on) {
            let lost = feeder.is_of(raft);
            self.feeders.remove(&to);
            return lost;
        }
        let wait_ns = match sent.filter(|_| goes_on) {
            Some(sent) => feeder.sent(sent, limits.bytes_per_s_max, raft.last().index, now),
            None => 0,
        };
        feeder.next = Next::Decide(now.after(wait_ns));
        false
    }

    /// Returns the pieces that are due. A follower whose rest fits into one message from the cache
    /// keeps up from here on: that message is added to those that go out.
    pub(crate) fn advance(
        &mut self,
        now: Timestamp,
        send: &mut Vec<Outgoing>,
        cache: &Cache,
        raft: &Raft,
    ) -> Vec<Piece> {
        let mut due = Vec::new();
        let Self { limits, feeders, pieces } = self;
        feeders.retain(|to, feeder| {
            let (when, decide) = match feeder.next {
                Next::UnderWay { .. } => return true,
                Next::Decide(when) => (when, true),
                Next::Due(when) => (when, false),
            };
            if !feeder.is_of(raft) || feeder.is_done() {
                return false;
            }
            let is_due = when <= now;
            let head = feeder.feed.head(limits.piece_entries_max);
            let fits = (decide || is_due)
                && head.end == feeder.feed.range.end
                && cache.fits(head.clone(), limits.piece_bytes_max);
            if fits {
                send.push(feeder.feed.message(*to));
                return false;
            }
            feeder.next = Next::Due(when);
            if is_due {
                *pieces += 1;
                let range = if cache.has(head.start) { head } else { on_disk(&head, raft) };
                due.push(feeder.begin(*pieces, *to, range));
            }
            true
        });
        due
    }

    /// Returns when the next piece is due.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let due = |feeder: &Feeder| match feeder.next {
            Next::Decide(when) | Next::Due(when) => Some(when),
            Next::UnderWay { .. } => None,
        };
        self.feeders.values().filter_map(due).min()
    }

    /// Says whether nobody is fed.
    pub(crate) fn is_idle(&self) -> bool {
        self.feeders.is_empty()
    }
}

impl Feed {
    fn message(&self, to: NodeId) -> Outgoing {
        let Self { term, prev, range, commit, round } = self.clone();
        Outgoing::Entries { to, term, prev, range, commit, round }
    }

    /// Goes on behind `last`.
    fn advance(&mut self, last: EntryId) {
        self.prev = last;
        self.range.start = last.index.next();
    }

    /// Returns the part that fits into one message by number.
    fn head(&self, entries_max: u64) -> Range<LogIndex> {
        self.range.start..self.range.end.min(self.range.start.advanced(entries_max))
    }
}

impl Feeder {
    fn new(feed: Feed, pacer: Pacer, log_began: LogIndex, now: Timestamp) -> Self {
        let (next, began) = (Next::Due(now), now);
        Self { feed, next, pacer, began, log_began, sent_entries: 0, sent_bytes: 0 }
    }

    /// Takes over what the leader sends next. What does not go on from here counts alone: the
    /// leader has looked again for the place where the logs agree.
    fn push(&mut self, next: Feed) {
        let goes_on = next.term == self.feed.term && next.range.start == self.feed.range.end;
        if goes_on {
            self.feed.range.end = next.range.end;
            (self.feed.commit, self.feed.round) = (next.commit, next.round);
        } else {
            self.feed = next;
        }
    }

    /// Says whether this node still leads in the term that the entries are sent in.
    fn is_of(&self, raft: &Raft) -> bool {
        raft.leads() && self.feed.term == raft.term()
    }

    /// Says whether all is sent.
    fn is_done(&self) -> bool {
        self.feed.range.is_empty()
    }

    fn awaits(&self, piece: u64) -> bool {
        matches!(self.next, Next::UnderWay { number, .. } if number == piece)
    }

    /// Says whether what is to be sent still begins with the piece that is under way.
    fn goes_on_with_next(&self) -> bool {
        let now = (self.feed.term, self.feed.range.start);
        matches!(self.next, Next::UnderWay { term, first, .. } if (term, first) == now)
    }

    /// Makes the next piece of these entries.
    fn begin(&mut self, number: u64, to: NodeId, range: Range<LogIndex>) -> Piece {
        let Feed { term, prev, commit, round, .. } = self.feed;
        self.next = Next::UnderWay { number, term, first: range.start };
        Piece { number, to, term, prev, range, commit, round }
    }

    /// Notes that a piece was sent, while the log ends at `log_last`; returns how long to wait
    /// before the next, in nanoseconds.
    fn sent(
        &mut self,
        sent: Sent,
        bytes_per_s_max: u64,
        log_last: LogIndex,
        now: Timestamp,
    ) -> u64 {
        self.sent_entries += sent.last.index.next().since(self.feed.range.start);
        self.sent_bytes += sent.bytes;
        self.feed.advance(sent.last);
        let growth = GROWTH_MULTIPLE.saturating_mul(self.growth(log_last, now));
        self.pacer.set_rate(bytes_per_s_max.max(growth));
        self.pacer.pass(sent.bytes, now)
    }

    /// Returns how many bytes a second the log grows by, with entries as large as those sent.
    fn growth(&self, log_last: LogIndex, now: Timestamp) -> u64 {
        let elapsed = u128::from(now.since(self.began).max(GROWTH_NS));
        let grown = u128::from(log_last.since(self.log_began)) * u128::from(self.sent_bytes);
        let bytes = grown / u128::from(self.sent_entries.max(1));
        u64::try_from(bytes * 1_000_000_000 / elapsed).unwrap_or(u64::MAX)
    }
}

/// Returns the part of a range that can be read back: a leader sends entries that its own disk
/// does not have yet (§10.2.1), and the cache holds all of those.
fn on_disk(range: &Range<LogIndex>, raft: &Raft) -> Range<LogIndex> {
    range.start..range.end.min(raft.durable().next())
}
