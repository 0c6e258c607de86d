//! One attempt to ask one node: how it is asked, and what came of it.

use std::time::Duration;

use protocol::{ErrorReply, Passage, Request, Response};
use tokio::time::Instant;
use transport::Patience;

use crate::search::Why;

/// While others may help, nobody waits longer for a connection to one node; the attempt goes on.
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_millis(300);

/// A question that another node may answer waits so long for one that does not, at least; and up to
/// this part of the time that is left. A node that is behind says so after a second.
pub(crate) const ANSWER_PATIENCE_MIN: Duration = Duration::from_millis(1_250);
const ANSWER_PATIENCE_PART: u32 = 4;

/// How long the first attempt waits for an answer before the same request is sent again, perhaps to
/// another node.
const FIRST_ATTEMPT: Duration = Duration::from_secs(5);

/// How long each attempt waits for an answer to what may be sent again: twice as long as the one
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
    /// Returns how long the next attempt waits.
    pub(crate) fn next(&mut self, deadline: Instant) -> Patience {
        let answer = self.next.min(Patience::until(deadline).answer);
        self.next = self.next.saturating_mul(2);
        Patience { answer, deadline }
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
    pub(crate) patience: Patience,
}

impl Manner {
    /// Asks the node itself, with all the time that there is.
    pub(crate) fn plain(deadline: Instant) -> Self {
        Self::patient(Patience::until(deadline))
    }

    /// Asks the node itself, with this patience.
    pub(crate) fn patient(patience: Patience) -> Self {
        Self { forward: false, named: true, connected_by: patience.deadline, patience }
    }

    /// Waits for a connection only for a while.
    pub(crate) fn briefly(self) -> Self {
        Self { connected_by: self.connected_by.min(Instant::now() + DIAL_PATIENCE), ..self }
    }

    /// Leaves others the time to answer a question, which may be asked twice: a node whose disk
    /// hangs takes connections and answers pings, and nothing else. Whatever has an effect waits.
    pub(crate) fn leaving_time(self, request: &Request) -> Self {
        if !matches!(request, Request::Query { .. } | Request::SystemQuery { .. }) {
            return self;
        }
        let left = self.left();
        let answer = ANSWER_PATIENCE_MIN.max(left / ANSWER_PATIENCE_PART).min(left);
        Self { patience: Patience { answer, ..self.patience }, ..self }
    }

    /// Asks whatever history the node has, or none.
    pub(crate) fn unnamed(self) -> Self {
        Self { named: false, ..self }
    }

    /// Says the same to the node. One that passes the request on is to give up a little earlier, to
    /// have time to say so.
    pub(crate) fn passage(self, request: &Request) -> Passage {
        let left = self.left();
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        if matches!(request, Request::Query { .. } | Request::SystemQuery { .. }) {
            return Passage::Within { within_ms: ms(left) };
        }
        match self.forward {
            true => Passage::MayForward { within_ms: ms(left * 9 / 10) },
            false => Passage::Direct,
        }
    }

    /// Returns how long an answer may take that was asked for now.
    pub(crate) fn left(&self) -> Duration {
        self.patience.answer.min(Patience::until(self.patience.deadline).answer)
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
            let patience = attempts.next(deadline);
            assert_eq!(patience.deadline, deadline);
            tokio::time::sleep(patience.answer).await;
            took.push(patience.answer.as_secs());
        }
        assert_eq!(took, [5, 10, 20, 25]);
    }
}
