//! The key of this node's stateless resets (RFC 9000 §10.3), which outlives its processes.
//!
//! With it, a restarted node tells its peers in one round trip that their old connections are gone;
//! otherwise they would wait for an idle timeout. A thief of the key can cut this node's
//! connections, and no more.

use std::path::Path;

use crate::error::StorageError;
use crate::files;
use crate::names::RESET_KEY;

const KEY_BYTES: usize = 32;

/// Returns the key of a data directory; makes one, durably, where there is none of the right size:
/// nothing depends on an old one but how soon a restart is noticed.
pub(crate) fn load_or_create(directory: &Path) -> Result<[u8; KEY_BYTES], StorageError> {
    let path = directory.join(RESET_KEY);
    let present = files::read(&path, KEY_BYTES as u64 + 1)?;
    if let Some(key) = present.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok()) {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| StorageError::Io {
        doing: "draw a key for",
        path: path.clone(),
        source: std::io::Error::other(error),
    })?;
    files::replace(&path, &key)?;
    Ok(key)
}
