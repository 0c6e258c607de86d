//! From a name to a connection. A name may have several addresses, of two families, and some of
//! them may lead nowhere: each is tried (RFC 8305), the next one at once after a failure, and after
//! [`NEXT_AFTER`] of silence. What was learnt on the way is kept, so that whoever cannot wait any
//! longer still knows how far it came.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{ConnectError, TELLING};

/// The next address is tried beside one that is silent for so long.
pub(crate) const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Names of which it is remembered which address worked, and names that are asked about.
const REMEMBERED_MAX: usize = 64;

/// An answer that nobody has waited for counts for so long.
const FRESH: Duration = Duration::from_secs(60);

/// What is known of an attempt to connect, also while it is under way.
#[derive(Clone, Debug)]
pub struct Trail {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    address: String,
    began: Instant,
    resolved: bool,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    place: SocketAddr,
    began: Instant,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Nothing came back yet.
    Shaking,
    /// The handshake is done, the hello is not answered yet.
    Greeting,
    Failed(ConnectError),
}

impl Trail {
    /// Begins an attempt to connect to this address.
    pub fn new(address: &str) -> Self {
        let (address, began) = (address.to_owned(), Instant::now());
        // What is no name needs nobody to resolve it.
        let resolved = address.parse::<SocketAddr>().is_ok();
        let inner = Inner { address, began, resolved, steps: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Returns the address that was asked for.
    pub fn address(&self) -> String {
        self.lock().address.clone()
    }

    /// Returns what is known at a moment, as the reason why there is no connection yet.
    pub fn so_far(&self, at: Instant) -> ConnectError {
        let inner = self.lock();
        let address = inner.address.clone();
        if !inner.resolved {
            let after = rounded(at.saturating_duration_since(inner.began));
            if after < TELLING {
                return ConnectError::Silent { address, after };
            }
            let why = format!("the resolver has not answered within {after:?}");
            return ConnectError::Resolve { address, why };
        }
        let error = |step: &Step| {
            let address = called(&address, step.place);
            let after = rounded(at.saturating_duration_since(step.began));
            match &step.phase {
                Phase::Shaking => ConnectError::Silent { address, after },
                Phase::Greeting => ConnectError::Mute { address, after },
                Phase::Failed(error) => error.clone(),
            }
        };
        let errors: Vec<ConnectError> = inner.steps.iter().map(error).collect();
        let after = rounded(at.saturating_duration_since(inner.began));
        ConnectError::all(errors).unwrap_or(ConnectError::Silent { address, after })
    }

    /// The handshake at this place is done.
    pub(crate) fn greets(&self, place: SocketAddr) {
        self.note(place, Phase::Greeting);
    }

    fn begins(&self, place: SocketAddr) {
        let step = Step { place, began: Instant::now(), phase: Phase::Shaking };
        self.lock().steps.push(step);
    }

    fn note(&self, place: SocketAddr, phase: Phase) {
        if let Some(step) = self.lock().steps.iter_mut().find(|step| step.place == place) {
            step.phase = phase;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which address of a name worked last, and what is asked about names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    good: Arc<Mutex<BTreeMap<String, Good>>>,
    lookups: Arc<Mutex<BTreeMap<String, Lookup>>>,
}

/// The system's answer to a name, as soon as it is there. It is waited for beside whoever asked:
/// behind a dead name server it takes longer than an attempt to connect, and is there for the next.
type Lookup = watch::Receiver<Option<Answer>>;

/// Where a name leads, or the resolver's words.
type Found = Result<Vec<SocketAddr>, String>;

#[derive(Clone, Debug)]
struct Answer {
    found: Found,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Good {
    place: SocketAddr,
    /// It did not work any more when it was tried last: a slow resolver is waited for.
    doubtful: bool,
}

impl Places {
    /// Makes a connection to one of a name's addresses, whichever comes first. `attempt` is given a
    /// place and says what came of it; it need not look at the time.
    ///
    /// # Errors
    /// What each address had to say.
    pub(crate) async fn reach<T, F>(
        &self,
        trail: &Trail,
        within: Duration,
        attempt: impl Fn(SocketAddr) -> F,
    ) -> Result<T, ConnectError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ConnectError>> + Send + 'static,
    {
        let address = trail.address();
        let until = Instant::now() + within;
        let places = match timeout_at(until, self.resolve(&address, within / 2, system)).await {
            Ok(places) => places?,
            Err(_) => return Err(trail.so_far(until)),
        };
        trail.lock().resolved = true;
        let reached = race(places, until, trail, attempt).await;
        let mut good = lock(&self.good);
        match &reached {
            Ok((place, _)) => {
                if good.len() >= REMEMBERED_MAX {
                    good.clear();
                }
                good.insert(address, Good { place: *place, doubtful: false });
            }
            Err(_) => {
                if let Some(good) = good.get_mut(&address) {
                    good.doubtful = true;
                }
            }
        }
        reached.map(|(_, reached)| reached)
    }

    /// Says whether some name led to this address when it worked last.
    pub(crate) fn lead_to(&self, ip: IpAddr) -> bool {
        lock(&self.good).values().any(|good| good.place.ip().to_canonical() == ip)
    }

    /// Returns where a name leads; first where it worked last. If nobody can tell any more, or not
    /// soon, it is there that one looks.
    async fn resolve<F>(
        &self,
        address: &str,
        patience: Duration,
        ask: impl FnOnce(String) -> F,
    ) -> Result<Vec<SocketAddr>, ConnectError>
    where
        F: Future<Output = Found> + Send + 'static,
    {
        if let Ok(place) = address.parse() {
            return Ok(vec![place]);
        }
        let known = lock(&self.good).get(address).copied();
        let found = self.answer(address, ask);
        let found = match known {
            None => found.await,
            Some(Good { place, doubtful }) => {
                let patience = if doubtful { patience } else { patience.min(NEXT_AFTER) };
                match timeout(patience, found).await {
                    Ok(Ok(found)) => Ok(found),
                    Ok(Err(_)) | Err(_) => return Ok(vec![place]),
                }
            }
        };
        let unresolved = |why: String| ConnectError::Resolve { address: address.into(), why };
        let places = in_turn(&found.map_err(unresolved)?, known.map(|known| known.place));
        if places.is_empty() {
            return Err(unresolved("it has no address".into()));
        }
        Ok(places)
    }

    /// Waits for the answer to a name; whoever waits no longer finds it the next time.
    async fn answer<F>(&self, address: &str, ask: impl FnOnce(String) -> F) -> Found
    where
        F: Future<Output = Found> + Send + 'static,
    {
        let mut lookup = self.lookup(address, ask);
        let answer = lookup.wait_for(Option::is_some).await.map(|answer| answer.clone());
        let mut lookups = lock(&self.lookups);
        if lookups.get(address).is_some_and(|it| it.same_channel(&lookup)) {
            lookups.remove(address);
        }
        let interrupted = || Err("the lookup was interrupted".to_owned());
        answer.ok().flatten().map_or_else(interrupted, |answer| answer.found)
    }

    /// Asks about a name, once for all who want to know.
    fn lookup<F>(&self, address: &str, ask: impl FnOnce(String) -> F) -> Lookup
    where
        F: Future<Output = Found> + Send + 'static,
    {
        let mut lookups = lock(&self.lookups);
        if let Some(lookup) = lookups.get(address).filter(|it| is_of_use(it)) {
            return lookup.clone();
        }
        if lookups.len() >= REMEMBERED_MAX {
            lookups.clear();
        }
        let (tell, lookup) = watch::channel(None);
        let asking = ask(address.to_owned());
        tokio::spawn(async move {
            let found = asking.await;
            tell.send_replace(Some(Answer { found, at: Instant::now() }));
        });
        lookups.insert(address.to_owned(), lookup.clone());
        lookup
    }
}

/// Says whether an answer is on its way, or tells where a name leads now.
fn is_of_use(lookup: &Lookup) -> bool {
    match &*lookup.borrow() {
        Some(answer) => answer.found.is_ok() && answer.at.elapsed() < FRESH,
        None => lookup.has_changed().is_ok(),
    }
}

/// Asks the system's resolver.
async fn system(address: String) -> Found {
    let found = lookup_host(address).await;
    found.map(Iterator::collect).map_err(|error| words(&error))
}

/// Tries one place after the other, each beside those that are silent still.
async fn race<T, F>(
    places: Vec<SocketAddr>,
    until: Instant,
    trail: &Trail,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), ConnectError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ConnectError>> + Send + 'static,
{
    let mut waiting = places.into_iter();
    let mut running = JoinSet::new();
    // Each round takes a place, an answer, or all the time that there is.
    loop {
        if let Some(place) = waiting.next() {
            trail.begins(place);
            let attempt = attempt(place);
            running.spawn(async move { (place, attempt.await) });
        }
        let patience = match waiting.len() {
            0 => until,
            _ => until.min(Instant::now() + NEXT_AFTER),
        };
        match timeout_at(patience, running.join_next()).await {
            Ok(Some(Ok((place, Ok(reached))))) => return Ok((place, reached)),
            Ok(Some(Ok((place, Err(error))))) => trail.note(place, Phase::Failed(error)),
            // It panicked, which its thread has told: the others go on.
            Ok(Some(Err(_))) => {}
            Ok(None) if waiting.len() == 0 => return Err(trail.so_far(Instant::now())),
            Ok(None) => {}
            Err(_) if Instant::now() >= until => return Err(trail.so_far(until)),
            Err(_) => {}
        }
    }
}

/// Puts addresses in the order in which they are tried: the one that worked last, then the families
/// in turn, beginning with the system's choice.
fn in_turn(found: &[SocketAddr], known: Option<SocketAddr>) -> Vec<SocketAddr> {
    let is_first = |place: &SocketAddr| Some(place.is_ipv6()) == found.first().map(|f| f.is_ipv6());
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.iter().partition(|p| is_first(p));
    let mut places: Vec<SocketAddr> =
        known.filter(|known| found.contains(known)).into_iter().collect();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    while first.len() + second.len() > 0 {
        for place in first.next().into_iter().chain(second.next()) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places.truncate(ADDRESSES_MAX);
    places
}

/// Calls a place as it was asked for, and by its address where that is another word.
pub(crate) fn called(address: &str, place: SocketAddr) -> String {
    match place.to_string() {
        same if same == address => same,
        other => format!("{address} ({other})"),
    }
}

/// Leaves out what nobody reads.
pub(crate) fn rounded(time: Duration) -> Duration {
    Duration::from_millis((time.as_secs_f64() * 1e3).round() as u64)
}

/// The resolver's words, without ours.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
