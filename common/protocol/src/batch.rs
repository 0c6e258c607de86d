//! Many commands in one request: how they stand in it, behind one another.
//!
//! ```text
//!  0  bytes of the first command  u32   4  the first command
//!     and so on, little-endian             up to the end
//! ```
//!
//! They are no repeated field of protobuf, of which a short message could make a reader keep
//! millions before it counts them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::configuration::bounded;
use crate::error::ProtocolError;
use crate::limits::BATCH_COMMANDS_MAX;

const WHAT: &str = "a batch of commands";

/// The size that stands before each command.
const SIZE_BYTES: usize = size_of::<u32>();

/// Encodes commands of which each is below 4 GiB.
///
/// # Errors
/// If there are too many, or none.
pub(crate) fn encode_batch(commands: &[Bytes]) -> Result<Bytes, ProtocolError> {
    counted(commands.len())?;
    let size = commands.iter().map(|command| SIZE_BYTES + command.len()).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for command in commands {
        let size = u32::try_from(command.len()).map_err(|_| ProtocolError::TooLarge {
            what: "a command",
            found: command.len(),
            limit: u32::MAX as usize,
        })?;
        bytes.put_u32_le(size);
        bytes.put_slice(command);
    }
    Ok(bytes.freeze())
}

/// Decodes commands, which share the bytes.
///
/// # Errors
/// If one is cut off, there are too many, or none.
pub(crate) fn decode_batch(mut bytes: Bytes) -> Result<Vec<Bytes>, ProtocolError> {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        bounded(WHAT, commands.len() + 1, BATCH_COMMANDS_MAX)?;
        whole(&bytes, SIZE_BYTES)?;
        let size = bytes.get_u32_le() as usize;
        whole(&bytes, size)?;
        commands.push(bytes.split_to(size));
    }
    counted(commands.len())?;
    Ok(commands)
}

fn counted(found: usize) -> Result<(), ProtocolError> {
    if found == 0 {
        return Err(ProtocolError::Missing { what: "a command in a batch" });
    }
    bounded(WHAT, found, BATCH_COMMANDS_MAX)
}

fn whole(bytes: &Bytes, needed: usize) -> Result<(), ProtocolError> {
    let found = bytes.len();
    if found < needed {
        return Err(ProtocolError::Truncated { what: WHAT, needed, found });
    }
    Ok(())
}
