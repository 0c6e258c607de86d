//! Why bytes are not what they should be.

/// A decoding error: what, and where it can be said, which value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// There are fewer bytes than the length says.
    #[error("{what} is cut off: {needed} bytes announced, {found} there")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Bytes announced.
        needed: usize,
        /// Bytes found.
        found: usize,
    },
    /// There are more bytes than belong to it.
    #[error("{what} is followed by {extra} bytes that belong to nothing")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// Bytes too many.
        extra: usize,
    },
    /// The format is newer, or no format of ours at all.
    #[error("{what} has format version {found}, this build knows {known}")]
    Version {
        /// What was read.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The version that this build knows.
        known: u32,
    },
    /// A limit is exceeded.
    #[error("{what} is {found}, at most {limit} is allowed")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// The size found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A field has a value that this build gives no meaning to.
    #[error("{what} has the unknown value {found}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// A field is missing.
    #[error("{what} is missing")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// The checksum does not match.
    #[error("{what} is damaged: checksum {found:08x}, {expected:08x} stored")]
    Checksum {
        /// What was read.
        what: String,
        /// Computed.
        found: u32,
        /// Stored.
        expected: u32,
    },
    /// The protobuf decoder refused the bytes.
    #[error("{what} is malformed: {source}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// The decoder's word.
        source: prost::DecodeError,
    },
    /// The fields contradict each other.
    #[error("{what} makes no sense: {why}")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// In which way.
        why: String,
    },
}
