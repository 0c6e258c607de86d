//! What others can make a node keep in memory, and whether it serves everybody else meanwhile: real
//! processes, one fresh cluster for each case, and a table of limits and what was measured.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Client, Consistency};
use fixtures::load::{Load, put};
use fixtures::{Back, Cluster, Relay, Strangers, reason, resident_bytes};
use rustix::process::Signal;
use state_machine::KvQuery;
use tokio::task::JoinSet;
use tokio::time::sleep;

const HELP: &str =
    "Measures what others can make a node keep in memory, and whether it serves meanwhile.

Usage: limits [--only NAME] [--seconds N] [--clients N]

  --only NAME    one case: unread, connections, idle, sessions, handshakes, dead, slow, snapshot
  --seconds N    how long each load goes on (default 10)
  --clients N    how many idle clients there are (default 10000)";

const MIB: u64 = 1 << 20;

/// How often an idle client tries to connect: this process is busy with the others.
const TRIES: usize = 5;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What a node may have in memory beyond what it had before, by case.
const UNREAD_BYTES_MAX: u64 = 64 * MIB;
const CONNECTIONS_BYTES_MAX: u64 = 128 * MIB;
const IDLE_CLIENT_BYTES_MAX: u64 = 100 << 10;
const SESSIONS_BYTES_MAX: u64 = 32 * MIB;
const HANDSHAKES_BYTES_MAX: u64 = 64 * MIB;

/// What the caches and queues of the default configuration add up to: the log's cache, what is
/// applied and not flushed, what waits for a follower, and RocksDB's own.
const LOADED_BYTES_MAX: u64 = 384 * MIB;

/// What is asked for.
struct Asked {
    only: Option<String>,
    seconds: u64,
    clients: usize,
}

/// A line of the table.
struct Line {
    what: String,
    limit: String,
    measured: String,
    ok: bool,
}

fn main() -> ExitCode {
    let asked = match Asked::read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(measure(&asked)));
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self { only: None, seconds: 10, clients: 10_000 };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || match value.parse::<u64>() {
                Ok(number) if (1..=60_000).contains(&number) => Ok(number),
                Ok(_) | Err(_) => Err(format!("{name} {value} is not a number from 1 to 60000")),
            };
            match name.as_str() {
                "--only" if CASES.contains(&value.as_str()) => asked.only = Some(value),
                "--only" => return Err(format!("no case is called {value}")),
                "--seconds" => asked.seconds = number()?,
                "--clients" => asked.clients = number()? as usize,
                _ => return Err(format!("unknown argument: {name}")),
            }
        }
        Ok(asked)
    }
}

const CASES: [&str; 8] =
    ["unread", "connections", "idle", "sessions", "handshakes", "dead", "slow", "snapshot"];

/// Goes through the cases; says whether all are as they should be.
async fn measure(asked: &Asked) -> Result<bool, String> {
    println!("{:<44}{:<30}{:<56}ok", "case", "limit", "measured");
    let mut fine = true;
    for case in CASES {
        if asked.only.as_deref().is_some_and(|only| only != case) {
            continue;
        }
        let lines = match case {
            "unread" => vec![unread().await?],
            "connections" => vec![connections().await?],
            "idle" => vec![idle(asked.clients).await?],
            "sessions" => vec![sessions().await?],
            "handshakes" => handshakes().await?,
            "dead" => vec![loaded(asked.seconds, Trouble::Dead).await?],
            "slow" => vec![loaded(asked.seconds, Trouble::Slow).await?],
            _ => vec![loaded(asked.seconds, Trouble::Snapshot).await?],
        };
        for Line { what, limit, measured, ok } in lines {
            fine &= ok;
            println!("{what:<44}{limit:<30}{measured:<56}{}", if ok { "yes" } else { "NO" });
        }
    }
    Ok(fine)
}

/// The most that processes have in memory while this value lives.
struct Peak {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    before: u64,
}

