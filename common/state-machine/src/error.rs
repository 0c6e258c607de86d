//! Why entries cannot be applied, or questions not answered.

use consensus::EntryId;

use crate::codec::CodecError;
use crate::store::StoreError;

/// Why entries cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's own record of what is applied is damaged.
    #[error("the record of what is applied makes no sense, with {0} bytes")]
    Damaged(usize),
    /// A record of the system's part is damaged.
    #[error("{what} in the state is damaged: {source}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What is wrong with its bytes.
        source: CodecError,
    },
    /// An entry is missing before this one.
    #[error("entry {found} does not follow the applied entry {applied}")]
    Gap {
        /// The last applied entry.
        applied: EntryId,
        /// The entry that was offered.
        found: EntryId,
    },
}

/// Part of what a plain machine had in the store is not there: no machine can be made of the rest,
/// but of another node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("command {0} is missing")]
pub struct CommandMissing(pub u64);

impl HostError {
    /// Says which of the system's own records is damaged.
    pub(crate) fn damaged(what: &'static str) -> impl Fn(CodecError) -> Self {
        move |source| Self::Malformed { what, source }
    }
}
