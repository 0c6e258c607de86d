//! The generator: clients with one request in flight each, on any of the systems. It is a process
//! of its own, so that what it uses of the machine is told apart from what the nodes use.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::connection::Connection;
use crate::usage::Usage;
use crate::work::Kind;

mod connection;
pub(crate) mod etcd;
pub(crate) mod nats;
mod tls;

/// What it prints when it begins to measure, and when it ends: its caller looks at the nodes then.
pub(crate) const BEGINS: &str = "measuring";
pub(crate) const ENDS: &str = "measured";

/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Values are cut from so many random bytes, so that no two are alike.
const POOL_BYTES: usize = 1 << 20;

/// Who writes keys before it is measured, and how much each writes at a time: as much as a node
/// takes, and so little that it is done long before the deadline of a request.
const WRITERS: u64 = 64;
const CHUNK_KEYS: u64 = 64;
const CHUNK_BYTES: u64 = 512 * 1024;

/// Clients share so many records of what they saw: one each would be 150 KB, and out of the caches.
const RECORDS: usize = 16;

/// How long a client pauses after an error.
const PAUSE: Duration = Duration::from_millis(10);

const WARMS: u8 = 0;
const MEASURES: u8 = 1;
const STOPS: u8 = 2;

/// What is to be done.
struct Order {
    kind: Kind,
    clients: usize,
    size: usize,
    keys: u64,
    /// If this is 0, keys are written before, and nothing else is done.
    seconds: u64,
    /// Keys that are written before; nobody measures that.
    fill: Range<u64>,
}

/// What some clients saw.
struct Seen {
    latency: Histogram<u64>,
    failed: u64,
    why: Option<String>,
}

/// What all clients share.
struct Shared {
    order: Order,
    pool: Bytes,
    phase: AtomicU8,
}

/// Loads a system as an order says, and prints what came of it.
///
/// # Errors
/// If the system cannot be reached.
pub(crate) fn run(order: &str) -> Result<(), String> {
    let order: Value = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let report = runtime.block_on(load(&order))?;
    println!("{report}");
    Ok(())
}