impl Peak {
    fn of(pids: Vec<u32>) -> Self {
        let largest = move || pids.iter().map(|pid| resident_bytes(*pid)).max().unwrap_or(0);
        let before = largest();
        let (most, ended) = (Arc::new(AtomicU64::new(before)), Arc::new(AtomicBool::new(false)));
        let (seen, end) = (Arc::clone(&most), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                seen.fetch_max(largest(), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        Self { most, ended, thread: Some(thread), before }
    }

    /// Ends looking; returns a line about what was seen.
    fn line(mut self, what: &str, bytes_max: u64, (also, fine): (&str, bool)) -> Line {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has panicked if a node has died: then nothing is fine.
            if thread.join().is_err() {
                self.most.store(u64::MAX, Ordering::Relaxed);
            }
        }
        let most = self.most.load(Ordering::Relaxed);
        let more = most.saturating_sub(self.before);
        Line {
            what: what.to_owned(),
            limit: format!("{} MiB more", bytes_max / MIB),
            measured: format!("{} -> {} MiB{also}", self.before / MIB, most / MIB),
            ok: more <= bytes_max && fine,
        }
    }
}

fn said(error: &client::ClientError) -> String {
    reason(error)
}

/// 1,500 gets of 1 MB, by a client whose answers get lost on the way while it is heard itself.
async fn unread() -> Result<Line, String> {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    put(&client, "large", &"x".repeat(1_000_000)).await.map_err(|e| said(&e))?;
    let leader = cluster.leader().await;
    let (node, relay) = (&cluster.nodes[leader], Relay::to(&cluster.nodes[leader].address));
    let idle = cluster.reader("idle", &relay.address);
    idle.status_of(&relay.address).await.map_err(|e| said(&e))?;
    let peak = Peak::of(vec![node.pid()]);
    relay.pass_back(Back::Short(100));
    let mut asking = JoinSet::new();
    for _ in 0..1_500 {
        let (client, query) = (idle.clone(), KvQuery::Get { key: "large".into() }.encode());
        asking.spawn(async move { client.query(query, Consistency::Stale).await.is_ok() });
    }
    let slowest = slowest_put(&client, Duration::from_secs(5)).await?;
    let also = format!(", slowest put of another {} ms", slowest.as_millis());
    Ok(peak.line("1,500 gets of 1 MB that nobody reads", UNREAD_BYTES_MAX, (&also, true)))
}

/// One reader opens 1,024 connections; the operator looks and writes.
async fn connections() -> Result<Line, String> {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[leader];
    let peak = Peak::of(vec![node.pid()]);
    let mut guests = Vec::new();
    // A few at a time: what is too much for this process at once tells nothing of the node.
    for _ in 0..1_024 / 32 {
        let mut dialling = JoinSet::new();
        for _ in 0..32 {
            let (guest, address) = (cluster.reader("crowd", &node.address), node.address.clone());
            dialling.spawn(async move { (guest.status_of(&address).await.is_ok(), guest) });
        }
        guests.extend(dialling.join_all().await);
    }
    let seated = guests.iter().filter(|(seated, _)| *seated).count();
    let operator = cluster.client_of(&[leader], Duration::from_secs(10));
    let looked = operator.status_of(&node.address).await;
    let wrote = put(&operator, "key", "value").await;
    let fine = seated <= 256 && looked.is_ok() && wrote.is_ok();
    let also = format!(", {seated} seated, operator served: {}", looked.is_ok() && wrote.is_ok());
    Ok(peak.line("1,024 connections of one reader", CONNECTIONS_BYTES_MAX, (&also, fine)))
}

/// Clients that connect and say nothing more.
async fn idle(count: usize) -> Result<Line, String> {
    let mut cluster = Cluster::prepare(1);
    let port = cluster.nodes[0].address.rsplit(':').next().unwrap_or_default().to_owned();
    cluster.nodes[0].configure(&format!(
        "[limits]\nconnections_max = {0}\nconnections_per_identity_max = {0}\n",
        (count + 16).min(65_536)
    ));
    let file = cluster.nodes[0].directory.join("raftd.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let text = text.replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    let client = cluster.client();
    let crowd = cluster.reader("crowd", &cluster.nodes[0].address);
    let peak = Peak::of(vec![cluster.nodes[0].pid()]);
    let mut connected = 0;
    // All of 127/8 is this machine, and each address is another node to the client.
    for first in (0..count).step_by(100) {
        let mut dialling = JoinSet::new();
        for number in first..(first + 100).min(count) {
            let [.., a, b, c] = (number as u32 + 2).to_be_bytes();
            let (crowd, address) = (crowd.clone(), format!("127.{a}.{b}.{c}:{port}"));
            dialling.spawn(async move {
                for _ in 0..TRIES {
                    if crowd.status_of(&address).await.is_ok() {
                        return true;
                    }
                }
                false
            });
        }
        connected += dialling.join_all().await.into_iter().filter(|connected| *connected).count();
    }
    let slowest = slowest_put(&client, Duration::from_secs(5)).await?;
    let also = format!(", {connected} connected, slowest put {} ms", slowest.as_millis());
    let bytes_max = IDLE_CLIENT_BYTES_MAX * count as u64;
    let fine = connected * 100 >= count * 99;
    Ok(peak.line(&format!("{count} idle clients"), bytes_max, (&also, fine)))
}

/// Sessions whose clients vanish.
async fn sessions() -> Result<Line, String> {
    let cluster = Cluster::start(3).await;
    let peak = Peak::of(cluster.nodes.iter().map(fixtures::Node::pid).collect());
    let mut opened = 0;
    for first in (0..1_000).step_by(50) {
        let mut opening = JoinSet::new();
        let client = cluster.client();
        for number in first..first + 50 {
            let client = client.clone();
            opening.spawn(async move { client.session(&format!("s{number}")).await.is_ok() });
        }
        opened += opening.join_all().await.into_iter().filter(|opened| *opened).count();
    }
    let slowest = slowest_put(&cluster.client(), Duration::from_secs(2)).await?;
    let also = format!(", {opened} opened, slowest put {} ms", slowest.as_millis());
    Ok(peak.line("1,000 vanished sessions", SESSIONS_BYTES_MAX, (&also, opened == 1_000)))
}

/// Handshakes that are begun and never go on, at several rates.
async fn handshakes() -> Result<Vec<Line>, String> {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[leader];
    let client = cluster.client();
    let dialler = cluster.reader("nobody", &node.address);
    let strangers = Strangers::prepare(&dialler, 6_000).await;
    let term = client.status_of(&node.address).await.map_err(|e| said(&e))?.term;
    let mut lines = Vec::new();
    for per_s in [100, 400, 2_000] {
        let peak = Peak::of(vec![node.pid()]);
        let flood = strangers.flood(&node.address, per_s);
        sleep(Duration::from_secs(2)).await;
        let mut got_in = 0;
        for _ in 0..3 {
            let newcomer = cluster.client_of(&[leader], Duration::from_secs(5));
            got_in += u32::from(newcomer.status_of(&node.address).await.is_ok());
            newcomer.close().await;
        }
        let slowest = slowest_put(&client, Duration::from_secs(3)).await?;
        let sent = flood.sent();
        drop(flood);
        let now = client.status_of(&node.address).await.map_err(|e| said(&e))?.term;
        let also =
            format!(", {got_in} of 3 in, {sent} sent, slowest put {} ms", slowest.as_millis());
        let fine = got_in == 3 && now == term;
        let what = format!("{per_s} half-open handshakes a second");
        lines.push(peak.line(&what, HANDSHAKES_BYTES_MAX, (&also, fine)));
    }
    Ok(lines)
}

/// What goes on beside a full load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Dead,
    Slow,
    Snapshot,
}

/// Writes as fast as possible while a follower is dead or stands, or snapshots are taken.
async fn loaded(seconds: u64, trouble: Trouble) -> Result<Line, String> {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let pids = (0..3).filter(|place| *place != follower).map(|place| cluster.nodes[place].pid());
    let peak = Peak::of(pids.collect());
    match trouble {
        Trouble::Dead => cluster.nodes[follower].kill(),
        Trouble::Slow => cluster.nodes[follower].signal(Signal::STOP),
        Trouble::Snapshot => {}
    }
    let load = Load::start(&cluster, 64);
    let (began, mut taken) = (Instant::now(), 0);
    let client = cluster.client();
    while began.elapsed() < Duration::from_secs(seconds) {
        sleep(Duration::from_millis(500)).await;
        if trouble == Trouble::Snapshot {
            taken += u32::from(cluster.take_snapshot(&client, leader).await);
        }
    }
    let writes = load.finish().await.acknowledged.len();
    if trouble == Trouble::Slow {
        cluster.nodes[follower].signal(Signal::CONT);
    }
    let what = match trouble {
        Trouble::Dead => "full load, a follower is dead",
        Trouble::Slow => "full load, a follower stands",
        Trouble::Snapshot => "full load, snapshots are taken",
    };
    let also = match trouble {
        Trouble::Snapshot => format!(", {taken} snapshots, {writes} keys written"),
        Trouble::Dead | Trouble::Slow => format!(", {writes} keys written"),
    };
    let fine = trouble != Trouble::Snapshot || taken > 0;
    Ok(peak.line(what, LOADED_BYTES_MAX, (&also, fine)))
}

/// Puts one after the other for a while; returns how long the slowest took.
async fn slowest_put(client: &Client, during: Duration) -> Result<Duration, String> {
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < during {
        let asked = Instant::now();
        put(client, "small", "value").await.map_err(|e| said(&e))?;
        slowest = slowest.max(asked.elapsed());
    }
    Ok(slowest)
}
