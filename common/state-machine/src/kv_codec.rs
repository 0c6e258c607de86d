//! Commands, questions and answers of the key/value machine, as bytes: version, kind, fields.

use bytes::Bytes;

use crate::codec::{CodecError, Writer, begin};

/// Changes the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvCommand {
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Sets or deletes a key if it has the expected value.
    CompareAndSwap {
        /// The key.
        key: Bytes,
        /// The value that it must have; `None`: it must not exist.
        expected: Option<Bytes>,
        /// Its new value; `None` deletes it.
        new: Option<Bytes>,
    },
    /// Adds to a key whose value is a whole number in decimal digits; a key that does not exist
    /// counts as 0. Answered with the new value.
    Increment {
        /// The key.
        key: Bytes,
        /// What is added.
        delta: i64,
    },
}

/// Asks about the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvQuery {
    /// The value of a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// A page of keys in order.
    List {
        /// They begin with this.
        prefix: Bytes,
        /// They come behind this; empty for the first page.
        after: Bytes,
        /// At most so many.
        limit: u32,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvResponse {
    /// Changed, at this revision.
    Done {
        /// The log index of the change.
        revision: u64,
    },
    /// There is no such key.
    NotFound,
    /// The key has another value than expected; nothing changed.
    Differs {
        /// When it was changed last.
        revision: u64,
        /// The value that it has.
        actual: Bytes,
    },
    /// The value of the key.
    Value {
        /// When it was changed last.
        revision: u64,
        /// The value.
        value: Bytes,
    },
    /// Keys, values and revisions, in order.
    Page {
        /// The triples.
        items: Vec<(Bytes, Bytes, u64)>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// The command or question makes no sense or is over a limit.
    Refused {
        /// Why.
        reason: String,
    },
}

impl KvCommand {
    /// Encodes the command.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Put { key, value } => Writer::new(1).bytes(key).bytes(value).done(),
            Self::Delete { key } => Writer::new(2).bytes(key).done(),
            Self::CompareAndSwap { key, expected, new } => {
                Writer::new(3).bytes(key).optional(expected.as_ref()).optional(new.as_ref()).done()
            }
            Self::Increment { key, delta } => {
                Writer::new(4).bytes(key).u64(delta.cast_unsigned()).done()
            }
        }
    }

    /// Decodes a command.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let command = match kind {
            1 => Self::Put { key: reader.bytes()?, value: reader.bytes()? },
            2 => Self::Delete { key: reader.bytes()? },
            3 => Self::CompareAndSwap {
                key: reader.bytes()?,
                expected: reader.optional()?,
                new: reader.optional()?,
            },
            4 => Self::Increment { key: reader.bytes()?, delta: reader.u64()?.cast_signed() },
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(command)
    }
}

impl KvQuery {
    /// Encodes the question.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Get { key } => Writer::new(1).bytes(key).done(),
            Self::List { prefix, after, limit } => {
                Writer::new(2).bytes(prefix).bytes(after).u32(*limit).done()
            }
        }
    }

    /// Decodes a question.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let query = match kind {
            1 => Self::Get { key: reader.bytes()? },
            2 => {
                Self::List { prefix: reader.bytes()?, after: reader.bytes()?, limit: reader.u32()? }
            }
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(query)
    }
}

impl KvResponse {
    /// Encodes the answer.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Done { revision } => Writer::new(1).u64(*revision).done(),
            Self::NotFound => Writer::new(2).done(),
            Self::Differs { revision, actual } => {
                Writer::new(3).u64(*revision).bytes(actual).done()
            }
            Self::Value { revision, value } => Writer::new(4).u64(*revision).bytes(value).done(),
            Self::Page { items, more } => {
                let count = u32::try_from(items.len()).expect("pages are bounded");
                let writer = Writer::new(5).u32(u32::from(*more)).u32(count);
                let item = |writer: Writer, (key, value, revision): &(Bytes, Bytes, u64)| {
                    writer.bytes(key).bytes(value).u64(*revision)
                };
                items.iter().fold(writer, item).done()
            }
            Self::Refused { reason } => Writer::new(6).bytes(reason.as_bytes()).done(),
        }
    }

    /// Decodes an answer.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let response = match kind {
            1 => Self::Done { revision: reader.u64()? },
            2 => Self::NotFound,
            3 => Self::Differs { revision: reader.u64()?, actual: reader.bytes()? },
            4 => Self::Value { revision: reader.u64()?, value: reader.bytes()? },
            5 => {
                let more = reader.u32()? != 0;
                let count = reader.u32()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push((reader.bytes()?, reader.bytes()?, reader.u64()?));
                }
                Self::Page { items, more }
            }
            6 => Self::Refused { reason: String::from_utf8_lossy(&reader.bytes()?).into_owned() },
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(response)
    }
}
