//! One attempt to ask one node: how it is asked, and what came of it.

use std::time::Duration;

use protocol::{ErrorReply, Passage, Request, Response};
use tokio::time::Instant;

use crate::search::Why;

/// While others may help, nobody waits longer for a connection to one node; the attempt goes on.
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_millis(300);

/// A question that another node may answer waits so long for one that does not, at least; and up to
/// this part of the time that is left. A node that is behind says so after a second.
pub(crate) const ANSWER_PATIENCE_MIN: Duration = Duration::from_millis(1_250);
const ANSWER_PATIENCE_PART: u32 = 4;

/// How long the first attempt may take before the same request is sent again, perhaps to another
/// node.
const FIRST_ATTEMPT: Duration = Duration::from_secs(5);

/// How long each attempt may take of a request that may be sent again: twice as long as the one
/// before. Where a request takes long on its way, no attempt would end otherwise, however long the
/// deadline, and each would be in the way of the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempts {
    next: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { next: FIRST_ATTEMPT }
    }
}

impl Attempts {
    /// Returns when the next attempt ends.
    pub(crate) fn until(&mut self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let until = now + self.next.min(deadline.saturating_duration_since(now));
        self.next = self.next.saturating_mul(2);
        until
    }
}

/// Who led when last heard, and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// It is asked itself.
    At(String),
    /// It cannot be reached from here; another node passes requests on.
    Through { by: String, leader: String, since: Instant },
}

/// How a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Whether it may pass the request on to the leader.
    pub(crate) forward: bool,
    /// Whether the connection names the history that is known: only what is harmless in another
    /// one is asked without.
    pub(crate) named: bool,
    /// How long to wait for a connection.
    pub(crate) connected_by: Instant,
    /// How long to wait for the answer.
    pub(crate) deadline: Instant,
}

impl Manner {
    /// Asks the node itself, with all the time that there is.
    pub(crate) fn plain(deadline: Instant) -> Self {
        Self { forward: false, named: true, connected_by: deadline, deadline }
    }

    /// Waits for a connection only for a while.
    pub(crate) fn briefly(self) -> Self {
        Self { connected_by: self.deadline.min(Instant::now() + DIAL_PATIENCE), ..self }
    }

    /// Leaves others the time to answer a question, which may be asked twice: a node whose disk
    /// hangs takes connections and answers pings, and nothing else. Whatever has an effect waits.
    pub(crate) fn leaving_time(self, request: &Request) -> Self {
        if !matches!(request, Request::Query { .. } | Request::SystemQuery { .. }) {
            return self;
        }
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let patience = ANSWER_PATIENCE_MIN.max(left / ANSWER_PATIENCE_PART);
        Self { deadline: self.deadline.min(now + patience), ..self }
    }

    /// Asks whatever history the node has, or none.
    pub(crate) fn unnamed(self) -> Self {
        Self { named: false, ..self }
    }

    /// Says the same to the node. One that passes the request on is to give up a little earlier, to
    /// have time to say so.
    pub(crate) fn passage(self, request: &Request) -> Passage {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        if matches!(request, Request::Query { .. } | Request::SystemQuery { .. }) {
            return Passage::Within { within_ms: ms(left) };
        }
        match self.forward {
            true => Passage::MayForward { within_ms: ms(left * 9 / 10) },
            false => Passage::Direct,
        }
    }
}

/// What one endpoint gave.
pub(crate) enum Attempt {
    Done(Response),
    Failed { why: Why, reply: Option<ErrorReply> },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attempts_get_longer_and_end_with_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut attempts = Attempts::default();
        let mut took = Vec::new();
        while Instant::now() < deadline {
            let began = Instant::now();
            tokio::time::sleep_until(attempts.until(deadline)).await;
            took.push(began.elapsed().as_secs());
        }
        assert_eq!(took, [5, 10, 20, 25]);
    }
}
