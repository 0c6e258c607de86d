//! Snapshots on streams of their own (§5): offered, resumed where the receiver has got to, sent in
//! pieces that are confirmed when they are written, and confirmed as a whole.
//!
//! The window counts what is *written* at the receiver, not what has arrived there, and is far
//! smaller than a connection's: neither the network nor a slow disk lets a snapshot get into the
//! way of heartbeats, votes and entries, which also go first when several wait.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use consensus::NodeId;
use protocol::{Frame, SnapshotChunk, SnapshotOffer, SnapshotReply};
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use crate::error::SnapshotError;
use crate::limits::{SNAPSHOT_PATIENCE, SNAPSHOT_READ_BYTES_PER_S_MIN, SNAPSHOT_WINDOW_BYTES};
use crate::stream::{FrameStream, ReadFailure, SNAPSHOT};

/// Behind control messages (1) and entries (0).
const PRIORITY: i32 = -1;

/// The way for a snapshot to one peer.
#[derive(Clone, Debug)]
pub struct SnapshotSender(Connection);

/// A snapshot that is being sent.
pub struct OutgoingSnapshot {
    send: SendStream,
    answers: FrameStream,
    /// Sent, and confirmed as written, up to these bytes of the file.
    sent: u64,
    written: u64,
}

/// A snapshot that is being received.
pub struct IncomingSnapshot {
    from: NodeId,
    offer: SnapshotOffer,
    send: SendStream,
    frames: FrameStream,
    /// The byte that must come next.
    next: u64,
}

impl SnapshotSender {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(connection)
    }

    /// Offers a snapshot; returns the byte of the file with which the receiver wants to go on. It
    /// has the time to read what it has.
    ///
    /// # Errors
    /// If it is refused, or the connection breaks.
    pub async fn offer(
        &self,
        offer: &SnapshotOffer,
    ) -> Result<(OutgoingSnapshot, u64), SnapshotError> {
        let (mut send, receive) = self.0.open_bi().await.map_err(broken)?;
        send.set_priority(PRIORITY).map_err(broken)?;
        send.write_all(&[SNAPSHOT]).await.map_err(broken)?;
        send.write_all(&offer.encode()?).await.map_err(broken)?;
        let mut answers = FrameStream::new(receive);
        match reply_within(&mut answers, reading(offer.size_bytes)).await? {
            SnapshotReply::WrittenTo(offset) if offset <= offer.size_bytes => {
                let outgoing = OutgoingSnapshot { send, answers, sent: offset, written: offset };
                Ok((outgoing, offset))
            }
            SnapshotReply::Refused(why) => Err(SnapshotError::Refused(why)),
            SnapshotReply::WrittenTo(_) | SnapshotReply::Stored => Err(nonsense("its beginning")),
        }
    }
}

impl OutgoingSnapshot {
    /// Sends the next piece; waits while the receiver has too much to write.
    ///
    /// # Errors
    /// If the receiver refuses it, is silent for too long, or the connection breaks.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), SnapshotError> {
        let chunk = SnapshotChunk { offset: self.sent, bytes };
        self.sent += chunk.bytes.len() as u64;
        let mut chunks = chunk.encode()?;
        let written = timeout(SNAPSHOT_PATIENCE, self.send.write_all_chunks(&mut chunks)).await;
        let written = written.map_err(|_| SnapshotError::Silent(SNAPSHOT_PATIENCE))?;
        if let Err(error) = written {
            // The receiver says why before it goes.
            return Err(match reply(&mut self.answers).await {
                Ok(SnapshotReply::Refused(why)) => SnapshotError::Refused(why),
                Ok(SnapshotReply::WrittenTo(_) | SnapshotReply::Stored) | Err(_) => broken(error),
            });
        }
        while self.sent - self.written > SNAPSHOT_WINDOW_BYTES {
            self.take_confirmation().await?;
        }
        Ok(())
    }

    async fn take_confirmation(&mut self) -> Result<(), SnapshotError> {
        match reply(&mut self.answers).await? {
            SnapshotReply::WrittenTo(to) if to > self.written && to <= self.sent => {
                self.written = to;
                Ok(())
            }
            SnapshotReply::Refused(why) => Err(SnapshotError::Refused(why)),
            SnapshotReply::WrittenTo(_) | SnapshotReply::Stored => Err(nonsense("its progress")),
        }
    }

    /// Waits until the receiver has checked and stored the whole file.
    ///
    /// # Errors
    /// If it refuses it, is silent for too long, or the connection breaks.
    pub async fn finish(mut self) -> Result<(), SnapshotError> {
        self.send.finish().map_err(broken)?;
        loop {
            match reply(&mut self.answers).await? {
                SnapshotReply::WrittenTo(_) => {}
                SnapshotReply::Stored => return Ok(()),
                SnapshotReply::Refused(why) => return Err(SnapshotError::Refused(why)),
            }
        }
    }
}

