//! Joins what is written to a stream into few chunks.
//!
//! For each packet QUIC's library walks the chunks that are not acknowledged yet, from the oldest
//! on. An entry as a chunk of its own makes tens of thousands of them on a connection that has much
//! under way, and sending takes as long as their number squared. Small chunks are therefore copied
//! together; large ones stay as they are.

use bytes::{Bytes, BytesMut};

/// Chunks of at least so many bytes are not copied, and joined ones become no larger, but for the
/// last chunk that they take.
const JOINED_BYTES: usize = 64 * 1024;

/// Chunks that wait to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    chunks: Vec<Bytes>,
    /// Small ones, which follow those.
    joined: BytesMut,
    bytes: usize,
}

impl Chunks {
    /// Adds all chunks of a message.
    pub(crate) fn extend(&mut self, message: impl IntoIterator<Item = Bytes>) {
        for chunk in message {
            self.push(chunk);
        }
    }

    /// Adds a chunk.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        if chunk.len() >= JOINED_BYTES {
            self.seal();
            self.chunks.push(chunk);
            return;
        }
        self.joined.extend_from_slice(&chunk);
        if self.joined.len() >= JOINED_BYTES {
            self.seal();
        }
    }

    /// Returns how many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns everything that waits, to be written and removed.
    pub(crate) fn take(&mut self) -> &mut Vec<Bytes> {
        self.seal();
        self.bytes = 0;
        &mut self.chunks
    }

    fn seal(&mut self) {
        if !self.joined.is_empty() {
            self.chunks.push(self.joined.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_chunks_are_joined_and_large_ones_are_not_copied() {
        let large = Bytes::from(vec![7; JOINED_BYTES]);
        let mut waiting = Chunks::default();
        waiting.extend([Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")]);
        waiting.extend([large.clone(), Bytes::from_static(b"d")]);
        assert_eq!(waiting.bytes(), 4 + JOINED_BYTES);
        let chunks = std::mem::take(waiting.take());
        let lengths: Vec<usize> = chunks.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [3, JOINED_BYTES, 1]);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        assert_eq!(chunks.concat(), [b"abc", large.as_ref(), b"d"].concat());
        assert_eq!((waiting.bytes(), waiting.take().len()), (0, 0));
    }

    #[test]
    fn the_number_of_chunks_follows_the_bytes() {
        let mut waiting = Chunks::default();
        let (count, size) = (10_000, 256);
        waiting.extend(std::iter::repeat_n(Bytes::from(vec![0; size]), count));
        let chunks = waiting.take();
        assert!(chunks.iter().all(|chunk| chunk.len() < JOINED_BYTES + size));
        assert_eq!(chunks.len(), (count * size).div_ceil(JOINED_BYTES));
    }
}
