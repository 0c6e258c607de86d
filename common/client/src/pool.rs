//! Connections to nodes, one each, made when needed and shared by all requests. They are made in
//! tasks of their own, so that a request with little time does not end what the next one needs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consensus::Incarnation;
use protocol::{Generation, Hello, PROTOCOL_VERSION, RefusalCode};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use transport::certs::{Credentials, Expect};
use transport::{Alpn, ClientConnection, ConnectError, Endpoint, Precision, Rejection, Trail};

use crate::error::ClientError;
use crate::search::Why;

/// How long to wait for the system's word that a port is closed.
const LOOK_FOR: Duration = Duration::from_millis(50);

/// How long to wait until it is looked once more whether a port is closed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long nobody dials in vain who does not wait for it.
const REDIAL_AFTER: Duration = Duration::from_secs(1);

/// Long enough for the farewells to be sent.
const FAREWELL: Duration = Duration::from_millis(5);

pub(crate) struct Pool {
    dialler: Dialler,
    /// A slot a node, so that two requests do not dial the same node at once; and another one for
    /// connections that do not name the history that is followed.
    slots: Mutex<BTreeMap<(String, bool), Arc<Slot>>>,
}

/// A node's address, and whether the connection is to name the history that is followed.
type Whither<'a> = (&'a str, bool);

#[derive(Clone)]
struct Dialler {
    /// Where connections live, whoever asks for them: another runtime may end, or stand still.
    home: Handle,
    endpoint: Endpoint,
    hello: Hello,
    followed: Arc<Mutex<Followed>>,
    connect_timeout: Duration,
}

/// The history that is followed.
#[derive(Debug, Default)]
struct Followed {
    /// Which one that is, as soon as one is known.
    generation: Option<Generation>,
    /// How often it became another one, the first one included.
    changes: u64,
}

impl Followed {
    fn becomes(&mut self, generation: Generation) {
        let former = self.generation.replace(generation);
        self.changes += u64::from(former != Some(generation));
    }
}

impl Dialler {
    /// Returns what is said on a connection.
    fn hello(&self, named: bool) -> Hello {
        let generation = if named { lock(&self.followed).generation } else { None };
        Hello { generation, ..self.hello.clone() }
    }

    /// Follows the first history that is met. Of two that are met at the same time, one counts.
    fn meets(&self, theirs: &Hello) {
        if let Some(generation) = theirs.generation {
            let mut followed = lock(&self.followed);
            if followed.generation.is_none() {
                followed.becomes(generation);
            }
        }
    }

    /// Says whether a connection leads to the history that is followed, where that matters.
    fn fits(&self, named: bool, theirs: &Hello) -> bool {
        let fits = |followed| theirs.generation == Some(followed);
        !named || lock(&self.followed).generation.is_none_or(fits)
    }

    /// Says whether a connection is used once more. A node that had no history may have got one
    /// since, of which nothing would be known here.
    fn keeps(&self, named: bool, theirs: &Hello) -> bool {
        (!named || theirs.generation.is_some()) && self.fits(named, theirs)
    }

    async fn dial(&self, trail: &Trail, named: bool) -> Ended {
        let (how, within) = ((Alpn::Client, Expect::AnyNode), self.connect_timeout);
        let hello = self.hello(named);
        let made = ClientConnection::connect(&self.endpoint, trail, how, &hello, within).await?;
        if named {
            self.meets(made.hello());
        }
        if self.fits(named, made.hello()) {
            return Ok(Arc::new(made));
        }
        let known = lock(&self.followed).generation;
        let known = known.map(|known| known.short()).unwrap_or_default();
        let found = made.hello().generation.map(|found| found.short());
        let reason = match found {
            Some(found) => format!("generation {known} is asked for, this node has {found}"),
            None => format!("generation {known} is asked for, this node has none"),
        };
        let (address, code) = (trail.address(), RefusalCode::Generation);
        Err(ConnectError::Refused { address, code, reason })
    }
}

/// What is known of a node's address.
#[derive(Default)]
struct Slot {
    seat: Mutex<Seat>,
    /// When the port was last found closed; locked by the one who looks.
    closed: tokio::sync::Mutex<Option<(Instant, SocketAddr)>>,
}

#[derive(Default)]
enum Seat {
    #[default]
    Empty,
    Dialling(Dial),
    /// It was tried in vain.
    Failed(Instant),
    Connected(Arc<ClientConnection>),
}

/// A connection on its way.
#[derive(Clone)]
struct Dial {
    began: Instant,
    trail: Trail,
    ended: watch::Receiver<Option<Ended>>,
}

type Ended = Result<Arc<ClientConnection>, ConnectError>;

/// Why there is no connection to a node.
#[derive(Clone, Debug)]
pub(crate) struct Unreached {
    error: ConnectError,
    /// Whether there was no time to learn more.
    cut: bool,
}

