//! Why connections are closed, as numbers that the other side sorts by.

use quinn::VarInt;

/// Codes with which connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    Done,
    Refused,
    Malformed,
    Full,
}

impl Close {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Malformed => 2,
            Self::Full => 3,
        })
    }
}
