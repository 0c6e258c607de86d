//! The clients: a process of its own on a host of its own, which asks without pause, writes down
//! what it was told, and says on stdout how it goes.
//!
//! It is told to stop by a line on stdin with the endpoints of all members. Then it reads every key
//! once more, through the cluster and from each member, and ends. If stdin ends without that line,
//! the harness has died, and so does this.

mod last;
mod session;
mod values;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Client, ClientConfig, Credentials};
use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Failure, Result, file};
use crate::history::{Action, Operation, Outcome};
use crate::random::Random;

/// How many workers share their connections.
const WORKERS_A_CLIENT: usize = 6;

/// How often it is told how it goes.
const TELL: Duration = Duration::from_millis(200);

/// How long a request may take with all retries.
const DEADLINE: Duration = Duration::from_secs(4);

/// What the process of the clients is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Addresses of nodes
    #[arg(long, value_delimiter = ',')]
    pub(crate) endpoints: Vec<String>,
    /// Where the operator's certificate lies
    #[arg(long)]
    pub(crate) credentials: PathBuf,
    /// Where the history goes
    #[arg(long)]
    pub(crate) history: PathBuf,
    /// What random choices follow from
    #[arg(long)]
    pub(crate) seed: u64,
    /// How many ask at the same time
    #[arg(long)]
    pub(crate) workers: usize,
}

/// What all workers have in common.
pub(crate) struct Shared {
    seed: u64,
    began_ns: u64,
    history: Mutex<(BufWriter<File>, BTreeSet<String>)>,
    stop: AtomicBool,
    /// Operations that have ended, by outcome.
    answered: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    /// When a command was answered last.
    acknowledged_ns: AtomicU64,
    /// How many commands were.
    acknowledged: AtomicU64,
}

/// Runs the clients until they are told to stop.
///
/// # Errors
/// If there is no socket, no certificate, or no room for the history.
pub(crate) fn run(options: &Options) -> Result<()> {
    let made = File::create(&options.history).map_err(file("cannot make", &options.history))?;
    let shared = Arc::new(Shared {
        seed: options.seed,
        began_ns: now_ns(),
        history: Mutex::new((BufWriter::new(made), BTreeSet::new())),
        stop: AtomicBool::new(false),
        answered: AtomicU64::new(0),
        unknown: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        acknowledged_ns: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
    });
    let members = listen(&shared);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Machine(error.to_string()))?;
    runtime.block_on(async {
        let mut workers = Vec::new();
        let mut random = Random::new(options.seed);
        for first in (0..options.workers).step_by(WORKERS_A_CLIENT) {
            let client = client(options, options.endpoints.clone())?;
            for number in first..(first + WORKERS_A_CLIENT).min(options.workers) {
                let (client, shared) = (client.clone(), Arc::clone(&shared));
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                workers.push(tokio::spawn(session::work(client, shared, number, random.fork())));
            }
        }
        let teller = tokio::spawn(tell(Arc::clone(&shared)));
        for worker in workers {
            worker.await.map_err(|error| Failure::Machine(error.to_string()))?;
        }
        teller.abort();
        let members = members.recv().unwrap_or_default();
        let client = client(options, members.clone())?;
        let keys = shared.keys();
        last::read_all(&client, &shared, &keys).await?;
        last::compare(&client, &members).await;
        shared.flush()
    })
}

fn client(options: &Options, endpoints: Vec<String>) -> Result<Client> {
    let credentials = Credentials::load_from(&options.credentials, "operator");
    let credentials = credentials.map_err(|error| Failure::Machine(error.to_string()))?;
    let connect_timeout = Duration::from_secs(1);
    Client::new(ClientConfig { endpoints, credentials, deadline: DEADLINE, connect_timeout })
        .map_err(|error| Failure::Machine(error.to_string()))
}

/// Waits in a thread of its own for the word to stop.
fn listen(shared: &Arc<Shared>) -> std::sync::mpsc::Receiver<Vec<String>> {
    let (tell, told) = std::sync::mpsc::channel();
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut line = String::new();
        // An error is the end as well.
        let read = std::io::stdin().lock().read_line(&mut line).unwrap_or(0);
        let Some(members) = line.strip_prefix("stop ").filter(|_| read > 0) else {
            std::process::exit(1);
        };
        // Nobody waits for it if the clients could not begin.
        let _ = tell.send(members.trim().split(',').map(str::to_owned).collect());
        shared.stop.store(true, Ordering::Relaxed);
    });
    told
}

/// Says again and again how it goes.
async fn tell(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(TELL).await;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (answered, unknown) = (of(&shared.answered), of(&shared.unknown));
        let (failed, acknowledged) = (of(&shared.failed), of(&shared.acknowledged));
        let at = of(&shared.acknowledged_ns);
        println!("progress {} {answered} {unknown} {failed} {acknowledged} {at}", now_ns());
    }
}

impl Shared {
    pub(crate) fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Writes an operation down.
    pub(crate) fn note(&self, operation: &Operation) {
        let counted = match operation.outcome {
            Outcome::Answered { .. } => &self.answered,
            Outcome::Unknown => &self.unknown,
            Outcome::Failed => &self.failed,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        let is_answered = matches!(operation.outcome, Outcome::Answered { .. });
        if is_answered && operation.action != Action::Get {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.acknowledged_ns.fetch_max(operation.returned_ns, Ordering::Relaxed);
        }
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        // A history that lost a line would accuse the cluster: rather no history at all.
        writeln!(history.0, "{}", operation.line()).expect("there is room for the history");
        if !history.1.contains(&operation.key) {
            history.1.insert(operation.key.clone());
        }
    }

    fn keys(&self) -> BTreeSet<String> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn flush(&self) -> Result<()> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.0.flush().map_err(|error| Failure::Machine(error.to_string()))
    }
}

/// Returns the time of the machine's monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
