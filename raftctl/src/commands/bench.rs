//! `raftctl bench`: how many writes and reads a second, and how long each takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use client::{Client, ClientError, Consistency};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use state_machine::{KvCommand as Change, KvQuery};
use tokio::task::JoinSet;

use self::keys::{PREFIX, key};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::progress::Progress;
use crate::output::table::Rows;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::signals::Signals;
use crate::target::Target;
use crate::values::duration;

mod keys;

/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Requests of all clients in flight at a time.
const IN_FLIGHT_MAX: u32 = 65_536;

/// The largest values in one message, in bytes; what belongs to them is small.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;

/// The largest values of all requests in flight, in bytes.
const VALUE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How long a client pauses after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// What is measured, and how.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["writes", "reads", "mixed"]))]
pub(crate) struct BenchArgs {
    /// Puts [default]
    #[arg(long)]
    pub(crate) writes: bool,
    /// Linearizable gets
    #[arg(long)]
    pub(crate) reads: bool,
    /// Half puts, half linearizable gets
    #[arg(long)]
    pub(crate) mixed: bool,
    /// Clients at a time; each asks again when it has an answer
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) clients: u16,
    /// Requests that each client has in flight
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) pipeline: u16,
    /// Puts that go in one message, and are answered together
    #[arg(long, value_name = "COUNT", default_value_t = 1, conflicts_with_all = ["reads", "mixed"])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) batch: u16,
    /// Connections that the clients share
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    /// The size of values, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_044_480))]
    pub(crate) size: u32,
    /// The number of keys
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) keys: u32,
    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// Reads what any node has applied, however old
    #[arg(long)]
    pub(crate) stale: bool,
    /// Leaves the bench's keys in the cluster
    #[arg(long)]
    pub(crate) keep: bool,
    /// Says what would be done, and does nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What one kind of operation took.
struct Measured {
    latency: Histogram<u64>,
    failed: u64,
    unknown: u64,
    /// One failure, for people.
    why: Option<String>,
}

/// Both kinds.
#[derive(Default)]
struct Measures {
    writes: Measured,
    reads: Measured,
}

impl Default for Measured {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        let latency = latency.expect("the bounds are valid");
        Self { latency, failed: 0, unknown: 0, why: None }
    }
}

impl Measured {
    fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("the bounds are equal");
        self.failed += other.failed;
        self.unknown += other.unknown;
        if self.why.is_none() {
            self.why.clone_from(&other.why);
        }
    }
}

/// What all clients share.
struct Plan {
    args: BenchArgs,
    value: Bytes,
    stop: AtomicBool,
    measuring: AtomicBool,
}

