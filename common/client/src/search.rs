//! The search for a node that can help, as a value: who was asked in this round, what they said,
//! how long to wait before the next round.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{ErrorCode, ErrorReply};
use transport::Precision;

use crate::error::{Cause, ClientError, Common};

/// The first wait before trying again; each round doubles it.
const RETRY_MIN: Duration = Duration::from_millis(10);

/// The longest wait before trying again.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Hints that are followed in one round: nodes may name each other for a while.
const HINTS_MAX: u32 = 4;

/// Requests that are sent in one round, beyond one for each node: some are asked twice.
const AGAIN_MAX: usize = 8;

/// Why a node could not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    /// In one sentence.
    pub(crate) text: String,
    /// How much it tells.
    pub(crate) precision: Precision,
    /// Whether the node itself said it, or at least was there.
    pub(crate) reached: bool,
}

/// One request's search.
#[derive(Debug)]
pub(crate) struct Search {
    asked: BTreeSet<String>,
    /// The endpoints that were not reached.
    unreached: BTreeSet<String>,
    /// What was noted in this round.
    notes: usize,
    hints: u32,
    paused: bool,
    backoff: Duration,
    round: u64,
    found: Vec<Found>,
    reached_any: bool,
    named: Option<Named>,
    detour: bool,
    /// Who leads and has too much to do, and what it says, if that was the last answer.
    busy: Option<(String, String)>,
}

/// The node that was named as the leader last, and the node that named it.
#[derive(Debug)]
struct Named {
    leader: String,
    by: String,
    round: u64,
}

/// The reason that counts for one endpoint.
#[derive(Debug)]
struct Found {
    cause: Cause,
    precision: Precision,
    round: u64,
}

impl Search {
    pub(crate) fn new() -> Self {
        Self {
            asked: BTreeSet::new(),
            unreached: BTreeSet::new(),
            notes: 0,
            hints: 0,
            paused: false,
            backoff: RETRY_MIN,
            round: 0,
            found: Vec::new(),
            reached_any: false,
            named: None,
            detour: false,
            busy: None,
        }
    }

    /// Notes a refusal: the leader has too much to do, or it was for another reason.
    pub(crate) fn heard(&mut self, endpoint: &str, reply: &ErrorReply) {
        let says = || (endpoint.to_owned(), reply.message.clone());
        self.busy = (reply.code == ErrorCode::Busy).then(says);
    }

    /// Says whether a node was asked in this round.
    pub(crate) fn has_asked(&self, endpoint: &str) -> bool {
        self.asked.contains(endpoint)
    }

    /// Says whether any node was there so far.
    pub(crate) fn has_reached(&self) -> bool {
        self.reached_any
    }

    /// Notes why a node could not help. The most precise reason of a round counts, and that of the
    /// latest round; but that the time was up tells nothing, so it never takes another's place.
    pub(crate) fn failed(&mut self, endpoint: &str, why: Why) {
        let Why { text, precision, reached } = why;
        if !reached {
            tracing::debug!("{endpoint} is not reached: {text}");
            // What it said before does not tell why nothing was taken since; that there was no time
            // to ask it again does not either.
            self.busy.take_if(|(busy, _)| busy == endpoint && precision != Precision::Nothing);
        }
        self.asked.insert(endpoint.to_owned());
        self.notes += 1;
        self.reached_any |= reached;
        match reached {
            true => self.unreached.remove(endpoint),
            false => self.unreached.insert(endpoint.to_owned()),
        };
        let cause = Cause { endpoint: endpoint.to_owned(), why: text };
        let new = Found { cause, precision, round: self.round };
        match self.found.iter_mut().find(|found| found.cause.endpoint == endpoint) {
            None => self.found.push(new),
            Some(found) if precision == Precision::Nothing && found.precision > precision => {}
            Some(found) if found.round == self.round && found.precision > precision => {}
            Some(found) => *found = new,
        }
    }

    /// Says whether to ask the node that an answer names; a few times a round.
    pub(crate) fn may_follow(&mut self, named: &str, by: &str) -> bool {
        self.hints += 1;
        self.name(named, by);
        self.hints <= HINTS_MAX && !self.has_asked(named)
    }

    /// Returns who named this node as the leader.
    pub(crate) fn namer(&self, leader: &str) -> Option<&str> {
        self.named.as_ref().filter(|named| named.leader == leader).map(|named| named.by.as_str())
    }

