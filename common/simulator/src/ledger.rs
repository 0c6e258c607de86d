//! What sessions were promised (§6.3): the oracle's count of what was applied how often.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::LogIndex;
use state_machine::{Envelope, EnvelopeKind, SystemCommand, SystemResponse};

use crate::broken::Broken;
use crate::coverage::Met;

/// What sessions were promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Which command of which session stands where.
    commands: BTreeMap<LogIndex, (u64, u64)>,
    /// What each command was answered when it was applied.
    once: BTreeMap<(u64, u64), Bytes>,
    /// Who has said what stands where, and who has registered which session.
    said_by: BTreeMap<LogIndex, String>,
    registered: BTreeMap<u64, String>,
    /// Which session is to be closed by what stands where.
    closes: BTreeMap<LogIndex, u64>,
    expired: BTreeSet<u64>,
}

impl Ledger {
    /// Notes what is committed; says whether it is a command of a session or of the system, which
    /// may stand in the log more than once.
    pub(crate) fn committed(&mut self, index: LogIndex, command: &Bytes) -> bool {
        let Ok(envelope) = Envelope::decode(command) else {
            return false;
        };
        if envelope.has_owner() {
            self.said_by.insert(index, envelope.owner.name.clone());
        }
        if let (EnvelopeKind::System, Ok(SystemCommand::CloseSession { session })) =
            (envelope.kind, SystemCommand::decode(&envelope.body))
        {
            self.closes.insert(index, session);
        }
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
        let said_by = self.said_by.get(&index).cloned().unwrap_or_default();
        let command = self.commands.get(&index).copied();
        let about = command.map(|(session, _)| session).or(self.closes.get(&index).copied());
        if let Some(session) = about
            && self.registered.get(&session).is_some_and(|owner| *owner != said_by)
        {
            return match SystemResponse::decode(answer) {
                Ok(SystemResponse::SessionExpired { .. } | SystemResponse::Closed) => Ok(None),
                Ok(_) | Err(_) => {
                    let why = format!("{said_by} at {index}, session {session}: {answer:?}");
                    Err(Broken::new("a session belongs to who registered it (§6.3)", why))
                }
            };
        }
        let Some((session, sequence)) = command else {
            if let Ok(SystemResponse::Registered { session }) = SystemResponse::decode(answer) {
                self.registered.insert(session, said_by);
            }
            return Ok(None);
        };
        match SystemResponse::decode(answer) {
            Ok(SystemResponse::Answer { index: at, .. }) if at == index.get() => {
                if self.expired.contains(&session) || !self.registered.contains_key(&session) {
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
