//! Members and leaders change under a steady load of writes: how long writes wait for each change,
//! and that none which was acknowledged is missing afterwards.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, Consistency};
use examples::cluster::Cluster;
use fixtures::{Process, free_addresses, program};
use state_machine::{KvCommand, KvQuery, KvResponse};

/// How many write at a time.
const WRITERS: u64 = 8;

/// How long each step is watched after its end.
const AFTERWARDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cluster = Cluster::start(directory.path(), 3)?;
    let load = Load::start(&cluster)?;
    println!("{:<34} {:>9} {:>9} {:>12}", "STEP", "TOOK", "WRITES", "LONGEST GAP");
    step(&load, "nothing", || Ok(()))?;
    let free = free_addresses(3);
    let add = [format!("n4={}", free[0]), format!("n5={}", free[1])];
    let mut newcomers = Vec::new();
    prepare(&cluster, &add)?;
    for name in ["n4", "n5"] {
        newcomers.push(start(directory.path(), name));
    }
    step(&load, "3 -> 5 voters, one joint change", || {
        raftctl(&cluster, &words("member add", &add))
    })?;
    step(&load, "leadership handed over", || {
        raftctl(&cluster, &words("leader transfer", &["n2".into()]))
    })?;
    step(&load, "the leader killed with SIGKILL", || cluster.kill_leader().map(drop))?;
    lead(&cluster, "n3")?;
    step(&load, "the leader removed", || raftctl(&cluster, &words("member remove n3 --yes", &[])))?;
    lead(&cluster, "n1")?;
    newcomers.pop();
    let replacement = [format!("n6={}", free[2])];
    prepare(&cluster, &replacement)?;
    newcomers.push(start(directory.path(), "n6"));
    step(&load, "a dead voter replaced", || {
        raftctl(&cluster, &words("member replace n5", &replacement))
    })?;
    let acknowledged = load.finish();
    let missing = runtime()?.block_on(missing(&cluster, &acknowledged))?;
    drop(newcomers);
    cluster.stop()?;
    match missing {
        0 => {
            println!("all {} acknowledged writes are there", acknowledged.len());
            Ok(())
        }
        lost => Err(format!("{lost} of {} acknowledged writes are missing", acknowledged.len())),
    }
}

/// Does one thing under load, and prints what the writers saw of it.
fn step(load: &Load, what: &str, act: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (before, began) = (load.begin(), Instant::now());
    act().map_err(|why| format!("{what}: {why}"))?;
    let took = began.elapsed();
    std::thread::sleep(AFTERWARDS);
    let (writes, gap) = load.end(before);
    let took = format!("{} ms", took.as_millis());
    println!("{what:<34} {took:>9} {writes:>9} {:>12}", format!("{} ms", gap.as_millis()));
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())
}

fn words(verb: &str, more: &[String]) -> Vec<String> {
    verb.split(' ').map(str::to_owned).chain(more.iter().cloned()).collect()
}

fn raftctl(cluster: &Cluster, words: &[String]) -> Result<(), String> {
    let output = cluster.raftctl()?.args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Makes the bundles of new nodes.
fn prepare(cluster: &Cluster, nodes: &[String]) -> Result<(), String> {
    let mut words = words("member add --prepare-only", nodes);
    words.push("-q".into());
    raftctl(cluster, &words)
}

/// Lets a node lead, as soon as it can.
fn lead(cluster: &Cluster, name: &str) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match raftctl(cluster, &words("leader transfer", &[name.to_owned()])) {
            Err(why) if began.elapsed() > Duration::from_secs(30) => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
            Ok(()) => return Ok(()),
        }
    }
}

/// Starts a node that is none of those which `raftctl dev` started; dropping it kills it.
fn start(directory: &Path, name: &str) -> Process {
    let bundle = directory.join("cluster").join(format!("example-{name}"));
    let mut command = Command::new(program("raftd"));
    command.arg("--config").arg(bundle.join("raftd.toml"));
    Process::start(name, &mut command, &bundle.join("log"))
}

/// Writers on a thread of their own.
struct Load {
    pulse: Arc<Mutex<Pulse>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

/// What the writers saw.
struct Pulse {
    count: u64,
    last: Instant,
    gap: Duration,
}

impl Load {
    fn start(cluster: &Cluster) -> Result<Self, String> {
        let runtime = runtime()?;
        let client = {
            let _inside = runtime.enter();
            cluster.client()?
        };
        let pulse = Pulse { count: 0, last: Instant::now(), gap: Duration::ZERO };
        let pulse = Arc::new(Mutex::new(pulse));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (Arc::clone(&pulse), Arc::clone(&stop));
        let thread = std::thread::spawn(move || runtime.block_on(write_all(client, &seen, &ended)));
        Ok(Self { pulse, stop, thread })
    }

    fn pulse(&self) -> std::sync::MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn begin(&self) -> u64 {
        let mut pulse = self.pulse();
        pulse.gap = Duration::ZERO;
        pulse.count
    }

    fn end(&self, before: u64) -> (u64, Duration) {
        let pulse = self.pulse();
        (pulse.count - before, pulse.gap.max(pulse.last.elapsed()))
    }

    /// Stops the writers; returns the keys whose write was acknowledged.
    fn finish(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writers do not panic")
    }
}

async fn write_all(
    client: Client,
    pulse: &Arc<Mutex<Pulse>>,
    stop: &Arc<AtomicBool>,
) -> BTreeSet<String> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (client, pulse, stop) = (client.clone(), Arc::clone(pulse), Arc::clone(stop));
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let key = format!("{writer}/{number:08}");
                let put = KvCommand::Put { key: key.clone().into(), value: Bytes::new() };
                // What has no answer may or may not be there: it does not count.
                if client.propose(put.encode()).await.is_ok() {
                    acknowledged.push(key);
                    let mut pulse = pulse.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    pulse.count += 1;
                    pulse.gap = pulse.gap.max(pulse.last.elapsed());
                    pulse.last = Instant::now();
                }
            }
            acknowledged
        });
    }
    let mut all = BTreeSet::new();
    while let Some(Ok(acknowledged)) = writers.join_next().await {
        all.extend(acknowledged);
    }
    all
}

/// Counts the keys that are not there.
async fn missing(cluster: &Cluster, acknowledged: &BTreeSet<String>) -> Result<usize, String> {
    let client = cluster.client()?;
    let mut left = acknowledged.clone();
    let mut after = Bytes::new();
    loop {
        let query = KvQuery::List { prefix: Bytes::new(), after, limit: 1_000 };
        let answer = client.query(query.encode(), Consistency::Linearizable).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let page = KvResponse::decode(&answer.response).map_err(|error| error.to_string())?;
        let KvResponse::Page { items, more } = page else {
            return Err(format!("a list is answered by {page:?}"));
        };
        after = items.last().map(|(key, _, _)| key.clone()).unwrap_or_default();
        for (key, _, _) in &items {
            left.remove(&*String::from_utf8_lossy(key));
        }
        if !more {
            return Ok(left.len());
        }
    }
}
