//! `raftctl kv load`: many puts from a file, pipelined and resumable.
//!
//! The whole file is checked before anything is sent. All puts belong to one session, so that one
//! whose outcome is unknown is repeated and still takes effect once: it never comes back over what
//! somebody else has written since. Two lines with the same key are never under way at the same
//! time, so the later one wins, as in the file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use client::{Client, ClientError, Session as ClientSession};
use serde_json::json;
use state_machine::{KvCommand as Change, KvResponse};
use tokio::task::JoinSet;

use self::lines::{Line, Source};
use crate::cli::duration;
use crate::codes;
use crate::commands::kv::{decode, unexpected};
use crate::output::progress::Progress;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::signals::{Signals, Stop};
use crate::target::Session;

mod lines;

/// Bytes of keys and values under way.
const IN_FLIGHT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long to wait before a put is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How long to wait for what is under way when a load is stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait for the end of the session; it ends by itself, too.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What `load` is told.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// The file, a line KEY<TAB>VALUE each; - reads stdin
    pub file: PathBuf,
    /// Begins with this line; what a stopped load prints
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub from_line: u64,
    /// How many puts are under way at a time
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=2_048))]
    pub in_flight: u16,
    /// Gives up when nothing was acknowledged for so long
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub patience: Duration,
    /// Only checks the file
    #[arg(long)]
    pub dry_run: bool,
}

/// What all puts share.
struct Shared {
    client: Client,
    /// The session of all puts.
    session: ClientSession,
    began: Instant,
    patience: Duration,
    /// When something was acknowledged last, in milliseconds since the beginning.
    acknowledged_ms: AtomicU64,
    /// Puts that were repeated after an unknown outcome.
    repeated: AtomicU64,
}

/// A load under way.
struct Load {
    shared: Arc<Shared>,
    flight: JoinSet<(u64, Bytes, usize, Result<()>)>,
    /// Lines under way, and their keys and bytes.
    lines: BTreeSet<u64>,
    keys: BTreeSet<Bytes>,
    bytes: usize,
    /// The last line that was sent.
    sent: u64,
    done: u64,
}

/// Why a load ended before its end.
enum Halt {
    Failed(Report),
    Signal(Stop),
}

/// Runs the command.
///
/// # Errors
/// If a line is bad, or the cluster does not take them all.
pub async fn run(session: &Session, args: LoadArgs) -> Result<()> {
    let mut signals = Signals::catch()?;
    let source = Source::open(&args.file)?;
    let total = source.check()?;
    if args.from_line > total.max(1) {
        let message = format!("--from-line {} is behind the last line, {total}", args.from_line);
        return Err(Report::new(codes::USAGE, message));
    }
    let wanted = (total + 1).saturating_sub(args.from_line);
    if args.dry_run {
        let text = format!("{}: {total} lines are valid; would put {wanted}\n", source.name());
        let data = json!({ "file": source.name(), "lines": total, "puts": wanted });
        let view = View { kind: "Plan", data, text: text.into_bytes(), ..View::default() };
        return session.output.answer(&view);
    }
    let (_, client) = session.client()?;
    let shared = Shared {
        session: open(&client, args.patience).await?,
        client,
        began: Instant::now(),
        patience: args.patience,
        acknowledged_ms: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
    };
    let mut load = Load::new(shared, args.from_line - 1);
    let mut progress = Progress::new(&session.output, "keys", wanted);
    let halt = tokio::select! {
        ended = load.send_all(&source, &args, &mut progress) => ended.err().map(Halt::Failed),
        stop = signals.stopped() => Some(Halt::Signal(stop)),
    };
    if halt.is_some() {
        load.drain().await;
    }
    progress.finish();
    load.close().await;
    let acknowledged = load.acknowledged();
    match halt {
        None => session.output.answer(&load.summary(&source, args.from_line)),
        Some(halt) => Err(stopped(halt, &source, acknowledged, args.from_line)),
    }
}

/// Says how far a stopped load came, and how to go on.
fn stopped(halt: Halt, source: &Source, acknowledged: u64, from_line: u64) -> Report {
    let name = source.name();
    let nothing = acknowledged + 1 == from_line;
    let so_far = match nothing {
        true => "no line is acknowledged".to_owned(),
        false => format!("every line from {from_line} to {acknowledged} is acknowledged"),
    };
    let next = acknowledged + 1;
    let again = format!("raftctl kv load {name} --from-line {next}    (goes on)");
    match halt {
        Halt::Failed(why) if nothing => why.help(again),
        Halt::Failed(why) => {
            let mut report = Report::new(codes::LOAD_STOPPED, format!("{}; {so_far}", why.message));
            report.causes = why.causes;
            report.help(again)
        }
        Halt::Signal(stop) => {
            let mut report = Report::new(codes::LOAD_STOPPED, format!("interrupted; {so_far}"));
            report.exit = stop.exit();
            report.help(again)
        }
    }
}

impl Load {
    fn new(shared: Shared, sent: u64) -> Self {
        Self {
            shared: Arc::new(shared),
            flight: JoinSet::new(),
            lines: BTreeSet::new(),
            keys: BTreeSet::new(),
            bytes: 0,
            sent,
            done: 0,
        }
    }

