//! Old entries, read and encoded for a peer that is far behind.

use bytes::Bytes;
use consensus::{Body, Entry, Message};
use protocol::{Generation, encode_message};
use replica::{Piece, Sent};

use crate::exit::{Exit, Failure};

/// A message with entries, ready to be written.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(super) sent: Sent,
    pub(super) chunks: Vec<Bytes>,
}

/// Reads and encodes a piece; `None` if its entries are compacted.
pub(super) fn encode(
    generation: &Generation,
    piece: &Piece,
    read: impl FnOnce() -> Result<Vec<Entry>, Failure>,
) -> Result<Option<Encoded>, Failure> {
    let entries = read()?;
    let Some(last) = entries.last().map(|entry| entry.id) else {
        return Ok(None);
    };
    let Piece { term, prev, commit, round, .. } = *piece;
    let body = Body::AppendEntries { prev, entries, commit, round };
    let chunks = encode_message(generation, &Message { term, body });
    let chunks = chunks
        .map_err(|error| Failure::from_error(Exit::Data, "the log cannot be sent", &error))?;
    let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    Ok(Some(Encoded { sent: Sent { last, bytes }, chunks }))
}
