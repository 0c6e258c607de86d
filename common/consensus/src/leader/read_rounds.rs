//! A leader's unconfirmed reads, and the rounds of heartbeats that confirm them (§6.4).

use std::collections::VecDeque;

use crate::vocabulary::ids::{LogIndex, ReadRound, RequestId, Timestamp};

/// Rounds that are remembered. A voter that lags by more of them does not extend the lease.
const ROUNDS_MAX: usize = 64;

/// Reads, in the order in which they go: arrived, waiting for a round, confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ReadRounds {
    /// Arrived; no round began since. Also those that wait for the term's first commit (F1, F6).
    arrived: Vec<RequestId>,
    /// The newest round that has begun; unique in this term (museum F3).
    newest: ReadRound,
    /// The newest round that a quorum has answered.
    confirmed: ReadRound,
    /// Waiting for a round, in order.
    waiting: VecDeque<(ReadRound, LogIndex, RequestId)>,
    /// Rounds from the newest confirmed one on, each with a time before which it was not sent.
    sent: VecDeque<(ReadRound, Timestamp)>,
}

impl ReadRounds {
    /// Returns how many reads wait.
    pub(super) fn len(&self) -> usize {
        self.arrived.len() + self.waiting.len()
    }

    pub(super) fn newest(&self) -> ReadRound {
        self.newest
    }

    pub(super) fn confirmed(&self) -> ReadRound {
        self.confirmed
    }

    /// Says whether reads have arrived that no round will confirm that has begun.
    pub(super) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Says whether reads wait for a round that has begun.
    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, request: RequestId) {
        self.arrived.push(request);
    }

    /// Takes the reads that wait for no round yet.
    pub(super) fn take_arrived(&mut self) -> impl Iterator<Item = RequestId> {
        self.arrived.drain(..)
    }

    /// Begins a round. If `commit` is up to date, all reads wait for it that have arrived, to be
    /// served at that index.
    pub(super) fn begin(&mut self, now: Timestamp, commit: Option<LogIndex>) -> ReadRound {
        assert!(self.sent.back().is_none_or(|(_, sent)| *sent <= now), "rounds begin in order");
        self.newest = self.newest.next();
        if self.sent.len() == ROUNDS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.newest, now));
        if let Some(commit) = commit {
            let round = self.newest;
            self.waiting.extend(self.arrived.drain(..).map(|request| (round, commit, request)));
        }
        self.newest
    }

    /// Notes that a quorum has answered `round`; earlier ones are of no use any more.
    pub(super) fn confirm(&mut self, round: ReadRound) {
        self.confirmed = self.confirmed.max(round);
        let confirmed = self.confirmed;
        while self.sent.front().is_some_and(|(round, _)| *round < confirmed) {
            self.sent.pop_front();
        }
    }

    /// Takes the reads whose round a quorum has answered, each with its index.
    pub(super) fn take_confirmed(&mut self) -> impl Iterator<Item = (LogIndex, RequestId)> {
        let confirmed = self.confirmed;
        let ready = self.waiting.iter().take_while(|(round, _, _)| *round <= confirmed).count();
        self.waiting.drain(..ready).map(|(_, index, request)| (index, request))
    }

    /// Returns a time before which nothing of this round was sent, where that is remembered.
    pub(super) fn sent_at(&self, round: ReadRound) -> Option<Timestamp> {
        let place = self.sent.binary_search_by_key(&round, |(round, _)| *round).ok()?;
        self.sent.get(place).map(|(_, sent)| *sent)
    }

    /// Ends all reads, for the leader that they asked is no longer one.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.waiting.into_iter().map(|(_, _, request)| request).chain(self.arrived)
    }

    /// Checks what must hold between two steps, where a quorum has answered up to `answered`.
    pub(super) fn check(&self, reads_max: usize, answered: ReadRound) {
        let first = self.waiting.front();
        assert!(first.is_none_or(|(round, _, _)| *round > answered), "confirmed reads are served");
        assert!(self.len() <= reads_max, "waiting reads are bounded (F12)");
        assert!(self.confirmed <= self.newest, "rounds are not confirmed before they begin");
        assert!(self.sent.len() <= ROUNDS_MAX, "remembered rounds are bounded");
        let last = self.waiting.back();
        assert!(last.is_none_or(|(round, _, _)| *round <= self.newest), "reads wait for a round");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_reads(count: u64) -> ReadRounds {
        let mut rounds = ReadRounds::default();
        (0..count).for_each(|request| rounds.push(RequestId::new(request)));
        rounds
    }

    #[test]
    fn as_many_reads_wait_as_the_limit_says_museum_f12() {
        let mut rounds = with_reads(2);
        rounds.check(2, ReadRound::ZERO);
        rounds.begin(Timestamp::ZERO, Some(LogIndex::ZERO));
        rounds.check(2, ReadRound::ZERO);
    }

    #[test]
    #[should_panic(expected = "waiting reads are bounded")]
    fn more_reads_than_the_limit_end_a_leader_museum_f12() {
        with_reads(3).check(2, ReadRound::ZERO);
    }

    #[test]
    #[should_panic(expected = "confirmed reads are served")]
    fn a_read_whose_round_is_answered_and_that_waits_on_ends_a_leader_s6_4() {
        let mut rounds = with_reads(1);
        let round = rounds.begin(Timestamp::ZERO, Some(LogIndex::ZERO));
        rounds.check(2, round);
    }

    #[test]
    #[should_panic(expected = "rounds are not confirmed before they begin")]
    fn a_round_that_was_answered_before_it_began_ends_a_leader_s6_4() {
        let mut rounds = with_reads(0);
        rounds.confirm(ReadRound::new(1));
        rounds.check(2, ReadRound::ZERO);
    }
}
