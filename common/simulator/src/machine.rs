//! The machine that the modelled nodes run: a few registers whose answers tell the whole past, so
//! that a command applied twice, never, or in another order shows at once.

use bytes::Bytes;
use consensus::RequestId;
use state_machine::{Command, Response, StoreError, StoredMachine, Transaction, View};

/// Registers that there are.
const REGISTERS: u64 = 4;

/// Each register holds a number over all that was ever written to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registers;

impl Registers {
    /// The command of a request: its number.
    pub(crate) fn command(request: RequestId) -> Bytes {
        Bytes::copy_from_slice(&request.get().to_le_bytes())
    }

    /// The number of the request that a command came from.
    pub(crate) fn request(command: &[u8]) -> Option<u64> {
        command.last_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Says whether a command counts as one that frees space: every fourth or so does.
    pub(crate) fn frees(command: &[u8]) -> bool {
        let number = Self::request(command);
        number.is_some_and(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 == 0)
    }
}

impl StoredMachine for Registers {
    fn name(&self) -> &'static str {
        "registers"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let number = Self::request(command.data).unwrap_or_default();
        let key = [u8::try_from(number % REGISTERS).expect("few")];
        let before = transaction.get(&key)?;
        let before = before.and_then(|bytes| Self::request(&bytes)).unwrap_or_default();
        let after = (before.rotate_left(7) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let after = Bytes::copy_from_slice(&after.to_le_bytes());
        transaction.put(&key, after.clone());
        Ok(after)
    }

    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError> {
        Ok(view.get(query)?.unwrap_or_default())
    }
}