impl IncomingSnapshot {
    /// Reads an offer off a new stream.
    pub(crate) async fn accept(
        from: NodeId,
        send: SendStream,
        receive: RecvStream,
    ) -> Result<Self, SnapshotError> {
        let mut frames = FrameStream::new(receive);
        let kind = timeout(SNAPSHOT_PATIENCE, frames.kind())
            .await
            .map_err(|_| SnapshotError::Silent(SNAPSHOT_PATIENCE))?
            .map_err(failure)?;
        if kind != SNAPSHOT {
            return Err(nonsense("its first byte"));
        }
        let offer = SnapshotOffer::decode(&next_frame(&mut frames).await?)?;
        Ok(Self { from, offer, send, frames, next: 0 })
    }

    /// Returns who offers it, as its certificate says.
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// Returns what is offered.
    pub fn offer(&self) -> &SnapshotOffer {
        &self.offer
    }

    /// Tells the sender to begin with this byte of the file.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn begin(&mut self, offset: u64) -> Result<(), SnapshotError> {
        self.next = offset;
        self.say(&SnapshotReply::WrittenTo(offset)).await
    }

    /// Returns the next piece, whose bytes are the very next ones of the file; `None` at its end.
    ///
    /// # Errors
    /// If the sender is silent for too long, says what makes no sense, or the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        if self.next == self.offer.size_bytes {
            return Ok(None);
        }
        let SnapshotChunk { offset, bytes } =
            SnapshotChunk::decode(next_frame(&mut self.frames).await?)?;
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != self.next || end > self.offer.size_bytes {
            return Err(nonsense("a piece in the wrong place"));
        }
        self.next = end;
        Ok(Some(bytes))
    }

    /// Tells the sender that everything before this byte is written.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn written_to(&mut self, offset: u64) -> Result<(), SnapshotError> {
        self.say(&SnapshotReply::WrittenTo(offset)).await
    }

    /// Tells the sender that the file is complete, checked and durable.
    ///
    /// # Errors
    /// If the connection breaks; the file is here all the same.
    pub async fn stored(mut self) -> Result<(), SnapshotError> {
        self.say(&SnapshotReply::Stored).await?;
        self.end().await
    }

    /// Tells the sender that the snapshot is not wanted, or cannot be stored.
    pub async fn refuse(mut self, why: String) {
        // A sender that is gone need not know.
        if self.say(&SnapshotReply::Refused(why)).await.is_ok() {
            let _ = self.end().await;
        }
    }

    async fn say(&mut self, reply: &SnapshotReply) -> Result<(), SnapshotError> {
        let said = timeout(SNAPSHOT_PATIENCE, self.send.write_all(&reply.encode())).await;
        said.map_err(|_| SnapshotError::Silent(SNAPSHOT_PATIENCE))?.map_err(broken)
    }

    async fn end(mut self) -> Result<(), SnapshotError> {
        self.send.finish().map_err(broken)?;
        let _ = timeout(SNAPSHOT_PATIENCE, self.send.stopped()).await;
        Ok(())
    }
}

impl fmt::Debug for IncomingSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IncomingSnapshot(from {}, at byte {})", self.from, self.next)
    }
}

/// Returns how long a receiver may be silent that may have all of a file, and reads it through.
fn reading(size_bytes: u64) -> Duration {
    SNAPSHOT_PATIENCE + Duration::from_secs(size_bytes / SNAPSHOT_READ_BYTES_PER_S_MIN)
}

async fn reply(answers: &mut FrameStream) -> Result<SnapshotReply, SnapshotError> {
    reply_within(answers, SNAPSHOT_PATIENCE).await
}

async fn reply_within(
    answers: &mut FrameStream,
    patience: Duration,
) -> Result<SnapshotReply, SnapshotError> {
    Ok(SnapshotReply::decode(&frame_within(answers, patience).await?)?)
}

async fn next_frame(frames: &mut FrameStream) -> Result<Frame, SnapshotError> {
    frame_within(frames, SNAPSHOT_PATIENCE).await
}

async fn frame_within(
    frames: &mut FrameStream,
    patience: Duration,
) -> Result<Frame, SnapshotError> {
    let frame = timeout(patience, frames.next()).await;
    frame.map_err(|_| SnapshotError::Silent(patience))?.map_err(failure)
}

fn failure(failure: ReadFailure) -> SnapshotError {
    match failure {
        ReadFailure::Ended(why) => SnapshotError::Broken(why),
        ReadFailure::Malformed(error) => SnapshotError::Protocol(error),
    }
}

fn broken(error: impl fmt::Display) -> SnapshotError {
    SnapshotError::Broken(error.to_string())
}

fn nonsense(why: &str) -> SnapshotError {
    let what = "a snapshot's stream";
    SnapshotError::Protocol(protocol::ProtocolError::Invalid { what, why: why.into() })
}