impl From<Unreached> for Why {
    fn from(why: Unreached) -> Self {
        let precision = match why.error.precision() {
            found if why.cut && found < Precision::Rejected => Precision::Nothing,
            found => found,
        };
        Self { text: why.to_string(), precision, reached: false }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Pool {
    pub(crate) fn new(
        home: Handle,
        credentials: &Credentials,
        connect_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let endpoint = Endpoint::client(credentials)
            .map_err(|error| ClientError::Endpoint(error.to_string()))?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: credentials.cluster().to_bytes(),
            generation: None,
            node: None,
            incarnation: Incarnation::default(),
            boot: 0,
            software: concat!("client ", env!("CARGO_PKG_VERSION")).into(),
            lease: None,
            promises: protocol::Promises::default(),
        };
        let followed = Arc::default();
        let dialler = Dialler { home, endpoint, hello, followed, connect_timeout };
        Ok(Self { dialler, slots: Mutex::default() })
    }

    /// Follows this history from now on.
    pub(crate) fn follow(&self, generation: Generation) {
        lock(&self.dialler.followed).becomes(generation);
    }

    /// Returns the history that is followed.
    pub(crate) fn followed(&self) -> Option<Generation> {
        lock(&self.dialler.followed).generation
    }

    /// Returns how often it became another one.
    pub(crate) fn changes(&self) -> u64 {
        lock(&self.dialler.followed).changes
    }

    /// Shows these credentials on every connection that is made from now on.
    pub(crate) fn replace_credentials(&self, credentials: &Credentials) {
        self.dialler.endpoint.presented().replace(credentials);
    }

    /// Returns a usable connection to a node, if there is one by then. The attempt goes on.
    pub(crate) async fn get(
        &self,
        to: Whither<'_>,
        until: Instant,
    ) -> Result<Arc<ClientConnection>, Unreached> {
        let arrived = Instant::now();
        let first = match self.slot(to).take_or_dial(to, &self.dialler) {
            Ok(connection) => return Ok(connection),
            Err(dial) => dial,
        };
        let is_old = first.began < arrived;
        let got = Self::ended(to.0, first, until).await;
        if got.is_ok() || !is_old || Instant::now() >= until {
            return got;
        }
        // An attempt that was under way tells how it was before; that may be over.
        match self.slot(to).take_or_dial(to, &self.dialler) {
            Ok(connection) => Ok(connection),
            Err(second) => Self::ended(to.0, second, until).await,
        }
    }

    /// Waits for the end of an attempt.
    async fn ended(
        address: &str,
        mut dial: Dial,
        until: Instant,
    ) -> Result<Arc<ClientConnection>, Unreached> {
        match timeout_at(until, dial.ended.wait_for(Option::is_some)).await {
            Ok(Ok(ended)) => {
                let ended = ended.clone().expect("that was waited for");
                ended.map_err(|error| Unreached { error, cut: false })
            }
            Ok(Err(_)) => {
                let (address, why) = (address.to_owned(), "this program stops".to_owned());
                Err(Unreached { error: ConnectError::Closed { address, why }, cut: false })
            }
            Err(_) => Err(Unreached { error: dial.trail.so_far(until), cut: true }),
        }
    }

    /// Says whether there is a usable connection to a node; if not, one is tried for, unless that
    /// was in vain a moment ago.
    pub(crate) fn is_at_hand(&self, address: &str) -> bool {
        let slot = self.slot((address, true));
        if matches!(&*lock(&slot.seat), Seat::Failed(at) if at.elapsed() < REDIAL_AFTER) {
            return false;
        }
        slot.take_or_dial((address, true), &self.dialler).is_ok()
    }

    /// Waits until a node's port is found closed, which a connection to it would notice only by
    /// its idle timeout; gives that connection up. Waits for ever if the port stays open. However
    /// many wait, one looks at a time.
    pub(crate) async fn closed(
        &self,
        to: Whither<'_>,
        connection: &Arc<ClientConnection>,
    ) -> String {
        let (arrived, place) = (Instant::now(), connection.remote());
        let slot = self.slot(to);
        loop {
            let mut closed = slot.closed.lock().await;
            let known = closed.is_some_and(|(at, known)| at >= arrived && known == place);
            if known || timeout(LOOK_FOR, transport::closed(place)).await.is_ok() {
                if !known {
                    *closed = Some((Instant::now(), place));
                    slot.give_up(connection);
                }
                let address = place.to_string();
                return ConnectError::Rejected { address, how: Rejection::Closed }.to_string();
            }
            drop(closed);
            sleep(LOOK_EVERY).await;
        }
    }

    fn slot(&self, (address, named): Whither<'_>) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry((address.to_owned(), named)).or_default())
    }

    pub(crate) async fn close(&self) {
        lock(&self.slots).clear();
        // Nobody waits until the other sides have forgotten the connections.
        let _ = timeout(FAREWELL, self.dialler.endpoint.close("done")).await;
    }
}

impl Slot {
    /// Returns a usable connection, or the attempt to make one, which is begun if there is none.
    fn take_or_dial(
        self: &Arc<Self>,
        (address, named): Whither<'_>,
        dialler: &Dialler,
    ) -> Result<Arc<ClientConnection>, Dial> {
        let mut seat = lock(&self.seat);
        match &*seat {
            Seat::Connected(connection)
                if connection.is_usable() && dialler.keeps(named, connection.hello()) =>
            {
                return Ok(Arc::clone(connection));
            }
            // One whose task has gone never ends.
            Seat::Dialling(dial) if dial.ended.has_changed().is_ok() => return Err(dial.clone()),
            Seat::Empty | Seat::Failed(_) | Seat::Connected(_) | Seat::Dialling(_) => {}
        }
        let trail = Trail::new(address);
        let (sender, ended) = watch::channel(None);
        let dial = Dial { began: Instant::now(), trail: trail.clone(), ended };
        *seat = Seat::Dialling(dial.clone());
        let (slot, home, dialler) = (Arc::clone(self), &dialler.home, dialler.clone());
        home.spawn(async move {
            let made = dialler.dial(&trail, named).await;
            *lock(&slot.seat) = match &made {
                Ok(connection) => Seat::Connected(Arc::clone(connection)),
                Err(_) => Seat::Failed(Instant::now()),
            };
            // Whoever waited may have gone.
            let _ = sender.send(Some(made));
        });
        Err(dial)
    }

    /// Gives a connection up, if it is still the one in use.
    fn give_up(&self, connection: &Arc<ClientConnection>) {
        let mut seat = lock(&self.seat);
        if matches!(&*seat, Seat::Connected(present) if Arc::ptr_eq(present, connection)) {
            *seat = Seat::Empty;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
