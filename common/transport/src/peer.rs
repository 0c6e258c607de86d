//! Dialling one peer: connect, say hello, open the streams, write, and begin again when it breaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use certs::Expect;
use consensus::{Incarnation, NodeId};
use protocol::{Hello, RefusalCode, Speaker, encode_memory};
use quinn::{Connection, SendStream, WriteError};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::alpn::Alpn;
use crate::close::Close;
use crate::endpoint::{Endpoint, describe};
use crate::error::{ConnectError, Precision};
use crate::event::PeerEvent;
use crate::guard::Watched;
use crate::handshake::{greet, require_history};
use crate::lane::{Lane, Outlet, lane};
use crate::limits::{
    ARRIVED_PATIENCE, BACKOFF_MAX, BACKOFF_MIN, BACKOFF_REJECTED_MAX, CONNECT_TIMEOUT,
    CONTROL_MESSAGES_MAX, ENTRY_MESSAGES_MAX, TOLD_EVERY,
};
use crate::memory::SharedMemory;
use crate::reach::{Trail, called};
use crate::receive::Receiver;
use crate::settings::follow;
use crate::silence::ended;
use crate::stream::{CONTROL, ENTRIES, MEMORY, pump};

/// What is known of the way to a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Whether messages can be sent.
    pub connected: bool,
    /// Round-trip time.
    pub rtt: Option<Duration>,
    /// Why there is no connection; empty if there is.
    pub trouble: String,
    /// The peer's data directory, as it last said.
    pub incarnation: Option<Incarnation>,
    /// The process that the connection leads to, as it said; `None` without a connection.
    pub boot: Option<u64>,
    /// Since when there is a connection, or none; `None` before the first attempt has ended.
    pub since: Option<Instant>,
    /// For how long more than one process has been connected as this peer.
    pub doubled: Option<Duration>,
}

/// The sending side of one peer.
pub(crate) struct Peer {
    pub(crate) address: String,
    control: mpsc::Sender<Vec<Bytes>>,
    entries: Lane,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    connected: AtomicBool,
    info: Mutex<PeerInfo>,
    connection: Mutex<Option<Connection>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(connection) = lock(&self.state.connection).take() {
            connection.close(Close::Done.code(), b"not a peer any more");
        }
    }
}

impl Peer {
    pub(crate) fn start(
        endpoint: Endpoint,
        id: NodeId,
        address: String,
        receiver: Receiver,
    ) -> Self {
        let (control, control_queue) = mpsc::channel(CONTROL_MESSAGES_MAX);
        let (entries, entries_outlet) = lane(ENTRY_MESSAGES_MAX);
        let state = Arc::new(State::default());
        let arrivals = receiver.arrivals.of(id);
        let dialler = Dialler {
            endpoint,
            arrivals,
            id,
            address: address.clone(),
            receiver,
            state: Arc::clone(&state),
            control: control_queue,
            entries: entries_outlet,
            doubles: Doubles::default(),
        };
        let task = tokio::spawn(dialler.run());
        Self { address, control, entries, state, task }
    }

    /// Queues a message; `false` if there is no connection or the queue is full.
    pub(crate) fn send(&self, with_entries: bool, chunks: Vec<Bytes>) -> bool {
        let queued = |chunks| match with_entries {
            true => self.entries.send(chunks),
            false => self.control.try_send(chunks).is_ok(),
        };
        self.state.connected.load(Ordering::Relaxed) && queued(chunks)
    }

    /// Returns what is known of the messages with entries.
    pub(crate) fn entries(&self) -> &Lane {
        &self.entries
    }

    /// Returns the connection, if there is one.
    pub(crate) fn connection(&self) -> Option<Connection> {
        lock(&self.state.connection).clone()
    }

    pub(crate) fn info(&self) -> PeerInfo {
        let mut info = lock(&self.state.info).clone();
        info.rtt = lock(&self.state.connection).as_ref().map(Connection::rtt);
        info
    }
}

struct Dialler {
    endpoint: Endpoint,
    arrivals: watch::Receiver<Option<u64>>,
    id: NodeId,
    address: String,
    receiver: Receiver,
    state: Arc<State>,
    control: mpsc::Receiver<Vec<Bytes>>,
    entries: Outlet,
    doubles: Doubles,
}