    /// Sends everything from the wanted line on.
    async fn send_all(
        &mut self,
        source: &Source,
        args: &LoadArgs,
        progress: &mut Progress,
    ) -> Result<()> {
        for line in source.lines()? {
            let line = line?;
            if line.number < args.from_line {
                continue;
            }
            while !self.has_room(&line, usize::from(args.in_flight)) {
                self.settle_one(progress).await?;
            }
            self.send(line);
        }
        while !self.flight.is_empty() {
            self.settle_one(progress).await?;
        }
        Ok(())
    }

    fn has_room(&self, line: &Line, in_flight_max: usize) -> bool {
        self.flight.is_empty()
            || (self.flight.len() < in_flight_max
                && self.bytes + line.size() <= IN_FLIGHT_BYTES_MAX
                && !self.keys.contains(&line.key))
    }

    fn send(&mut self, line: Line) {
        let size = line.size();
        let Line { number, key, value } = line;
        self.lines.insert(number);
        self.keys.insert(key.clone());
        self.bytes += size;
        self.sent = number;
        let shared = Arc::clone(&self.shared);
        let command = Change::Put { key: key.clone(), value }.encode();
        self.flight.spawn(async move { (number, key, size, put(&shared, command).await) });
    }

    /// Waits for one put, and notes what came of it.
    async fn settle_one(&mut self, progress: &mut Progress) -> Result<()> {
        let Some(joined) = self.flight.join_next().await else {
            return Ok(());
        };
        let (number, key, size, result) =
            joined.map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        self.keys.remove(&key);
        self.bytes -= size;
        result?;
        self.lines.remove(&number);
        self.done += 1;
        progress.set(self.done, &format!("acknowledged up to line {}", self.acknowledged()));
        Ok(())
    }

    /// Waits a little for what is under way, so that as much as possible is known.
    async fn drain(&mut self) {
        let deadline = tokio::time::Instant::now() + DRAIN_TIMEOUT;
        while let Ok(Some(joined)) =
            tokio::time::timeout_at(deadline, self.flight.join_next()).await
        {
            if let Ok((number, _, _, Ok(()))) = joined {
                self.lines.remove(&number);
            }
        }
    }

    /// Ends the session, if that is quick, and the connections.
    async fn close(&self) {
        let ended = tokio::time::timeout(CLOSE_TIMEOUT, self.shared.session.clone().close());
        // Without it, the session expires.
        let _ = ended.await;
        self.shared.client.close().await;
    }

    /// Returns the last line before which, and with which, every line is acknowledged.
    fn acknowledged(&self) -> u64 {
        self.lines.first().map_or(self.sent, |first| first - 1)
    }

    fn summary(&self, source: &Source, from_line: u64) -> View {
        let took = self.shared.began.elapsed();
        let per_second = self.done as f64 / took.as_secs_f64().max(1e-6);
        let repeated = self.shared.repeated.load(Ordering::Relaxed);
        let mut text = format!(
            "loaded {} keys in {:.1} s ({} a second)",
            units::count(self.done),
            took.as_secs_f64(),
            units::count(per_second as u64)
        );
        if repeated > 0 {
            text.push_str(&format!("; {repeated} puts repeated after an unknown outcome"));
        }
        text.push('\n');
        View {
            kind: "Load",
            data: json!({
                "file": source.name(),
                "fromLine": from_line,
                "acknowledgedLine": self.acknowledged(),
                "puts": self.done,
                "repeated": repeated,
                "tookMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "putsPerSecond": per_second.round(),
            }),
            text: text.into_bytes(),
            names: vec![source.name().to_owned()],
            warnings: Vec::new(),
        }
    }
}

/// Opens the session, also if nobody leads for a while.
async fn open(client: &Client, patience: Duration) -> Result<ClientSession> {
    let began = Instant::now();
    loop {
        match client.session("raftctl kv load").await {
            Ok(session) => return Ok(session),
            Err(ClientError::Unknown { .. } | ClientError::NoLeader { .. })
                if began.elapsed() < patience => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Puts once; asks again while the outcome is unknown or nobody leads, as long as others succeed.
async fn put(shared: &Shared, command: Bytes) -> Result<()> {
    let mut unknown = None;
    loop {
        let answered = match unknown {
            None => shared.session.propose(command.clone()).await,
            Some(sequence) => shared.session.outcome(sequence).await,
        };
        let error = match answered {
            Ok(answer) => {
                return match decode(&answer.response)? {
                    KvResponse::Done { .. } => {
                        shared.acknowledged_ms.store(shared.now_ms(), Ordering::Relaxed);
                        Ok(())
                    }
                    other => Err(unexpected(other)),
                };
            }
            Err(error) => error,
        };
        match &error {
            ClientError::Unknown { sequence, .. } => {
                unknown = *sequence;
                shared.repeated.fetch_add(1, Ordering::Relaxed);
            }
            ClientError::NoLeader { .. }
            | ClientError::Unreachable { certificates: false, .. }
            | ClientError::WindowFull { .. } => {}
            ClientError::Unreachable { .. }
            | ClientError::Refused(_)
            | ClientError::Unexpected { .. }
            | ClientError::SessionExpired { .. }
            | ClientError::AnswerNotKept { .. }
            | ClientError::NotWaiting { .. }
            | ClientError::Endpoint(_) => return Err(error.into()),
        }
        let quiet_ms = shared.now_ms() - shared.acknowledged_ms.load(Ordering::Relaxed);
        if u128::from(quiet_ms) > shared.patience.as_millis() {
            return Err(error.into());
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
