//! What operators do: certificates that they revoke, and the audit of acts. There are never as many
//! of either here that a limit is reached.

use std::collections::BTreeMap;

use consensus::{ClusterTime, LogIndex};
use state_machine::{Act, AuditedAct, Outcome, Revocation, SystemResponse};

use super::past::Past;
use super::says::{Expected, Says};
use super::told::Told;

const REVOKED: &str = "certificates are revoked by operators alone";
const NOTED: &str = "acts are noted by leaders alone";

/// Certificates that count no more, and acts.
#[derive(Debug, Default)]
pub(super) struct Operators {
    pub(super) revoked: Past<String, Revocation>,
    /// Acts by the place of the entry that noted each first.
    pub(super) acts: Past<LogIndex, AuditedAct>,
    noted: BTreeMap<[u8; 16], LogIndex>,
}

impl Operators {
    /// Somebody revokes the certificates of a holder.
    pub(super) fn revoke(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        told: &Told,
        (holder, until_s, key, why): (String, u64, Option<[u8; 32]>, String),
    ) -> Expected {
        if !told.is_operator {
            return refused(REVOKED);
        }
        let before = self.revoked.get(&holder);
        let mut keys = before.map(|known| known.keys.clone()).unwrap_or_default();
        keys.extend(key.filter(|key| !keys.contains(key)));
        let until_s = before.map_or(until_s, |known| known.until_s.max(until_s));
        let (place, by) = (holder.clone(), told.owner.clone());
        let revocation = Revocation { holder, until_s, keys, why, by, index, time };
        self.revoked.set(index, place, Some(revocation));
        noted(REVOKED)
    }

    /// Somebody lets the certificates of a holder count again.
    pub(super) fn forget(&mut self, index: LogIndex, told: &Told, holder: String) -> Expected {
        if !told.is_operator || self.revoked.get(&holder).is_none() {
            return refused(REVOKED);
        }
        self.revoked.set(index, holder, None);
        noted(REVOKED)
    }

    /// A leader notes an act, or how it has ended; or somebody else wants to.
    pub(super) fn note(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        told: &Told,
        act: Act,
    ) -> Expected {
        if !told.owner.is_empty() {
            return refused(NOTED);
        }
        let first = *self.noted.entry(act.id).or_insert(index);
        match self.acts.get(&first).cloned() {
            None => {
                self.acts.set(index, first, Some(AuditedAct { index, time, act }));
            }
            Some(mut known) if known.act.outcome == Outcome::Asked && known.act.who == act.who => {
                known.act.outcome = act.outcome;
                self.acts.set(index, first, Some(known));
            }
            Some(_) => {}
        }
        noted(NOTED)
    }
}

fn noted(rule: &'static str) -> Expected {
    Expected { says: Says::System(SystemResponse::Noted), rule, met: None }
}

fn refused(rule: &'static str) -> Expected {
    let refused = SystemResponse::Refused { reason: String::new() };
    Expected { says: Says::System(refused), rule, met: None }
}