/// Processes that arrive as a peer, and to which its address does not lead: two run at a time with
/// its certificate and data directory, or with copies of them. No connection is given up for those.
#[derive(Default)]
struct Doubles {
    /// The process that was left, for the one that had arrived.
    left: Option<(u64, u64)>,
    /// The last double.
    known: Option<u64>,
}

impl Doubles {
    /// Says whether whoever has arrived takes the place of the process that the connection leads
    /// to.
    fn is_successor(&self, arrived: u64, connected: u64) -> bool {
        arrived != connected && self.known != Some(arrived)
    }

    /// The connection to one process is given up for another one.
    fn leave(&mut self, connected: u64, arrived: u64) {
        self.left = Some((connected, arrived));
    }

    /// There is a connection to a process; returns whether it is the one that was left, so that the
    /// one that had arrived is a double.
    fn connect(&mut self, connected: u64) -> bool {
        let Some((_, arrived)) = self.left.take().filter(|(left, _)| *left == connected) else {
            return false;
        };
        self.known.replace(arrived) != Some(arrived)
    }
}

impl Dialler {
    async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let mut backoff_max = BACKOFF_MAX;
            self.arrivals.mark_unchanged();
            let mut arrivals = self.arrivals.clone();
            let connected = tokio::select! {
                connected = self.connect() => connected,
                // It is there, though the first packets were lost while it was not.
                () = arrived(&mut arrivals, ARRIVED_PATIENCE) => continue,
            };
            let trouble = match connected {
                Ok((connection, _watched, theirs)) => {
                    backoff = BACKOFF_MIN;
                    self.serve(connection, &theirs).await
                }
                Err(error) => {
                    if let Some(told) = self.told(&error)
                        && self.receiver.events.send(told).await.is_err()
                    {
                        return;
                    }
                    if error.precision() == Precision::Rejected {
                        backoff_max = BACKOFF_REJECTED_MAX;
                    }
                    error.to_string()
                }
            };
            if self.lost(trouble).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(jittered(backoff.min(backoff_max))) => {
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                () = arrived(&mut self.arrivals, Duration::ZERO) => backoff = BACKOFF_MIN,
            }
        }
    }

    /// Returns what a refusal means for this node, if that is more than to try again.
    fn told(&self, error: &ConnectError) -> Option<PeerEvent> {
        let (code, reason) = error.refusal()?;
        let (by, reason) = (self.id, reason.to_owned());
        match code {
            RefusalCode::Removed => Some(PeerEvent::Removed { by, reason }),
            RefusalCode::Forgotten => Some(PeerEvent::Forgotten { by, runs_twice: false, reason }),
            RefusalCode::RunsTwice => Some(PeerEvent::Forgotten { by, runs_twice: true, reason }),
            RefusalCode::Version
            | RefusalCode::Cluster
            | RefusalCode::Generation
            | RefusalCode::Identity
            | RefusalCode::Uninitialised
            | RefusalCode::Role
            | RefusalCode::Lease => None,
        }
    }

    async fn connect(&self) -> Result<(Connection, Watched, Hello), ConnectError> {
        let expect = Expect::Node(self.id.get().try_into().expect("node ids are not 0"));
        let trail = Trail::new(&self.address);
        let attempt = |place| {
            let (endpoint, hello) = (self.endpoint.clone(), self.receiver.hello.clone());
            let (trail, asked) = (trail.clone(), self.address.clone());
            let memory = self.receiver.memory.clone();
            async move {
                let (connection, watched) =
                    endpoint.dial(&asked, place, expect, Alpn::Peer).await?;
                trail.greets(place);
                let address = called(&asked, place);
                let theirs = greet(&connection, &address, &hello).await?;
                require_history(&theirs, &address).inspect_err(|_| {
                    connection.close(Close::Done.code(), b"not initialised");
                })?;
                memory.meet(&hello, &theirs).map_err(|(_, why)| {
                    connection.close(Close::Refused.code(), why.as_bytes());
                    ConnectError::Handshake { address, why }
                })?;
                Ok((connection, watched, theirs))
            }
        };
        self.endpoint.places.reach(&trail, CONNECT_TIMEOUT, attempt).await
    }

    /// Writes until the connection ends; returns why it did.
    async fn serve(&mut self, connection: Connection, theirs: &Hello) -> String {
        let streams = async {
            let mut control = connection.open_uni().await?;
            let mut entries = connection.open_uni().await?;
            let mut memory = connection.open_uni().await?;
            // Heartbeats and votes go before entries when both wait.
            control.set_priority(1)?;
            control.write_all(&[CONTROL]).await?;
            entries.write_all(&[ENTRIES]).await?;
            memory.write_all(&[MEMORY]).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((control, entries, memory))
        };
        let (mut control, mut entries, mut memory) = match streams.await {
            Ok(streams) => streams,
            Err(error) => return error.to_string(),
        };
        *lock(&self.state.connection) = Some(connection.clone());
        *lock(&self.state.info) = PeerInfo {
            connected: true,
            incarnation: Some(theirs.incarnation),
            boot: Some(theirs.boot),
            since: Some(Instant::now()),
            ..PeerInfo::default()
        };
        self.state.connected.store(true, Ordering::Relaxed);
        let connected = PeerEvent::Connected { peer: self.id, incarnation: theirs.incarnation };
        if self.receiver.events.send(connected).await.is_err() {
            return "this node stops".into();
        }
        let who = format!("node {}", self.id);
        if self.doubles.connect(theirs.boot) {
            tracing::warn!(
                name: "member-doubled",
                peer = %self.id,
                "another process connects as node {} than the one that runs at {}: are its \
                 certificate and data directory in use twice? A copy must not run",
                self.id,
                self.address
            );
        }
        let speaker = Speaker::of(self.id, theirs);
        let answers = self.receiver.clone().listen(connection.clone(), who, speaker);
        tokio::select! {
            end = pump(&mut self.control, &mut control, |_| ()) => reason(&connection, end),
            end = self.entries.pump(&mut entries) => reason(&connection, end),
            end = tell(&self.receiver.memory, &mut memory) => reason(&connection, end),
            () = answers => reason(&connection, Ok(())),
            error = connection.closed() => describe(&error),
            never = follow(&connection) => match never {},
            () = ended(&connection) => self.gone(&connection).await,
            arrived = succeeded(&mut self.arrivals, theirs.boot, &self.doubles) => {
                self.doubles.leave(theirs.boot, arrived);
                connection.close(Close::Done.code(), b"another process has taken your place");
                "it has restarted".into()
            }
        }
    }

    /// Nobody listens any more where the connection led; returns so in words.
    async fn gone(&self, connection: &Connection) -> String {
        connection.close(Close::Done.code(), b"nobody listens there");
        // A loop that is gone needs no news.
        let _ = self.receiver.events.send(PeerEvent::Gone { peer: self.id }).await;
        format!("nobody listens at {} any more: its process has ended", self.address)
    }

    /// Notes that there is no connection; what was queued is dropped, for it may be stale by the
    /// time that there is one.
    async fn lost(&mut self, trouble: String) -> Result<(), ()> {
        let was = self.state.connected.swap(false, Ordering::Relaxed);
        *lock(&self.state.connection) = None;
        {
            let mut info = lock(&self.state.info);
            if was || info.since.is_none() {
                info.since = Some(Instant::now());
            }
            (info.connected, info.boot) = (false, None);
            // An operator must see where it was looked for: the node may have moved.
            info.trouble = match trouble.contains(&self.address) {
                true => trouble.clone(),
                false => format!("{trouble} (dialled at {})", self.address),
            };
        }
        while self.control.try_recv().is_ok() {}
        self.entries.clear();
        let lost = PeerEvent::Lost { peer: self.id, reason: trouble, was_connected: was };
        self.receiver.events.send(lost).await.map_err(|_| ())
    }
}