    /// Says whether there was no way to a node in this round.
    pub(crate) fn is_unreached(&self, endpoint: &str) -> bool {
        self.unreached.contains(endpoint)
    }

    /// The leader cannot be reached from here: from now on others are asked to pass the request on.
    /// The one who named it may be asked once more, if this is news.
    pub(crate) fn make_detour(&mut self) -> bool {
        let news = !std::mem::replace(&mut self.detour, true);
        if news && let Some(named) = &self.named {
            self.asked.remove(&named.by);
        }
        news
    }

    /// It is known from earlier that a leader is reached through another node.
    pub(crate) fn go_through(&mut self, leader: &str, by: &str) {
        self.name(leader, by);
        self.detour = true;
    }

    fn name(&mut self, leader: &str, by: &str) {
        let (leader, by, round) = (leader.to_owned(), by.to_owned(), self.round);
        self.named = Some(Named { leader, by, round });
    }

    /// Says whether nodes are asked to pass the request on.
    pub(crate) fn is_detour(&self) -> bool {
        self.detour
    }

    /// Ends the round: nobody else can help now.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Says whether everybody was asked, or nobody else can help.
    pub(crate) fn round_is_over(&self) -> bool {
        self.paused || self.notes > self.found.len() + AGAIN_MAX
    }

    /// Begins another round, and returns how long to wait before it: never nothing.
    pub(crate) fn next_wait(&mut self) -> Duration {
        self.asked.clear();
        self.unreached.clear();
        (self.notes, self.hints, self.paused) = (0, 0, false);
        self.round += 1;
        let wait = jittered(self.backoff);
        self.backoff = (self.backoff * 2).min(RETRY_MAX);
        wait
    }

    /// Says whether waiting cannot help: every one of so many nodes refused for reasons of
    /// certificates, or has another history.
    pub(crate) fn is_hopeless(&self, endpoints: usize) -> bool {
        let final_word =
            |found: &Found| matches!(found.precision, Precision::Identity | Precision::Generation);
        !self.reached_any && self.found.iter().all(final_word) && self.found.len() >= endpoints
    }

    /// Returns the error when each was asked for what needs no leader.
    pub(crate) fn nobody_helps(self) -> ClientError {
        let common = Common::of(self.found.iter().map(|found| found.precision));
        ClientError::Unreachable { causes: self.causes(), common }
    }

    /// Returns each node's reason, by address: not in the order in which they happened to be found.
    fn causes(self) -> Vec<Cause> {
        let mut causes: Vec<Cause> = self.found.into_iter().map(|found| found.cause).collect();
        causes.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
        causes
    }

    /// Returns the leader that nodes name and to which there is no way. Who is named no more may
    /// lead no more: then there is none.
    fn leader_cut_off(&self) -> Option<String> {
        let named = self.named.as_ref()?;
        (self.detour && named.round + 2 >= self.round).then(|| named.leader.clone())
    }

    /// Returns the error after the last round, where a node was sought that has applied an entry.
    pub(crate) fn nobody_has(self, index: u64, after: Duration) -> ClientError {
        if !self.reached_any {
            return self.nobody_helps();
        }
        ClientError::Lagging { index, causes: self.causes(), after }
    }

