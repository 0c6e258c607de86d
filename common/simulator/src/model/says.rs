//! What a command must be answered.

use bytes::Bytes;
use consensus::LogIndex;
use state_machine::{CachedAnswer, KvResponse, SystemResponse};

use crate::coverage::Met;
use crate::machine::Numbered;

const ONCE: &str = "a command of a session is applied once (§6.3)";
const RETRY: &str = "a retry gets the first answer (§6.3)";
const APPLIED: &str = "a new command of a session is applied (§6.3)";

/// An answer, and what is broken if there is another one.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) says: Says,
    pub(super) rule: &'static str,
    pub(super) met: Option<Met>,
}

/// The machine's answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) response: KvResponse,
    /// Whether it is too long to be kept.
    pub(super) is_long: bool,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Machine(Reply),
    /// A command of a session was applied here, now or before.
    Applied(LogIndex, Reply),
    System(SystemResponse),
    /// What ends a session, unless that has been forgotten by then.
    ClosedOr(SystemResponse),
}

impl Expected {
    /// A command of a session is applied for the first time.
    pub(super) fn applied(index: LogIndex, reply: Reply) -> Self {
        Self { says: Says::Applied(index, reply), rule: APPLIED, met: None }
    }

    /// A command of a session was applied before.
    pub(super) fn repeated(at: LogIndex, reply: &Reply) -> Self {
        if reply.is_long {
            let says = Says::System(SystemResponse::AnswerNotKept { index: at.get() });
            return Self { says, rule: RETRY, met: Some(Met::AnswerNotKept) };
        }
        let says = Says::Applied(at, reply.clone());
        Self { says, rule: RETRY, met: Some(Met::SessionRepeated) }
    }

    /// Says what an answer breaks that is given at `index`, if it breaks anything.
    pub(super) fn broken_by(&self, index: LogIndex, answer: &Bytes) -> Option<&'static str> {
        if let Says::Machine(reply) = &self.says {
            return (!reply.is(answer)).then_some(self.rule);
        }
        let found = SystemResponse::decode(answer);
        let is_right = match &self.says {
            Says::Machine(reply) => reply.is(answer),
            Says::Applied(at, reply) => match &found {
                Ok(SystemResponse::Answer { index, response }) => {
                    *index == at.get() && reply.is(response)
                }
                Ok(_) | Err(_) => false,
            },
            Says::System(wanted) => found.as_ref().is_ok_and(|found| alike(found, wanted)),
            Says::ClosedOr(wanted) => found
                .as_ref()
                .is_ok_and(|found| *found == SystemResponse::Closed || found == wanted),
        };
        let again = |at: u64| self.rule == RETRY && at == index.get();
        match found {
            _ if is_right => None,
            Ok(SystemResponse::Answer { index: at, .. }) if again(at) => Some(ONCE),
            Ok(_) | Err(_) => Some(self.rule),
        }
    }
}

impl Reply {
    /// Says whether this is it, for whatever reason a command is refused.
    fn is(&self, answer: &Bytes) -> bool {
        let Some((response, is_long)) = Numbered::read(answer) else {
            return false;
        };
        is_long == self.is_long && is_same(&response, &self.response)
    }

    /// Returns how many bytes of it are kept for a retry; 0 for the words of a refusal.
    pub(super) fn kept_bytes(&self) -> Option<u32> {
        let bytes = match &self.response {
            KvResponse::Refused { .. } => 0,
            KvResponse::Done { .. }
            | KvResponse::NotFound
            | KvResponse::Differs { .. }
            | KvResponse::Value { .. }
            | KvResponse::Page { .. } => self.response.encode().len(),
        };
        (!self.is_long).then(|| u32::try_from(bytes).expect("small"))
    }
}

/// Says whether two answers of the machine are the same; the words of a refusal are its own.
pub(super) fn is_same(one: &KvResponse, other: &KvResponse) -> bool {
    let refuses = |response: &KvResponse| matches!(response, KvResponse::Refused { .. });
    one == other || refuses(one) && refuses(other)
}

/// Says whether what is kept for retries is as it should be.
pub(super) fn is_kept(found: &[CachedAnswer], wanted: &[CachedAnswer]) -> bool {
    let is = |(found, wanted): (&CachedAnswer, &CachedAnswer)| {
        let refused = wanted.bytes == Some(0) && found.bytes.is_some();
        let bytes = if refused { wanted.bytes } else { found.bytes };
        CachedAnswer { bytes, ..*found } == *wanted
    };
    found.len() == wanted.len() && found.iter().zip(wanted).all(is)
}

fn alike(one: &SystemResponse, other: &SystemResponse) -> bool {
    let refuses = |response: &SystemResponse| matches!(response, SystemResponse::Refused { .. });
    one == other || refuses(one) && refuses(other)
}