/// Refuses what does not fit into a message, or into memory: each request holds its values.
fn check_bytes(args: &BenchArgs) -> Result<()> {
    let refused = |what: &str, bytes: u64, most: u64| {
        let message = format!("{what}: {}, {} at most", units::size(bytes), units::size(most));
        Err(Report::new(codes::USAGE, message))
    };
    let message = u64::from(args.batch) * u64::from(args.size);
    if message > MESSAGE_BYTES_MAX && args.batch > 1 {
        return refused("--batch times --size is a message", message, MESSAGE_BYTES_MAX);
    }
    let requests = u64::from(args.clients) * u64::from(args.pipeline);
    let all = if args.reads { 0 } else { requests * message };
    if all > VALUE_BYTES_MAX {
        return refused("all values in flight", all, VALUE_BYTES_MAX);
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// If the cluster cannot be reached when it begins.
pub(crate) async fn run(invocation: &Invocation, args: BenchArgs) -> Result<()> {
    let in_flight = u32::from(args.clients) * u32::from(args.pipeline);
    if in_flight > IN_FLIGHT_MAX {
        let message = format!("{in_flight} requests in flight, {IN_FLIGHT_MAX} at most");
        return Err(Report::new(codes::USAGE, message));
    }
    check_bytes(&args)?;
    let mut signals = Signals::catch()?;
    let target = invocation.target()?;
    if args.dry_run {
        let text = format!(
            "would run {} clients for {:?} on {} keys \"{PREFIX}..\", and delete them afterwards\n",
            args.clients, args.duration, args.keys
        );
        let data = json!({
            "clients": args.clients, "keys": args.keys, "sizeBytes": args.size,
            "durationMs": u64::try_from(args.duration.as_millis()).unwrap_or(u64::MAX),
        });
        let view = View { kind: "Plan", data, text: text.into_bytes(), ..View::default() };
        return invocation.output.answer(&view);
    }
    let clients = (0..args.connections)
        .map(|_| target.client(invocation.global.timeout))
        .collect::<Result<Vec<Client>>>()?;
    let plan = Arc::new(Plan {
        value: random_value(args.size)?,
        stop: AtomicBool::new(false),
        measuring: AtomicBool::new(false),
        args,
    });
    let reads = plan.args.reads || plan.args.mixed;
    let made = (plan.args.keys, &plan.value);
    let prepared = tokio::select! {
        prepared = keys::prepare(&invocation.output, &clients[0], made, reads) => prepared,
        stop = signals.stopped() => Err(Report::quiet(stop.exit())),
    };
    let ended = match prepared {
        Ok(()) => match measure(invocation, &clients, &plan, signals).await {
            Ok((measures, took, stopped)) => {
                // What was measured is told before anything else can go wrong.
                let answer = view(invocation, &target, &plan.args, &measures, took);
                let stopped = stopped.map_or(Ok(()), |stop| Err(Report::quiet(stop.exit())));
                invocation.output.answer(&answer).and(stopped)
            }
            Err(report) => Err(report),
        },
        // A single put that failed leaves nothing.
        Err(report) if report.code.is_some() && !reads => return Err(report),
        Err(report) => {
            // From here on a signal ends the program at once.
            drop(signals);
            Err(report)
        }
    };
    let removed = match plan.args.keep {
        true => Ok(()),
        false => keys::remove(&invocation.output, &clients[0], plan.args.keys).await,
    };
    for client in &clients {
        client.close().await;
    }
    // What went wrong first is the reason of what follows.
    ended.and(removed)
}

type Outcome = (Measures, Duration, Option<crate::signals::Stop>);

async fn measure(
    invocation: &Invocation,
    clients: &[Client],
    plan: &Arc<Plan>,
    mut signals: Signals,
) -> Result<Outcome> {
    let mut running = JoinSet::new();
    for number in 0..plan.args.clients {
        let client = &clients[usize::from(number) % clients.len()];
        for lane in 0..plan.args.pipeline {
            let number = u64::from(number) << 16 | u64::from(lane);
            running.spawn(operate(client.clone(), Arc::clone(plan), number));
        }
    }
    let mut stopped = wait(plan.args.warmup, &mut signals, None).await;
    plan.measuring.store(true, Ordering::Relaxed);
    let began = Instant::now();
    if stopped.is_none() {
        let total = u64::try_from(plan.args.duration.as_millis()).unwrap_or(u64::MAX);
        let progress = Progress::new(&invocation.output, "ms", total);
        stopped = wait(plan.args.duration, &mut signals, Some(progress)).await;
    }
    let took = began.elapsed();
    // From here on nothing waits for a signal: it ends the program at once.
    drop(signals);
    plan.measuring.store(false, Ordering::Relaxed);
    plan.stop.store(true, Ordering::Relaxed);
    let mut all = Measures::default();
    while let Some(joined) = running.join_next().await {
        let one = joined.map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        all.writes.add(&one.writes);
        all.reads.add(&one.reads);
    }
    Ok((all, took, stopped))
}

/// Waits, and shows for how long already.
async fn wait(
    duration: Duration,
    signals: &mut Signals,
    mut progress: Option<Progress>,
) -> Option<crate::signals::Stop> {
    let began = Instant::now();
    loop {
        let left = duration.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(Duration::from_millis(200))) => {}
            stop = signals.stopped() => return Some(stop),
        }
        if let Some(progress) = &mut progress {
            progress.set(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "");
        }
    }
    if let Some(progress) = progress {
        progress.finish();
    }
    None
}

