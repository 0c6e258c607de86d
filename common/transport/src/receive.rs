//! Receiving from peers, and the way back to those who are no members here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use consensus::NodeId;
use protocol::{Generation, Hello, Speaker, decode_memory, decode_message};
use quinn::{Connection, RecvStream};
use tokio::sync::{Semaphore, mpsc};

use crate::allowance::Intake;
use crate::arrivals::Arrivals;
use crate::close::Close;
use crate::endpoint::Accepted;
use crate::error::{Cause, SnapshotError};
use crate::event::PeerEvent;
use crate::guard::removal;
use crate::handshake::{Caller, answer_hello};
use crate::limits::CONTROL_MESSAGES_MAX;
use crate::memory::SharedMemory;
use crate::presence::Presence;
use crate::removed::Removed;
use crate::snapshot::IncomingSnapshot;
use crate::stream::{CONTROL, ENTRIES, FrameStream, MEMORY, ReadFailure, pump};

/// Receives what peers say.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) generation: Generation,
    pub(crate) hello: Hello,
    pub(crate) events: mpsc::Sender<PeerEvent>,
    pub(crate) return_paths: ReturnPaths,
    pub(crate) removed: Removed,
    pub(crate) memory: SharedMemory,
    pub(crate) arrivals: Arrivals,
    pub(crate) presence: Presence,
    /// The room for messages of all peers that the loop has not taken yet.
    pub(crate) room: Arc<Semaphore>,
}

/// The ways back to those who have dialled this node.
#[derive(Clone, Default)]
pub(crate) struct ReturnPaths(Arc<Mutex<BTreeMap<NodeId, mpsc::Sender<Vec<Bytes>>>>>);

impl ReturnPaths {
    /// Queues a message; `false` if that node is not connected, or its queue is full.
    pub(crate) fn send(&self, to: NodeId, chunks: Vec<Bytes>) -> bool {
        self.lock().get(&to).is_some_and(|queue| queue.try_send(chunks).is_ok())
    }

