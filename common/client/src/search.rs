//! The search for a leader, as a value: who was asked in this round, what they said, how long to
//! wait before the next round.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Cause, ClientError};

/// The first wait before trying again; each round doubles it.
const RETRY_MIN: Duration = Duration::from_millis(10);

/// The longest wait before trying again.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Hints that are followed in one round: nodes may name each other for a while.
const HINTS_MAX: u32 = 4;

/// One request's search.
#[derive(Debug)]
pub(crate) struct Search {
    endpoints: usize,
    asked: BTreeSet<String>,
    hints: u32,
    paused: bool,
    backoff: Duration,
    causes: Vec<Cause>,
    reached_any: bool,
    certificates_only: bool,
}

impl Search {
    pub(crate) fn new(endpoints: usize) -> Self {
        Self {
            endpoints,
            asked: BTreeSet::new(),
            hints: 0,
            paused: false,
            backoff: RETRY_MIN,
            causes: Vec::new(),
            reached_any: false,
            certificates_only: true,
        }
    }

    /// Says whether a node was asked in this round.
    pub(crate) fn has_asked(&self, endpoint: &str) -> bool {
        self.asked.contains(endpoint)
    }

    /// Notes why a node could not help; the latest reason counts.
    pub(crate) fn failed(
        &mut self,
        endpoint: &str,
        why: String,
        certificates: bool,
        reached: bool,
    ) {
        self.asked.insert(endpoint.to_owned());
        self.reached_any |= reached;
        self.certificates_only &= certificates;
        self.causes.retain(|cause| cause.endpoint != endpoint);
        self.causes.push(Cause { endpoint: endpoint.to_owned(), why });
    }

    /// Says whether to ask the node that an answer names; a few times a round.
    pub(crate) fn may_follow(&mut self, named: &str) -> bool {
        self.hints += 1;
        self.hints <= HINTS_MAX && !self.has_asked(named)
    }

    /// Ends the round: nobody else can help now.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Says whether everybody was asked, or nobody else can help.
    pub(crate) fn round_is_over(&self) -> bool {
        self.paused
    }

    /// Begins another round, and returns how long to wait before it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        self.asked.clear();
        (self.hints, self.paused) = (0, false);
        let wait = jittered(self.backoff);
        self.backoff = (self.backoff * 2).min(RETRY_MAX);
        wait
    }

    /// Says whether waiting cannot help: every node refused for reasons of certificates.
    pub(crate) fn is_hopeless(&self) -> bool {
        !self.reached_any && self.certificates_only && self.causes.len() >= self.endpoints
    }

    /// Returns the error after the last round.
    pub(crate) fn give_up(self, after: Duration) -> ClientError {
        let Self { causes, certificates_only, .. } = self;
        match self.reached_any {
            true => ClientError::NoLeader { causes, after },
            false => ClientError::Unreachable { causes, certificates: certificates_only },
        }
    }
}

/// Spreads retries over half to all of the time.
fn jittered(backoff: Duration) -> Duration {
    let mut random = [0; 2];
    // Without chance the retries are in step, which is no more than unlucky.
    let _ = getrandom::fill(&mut random);
    backoff.mul_f64(0.5 + f64::from(u16::from_le_bytes(random)) / 131_072.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_when_all_were_asked_and_the_next_begins_anew() {
        let mut search = Search::new(2);
        search.failed("a", "down".into(), false, false);
        assert!(search.has_asked("a") && !search.round_is_over());
        search.failed("b", "follows".into(), false, true);
        search.pause();
        assert!(search.round_is_over());
        assert!(search.next_wait() <= RETRY_MIN);
        assert!(!search.has_asked("a") && !search.round_is_over());
    }

    #[test]
    fn waits_grow_to_a_limit() {
        let mut search = Search::new(1);
        let waits: Vec<Duration> = (0..20).map(|_| search.next_wait()).collect();
        assert!(waits[19] > waits[0] && waits.iter().all(|wait| *wait <= RETRY_MAX));
    }

    #[test]
    fn hints_are_followed_a_few_times_and_never_to_whom_was_asked() {
        let mut search = Search::new(3);
        search.failed("a", "follows b".into(), false, true);
        assert!(!search.may_follow("a"));
        let followed = (0..10).filter(|_| search.may_follow("b")).count();
        assert_eq!(followed, HINTS_MAX as usize - 1);
    }

    #[test]
    fn what_is_said_last_tells_who_was_reached() {
        let mut search = Search::new(1);
        search.failed("a", "expired".into(), true, false);
        assert!(search.is_hopeless());
        search.failed("a", "no leader".into(), false, true);
        assert!(!search.is_hopeless());
        match search.give_up(Duration::from_secs(1)) {
            ClientError::NoLeader { causes, .. } => assert_eq!(causes[0].why, "no leader"),
            other => panic!("{other:?}"),
        }
    }
}
