//! What a leader knows of one follower, and how it feeds it.

use std::collections::VecDeque;

use super::pace::{Pace, Sent};
use super::wait::Wait;
use crate::vocabulary::ids::{Incarnation, LogIndex, NodeId, ReadRound, ReadTicket, Timestamp};
use crate::vocabulary::status::{CatchUp, FlowKind, PeerStatus};

/// The pause between snapshots that do not get through is doubled so often.
const SNAPSHOT_DOUBLINGS: u32 = 3;

/// One follower, as its leader sees it (§3.5: `nextIndex`, `matchIndex`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// The data directory of which all of this is known.
    incarnation: Incarnation,
    /// The highest index known to agree and to be durable there; never moves back in a term.
    matched: LogIndex,
    /// The next index to send; always above `matched` (museum B8).
    next: LogIndex,
    /// How it is being fed.
    flow: Flow,
    /// How long its answers are awaited.
    wait: Wait,
    /// Up to here, entries may have been sent more than once: nobody knows which copy is answered.
    repeated: LogIndex,
    /// When it was last heard from.
    heard: Timestamp,
    /// Whether it has answered this leader at all.
    answered: bool,
    /// How fast its disk is.
    pace: Pace,
    /// Snapshots for it since it last acknowledged something new, and when the next may be sent.
    snapshots: (u32, Timestamp),
    /// The newest read round that it has answered.
    round: ReadRound,
    /// The question for a read index that it has asked, until that is answered.
    question: Option<Question>,
    /// How it catches up.
    rounds: Rounds,
}

/// A follower's question for a read index: one at a time, for all its clients that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// Its name.
    ticket: ReadTicket,
    /// The round that it waits for, and the read index; none began since it arrived if `None`.
    at: Option<(ReadRound, LogIndex)>,
}

