//! What sessions were promised (§6.3): the oracle's count of what was applied how often.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::LogIndex;
use state_machine::{Envelope, EnvelopeKind, SystemResponse};

use crate::broken::Broken;
use crate::coverage::Met;

/// What sessions were promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Which command of which session stands where.
    commands: BTreeMap<LogIndex, (u64, u64)>,
    /// What each command was answered when it was applied.
    once: BTreeMap<(u64, u64), Bytes>,
    registered: BTreeSet<u64>,
    expired: BTreeSet<u64>,
}

impl Ledger {
    /// Notes what is committed; says whether it is a command of a session or of the system, which
    /// may stand in the log more than once.
    pub(crate) fn committed(&mut self, index: LogIndex, command: &Bytes) -> bool {
        let Ok(envelope) = Envelope::decode(command) else {
            return false;
        };
        if envelope.session > 0 {
            self.commands.insert(index, (envelope.session, envelope.sequence));
        }
        envelope.session > 0 || envelope.kind == EnvelopeKind::System
    }

    /// Some node is the first to apply what stands at `index`.
    pub(crate) fn answered(
        &mut self,
        index: LogIndex,
        answer: &Bytes,
    ) -> Result<Option<Met>, Broken> {
        let once = "a command of a session is applied once (§6.3)";
        let command = self.commands.get(&index).copied();
        let Some((session, sequence)) = command else {
            if let Ok(SystemResponse::Registered { session }) = SystemResponse::decode(answer) {
                self.registered.insert(session);
            }
            return Ok(None);
        };
        match SystemResponse::decode(answer) {
            Ok(SystemResponse::Answer { index: at, .. }) if at == index.get() => {
                if self.expired.contains(&session) || !self.registered.contains(&session) {
                    let why = format!("command {sequence} of {session}, which is no session");
                    return Err(Broken::new(
                        "nobody has a session who did not register (§6.3)",
                        why,
                    ));
                }
                if self.once.insert((session, sequence), answer.clone()).is_some() {
                    let why = format!("command {sequence} of session {session}, again at {index}");
                    return Err(Broken::new(once, why));
                }
                Ok(None)
            }
            Ok(SystemResponse::Answer { .. }) => {
                if self.once.get(&(session, sequence)) != Some(answer) {
                    let why = format!("command {sequence} of session {session} at {index}");
                    return Err(Broken::new("a retry gets the first answer (§6.3)", why));
                }
                Ok(Some(Met::SessionRepeated))
            }
            Ok(SystemResponse::SessionExpired { .. }) => {
                self.expired.insert(session);
                Ok(Some(Met::SessionExpired))
            }
            Ok(
                SystemResponse::AnswerNotKept { .. }
                | SystemResponse::Forgotten { .. }
                | SystemResponse::BeyondWindow { .. }
                | SystemResponse::Registered { .. }
                | SystemResponse::Closed
                | SystemResponse::Ended { .. }
                | SystemResponse::Reserved { .. }
                | SystemResponse::Refused { .. },
            )
            | Err(_) => Ok(None),
        }
    }
}