/// One request in flight of a client: asks, waits, asks again.
async fn operate(client: Client, plan: Arc<Plan>, number: u64) -> Measures {
    let mut measures = Measures::default();
    // A generator of its own, so that runs are alike.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while !plan.stop.load(Ordering::Relaxed) {
        let reads = plan.args.reads || (plan.args.mixed && draw(&mut state) & (1 << 40) != 0);
        let began = Instant::now();
        let ended = if reads {
            vec![plan.get(&client, &mut state).await]
        } else if plan.args.batch == 1 {
            vec![client.propose(plan.put(&mut state)).await.map(drop)]
        } else {
            let puts = (0..plan.args.batch).map(|_| plan.put(&mut state)).collect();
            client.propose_all(puts).await.into_iter().map(|one| one.map(drop)).collect()
        };
        let took = began.elapsed();
        let failed = ended.iter().any(std::result::Result::is_err);
        if plan.measuring.load(Ordering::Relaxed) {
            let measured = if reads { &mut measures.reads } else { &mut measures.writes };
            ended.into_iter().for_each(|one| measured.note(one, took));
        }
        if failed {
            // Nobody goes round without waiting, whatever fails at once.
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
    measures
}

impl Plan {
    fn key(&self, state: &mut u64) -> Bytes {
        key(u32::try_from(draw(state) % u64::from(self.args.keys)).unwrap_or(0))
    }

    fn put(&self, state: &mut u64) -> Bytes {
        Change::Put { key: self.key(state), value: self.value.clone() }.encode()
    }

    async fn get(&self, client: &Client, state: &mut u64) -> std::result::Result<(), ClientError> {
        let how = match self.args.stale {
            true => Consistency::Stale,
            false => Consistency::Linearizable,
        };
        client.query(KvQuery::Get { key: self.key(state) }.encode(), how).await.map(drop)
    }
}

/// Draws a number (xorshift).
fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

impl Measured {
    /// Notes how a request ended, or one put of a message that took so long.
    fn note(&mut self, ended: std::result::Result<(), ClientError>, took: Duration) {
        let Err(error) = ended else {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            return self.latency.saturating_record(us.max(1));
        };
        match &error {
            ClientError::Unknown { .. } => self.unknown += 1,
            ClientError::Unreachable { .. }
            | ClientError::NoLeader { .. }
            | ClientError::Lagging { .. }
            | ClientError::Busy { .. }
            | ClientError::Refused(_)
            | ClientError::Unexpected { .. }
            | ClientError::SessionExpired { .. }
            | ClientError::AnswerNotKept { .. }
            | ClientError::WindowFull { .. }
            | ClientError::NotWaiting { .. }
            | ClientError::Behind { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Invalid(_)
            | ClientError::Ended(_)
            | ClientError::Endpoint(_) => self.failed += 1,
        }
        self.why.get_or_insert_with(|| error.to_string());
    }
}

fn random_value(size: u32) -> Result<Bytes> {
    let mut value = vec![0; size as usize];
    getrandom::fill(&mut value)
        .map_err(|error| Report::new(codes::INTERNAL, format!("randomness: {error}")))?;
    Ok(value.into())
}

fn view(
    invocation: &Invocation,
    target: &Target,
    args: &BenchArgs,
    measures: &Measures,
    took: Duration,
) -> View {
    let header = ["OPERATION", "COUNT", "OPS/S", "P50", "P99", "P99.9", "MAX", "FAILED", "UNKNOWN"];
    let mut rows = Rows::new(&header);
    let mut items = Vec::new();
    let mut warnings = Vec::new();
    for (name, measured) in [("put", &measures.writes), ("get", &measures.reads)] {
        if measured.latency.is_empty() && measured.failed + measured.unknown == 0 {
            continue;
        }
        let per_second = measured.latency.len() as f64 / took.as_secs_f64().max(1e-6);
        let at = |quantile: f64| measured.latency.value_at_quantile(quantile);
        let ms = |us: u64| format!("{:.2} ms", us as f64 / 1_000.0);
        rows.push(vec![
            name.to_owned(),
            units::count(measured.latency.len()),
            units::count(per_second as u64),
            ms(at(0.5)),
            ms(at(0.99)),
            ms(at(0.999)),
            ms(measured.latency.max()),
            measured.failed.to_string(),
            measured.unknown.to_string(),
        ]);
        items.push(item(name, measured, per_second));
        warnings.extend(measured.why.iter().map(|why| format!("{name}: {why}")));
    }
    View {
        kind: "Bench",
        data: json!({
            "cluster": target.name,
            "clients": args.clients,
            "pipeline": args.pipeline,
            "batch": args.batch,
            "connections": args.connections,
            "sizeBytes": args.size,
            "keys": args.keys,
            "measuredMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "operations": items,
        }),
        text: rows.render(invocation.output.headers).into_bytes(),
        names: Vec::new(),
        warnings,
    }
}

fn item(name: &str, measured: &Measured, per_second: f64) -> Value {
    let at = |quantile: f64| measured.latency.value_at_quantile(quantile);
    json!({
        "operation": name,
        "count": measured.latency.len(),
        "perSecond": (per_second * 10.0).round() / 10.0,
        "meanUs": measured.latency.mean().round(),
        "p50Us": at(0.5),
        "p90Us": at(0.9),
        "p99Us": at(0.99),
        "p999Us": at(0.999),
        "maxUs": measured.latency.max(),
        "failed": measured.failed,
        "unknown": measured.unknown,
    })
}