fn reason(connection: &Connection, end: Result<(), quinn::WriteError>) -> String {
    match (connection.close_reason(), end) {
        (Some(error), _) => describe(&error),
        (None, Err(error)) => error.to_string(),
        (None, Ok(())) => "this node stops".into(),
    }
}

/// Tells a peer which processes this node has met, and what each keeps: of new processes at once,
/// of what is kept from time to time.
async fn tell(memory: &SharedMemory, stream: &mut SendStream) -> Result<(), WriteError> {
    let mut news = memory.news();
    let mut told = Vec::new();
    loop {
        news.mark_unchanged();
        let known = memory.to_tell();
        if known != told {
            stream.write_all(&encode_memory(&known)).await?;
            told = known;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
            () = sleep(TOLD_EVERY) => {}
        }
    }
}

/// Waits until a peer arrives, and so long beyond that.
async fn arrived(arrivals: &mut watch::Receiver<Option<u64>>, patience: Duration) {
    match arrivals.changed().await {
        Ok(()) => sleep(patience).await,
        // Whoever forgets a peer drops its dialler as well.
        Err(_) => std::future::pending().await,
    }
}

/// Waits until a peer arrives as another process than this one, and returns as which.
async fn succeeded(
    arrivals: &mut watch::Receiver<Option<u64>>,
    boot: u64,
    doubles: &Doubles,
) -> u64 {
    arrivals.mark_unchanged();
    loop {
        arrived(arrivals, Duration::ZERO).await;
        let last = *arrivals.borrow_and_update();
        if let Some(arrived) = last.filter(|arrived| doubles.is_successor(*arrived, boot)) {
            return arrived;
        }
    }
}

