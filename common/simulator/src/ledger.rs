//! What sessions were promised (§6.3): the oracle's count of what was applied how often.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::LogIndex;
use state_machine::{Envelope, EnvelopeKind, SESSION_WINDOW, SystemCommand, SystemResponse};

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
    /// Which session was closed by what stands where.
    closed: BTreeMap<u64, u64>,
    /// The highest low-water mark that the owner of a session has told, up to each place.
    low_water: BTreeMap<u64, u64>,
    /// Places of commands that are too far ahead of it.
    beyond: BTreeSet<LogIndex>,
    /// For whom each place reserves an id, and whose each id is.
    reserves: BTreeMap<LogIndex, String>,
    reserved: BTreeMap<u64, String>,
}

const ENDED: &str = "a session that is closed tells what of it was applied (§6.3)";
const WINDOW: &str = "a session has a window of commands (§6.3)";
const RESERVED: &str = "an id is reserved for one node (§4.4)";

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
        let system = SystemCommand::decode(&envelope.body);
        match system.ok().filter(|_| envelope.kind == EnvelopeKind::System) {
            Some(SystemCommand::CloseSession { session }) => {
                self.closes.insert(index, session);
            }
            Some(SystemCommand::ReserveId { name, above: _ }) => {
                _ = self.reserves.insert(index, name);
            }
            Some(
                SystemCommand::RegisterSession { .. }
                | SystemCommand::SetAlarm { .. }
                | SystemCommand::Revoke { .. }
                | SystemCommand::ForgetRevocation { .. }
                | SystemCommand::Note(_),
            )
            | None => {}
        }
        if envelope.session > 0 {
            let Envelope { session, sequence, low_water, .. } = envelope;
            self.commands.insert(index, (session, sequence));
            let known = self.low_water.entry(session).or_default();
            *known = low_water.max(*known);
            if sequence >= *known + SESSION_WINDOW {
                self.beyond.insert(index);
            }
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
            return self.system_answered(index, answer, said_by);
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
                if self.closed.get(&session).is_some_and(|at| *at < index.get()) {
                    let why = format!("command {sequence} of {session} behind its end");
                    return Err(Broken::new(ENDED, why));
                }
                if self.beyond.contains(&index) {
                    let why = format!("command {sequence} of {session}, at {index}");
                    return Err(Broken::new(WINDOW, why));
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
            Ok(SystemResponse::BeyondWindow { .. }) => Ok(Some(Met::BeyondWindow)),
            Ok(SystemResponse::Forgotten { .. }) => Ok(Some(Met::Forgotten)),
            Ok(
                SystemResponse::AnswerNotKept { .. }
                | SystemResponse::Registered { .. }
                | SystemResponse::Closed
                | SystemResponse::Ended { .. }
                | SystemResponse::Reserved { .. }
                | SystemResponse::Noted
                | SystemResponse::Refused { .. },
            )
            | Err(_) => Ok(None),
        }
    }

    /// The same for a command of the system.
    fn system_answered(
        &mut self,
        index: LogIndex,
        answer: &Bytes,
        said_by: String,
    ) -> Result<Option<Met>, Broken> {
        match SystemResponse::decode(answer) {
            Ok(SystemResponse::Registered { session }) => {
                self.registered.insert(session, said_by);
                Ok(None)
            }
            Ok(SystemResponse::Ended { low_water, highest, missing }) => {
                let Some(session) = self.closes.get(&index).copied() else {
                    let why = format!("{index} ends a session, and was not told to");
                    return Err(Broken::new(ENDED, why));
                };
                self.closed.insert(session, index.get());
                self.ended(session, index, (low_water, highest, &missing))?;
                Ok(Some(Met::SessionClosed))
            }
            Ok(SystemResponse::Reserved { id }) => {
                let name = self.reserves.get(&index).cloned().unwrap_or_default();
                let first = self.reserved.entry(id).or_insert_with(|| name.clone());
                if *first != name {
                    let why = format!("{id} is reserved for {first}, and at {index} for {name}");
                    return Err(Broken::new(RESERVED, why));
                }
                Ok(Some(Met::IdReserved))
            }
            Ok(
                SystemResponse::Answer { .. }
                | SystemResponse::AnswerNotKept { .. }
                | SystemResponse::SessionExpired { .. }
                | SystemResponse::Forgotten { .. }
                | SystemResponse::BeyondWindow { .. }
                | SystemResponse::Closed
                | SystemResponse::Noted
                | SystemResponse::Refused { .. },
            )
            | Err(_) => Ok(None),
        }
    }

    /// A session was closed: what it says was applied stands before that, and nothing else was
    /// applied, ever.
    fn ended(
        &self,
        session: u64,
        index: LogIndex,
        (low_water, highest, missing): (u64, u64, &[u64]),
    ) -> Result<(), Broken> {
        let all = (session, 0)..=(session, u64::MAX);
        let wrong = self.once.range(all).find(|((_, sequence), answer)| {
            let at = match SystemResponse::decode(answer) {
                Ok(SystemResponse::Answer { index, .. }) => index,
                Ok(_) | Err(_) => 0,
            };
            at > index.get() || missing.contains(sequence) || *sequence > highest
        });
        if let Some(((_, sequence), _)) = wrong {
            let why = format!("command {sequence} of {session} was applied, and {index} says no");
            return Err(Broken::new(ENDED, why));
        }
        let before: BTreeSet<u64> = self
            .commands
            .range(..index)
            .filter(|(_, (of, _))| *of == session)
            .map(|(_, (_, sequence))| *sequence)
            .collect();
        let mut applied = (low_water..=highest).filter(|sequence| !missing.contains(sequence));
        if let Some(sequence) = applied.find(|sequence| !before.contains(sequence)) {
            let why = format!(
                "command {sequence} of {session} stands nowhere, and {index} says it was applied"
            );
            return Err(Broken::new(ENDED, why));
        }
        Ok(())
    }
}