impl Question {
    /// Returns the round that it waits for.
    pub(super) fn round(self) -> Option<ReadRound> {
        self.at.map(|(round, _)| round)
    }
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
enum Flow {
    /// Looks for the place where the logs agree, one message at a time.
    Probe {
        /// A message is under way; the next goes out with an answer, or with a heartbeat when that
        /// is taken for lost.
        waiting: bool,
        /// What was sent; `None` if it is to be sent with the next heartbeat.
        sent: Option<Sent>,
    },
    /// Streams ahead of the acknowledgements.
    Replicate {
        /// Each message that is not acknowledged.
        inflight: VecDeque<Sent>,
        /// When the window last began to wait, or moved.
        moved: Timestamp,
    },
    /// Waits until a snapshot is sent.
    Snapshot,
}

impl Progress {
    /// Starts a follower of which nothing is known, with this data directory. It counts as heard
    /// from just now, so that it has one election timeout to answer (museum C19).
    pub(super) fn new(incarnation: Incarnation, next: LogIndex, now: Timestamp) -> Self {
        Self {
            incarnation,
            matched: LogIndex::ZERO,
            next,
            flow: Flow::Probe { waiting: false, sent: None },
            wait: Wait::default(),
            repeated: LogIndex::ZERO,
            heard: now,
            answered: false,
            pace: Pace::new(now),
            snapshots: (0, now),
            round: ReadRound::ZERO,
            question: None,
            rounds: Rounds { number: 1, target: next.prev().map(|end| (end, now)), took_ns: None },
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn matched(&self) -> LogIndex {
        self.matched
    }

    pub(super) fn next(&self) -> LogIndex {
        self.next
    }

    pub(super) fn heard(&self) -> Timestamp {
        self.heard
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(super) fn round(&self) -> ReadRound {
        self.round
    }

    pub(super) fn question(&self) -> Option<Question> {
        self.question
    }

    /// Notes that the follower answers, and the newest round that it has heard of. Answers may come
    /// in any order.
    pub(super) fn note_heard(&mut self, now: Timestamp, round: ReadRound) {
        self.heard = now;
        self.answered = true;
        self.round = self.round.max(round);
    }

    /// Says whether the follower lacks something of a log that ends at `last`, and has acknowledged
    /// nothing for this time.
    pub(super) fn stands_still(&self, last: LogIndex, now: Timestamp, for_ns: u64) -> bool {
        self.matched < last && self.pace.stands_still(now, for_ns)
    }

    /// Says whether the follower has answered this leader, within this time.
    pub(super) fn answers(&self, now: Timestamp, within_ns: u64) -> bool {
        self.answered && now.since(self.heard) < within_ns
    }

    /// Notes that the log, which ends at `last` as yet, is about to grow: a follower that has all
    /// of it does not stand still.
    pub(super) fn note_growth(&mut self, last: LogIndex, now: Timestamp) {
        if self.matched >= last {
            self.pace.keeps_up(now);
        }
    }

    /// Notes an acknowledgement in a log that ends at `last`. An older one changes nothing (museum
    /// B7).
    pub(super) fn acknowledge(
        &mut self,
        matched: LogIndex,
        last: LogIndex,
        now: Timestamp,
        patience_ns: u64,
    ) {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        if news {
            let sent = self.oldest_inflight().filter(|sent| sent.last <= matched);
            self.pace.acknowledged(now, sent.map(|sent| sent.when), patience_ns);
            if let Some(sent) = self.newest_acknowledged() {
                self.wait.answered(now.since(sent.when));
            }
            self.snapshots = (0, now);
        }
        self.rounds.advance(self.matched, last, now);
        self.next = self.next.max(self.matched.next());
        match &mut self.flow {
            // The logs agree at the probed place, or beyond it. An acknowledgement of less (of a
            // heartbeat, say) does not tell whether they do.
            Flow::Probe { .. } => {
                if matched.next() >= self.next {
                    self.next = self.matched.next();
                    let inflight = VecDeque::new();
                    self.flow = Flow::Replicate { inflight, moved: now };
                }
            }
            Flow::Replicate { inflight, moved } => {
                let done = inflight.partition_point(|sent| sent.last <= self.matched);
                inflight.drain(..done);
                if news {
                    *moved = now;
                }
            }
            // Whatever reconnects to the leader's log ends the wait (museum G9).
            Flow::Snapshot => {
                if news {
                    self.flow = Flow::Probe { waiting: false, sent: None };
                }
            }
        }
    }

    /// Says whether a message with entries may go out now, if the log ends at `last`.
    pub(super) fn may_send(&self, last: LogIndex, inflight_max: usize) -> bool {
        match &self.flow {
            Flow::Probe { waiting, .. } => !waiting,
            Flow::Replicate { inflight, .. } => self.next <= last && inflight.len() < inflight_max,
            Flow::Snapshot => false,
        }
    }

    /// Notes that a message goes out with the entries from `next` to before `end`. Returns whether
    /// another may follow before this one is answered.
    pub(super) fn note_sent(&mut self, end: LogIndex, now: Timestamp) -> bool {
        match &mut self.flow {
            Flow::Probe { waiting, sent } => {
                let last = end.prev().expect("it is not before next");
                (*waiting, *sent) = (true, Some(Sent { last, when: now }));
                false
            }
            Flow::Replicate { inflight, moved } => {
                if inflight.is_empty() {
                    *moved = now;
                }
                if end > self.next {
                    let last = end.prev().expect("it is behind next");
                    inflight.push_back(Sent { last, when: now });
                    self.next = end;
                }
                true
            }
            Flow::Snapshot => false,
        }
    }

    /// Only a snapshot helps: says whether one is to be sent now. Nothing is made for a follower
    /// that does not answer, and what does not get through is sent ever more rarely.
    pub(super) fn await_snapshot(&mut self, now: Timestamp, patience_ns: u64) -> bool {
        let sends = self.answers(now, patience_ns) && now >= self.snapshots.1;
        self.flow = if sends { Flow::Snapshot } else { Flow::Probe { waiting: true, sent: None } };
        sends
    }

    /// Says whether a refusal of entries behind `refused` is an answer to what was sent last, and
    /// not an old one.
    pub(super) fn awaits_refusal(&self, refused: LogIndex) -> bool {
        match &self.flow {
            Flow::Probe { sent, .. } => {
                let is_end = |sent: Sent| sent.last == refused;
                refused.next() == self.next || sent.is_some_and(is_end)
            }
            Flow::Replicate { .. } => refused > self.matched,
            Flow::Snapshot => false,
        }
    }

    /// Returns a place behind what matches and up to `next`, by chance.
    pub(super) fn drawn_back(&self, next: LogIndex, draw: u64) -> LogIndex {
        self.matched.advanced(1 + draw % next.since(self.matched).max(1))
    }

    /// Looks again for the place where the logs agree, from `next`. If `waiting`, the first message
    /// goes out with the next heartbeat.
    pub(super) fn probe(&mut self, next: LogIndex, waiting: bool) {
        self.repeated = self.repeated.max(self.next.prev().unwrap_or_default());
        self.next = next.max(self.matched.next());
        self.flow = Flow::Probe { waiting, sent: None };
    }

    /// Something for this follower was lost, as the driver knows: nothing is slow.
    pub(super) fn lost(&mut self) {
        self.wait = Wait::default();
        match self.flow {
            Flow::Replicate { .. } => self.probe(LogIndex::ZERO, true),
            Flow::Probe { .. } | Flow::Snapshot => {}
        }
    }

    /// Sending a snapshot ended, well or not, or none could be made. Until the follower
    /// acknowledges something, the next is sent after an election timeout, then after two, and so
    /// on.
    pub(super) fn snapshot_ended(&mut self, now: Timestamp, patience_ns: u64) {
        let wait_ns = patience_ns << self.snapshots.0.min(SNAPSHOT_DOUBLINGS);
        self.snapshots = (self.snapshots.0.saturating_add(1), now.after(wait_ns));
        match self.flow {
            Flow::Snapshot => self.probe(self.next, true),
            Flow::Probe { .. } | Flow::Replicate { .. } => {}
        }
    }

    /// Starts sending again from what is acknowledged if a window has not moved for `patience_ns`,
    /// or as long as answers are awaited: its messages or their answers are lost. A probe may go
    /// out again with this heartbeat; later if the follower answers heartbeats and not the probe,
    /// which has entries and may be slow.
    pub(super) fn retry(&mut self, now: Timestamp, patience_ns: u64, heartbeat_ns: u64) {
        match &mut self.flow {
            Flow::Probe { waiting, sent } => {
                let Some(Sent { when: at, .. }) = *sent else {
                    *waiting = false;
                    return;
                };
                if self.heard <= at {
                    *waiting = false;
                } else if *waiting && self.wait.is_over(at, now, heartbeat_ns / 2) {
                    *waiting = false;
                    self.wait.lengthen(heartbeat_ns / 2, patience_ns);
                }
            }
            Flow::Replicate { inflight, moved } => {
                if !inflight.is_empty() && self.wait.is_over(*moved, now, patience_ns) {
                    self.wait.lengthen(patience_ns, patience_ns);
                    self.probe(LogIndex::ZERO, false);
                }
            }
            Flow::Snapshot => {}
        }
    }

    /// Returns the place behind what was sent last, if the follower is to be asked now whether it
    /// got there: its window has not moved for most of a heartbeat interval, or for as long as
    /// answers are awaited. What is lost is then sent again long before `retry` would.
    pub(super) fn ask_for_lost(
        &mut self,
        now: Timestamp,
        patience_ns: u64,
        heartbeat_ns: u64,
    ) -> Option<LogIndex> {
        let Flow::Replicate { inflight, moved } = &self.flow else {
            return None;
        };
        if inflight.is_empty() || !self.wait.is_over(*moved, now, heartbeat_ns / 2) {
            return None;
        }
        self.wait.lengthen(heartbeat_ns / 2, patience_ns);
        self.next.prev()
    }

    fn oldest_inflight(&self) -> Option<Sent> {
        match &self.flow {
            Flow::Replicate { inflight, .. } => inflight.front().copied(),
            Flow::Probe { .. } | Flow::Snapshot => None,
        }
    }

    /// Returns the newest message that is acknowledged and was sent only once (Karn and Partridge,
    /// Improving Round-Trip Time Estimates in Reliable Transport Protocols, 1987).
    fn newest_acknowledged(&self) -> Option<Sent> {
        let Flow::Replicate { inflight, .. } = &self.flow else {
            return None;
        };
        let acknowledged = inflight.partition_point(|sent| sent.last <= self.matched);
        let newest = inflight.get(acknowledged.checked_sub(1)?)?;
        (newest.last > self.repeated).then_some(*newest)
    }

    /// Returns how it catches up with a log that ends at `last`.
    pub(super) fn catch_up(&self, last: LogIndex) -> CatchUp {
        CatchUp {
            round: self.rounds.number,
            last_round_ns: self.rounds.took_ns,
            lag: last.since(self.matched),
        }
    }

    /// Notes that the follower asks for a read index. If it asks again, the first time counts on.
    pub(super) fn note_question(&mut self, ticket: ReadTicket) {
        if self.question.is_none_or(|known| known.ticket != ticket) {
            self.question = Some(Question { ticket, at: None });
        }
    }

    /// Lets a question that has arrived wait for `round`, to be answered with `commit`.
    pub(super) fn join_round(&mut self, round: ReadRound, commit: LogIndex) {
        if let Some(question) = &mut self.question {
            question.at.get_or_insert((round, commit));
        }
    }

    /// Takes the question if a quorum has answered its round, with its read index.
    pub(super) fn take_confirmed(
        &mut self,
        confirmed: ReadRound,
    ) -> Option<(ReadTicket, LogIndex)> {
        let question = self.question?;
        let (_, index) = question.at.filter(|(round, _)| *round <= confirmed)?;
        self.question = None;
        Some((question.ticket, index))
    }

    /// Returns what an operator is shown.
    pub(super) fn status(&self, id: NodeId, catch_up: Option<CatchUp>) -> PeerStatus {
        let flow = match self.flow {
            Flow::Probe { .. } => FlowKind::Probe,
            Flow::Replicate { .. } => FlowKind::Replicate,
            Flow::Snapshot => FlowKind::Snapshot,
        };
        let (matched, next, heard) = (self.matched, self.next, self.heard);
        PeerStatus { id, matched, next, flow, heard, catch_up }
    }

    /// Checks what must hold between two steps, if the log ends at `last`.
    pub(super) fn check(&self, last: LogIndex, newest: ReadRound) {
        assert!(self.matched <= last, "nobody agrees beyond the log");
        assert!(self.next > self.matched, "next is above matched (B8)");
        assert!(self.next <= last.next(), "next is at most one behind");
        assert!(self.round <= newest, "rounds are not answered early");
        let round = self.question.and_then(Question::round);
        assert!(round.is_none_or(|round| round <= newest), "questions wait for a begun round");
    }
}

#[cfg(test)]
mod tests;