/// Spreads retries over half to all of the time, so that nodes do not dial in step.
fn jittered(backoff: Duration) -> Duration {
    let mut random = [0; 2];
    // Without chance the retries are in step, which is no more than unlucky.
    let _ = getrandom::fill(&mut random);
    backoff.mul_f64(0.5 + f64::from(u16::from_le_bytes(random)) / 131_072.0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::Arrivals;
    use crate::presence::Presence;
    use crate::receive::ReturnPaths;
    use crate::removed::Removed;
    use certs::{Authority, ClusterId, Identity, Role};
    use protocol::{Generation, PROTOCOL_VERSION};
    use tokio::sync::Semaphore;

    const DAY: Duration = Duration::from_secs(86_400);

    /// Makes what dials node 2, from node 1, with these queues; it is not begun.
    fn dialler(
        (control, entries): (mpsc::Receiver<Vec<Bytes>>, Outlet),
        events: mpsc::Sender<PeerEvent>,
    ) -> Dialler {
        let cluster = ClusterId::generate().expect("there is chance");
        let authority = Authority::create(cluster, DAY).expect("it is made");
        let identity = Identity::new(cluster, Role::Node(1.try_into().expect("not 0")));
        let issued = authority.issue(&identity, DAY).expect("it is issued");
        let credentials = issued.credentials().expect("they are sound");
        let endpoint = Endpoint::client(&credentials).expect("a socket");
        let generation = Generation::from_slice(&[7; 32]).expect("32 bytes");
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: cluster.to_bytes(),
            generation: Some(generation),
            node: NodeId::new(1),
            incarnation: Incarnation::default(),
            boot: 0,
            software: "test".into(),
            lease: None,
            promises: protocol::Promises::default(),
        };
        let receiver = Receiver {
            generation,
            hello,
            events,
            return_paths: ReturnPaths::default(),
            removed: Removed::default(),
            memory: SharedMemory::default(),
            arrivals: Arrivals::default(),
            presence: Presence::default(),
            room: Arc::new(Semaphore::new(1)),
        };
        let id = NodeId::new(2).expect("not 0");
        Dialler {
            endpoint,
            arrivals: receiver.arrivals.of(id),
            id,
            address: "db2:4001".into(),
            receiver,
            state: Arc::default(),
            control,
            entries,
            doubles: Doubles::default(),
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_connection_that_is_lost_is_not_sent_on_the_next_one() {
        let (control, control_queue) = mpsc::channel(4);
        let (entries, entries_queue) = lane(4);
        let (events, mut news) = mpsc::channel(4);
        let mut dialler = dialler((control_queue, entries_queue), events);
        let message = || vec![Bytes::from_static(b"of the last term")];
        control.try_send(message()).expect("there is room");
        assert!(entries.send(message()) && entries.has_unsent());
        dialler.lost("reset by peer".into()).await.expect("it is heard");
        assert!(dialler.control.is_empty() && !entries.has_unsent());
        let Some(PeerEvent::Lost { peer, .. }) = news.recv().await else { panic!("no news") };
        assert_eq!(peer, dialler.id);
    }
}
