//! Certificates that count no more, as all nodes know them. They are named by their holder: all
//! that were made for him up to a moment are revoked, also those that nobody has seen, and what is
//! made for him afterwards counts. A key that is known to be lost is revoked whenever its
//! certificate was made.

use consensus::{ClusterTime, LogIndex};

use super::keys;
use super::records::{Revocation, decode, encode};
use super::response::SystemResponse;
use crate::envelope::Owner;
use crate::error::HostError;
use crate::store::{Transaction, View};

/// The most holders with revoked certificates. None is ever forgotten by itself, for that would
/// make a stolen certificate count again.
pub const REVOCATIONS_MAX: usize = 1_024;

/// The longest name of a holder, in bytes: role and name.
const HOLDER_BYTES_MAX: usize = 80;

/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// The most keys that are revoked of one holder.
const KEYS_MAX: usize = 16;

/// What is to be revoked.
pub(super) struct Asked {
    pub(super) holder: String,
    pub(super) until_s: u64,
    pub(super) key: Option<[u8; 32]>,
    pub(super) why: String,
}

/// Revokes the certificates of a holder. What was revoked before stays so.
pub(super) fn revoke(
    transaction: &mut Transaction<'_>,
    (index, time): (LogIndex, ClusterTime),
    by: &Owner,
    asked: Asked,
) -> Result<SystemResponse, HostError> {
    let refused = |reason: String| Ok(SystemResponse::Refused { reason });
    if !by.is_operator {
        return refused("certificates are revoked by operators alone".to_owned());
    }
    let Asked { holder, until_s, key, why } = asked;
    if !(1..=HOLDER_BYTES_MAX).contains(&holder.len()) || why.len() > REASON_BYTES_MAX {
        return refused(format!(
            "a holder has 1 to {HOLDER_BYTES_MAX} bytes, a reason at most {REASON_BYTES_MAX}"
        ));
    }
    let place = keys::revocation(&holder);
    let before = transaction.get(&place)?.map(|bytes| decode(&bytes, Revocation::read));
    let before = before.transpose().map_err(HostError::damaged("a revocation"))?;
    if before.is_none() {
        let all = keys::revocations();
        let count = transaction.range(&all.start, &all.end, REVOCATIONS_MAX)?.len();
        if count == REVOCATIONS_MAX {
            return refused(format!(
                "{count} holders have revoked certificates, and there are no more places: rotate \
                 the authority, and forget them"
            ));
        }
    }
    let (mut keys, until_before) = before.map_or((Vec::new(), 0), |it| (it.keys, it.until_s));
    keys.extend(key.filter(|key| !keys.contains(key)));
    if keys.len() > KEYS_MAX {
        return refused(format!("{KEYS_MAX} keys of {holder} are revoked already"));
    }
    let until_s = until_s.max(until_before);
    let record = Revocation { holder, until_s, keys, why, by: by.name.clone(), index, time };
    transaction.put(&place, encode(|writer| record.write(writer)));
    Ok(SystemResponse::Noted)
}

/// Forgets what was revoked of a holder: his certificates count again.
pub(super) fn forget(
    transaction: &mut Transaction<'_>,
    by: &Owner,
    holder: &str,
) -> Result<SystemResponse, HostError> {
    if !by.is_operator {
        let reason = "revocations are forgotten by operators alone".to_owned();
        return Ok(SystemResponse::Refused { reason });
    }
    let place = keys::revocation(holder);
    if transaction.get(&place)?.is_none() {
        let reason = format!("no certificate of {holder} is revoked");
        return Ok(SystemResponse::Refused { reason });
    }
    transaction.delete(&place);
    Ok(SystemResponse::Noted)
}

/// Returns what is revoked, in order of the holders.
pub(crate) fn revocations(view: &dyn View) -> Result<Vec<Revocation>, HostError> {
    let all = keys::revocations();
    let found = view.range(&all.start, Some(&all.end), REVOCATIONS_MAX)?;
    let read = |bytes| decode(bytes, Revocation::read);
    found.iter().map(|(_, value)| read(value).map_err(HostError::damaged("a revocation"))).collect()
}
