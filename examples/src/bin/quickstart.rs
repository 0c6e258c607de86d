//! The main job from beginning to end: three nodes, real data loaded through the log, the leader
//! killed meanwhile, and every node asked for every key.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Client;
use examples::cluster::Cluster;
use examples::dataset::{self, Data};
use state_machine::{KvQuery, KvResponse};

/// How many keys are loaded unless told otherwise.
const KEYS: usize = 120_000;

/// How long the nodes may take to agree after the load.
const AGREE_TIMEOUT: Duration = Duration::from_secs(60);

const HELP: &str = "Starts three nodes, loads real data, kills the leader meanwhile, and verifies \
                    every key on every node.\n\nUsage: quickstart [--keys N]";

fn main() -> ExitCode {
    let keys = match keys(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(Some(keys)) => keys,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("error: {why}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(keys) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn keys(arguments: &[String]) -> Result<Option<usize>, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(Some(KEYS)),
        ["-h" | "--help"] => Ok(None),
        ["--keys", number] => match number.parse() {
            Ok(keys) if keys > 0 => Ok(Some(keys)),
            Ok(_) | Err(_) => Err(format!("--keys {number} is not a number above 0")),
        },
        _ => Err(format!("unknown argument: {}", words.join(" "))),
    }
}

fn run(keys: usize) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = dataset::collect(keys)?;
    let file = directory.path().join("data.tsv");
    dataset::write(&data, &file).map_err(|error| format!("{}: {error}", file.display()))?;
    say("data", &format!("{} lines of source of the crates that cargo downloaded", data.len()));

    let began = Instant::now();
    let cluster = Cluster::start(directory.path(), 3)?;
    say("cluster", &format!("three nodes, healthy after {:.2} s", began.elapsed().as_secs_f64()));

    let began = Instant::now();
    let mut load = cluster.raftctl()?;
    load.args(["kv", "load"]).arg(&file).stdin(Stdio::null());
    let mut load = load.spawn().map_err(|error| format!("cannot start raftctl: {error}"))?;
    let third = keys as u64 / 3;
    while cluster.commit().is_none_or(|commit| commit < third) {
        if let Some(ended) = load.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("the load ended before the leader was killed: {ended}"));
        }
    }
    let killed = cluster.kill_leader()?;
    let at = began.elapsed().as_secs_f64();
    say("killed", &format!("the leader, {killed}, by SIGKILL, {at:.2} s after the load began"));
    let ended = load.wait().map_err(|error| error.to_string())?;
    if !ended.success() {
        return Err(format!("the load failed: {ended}"));
    }
    let took = began.elapsed().as_secs_f64();
    let rate = keys as f64 / took;
    say(
        "loaded",
        &format!("{keys} keys in {took:.2} s, the failover included ({rate:.0} a second)"),
    );

    agree(&cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(verify(&cluster, &data))?;
    let shown = cluster.raftctl()?.arg("status").status().map_err(|error| error.to_string())?;
    cluster.stop()?;
    if shown.success() { Ok(()) } else { Err(format!("raftctl status: {shown}")) }
}

/// Waits until all nodes, also the one that was killed, have applied the same index.
fn agree(cluster: &Cluster) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let status = cluster.status().unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let applied = |node: &serde_json::Value| node["status"]["applied"].clone();
        let agree = nodes.iter().all(|node| applied(node) == status["commit"]);
        if status["health"] == "HEALTHY" && agree && nodes.len() == 3 {
            return Ok(());
        }
        if began.elapsed() > AGREE_TIMEOUT {
            return Err(format!("the nodes do not agree within {AGREE_TIMEOUT:?}: {status:#}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks every node for everything that it has, and compares.
async fn verify(cluster: &Cluster, data: &Data) -> Result<(), String> {
    let client = cluster.client()?;
    for (name, address) in cluster.nodes() {
        let found = everything(&client, &address).await?;
        for (key, value) in data {
            match found.get(key.as_bytes()) {
                Some(there) if there == value.as_bytes() => {}
                Some(_) => return Err(format!("{name} has another value for {key}")),
                None => return Err(format!("{name} does not have {key}")),
            }
        }
        if found.len() != data.len() {
            return Err(format!("{name} has {} keys, not {}", found.len(), data.len()));
        }
        say("verified", &format!("{name}: {} keys, every value as it was loaded", found.len()));
    }
    client.close().await;
    Ok(())
}

async fn everything(client: &Client, address: &str) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let mut found = BTreeMap::new();
    let mut after = Bytes::new();
    loop {
        let query = KvQuery::List { prefix: Bytes::new(), after, limit: 1_000 };
        let answer = client.query_of(address, query.encode()).await;
        let answer = answer.map_err(|error| format!("{address}: {error}"))?;
        let page = KvResponse::decode(&answer.response).map_err(|error| error.to_string())?;
        let KvResponse::Page { items, more } = page else {
            return Err(format!("{address} answers a list by {page:?}"));
        };
        after = items.last().map(|(key, _, _)| key.clone()).unwrap_or_default();
        found.extend(items.into_iter().map(|(key, value, _)| (key, value)));
        if !more {
            return Ok(found);
        }
    }
}

fn say(what: &str, text: &str) {
    println!("  {what:<10} {text}");
}
