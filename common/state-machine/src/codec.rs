//! Small hand-coded encodings: numbers little-endian, byte strings with a u32 length before them.

use bytes::{Buf, Bytes};

/// Why bytes are no command, query or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There are fewer bytes than announced.
    #[error("the bytes are cut off")]
    Truncated,
    /// There are more bytes than belong to it.
    #[error("there are {0} bytes too many")]
    Trailing(usize),
    /// The format is newer, or none of ours.
    #[error("format version {0} is unknown to this build")]
    Version(u8),
    /// A name is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A node id is 0, or members and roles do not agree with each other.
    #[error("the members do not make a configuration")]
    Members,
    /// The kind is newer, or none of ours.
    #[error("kind {0} is unknown")]
    Kind(u8),
}

/// Takes values off the front of bytes, without copying.
pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        self.0.try_get_u8().map_err(|_| CodecError::Truncated)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.0.try_get_u32_le().map_err(|_| CodecError::Truncated)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.0.try_get_u64_le().map_err(|_| CodecError::Truncated)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(|_| CodecError::Truncated)?;
        Ok(array)
    }

    /// Takes a text of so many bytes.
    pub(crate) fn short_text(&mut self, size: usize) -> Result<String, CodecError> {
        if self.0.len() < size {
            return Err(CodecError::Truncated);
        }
        String::from_utf8(self.0.split_to(size).into()).map_err(|_| CodecError::Text)
    }

    pub(crate) fn text(&mut self) -> Result<String, CodecError> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| CodecError::Text)
    }

    /// Takes a list: a u32 count, then so many items.
    pub(crate) fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.u32()?;
        // Nothing is reserved for items that are only announced.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let size = self.u32()? as usize;
        if self.0.len() < size {
            return Err(CodecError::Truncated);
        }
        Ok(self.0.split_to(size))
    }

    pub(crate) fn optional(&mut self) -> Result<Option<Bytes>, CodecError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            kind => Err(CodecError::Kind(kind)),
        }
    }

    pub(crate) fn end(self) -> Result<(), CodecError> {
        match self.0.len() {
            0 => Ok(()),
            extra => Err(CodecError::Trailing(extra)),
        }
    }
}

/// Most of what is written is not longer, so that its bytes are allocated once.
const RECORD_BYTES: usize = 96;

/// Puts values behind each other.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Starts with version and kind.
    pub(crate) fn new(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.extend_from_slice(&[1, kind]);
        Self(bytes)
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Adds a list: a u32 count, then the items.
    pub(crate) fn list<T>(
        self,
        items: impl ExactSizeIterator<Item = T>,
        item: impl Fn(Self, T) -> Self,
    ) -> Self {
        let count = u32::try_from(items.len()).expect("lists are bounded");
        items.fold(self.u32(count), item)
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let size = u32::try_from(value.len()).expect("values are far below 4 GiB");
        let mut writer = self.u32(size);
        writer.0.extend_from_slice(value);
        writer
    }

    pub(crate) fn optional(mut self, value: Option<&Bytes>) -> Self {
        self.0.push(u8::from(value.is_some()));
        match value {
            Some(value) => self.bytes(value),
            None => self,
        }
    }

    pub(crate) fn done(self) -> Bytes {
        self.0.into()
    }
}

/// Reads version and kind.
pub(crate) fn begin(bytes: &Bytes) -> Result<(u8, Reader), CodecError> {
    let mut reader = Reader(bytes.clone());
    match reader.u8()? {
        1 => Ok((reader.u8()?, reader)),
        version => Err(CodecError::Version(version)),
    }
}