    /// Writes what is queued for a node on the connection that it dialled, until that ends.
    async fn serve(self, to: NodeId, connection: Connection) {
        let (queue, mut queued) = mpsc::channel(CONTROL_MESSAGES_MAX);
        self.lock().insert(to, queue.clone());
        if let Ok(mut stream) = connection.open_uni().await
            && stream.write_all(&[CONTROL]).await.is_ok()
        {
            tokio::select! {
                _ = pump(&mut queued, &mut stream, |_| ()) => {}
                _ = connection.closed() => {}
            }
        }
        // A newer connection has taken the place of this one, or nobody has.
        let mut return_paths = self.lock();
        if return_paths.get(&to).is_some_and(|present| present.same_channel(&queue)) {
            return_paths.remove(&to);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, mpsc::Sender<Vec<Bytes>>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Receiver {
    /// Receives on a connection that a peer dialled.
    pub(crate) async fn run(self, accepted: Accepted) {
        let who = accepted.identity.to_string();
        let connection = accepted.connection.clone();
        let (removed, memory) = (&self.removed, &self.memory);
        let caller = Caller::Peer { identity: &accepted.identity, removed, memory };
        let theirs = match answer_hello(&connection, &self.hello, caller).await {
            Ok(theirs) => theirs,
            Err((cause, reason)) => return self.refused(who, cause, reason).await,
        };
        let from = theirs.node.expect("a judged hello names its node");
        // Who only asks who is here opens no stream, and takes no guest's place.
        let Ok(first) = connection.accept_uni().await else {
            return;
        };
        self.arrivals.note(from, theirs.boot);
        let _present = self.presence.enter(from, theirs.boot);
        tokio::spawn(self.return_paths.clone().serve(from, connection.clone()));
        tokio::spawn(self.clone().take_snapshots(connection.clone(), who.clone(), from));
        let speaker = Speaker::of(from, &theirs);
        self.hear(first, &connection, &who, speaker);
        self.listen(connection, who, speaker).await;
    }

    /// Receives on all streams of a connection until it ends.
    pub(crate) async fn listen(self, connection: Connection, who: String, speaker: Speaker) {
        while let Ok(stream) = connection.accept_uni().await {
            self.hear(stream, &connection, &who, speaker);
        }
    }

    /// Receives on a stream, in a task of its own.
    fn hear(&self, stream: RecvStream, connection: &Connection, who: &str, speaker: Speaker) {
        let receiver = self.clone();
        let (connection, who) = (connection.clone(), who.to_owned());
        tokio::spawn(async move {
            let read = receiver.read(stream, speaker).await;
            if let Err((cause, reason)) = read {
                connection.close(Close::Malformed.code(), reason.as_bytes());
                receiver.refused(who, cause, reason).await;
            }
        });
    }

    /// Passes on the snapshots that are offered on a connection until it ends.
    async fn take_snapshots(self, connection: Connection, who: String, from: NodeId) {
        while let Ok((send, receive)) = connection.accept_bi().await {
            let (receiver, connection, who) = (self.clone(), connection.clone(), who.clone());
            tokio::spawn(async move {
                match IncomingSnapshot::accept(from, send, receive).await {
                    Ok(offered) => {
                        // A loop that is gone takes nothing.
                        let _ = receiver.events.send(PeerEvent::Offered(offered)).await;
                    }
                    Err(SnapshotError::Protocol(error)) => {
                        let reason = error.to_string();
                        connection.close(Close::Malformed.code(), reason.as_bytes());
                        receiver.refused(who, Cause::Nonsense, reason).await;
                    }
                    // It is offered again.
                    Err(
                        SnapshotError::Broken(_)
                        | SnapshotError::Silent(_)
                        | SnapshotError::Refused(_),
                    ) => {}
                }
            });
        }
    }

    async fn refused(&self, who: String, cause: Cause, reason: String) {
        // Without a listener the node stops, and nobody wants to know.
        let _ = self.events.send(PeerEvent::Refused { who, cause, reason }).await;
    }

    async fn read(&self, stream: RecvStream, speaker: Speaker) -> Result<(), (Cause, String)> {
        let Speaker { node: from, incarnation, .. } = speaker;
        let nonsense = |why| (Cause::Nonsense, why);
        let mut frames = FrameStream::new(stream);
        let kind = match frames.kind().await {
            Ok(kind @ (CONTROL | ENTRIES | MEMORY)) => kind,
            Ok(kind) => return Err(nonsense(format!("a stream of unknown kind {kind}"))),
            Err(_) => return Ok(()),
        };
        let intake = Intake::within(&[Arc::clone(&self.room)]);
        loop {
            let (frame, held) = match frames.next_within(&intake).await {
                Ok(next) => next,
                Err(ReadFailure::Ended(_)) => return Ok(()),
                Err(ReadFailure::Malformed(error)) => return Err(nonsense(error.to_string())),
            };
            // One that was connected all the while, and missed it: it dials again, and is told so.
            if let Some(index) = self.removed.index_of(from) {
                return Err((Cause::Greeting, removal(from, index)));
            }
            // So does one that another process with its directory was met of meanwhile.
            self.memory.still_hears(speaker).map_err(|(_, why)| (Cause::Greeting, why))?;
            if kind == MEMORY {
                let told = decode_memory(&frame).map_err(|error| nonsense(error.to_string()))?;
                if let Some(reason) = self.memory.told(&self.hello, &told) {
                    let accused = PeerEvent::Forgotten { by: from, runs_twice: true, reason };
                    // A loop that is gone forgets nothing.
                    let _ = self.events.send(accused).await;
                }
                continue;
            }
            let message = decode_message(&self.generation, frame)
                .map_err(|error| nonsense(error.to_string()))?;
            let received = PeerEvent::Received { from, incarnation, message, held };
            if self.events.send(received).await.is_err() {
                return Ok(());
            }
        }
    }
}
