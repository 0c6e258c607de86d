//! What a follower that is far behind costs the others: three nodes, one of them stopped while a
//! million entries are written, then killed and started again. It catches up by a snapshot while
//! writes go on; their latency is compared with that just before, in the same run. That takes 20 s
//! unless told otherwise: in less the nodes have not compacted what the filling has left behind.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Client;
use examples::arguments::Numbers;
use examples::cluster::Cluster;
use rustix::process::Signal;
use state_machine::KvCommand;
use tokio::task::JoinSet;
use tokio::time::sleep;

const HELP: &str = "Measures writes while a follower that is far behind catches up by snapshot.\n\n\
                    Usage: catch-up [--entries N] [--bytes SIZE] [--clients N] [--seconds N]";

/// How many times as long a write may take at the 99th percentile from the follower's start until
/// it has caught up, by what it takes before.
const RATIO_MAX: f64 = 2.0;

/// The follower may take so long to catch up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(600);

/// Clients that write as fast as they can, to fall behind in little time.
const FILLERS: u64 = 256;

/// A follower has caught up when it lacks no more entries than this.
const LAG_MAX: u64 = 1_000;

fn main() -> ExitCode {
    let defaults =
        [("--entries", 1_000_000), ("--bytes", 256), ("--clients", 16), ("--seconds", 20)];
    let numbers = match Numbers::read(std::env::args().skip(1), &defaults) {
        Ok(numbers) => numbers,
        Err(why) => {
            eprintln!("{why}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(measure(&numbers)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(numbers: &Numbers) -> Result<(), String> {
    let (entries, bytes) = (numbers.get("--entries"), numbers.get("--bytes"));
    let (clients, seconds) = (numbers.get("--clients"), numbers.get("--seconds"));
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cluster = Cluster::start(directory.path(), 3)?;
    let client = cluster.client()?;
    let status = cluster.status().ok_or("there is no status")?;
    let leader = status["leader"]["name"].as_str().unwrap_or_default().to_owned();
    let nodes = cluster.nodes();
    let (follower, address) =
        nodes.iter().find(|(name, _)| *name != leader).ok_or("there is no follower")?;
    cluster.signal(follower, Signal::STOP)?;
    let began = Instant::now();
    let fill = Load::start(&client, FILLERS, bytes);
    while fill.written() < entries {
        sleep(Duration::from_millis(50)).await;
    }
    let lacks = fill.finish().await?.writes;
    let took = began.elapsed().as_secs_f64();
    println!("behind      {follower} is stopped and lacks {lacks} entries ({took:.0} s)");

    let load = Load::start(&client, clients, bytes);
    sleep(Duration::from_secs(seconds)).await;
    let before = load.finish().await?;
    println!("before      {before}");

    let load = Load::start(&client, clients, bytes);
    let began = Instant::now();
    // `raftctl dev` starts it again.
    cluster.signal(follower, Signal::KILL)?;
    let mut by_snapshot = false;
    loop {
        sleep(Duration::from_millis(50)).await;
        if let Ok(status) = client.status_of(address).await {
            by_snapshot |= status.first > 1;
            let goal = lacks as u64 + load.written();
            if status.applied + LAG_MAX >= goal && status.leader.is_some() {
                break;
            }
        }
        if began.elapsed() > CATCH_UP_TIMEOUT {
            return Err(format!("{follower} does not catch up within {CATCH_UP_TIMEOUT:?}"));
        }
    }
    let took = began.elapsed().as_secs_f64();
    let during = load.finish().await?;
    let how = if by_snapshot { "by a snapshot and the log behind it" } else { "by the log" };
    println!("caught up   {follower}, {how}, {took:.1} s after its start");
    println!("during      {during}");
    // Before, two nodes share the machine, and three from now on; but by now they also compact what
    // one of them has caught up with.
    let load = Load::start(&client, clients, bytes);
    sleep(Duration::from_secs(seconds)).await;
    let after = load.finish().await?;
    println!("after       {after}");
    let to = |other: &Measured| during.p99.as_secs_f64() / other.p99.as_secs_f64();
    let ratio = to(&before);
    println!("ratio       p99 {ratio:.2} to before, {:.2} to after", to(&after));
    client.close().await;
    cluster.stop()?;
    if !by_snapshot {
        return Err("it caught up by the log alone: more entries must be missing".to_owned());
    }
    if ratio > RATIO_MAX {
        return Err(format!("the p99 of writes was {ratio:.2} times as long, {RATIO_MAX} at most"));
    }
    Ok(())
}

/// Clients that write, one request each at a time.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    writers: JoinSet<Result<Vec<Write>, String>>,
    began: Instant,
}

/// When a write ended, and how long it took.
type Write = (Instant, Duration);

/// What was measured of a load.
struct Measured {
    writes: usize,
    seconds: f64,
    p50: Duration,
    p99: Duration,
    max: Duration,
    /// The fewest writes that ended in one of the whole seconds.
    fewest: usize,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |took: Duration| took.as_secs_f64() * 1_000.0;
        let rate = self.writes as f64 / self.seconds;
        let (p50, p99, max, fewest) = (ms(self.p50), ms(self.p99), ms(self.max), self.fewest);
        write!(
            f,
            "{rate:.0} writes a second ({fewest} in the slowest), p50 {p50:.2} ms, \
             p99 {p99:.2} ms, max {max:.1} ms"
        )
    }
}

impl Load {
    fn start(client: &Client, clients: u64, bytes: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (next, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut writers = JoinSet::new();
        for _ in 0..clients {
            let (client, stop, next) = (client.clone(), Arc::clone(&stop), Arc::clone(&next));
            let written = Arc::clone(&written);
            writers.spawn(async move {
                let mut writes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let command = put(number, bytes);
                    let began = Instant::now();
                    client.propose(command).await.map_err(|error| error.to_string())?;
                    let ended = Instant::now();
                    writes.push((ended, ended - began));
                    written.fetch_add(1, Ordering::Relaxed);
                }
                Ok(writes)
            });
        }
        Self { stop, written, writers, began: Instant::now() }
    }

    /// Returns how many writes are acknowledged so far.
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    async fn finish(mut self) -> Result<Measured, String> {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let mut all = Vec::new();
        let mut by_second = vec![0; seconds as usize];
        while let Some(writer) = self.writers.join_next().await {
            for (ended, took) in writer.map_err(|error| error.to_string())?? {
                all.push(took);
                let second = (ended - self.began).as_secs() as usize;
                if let Some(count) = by_second.get_mut(second) {
                    *count += 1;
                }
            }
        }
        let fewest = by_second.into_iter().min().unwrap_or(all.len());
        all.sort_unstable();
        let at = |share: f64| {
            let place = (all.len() as f64 * share) as usize;
            all.get(place.min(all.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        Ok(Measured { writes: all.len(), seconds, p50, p99, max, fewest })
    }
}

/// A put of a key among a million, with a value that does not compress.
fn put(number: u64, bytes: u64) -> Bytes {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let key = Bytes::from(format!("key-{:07}", (word >> 20) % 1_000_000));
    let value: Vec<u8> = (0..bytes)
        .map(|_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()[3]
        })
        .collect();
    KvCommand::Put { key, value: value.into() }.encode()
}
