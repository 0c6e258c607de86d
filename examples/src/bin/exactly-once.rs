//! Counts in a session while leaders are killed: each increment takes effect exactly once (§6.3),
//! so the counter ends at exactly their number, and each answer is that of one increment.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Answer, Client, ClientError, Consistency, Session};
use examples::arguments::Numbers;
use examples::cluster::Cluster;
use rustix::process::Signal;
use state_machine::{KvCommand, KvQuery, KvResponse};
use tokio::sync::Semaphore;

const HELP: &str = "Increments a counter in one session while the leader is killed again and again.

Usage: exactly-once [--increments 20000] [--kills 10] [--at-a-time 64]";

const KEY: &str = "counter";

/// How long the cluster may take to be healthy again, and an increment to be answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node is killed again only after so long: one that ended sooner, again and again, would be left
/// alone by `raftctl dev`.
const STABLE: Duration = Duration::from_secs(7);

/// What the increments have in common.
struct Count {
    session: Session,
    left: AtomicU64,
    /// Increments that may begin: a share for each kill, so that each meets some under way.
    begin: Semaphore,
    answered: AtomicU64,
    /// How often an outcome was asked for that was still unknown at the deadline.
    asked_again: AtomicU64,
    /// The longest that an increment took, in microseconds.
    longest_us: AtomicU64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let defaults = [("--increments", 20_000), ("--kills", 10), ("--at-a-time", 64)];
    let numbers = match Numbers::read(arguments.into_iter(), &defaults) {
        Ok(numbers) => numbers,
        Err(why) => {
            eprintln!("error: {why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&numbers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(numbers: &Numbers) -> Result<(), String> {
    let (increments, kills) = (numbers.get("--increments"), numbers.get("--kills"));
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cluster = Cluster::start(directory.path(), 3)?;
    let began = Instant::now();
    // The packets are moved by the runtime's thread while this one kills leaders.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let (at_a_time, client) = (numbers.get("--at-a-time"), {
        let _inside = runtime.enter();
        cluster.client()?
    });
    let (opened, open) = std::sync::mpsc::channel();
    let counting = std::thread::spawn(move || {
        runtime.block_on(async {
            let session =
                client.session("exactly-once").await.map_err(|error| error.to_string())?;
            let (left, zero) = (AtomicU64::new(increments), || AtomicU64::new(0));
            let (answered, asked_again, longest_us) = (zero(), zero(), zero());
            let begin = Semaphore::new(0);
            let count = Count { session, left, begin, answered, asked_again, longest_us };
            let count = Arc::new(count);
            // The other side waits for it, or has failed and says so.
            let _ = opened.send(Arc::clone(&count));
            count_all(&client, count, at_a_time).await
        })
    });
    let killed = match open.recv() {
        Ok(count) => {
            let killed = kill_leaders(&cluster, &count, increments, kills);
            if killed.is_err() {
                count.begin.close();
            }
            killed
        }
        // The thread says why.
        Err(_) => Ok(0),
    };
    let sums = counting.join().map_err(|_| "the counting thread panicked")?;
    let (killed, sums) = (killed?, sums?);
    if sums.answers != (1..=increments).collect() {
        let found = sums.answers.len();
        return Err(format!("{found} different answers to {increments} increments"));
    }
    if sums.counter != increments {
        return Err(format!("the counter is {}, not {increments}", sums.counter));
    }
    println!(
        "exactly {} after {killed} kills of the leader, {:.1} s; the longest increment took \
         {:.2} s; {} outcomes were asked for again",
        sums.counter,
        began.elapsed().as_secs_f64(),
        sums.longest_s,
        sums.asked_again
    );
    cluster.stop()
}

/// Kills the leader so many times, each time in the middle of a share of the increments; returns
/// how often.
fn kill_leaders(
    cluster: &Cluster,
    count: &Count,
    increments: u64,
    kills: u64,
) -> Result<u64, String> {
    let share = increments / (kills + 1);
    let rest = increments - share * kills;
    let answered = || count.answered.load(Ordering::Relaxed);
    let mut last: BTreeMap<String, Instant> = BTreeMap::new();
    for kill in 1..=kills {
        let name = wait(&format!("a leader before kill {kill}"), || {
            let is_stable = |name: &String| last.get(name).is_none_or(|at| at.elapsed() > STABLE);
            healthy_leader(cluster).filter(is_stable)
        })?;
        last.insert(name.clone(), Instant::now());
        count.begin.add_permits(usize::try_from(share).unwrap_or(Semaphore::MAX_PERMITS));
        let goal = (kill - 1) * share + share / 2;
        wait("increments", || (answered() >= goal).then_some(()))?;
        cluster.signal(&name, Signal::KILL)?;
        println!("kill {kill}: {name}, at {} of {} increments", answered(), kill * share);
    }
    count.begin.add_permits(usize::try_from(rest).unwrap_or(Semaphore::MAX_PERMITS));
    Ok(kills)
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("waited for {what} for {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the leader's name if all three nodes are there.
fn healthy_leader(cluster: &Cluster) -> Option<String> {
    let status = cluster.status()?;
    let healthy = status["health"] == "HEALTHY";
    status["leader"]["name"].as_str().filter(|_| healthy).map(ToOwned::to_owned)
}

/// What came of it.
struct Sums {
    answers: BTreeSet<u64>,
    counter: u64,
    asked_again: u64,
    longest_s: f64,
}

async fn count_all(client: &Client, count: Arc<Count>, at_a_time: u64) -> Result<Sums, String> {
    let workers: Vec<_> = (0..at_a_time).map(|_| tokio::spawn(work(Arc::clone(&count)))).collect();
    let mut answers = BTreeSet::new();
    for worker in workers {
        answers.extend(worker.await.map_err(|error| error.to_string())??);
    }
    let query = KvQuery::Get { key: KEY.into() }.encode();
    let counter = client.query(query, Consistency::Linearizable).await;
    let counter = sum(&counter.map_err(|error| error.to_string())?)?;
    count.session.clone().close().await.map_err(|error| error.to_string())?;
    client.close().await;
    let longest_s = Duration::from_micros(count.longest_us.load(Ordering::Relaxed)).as_secs_f64();
    Ok(Sums { answers, counter, longest_s, asked_again: count.asked_again.load(Ordering::Relaxed) })
}

async fn work(count: Arc<Count>) -> Result<Vec<u64>, String> {
    let mut sums = Vec::new();
    let take = |left: u64| left.checked_sub(1);
    while count.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        // It is closed if no leader could be killed.
        let Ok(begin) = count.begin.acquire().await else { break };
        begin.forget();
        let began = Instant::now();
        sums.push(sum(&increment(&count).await?)?);
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        count.longest_us.fetch_max(took, Ordering::Relaxed);
        count.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(sums)
}

/// Increments once, however often its outcome must be asked for.
async fn increment(count: &Count) -> Result<Answer, String> {
    let command = KvCommand::Increment { key: Bytes::from_static(KEY.as_bytes()), delta: 1 };
    let began = Instant::now();
    let mut ended = count.session.propose(command.encode()).await;
    loop {
        let error = match ended {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let ClientError::Unknown { sequence: Some(sequence), .. } = error else {
            return Err(error.to_string());
        };
        if began.elapsed() > PATIENCE {
            return Err(error.to_string());
        }
        count.asked_again.fetch_add(1, Ordering::Relaxed);
        ended = count.session.outcome(sequence).await;
    }
}

fn sum(answer: &Answer) -> Result<u64, String> {
    let response = KvResponse::decode(&answer.response).map_err(|error| error.to_string())?;
    let KvResponse::Value { value, .. } = response else {
        return Err(format!("answered with {response:?}"));
    };
    let digits = std::str::from_utf8(&value).ok().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("{value:?} is no number"))
}