    /// Returns the error after the last round.
    pub(crate) fn give_up(self, after: Duration) -> ClientError {
        if !self.reached_any {
            return self.nobody_helps();
        }
        if let Some((_, why)) = self.busy {
            return ClientError::Busy { why, after };
        }
        let leader = self.leader_cut_off();
        ClientError::NoLeader { causes: self.causes(), after, leader }
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

    fn why(text: &str, precision: Precision, reached: bool) -> Why {
        Why { text: text.into(), precision, reached }
    }

    #[test]
    fn a_leader_that_was_busy_and_has_gone_is_not_called_busy() {
        let busy = ErrorReply {
            code: ErrorCode::Busy,
            message: "too much".into(),
            leader: None,
            outcome: protocol::Outcome::NotApplied,
        };
        let mut search = Search::new();
        search.failed("n1:1", why("busy", Precision::Refused, true));
        search.heard("n1:1", &busy);
        search.failed("n2:1", why("refused", Precision::Refused, false));
        let is_busy = |search: Search| {
            matches!(search.give_up(Duration::from_secs(1)), ClientError::Busy { .. })
        };
        assert!(is_busy(search), "another one is away");
        let mut search = Search::new();
        search.failed("n1:1", why("busy", Precision::Refused, true));
        search.heard("n1:1", &busy);
        search.failed("n1:1", why("connection refused", Precision::Refused, false));
        assert!(!is_busy(search), "it has gone itself");
        let mut search = Search::new();
        search.failed("n1:1", why("busy", Precision::Refused, true));
        search.heard("n1:1", &busy);
        search.failed("n1:1", why("no time", Precision::Nothing, false));
        assert!(is_busy(search), "nobody knows anything else");
    }

    fn causes(search: Search) -> Vec<String> {
        match search.give_up(Duration::from_secs(1)) {
            ClientError::NoLeader { causes, .. } | ClientError::Unreachable { causes, .. } => {
                causes.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_round_ends_when_all_were_asked_and_the_next_begins_anew() {
        let mut search = Search::new();
        search.failed("a", why("down", Precision::Silence, false));
        assert!(search.has_asked("a") && !search.round_is_over());
        search.failed("b", why("follows", Precision::Refused, true));
        search.pause();
        assert!(search.round_is_over());
        assert!(search.next_wait() <= RETRY_MIN);
        assert!(!search.has_asked("a") && !search.round_is_over());
    }

    #[test]
    fn waits_grow_to_a_limit_and_are_never_nothing() {
        let mut search = Search::new();
        let waits: Vec<Duration> = (0..20).map(|_| search.next_wait()).collect();
        assert!(waits[19] > waits[0] && waits.iter().all(|wait| *wait <= RETRY_MAX));
        assert!(waits.iter().all(|wait| *wait >= RETRY_MIN / 2));
    }

    #[test]
    fn hints_are_followed_a_few_times_and_never_to_whom_was_asked() {
        let mut search = Search::new();
        search.failed("a", why("follows b", Precision::Refused, true));
        assert!(!search.may_follow("a", "b"));
        let followed = (0..10).filter(|_| search.may_follow("b", "a")).count();
        assert_eq!(followed, HINTS_MAX as usize - 1);
    }

    #[test]
    fn a_round_ends_also_if_the_same_nodes_are_asked_again_and_again() {
        let mut search = Search::new();
        let noted = (0..100).take_while(|_| {
            search.failed("a", why("no", Precision::Refused, true));
            !search.round_is_over()
        });
        assert!(noted.count() <= AGAIN_MAX + 1);
    }

    #[test]
    fn what_is_said_last_tells_who_was_reached() {
        let mut search = Search::new();
        search.failed("a", why("expired", Precision::Identity, false));
        assert!(search.is_hopeless(1) && !search.is_hopeless(2));
        search.next_wait();
        search.failed("a", why("no leader", Precision::Refused, true));
        assert!(!search.is_hopeless(1));
        assert_eq!(causes(search), ["a: no leader"]);
    }

    #[test]
    fn the_most_precise_reason_of_the_latest_round_counts() {
        let mut search = Search::new();
        search.failed("a", why("refused", Precision::Rejected, false));
        search.failed("a", why("silent", Precision::Silence, false));
        search.failed("b", why("silent", Precision::Silence, false));
        search.next_wait();
        search.failed("a", why("the deadline", Precision::Nothing, false));
        search.failed("b", why("refused", Precision::Rejected, false));
        search.failed("c", why("the deadline", Precision::Nothing, false));
        assert_eq!(causes(search), ["a: refused", "b: refused", "c: the deadline"]);
        let mut search = Search::new();
        search.failed("a", why("refused", Precision::Rejected, false));
        search.next_wait();
        search.failed("a", why("silent", Precision::Silence, false));
        assert_eq!(causes(search), ["a: silent"], "the network is another one now");
    }

    #[test]
    fn a_detour_asks_the_namer_once_more() {
        let mut search = Search::new();
        search.failed("f", why("l leads", Precision::Refused, true));
        assert!(search.may_follow("l", "f"));
        assert_eq!((search.namer("l"), search.namer("f")), (Some("f"), None));
        search.failed("l", why("silent", Precision::Silence, false));
        assert!(search.is_unreached("l") && search.make_detour());
        assert!(!search.has_asked("f") && search.is_detour());
        search.failed("f", why("cannot reach l", Precision::Refused, true));
        assert!(!search.make_detour() && search.has_asked("f"), "once");
        for round in 1..=3 {
            search.next_wait();
            assert_eq!(search.leader_cut_off().is_some(), round <= 2, "named {round} rounds ago");
        }
    }
}