async fn load(order: &Value) -> Result<Value, String> {
    let number = |name: &str| order[name].as_u64().ok_or_else(|| format!("no {name} in the order"));
    let small = |name| usize::try_from(number(name)?).map_err(|error| error.to_string());
    let kind = order["kind"].as_str().and_then(Kind::parse).ok_or("no kind in the order")?;
    let (clients, size) = (small("clients")?, small("size")?);
    let (keys, seconds) = (number("keys")?, number("seconds")?);
    let fill = number("fillFrom")?..number("fillTo")?;
    let connections = Connection::open(&order["target"], clients).await?;
    let mut pool = vec![0; POOL_BYTES];
    getrandom::fill(&mut pool).map_err(|error| error.to_string())?;
    let shared = Arc::new(Shared {
        order: Order { kind, clients, size, keys, seconds, fill },
        pool: pool.into(),
        phase: AtomicU8::new(WARMS),
    });
    let began = Instant::now();
    fill_all(&shared, &connections).await?;
    if shared.order.seconds == 0 {
        let count = shared.order.fill.end.saturating_sub(shared.order.fill.start);
        return Ok(json!({ "filledPerSecond": count as f64 / began.elapsed().as_secs_f64() }));
    }
    let mut running = JoinSet::new();
    let record = |_| Seen::new().map(|seen| Arc::new(Mutex::new(seen)));
    let records: Vec<Arc<Mutex<Seen>>> = (0..RECORDS).map(record).collect::<Result<_, _>>()?;
    for number in 0..shared.order.clients {
        let connection = connections[number % connections.len()].clone();
        let record = Arc::clone(&records[number % RECORDS]);
        running.spawn(operate(Arc::clone(&shared), connection, number as u64, record));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("{BEGINS}");
    let before = Usage::of(&[std::process::id()]);
    let began = Instant::now();
    shared.phase.store(MEASURES, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(shared.order.seconds)).await;
    shared.phase.store(STOPS, Ordering::Relaxed);
    let took = began.elapsed();
    println!("{ENDS}");
    let cpu_s = Usage::of(&[std::process::id()]).cpu_s - before.cpu_s;
    let mut all = Seen::new()?;
    while let Some(one) = running.join_next().await {
        one.map_err(|error| error.to_string())?;
    }
    for record in records {
        all.add(&mut lock(&record))?;
    }
    Ok(all.json(took, cpu_s))
}

/// Writes the keys that are to be there before.
async fn fill_all(shared: &Arc<Shared>, connections: &[Connection]) -> Result<(), String> {
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        let place = usize::try_from(writer).unwrap_or_default() % connections.len();
        let (shared, connection) = (Arc::clone(shared), connections[place].clone());
        writing.spawn(async move {
            let Range { start, end } = shared.order.fill;
            let fits = CHUNK_BYTES / shared.order.size.max(1) as u64;
            let chunk = fits.clamp(1, CHUNK_KEYS);
            for from in (start + writer * chunk..end).step_by((WRITERS * chunk) as usize) {
                let numbers = from..end.min(from + chunk);
                let pair = |number| (key(number % shared.order.keys), shared.value(mixed(number)));
                connection.put_all(numbers.map(pair).collect()).await?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(one) = writing.join_next().await {
        one.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// One client: asks, waits, asks again.
async fn operate(
    shared: Arc<Shared>,
    connection: Connection,
    number: u64,
    record: Arc<Mutex<Seen>>,
) {
    let mut state = mixed(number) | 1;
    while shared.phase.load(Ordering::Relaxed) != STOPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let key = key(state % shared.order.keys);
        let began = Instant::now();
        let done = match shared.order.kind {
            Kind::Put => connection.put(key, shared.value(state)).await,
            Kind::Get => connection.get(key).await,
        };
        let took = began.elapsed();
        let failed = done.is_err();
        if shared.phase.load(Ordering::Relaxed) == MEASURES {
            lock(&record).note(took, done);
        }
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn lock(record: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a number of which all bits count.
fn mixed(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// All keys have the same length.
fn key(number: u64) -> Bytes {
    format!("bench.key.{number:08}").into()
}

impl Shared {
    /// Cuts a value out of the random bytes.
    fn value(&self, draw: u64) -> Bytes {
        let room = self.pool.len() - self.order.size.min(self.pool.len() - 1);
        let start = usize::try_from(draw >> 20).unwrap_or_default() % room;
        self.pool.slice(start..start + self.order.size.min(self.pool.len() - 1))
    }
}

impl Seen {
    fn new() -> Result<Self, String> {
        let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        let latency = latency.map_err(|error| error.to_string())?;
        Ok(Self { latency, failed: 0, why: None })
    }

    fn note(&mut self, took: Duration, done: Result<(), String>) {
        match done {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(us.max(1));
            }
            Err(why) => {
                self.failed += 1;
                self.why.get_or_insert(why);
            }
        }
    }

    fn add(&mut self, other: &mut Self) -> Result<(), String> {
        self.latency.add(&other.latency).map_err(|error| error.to_string())?;
        self.failed += other.failed;
        self.why = self.why.take().or(other.why.take());
        Ok(())
    }

    fn json(&self, took: Duration, cpu_s: f64) -> Value {
        let at = |share: f64| self.latency.value_at_quantile(share);
        let curve: Vec<Value> = shares().map(|share| json!([share, at(share)])).collect();
        json!({
            "count": self.latency.len(),
            "perSecond": self.latency.len() as f64 / took.as_secs_f64(),
            "p50Us": at(0.5), "p99Us": at(0.99), "p999Us": at(0.999),
            "failed": self.failed, "why": self.why,
            "cpuS": cpu_s,
            "curve": curve,
        })
    }
}

/// The shares of requests whose latencies are drawn: five to each nine.
fn shares() -> impl Iterator<Item = f64> {
    (0..=20).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 5.0))
}
