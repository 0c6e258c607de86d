//! What a leader knows of one follower, and how it feeds it.

use std::collections::VecDeque;

use crate::ids::{LogIndex, ReadRound, ReadTicket, Timestamp};
use crate::status::{CatchUp, FlowKind};

/// One follower, as its leader sees it (§3.5: `nextIndex`, `matchIndex`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    /// The highest index known to agree and to be durable there; never moves back in a term.
    pub(crate) matched: LogIndex,
    /// The next index to send; always above `matched` (museum B8).
    pub(crate) next: LogIndex,
    /// How it is being fed.
    pub(crate) flow: Flow,
    /// When it was last heard from.
    pub(crate) heard: Timestamp,
    /// The newest read round that it has answered.
    pub(crate) round: ReadRound,
    /// The read that it has forwarded, until that is answered.
    pub(crate) forwarded: Option<Forwarded>,
    /// How it catches up.
    rounds: Rounds,
}

/// A read that a follower forwarded: one at a time, for all its clients that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Forwarded {
    /// Its name.
    pub(crate) ticket: ReadTicket,
    /// The round that it waits for, and the read index; none began since it arrived if `None`.
    pub(crate) at: Option<(ReadRound, LogIndex)>,
}

/// Rounds of catching up (§4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rounds {
    /// The round under way, or the last one.
    number: u32,
    /// Where the round under way ends, and when it began.
    target: Option<(LogIndex, Timestamp)>,
    /// How long the last complete one took.
    took_ns: Option<u64>,
}

impl Rounds {
    /// A round ends with what the log held when it began; the next brings what came since.
    fn advance(&mut self, matched: LogIndex, last: LogIndex, now: Timestamp) {
        if let Some((_, began)) = self.target.take_if(|(end, _)| *end <= matched) {
            self.took_ns = Some(now.since(began));
        }
        if self.target.is_none() && matched < last {
            self.number = self.number.saturating_add(1);
            self.target = Some((last, now));
        }
    }
}

/// How a follower is being fed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flow {
    /// Looks for the place where the logs agree, one message at a time.
    Probe {
        /// A message is under way; the next goes out with an answer or the next heartbeat.
        waiting: bool,
    },
    /// Streams ahead of the acknowledgements.
    Replicate {
        /// The last index of each message that is not acknowledged.
        inflight: VecDeque<LogIndex>,
        /// When the window last began to wait, or moved.
        moved: Timestamp,
    },
    /// Waits until a snapshot is sent.
    Snapshot,
}

impl Progress {
    /// Starts a follower of which nothing is known. It counts as heard from just now, so that it
    /// has one election timeout to answer (museum C19).
    pub(crate) fn new(next: LogIndex, now: Timestamp) -> Self {
        Self {
            matched: LogIndex::ZERO,
            next,
            flow: Flow::Probe { waiting: false },
            heard: now,
            round: ReadRound::ZERO,
            forwarded: None,
            rounds: Rounds { number: 1, target: next.prev().map(|end| (end, now)), took_ns: None },
        }
    }

    /// Notes an acknowledgement; returns whether it says anything new.
    pub(crate) fn acknowledge(
        &mut self,
        matched: LogIndex,
        last: LogIndex,
        now: Timestamp,
    ) -> bool {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.rounds.advance(self.matched, last, now);
        self.next = self.next.max(self.matched.next());
        match &mut self.flow {
            // The logs agree at the probed place, or beyond it. An acknowledgement of less (of a
            // heartbeat, say) does not tell whether they do.
            Flow::Probe { .. } => {
                if matched.next() >= self.next {
                    self.next = self.matched.next();
                    self.flow = Flow::Replicate { inflight: VecDeque::new(), moved: now };
                }
            }
            Flow::Replicate { inflight, moved } => {
                let done = inflight.partition_point(|end| *end <= self.matched);
                inflight.drain(..done);
                if news {
                    *moved = now;
                }
            }
            // Whatever reconnects to the leader's log ends the wait (museum G9).
            Flow::Snapshot => {
                if news {
                    self.flow = Flow::Probe { waiting: false };
                }
            }
        }
        news
    }

    /// Looks again for the place where the logs agree, from `next`.
    pub(crate) fn probe(&mut self, next: LogIndex, waiting: bool) {
        self.next = next.max(self.matched.next());
        self.flow = Flow::Probe { waiting };
    }

    /// Starts sending again from what is acknowledged if a window has not moved for `patience_ns`:
    /// its messages or their answers are lost. A probe may go out again at once.
    pub(crate) fn retry(&mut self, now: Timestamp, patience_ns: u64) {
        match &mut self.flow {
            Flow::Probe { waiting } => *waiting = false,
            Flow::Replicate { inflight, moved } => {
                if !inflight.is_empty() && now.since(*moved) >= patience_ns {
                    self.probe(LogIndex::ZERO, false);
                }
            }
            Flow::Snapshot => {}
        }
    }

    /// Returns how it catches up with a log that ends at `last`.
    pub(crate) fn catch_up(&self, last: LogIndex) -> CatchUp {
        CatchUp {
            round: self.rounds.number,
            last_round_ns: self.rounds.took_ns,
            lag: last.since(self.matched),
        }
    }

    pub(crate) fn kind(&self) -> FlowKind {
        match self.flow {
            Flow::Probe { .. } => FlowKind::Probe,
            Flow::Replicate { .. } => FlowKind::Replicate,
            Flow::Snapshot => FlowKind::Snapshot,
        }
    }
}
