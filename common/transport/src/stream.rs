//! Frames on QUIC streams.

use bytes::Bytes;
use protocol::{Frame, FrameReader, ProtocolError};
use quinn::{RecvStream, SendStream, WriteError};
use tokio::sync::mpsc;

use crate::allowance::{Held, Intake};
use crate::chunks::Chunks;
use crate::limits::{READ_BYTES_MAX, WRITE_BYTES_MAX};

/// The first byte of a stream of heartbeats, votes and answers.
pub(crate) const CONTROL: u8 = 1;

/// The first byte of a stream of messages with entries.
pub(crate) const ENTRIES: u8 = 2;

/// The first byte of a snapshot's stream, which goes in both directions.
pub(crate) const SNAPSHOT: u8 = 3;

/// The first byte of a stream of what a node remembers of others.
pub(crate) const MEMORY: u8 = 4;

/// Why no more frames come.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// The stream or its connection ended.
    Ended(String),
    /// The bytes make no sense: the connection must be closed.
    Malformed(ProtocolError),
}

/// Reads frames off a stream.
pub(crate) struct FrameStream {
    stream: RecvStream,
    reader: FrameReader,
}

impl FrameStream {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, reader: FrameReader::new() }
    }

    /// Reads the first byte, which says what the stream is for.
    pub(crate) async fn kind(&mut self) -> Result<u8, ReadFailure> {
        let mut kind = [0];
        let read = self.stream.read_exact(&mut kind).await;
        read.map_err(|error| ReadFailure::Ended(error.to_string()))?;
        Ok(kind[0])
    }

    /// Returns the next frame once there is room for it: of a frame that has none, no more is read
    /// than its beginning.
    pub(crate) async fn next_within(
        &mut self,
        intake: &Intake,
    ) -> Result<(Frame, Held), ReadFailure> {
        let announced = loop {
            match self.reader.announced().map_err(ReadFailure::Malformed)? {
                Some(bytes) => break bytes,
                None => self.read().await?,
            }
        };
        let held = intake.hold(announced).await;
        Ok((self.next().await?, held))
    }

    pub(crate) async fn next(&mut self) -> Result<Frame, ReadFailure> {
        loop {
            if let Some(frame) = self.next_or_part().await? {
                return Ok(frame);
            }
        }
    }

    /// Returns the next frame, or `None` when a part of it has come.
    pub(crate) async fn next_or_part(&mut self) -> Result<Option<Frame>, ReadFailure> {
        if let Some(frame) = self.reader.next_frame().map_err(ReadFailure::Malformed)? {
            return Ok(Some(frame));
        }
        self.read().await?;
        self.reader.next_frame().map_err(ReadFailure::Malformed)
    }

    /// Reads some more.
    async fn read(&mut self) -> Result<(), ReadFailure> {
        let chunk = self.stream.read_chunk(READ_BYTES_MAX, true).await;
        match chunk.map_err(|error| ReadFailure::Ended(error.to_string()))? {
            Some(chunk) => {
                self.reader.extend(&chunk.bytes);
                Ok(())
            }
            None if self.reader.is_between_frames() => {
                Err(ReadFailure::Ended("the stream was finished".into()))
            }
            None => {
                let what = "a frame";
                let cut = ProtocolError::Truncated { what, needed: 1, found: 0 };
                Err(ReadFailure::Malformed(cut))
            }
        }
    }
}

/// Writes everything that is queued, many messages at a time, until the stream breaks or the queue
/// ends; `written` is told how many were.
pub(crate) async fn pump(
    queue: &mut mpsc::Receiver<Vec<Bytes>>,
    stream: &mut SendStream,
    mut written: impl FnMut(usize),
) -> Result<(), WriteError> {
    let mut waiting = Chunks::default();
    while let Some(message) = queue.recv().await {
        waiting.extend(message);
        let mut messages = 1;
        while waiting.bytes() < WRITE_BYTES_MAX
            && let Ok(message) = queue.try_recv()
        {
            waiting.extend(message);
            messages += 1;
        }
        let chunks = waiting.take();
        stream.write_all_chunks(chunks).await?;
        chunks.clear();
        written(messages);
    }
    Ok(())
}
