//! The system's part of the replicated state: client sessions (§6.3), reserved node ids, the
//! history of configurations, the tombstones of removed members, alarms, revoked certificates, and
//! the audit.
//!
//! It lives under its own prefix of the store and changes in the same batch as the machine's part
//! and the applied index, so that snapshots hold it, and a retry after a crash finds what the first
//! attempt did (museum J1, J7). Only cluster time decides what expires.

mod acts;
mod alarms;
mod audit;
mod command;
mod keys;
mod leftovers;
mod members;
mod query;
mod records;
mod response;
mod revocations;
mod sessions;

use bytes::Bytes;
use consensus::{ClusterTime, LogIndex};

pub(crate) use leftovers::leftovers;

pub use acts::{ACT_TEXT_BYTES_MAX, ACT_WHAT_BYTES_MAX, Act, AuditTotals, AuditedAct, Outcome};
pub use audit::{AUDIT_ACTS_MAX, AUDIT_BYTES_MAX, AUDIT_PAGE_MAX};
pub use command::{SESSION_NAME_BYTES_MAX, SystemCommand};
pub use members::{HISTORY_MAX, RESERVATIONS_MAX, RESERVED_NAME_BYTES_MAX};
pub use query::{SESSIONS_PAGE_MAX, SystemAnswer, SystemQuery, Viewer};
pub use records::{
    Alarm, CachedAnswer, ConfigurationRecord, Reservation, Revocation, Session, SessionAnswers,
    Tombstone,
};
pub use response::SystemResponse;
pub use revocations::{REASON_BYTES_MAX, REVOCATIONS_MAX};
pub use sessions::{ANSWER_KEPT_BYTES_MAX, SESSION_TIMEOUT, SESSION_WINDOW, SESSIONS_MAX};

pub(crate) use alarms::alarmed;
pub(crate) use members::{TOMBSTONES_MAX, record_configuration};
pub(crate) use query::{answer, owners, tombstones};
pub(crate) use revocations::revocations;
pub(crate) use sessions::{Admission, admit, keep};

use crate::envelope::Owner;
use crate::error::HostError;
use crate::store::Transaction;

/// Applies a command of the system, given by `by`.
pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    index: LogIndex,
    time: ClusterTime,
    by: &Owner,
    body: &Bytes,
) -> Result<SystemResponse, HostError> {
    match SystemCommand::decode(body) {
        Ok(SystemCommand::RegisterSession { nonce, name }) => {
            sessions::register(transaction, index, time, &by.name, (nonce, name))
        }
        Ok(SystemCommand::CloseSession { session }) => sessions::close(transaction, by, session),
        Ok(SystemCommand::ReserveId { name, above }) => {
            members::reserve(transaction, (index, time), name, above)
        }
        Ok(SystemCommand::SetAlarm { member, raised }) => {
            alarms::set(transaction, (index, time), by, member, raised)
        }
        Ok(SystemCommand::Revoke { holder, until_s, key, why }) => {
            let asked = revocations::Asked { holder, until_s, key, why };
            revocations::revoke(transaction, (index, time), by, asked)
        }
        Ok(SystemCommand::ForgetRevocation { holder }) => {
            revocations::forget(transaction, by, &holder)
        }
        Ok(SystemCommand::Note(act)) => audit::note(transaction, (index, time), by, act),
        // The same on every node that runs this version.
        Err(error) => Ok(SystemResponse::Refused { reason: error.to_string() }),
    }
}
