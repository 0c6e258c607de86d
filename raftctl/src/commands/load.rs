//! `raftctl kv load`: many puts from a file, pipelined and resumable.
//!
//! A plain file is checked as a whole before anything is sent; what can be read only once is
//! checked as it comes, and a bad line ends the load behind the one before. All puts belong to one
//! session, so that one whose outcome is unknown is repeated and still takes effect once: it never
//! comes back over what somebody else has written since. Two lines with the same key are never
//! under way at the same time, so the later one wins, as in the file. Lines go many in a message,
//! and some messages at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use client::{Client, ClientError, Session as ClientSession};
use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinSet};

use self::flight::{Put, RETRY_AFTER, Settled, Shared, put_all};
use self::lines::{Again, Count, Fed, Grammar, Line, Source};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::progress::Progress;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::signals::{Signals, Stop};
use crate::values::duration;

mod flight;
mod lines;

/// Bytes of keys and values under way.
const IN_FLIGHT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Into how many messages the puts under way are divided.
const MESSAGES_IN_FLIGHT: usize = 4;

/// Bytes of keys and values with which a message is full.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// How long nothing may be acknowledged, unless told otherwise: longer than elections take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait for what is under way when a load is stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait for the end of the session; it ends by itself, too.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What `load` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    /// The file, a line KEY<TAB>VALUE each; - reads stdin (./- is a file of that name). A plain
    /// file is checked as a whole first, what comes through a pipe line by line
    pub(crate) file: PathBuf,
    /// Begins with this line; what a stopped load prints
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from_line: u64,
    /// How many puts are under way at a time, a quarter of them in a message
    #[arg(long, value_name = "COUNT", default_value_t = 1_024)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=2_048))]
    pub(crate) in_flight: u16,
    /// Gives up when nothing was acknowledged for so long [default: --timeout if that is given, as
    /// a flag or a variable, else 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) patience: Option<Duration>,
    /// Reads keys and values that stand in $'..' as shells do: what `kv list --lines` writes
    #[arg(long)]
    pub(crate) quoted: bool,
    /// Only checks the file
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A load under way.
struct Load {
    shared: Arc<Shared>,
    /// The next message, and those under way.
    next: Vec<Line>,
    flight: JoinSet<Settled>,
    /// Lines in any of these, and their keys and bytes.
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
pub(crate) async fn run(invocation: &Invocation, args: LoadArgs) -> Result<()> {
    let grammar = if args.quoted { Grammar::Quoted } else { Grammar::Plain };
    let source = Source::open(&args.file, grammar)?;
    let mut output = invocation.output.clone();
    if source.is_typed() {
        // Nobody types into a drawing.
        output.draws = false;
        invocation.output.remark("type lines KEY<TAB>VALUE; Ctrl-D on a line of its own ends them");
    }
    if let Some(total) = source.lines() {
        is_within(&args, total)?;
    }
    if args.dry_run {
        return check_only(invocation, source, &args);
    }
    // Who says how long a request may take does not mean to wait for longer without one.
    let patience = args.patience.or(invocation.global.timeout_given()).unwrap_or(PATIENCE);
    // Attempts get longer as long as there is time: what is begun anew before it has arrived once
    // is in its own way.
    let within = invocation.global.timeout_given().map_or(patience, |given| given.min(patience));
    let (_, client) = invocation.client_within(within)?;
    let opened = open(&client, patience).await?;
    let shared = Shared::new(client, opened, patience);
    let mut signals = Signals::catch()?;
    let mut load = Load::new(shared, args.from_line - 1);
    let wanted = source.lines().map(|total| wanted(&args, total));
    let mut progress = Progress::of(&output, "keys", wanted);
    let (name, again) = (source.name().to_owned(), source.again());
    let mut feed = source.feed(args.from_line);
    let how = (&args, patience);
    let ended = tokio::select! {
        ended = load.send_all(&mut feed, how, &mut progress) => ended.map_err(Halt::Failed),
        stop = signals.stopped() => Err(Halt::Signal(stop)),
    };
    if ended.is_err() {
        load.drain().await;
    }
    progress.finish();
    load.close().await;
    drop(signals);
    let count = match ended {
        Ok(count) => count,
        Err(halt) => return Err(stopped(halt, &again, load.acknowledged(), args.from_line)),
    };
    is_within(&args, count.lines)?;
    if load.done != self::wanted(&args, count.lines) {
        let message = format!("{name}: {} of {} lines were loaded", load.done, count.lines);
        return Err(Report::new(codes::INTERNAL, message));
    }
    invocation.output.answer(&load.summary(&args, &name, count))
}

/// Refuses to begin behind the end.
fn is_within(args: &LoadArgs, total: u64) -> Result<()> {
    if args.from_line <= total.max(1) {
        return Ok(());
    }
    let message = format!("--from-line {} is behind the last line, {total}", args.from_line);
    Err(Report::new(codes::USAGE, message))
}

/// Returns how many of so many lines are to be loaded.
fn wanted(args: &LoadArgs, total: u64) -> u64 {
    (total + 1).saturating_sub(args.from_line)
}

fn check_only(invocation: &Invocation, mut source: Source, args: &LoadArgs) -> Result<()> {
    let count = source.count()?;
    let total = count.lines;
    is_within(args, total)?;
    let (name, wanted) = (source.name(), wanted(args, total));
    let text = format!("{name}: {total} lines are valid; would put {wanted}\n");
    let data = json!({ "file": args.file.display().to_string(), "lines": total, "puts": wanted });
    let (text, warnings) = (text.into_bytes(), count.warnings());
    invocation.output.answer(&View { kind: "Plan", data, text, names: Vec::new(), warnings })
}

/// Says how far a stopped load came, and how to go on.
fn stopped(halt: Halt, again: &Again, acknowledged: u64, from_line: u64) -> Report {
    let nothing = acknowledged + 1 == from_line;
    let so_far = match nothing {
        true => "no line is acknowledged".to_owned(),
        false => format!("every line from {from_line} to {acknowledged} is acknowledged"),
    };
    let (anew, again) = (again.anew(), again.from(acknowledged + 1));
    match halt {
        Halt::Failed(why) if why.code == Some(codes::INPUT_CHANGED) => {
            Report::new(codes::INPUT_CHANGED, format!("{}; {so_far}", why.message)).help(anew)
        }
        Halt::Failed(why) if nothing => why.help(again),
        Halt::Failed(why) => {
            let message = format!("{}; {so_far}", why.message);
            let mut report = Report::new(codes::LOAD_STOPPED, message);
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
            next: Vec::new(),
            flight: JoinSet::new(),
            lines: BTreeSet::new(),
            keys: BTreeSet::new(),
            bytes: 0,
            sent,
            done: 0,
        }
    }

    /// Sends everything that comes, and waits until all of it is acknowledged; returns what came.
    /// What came before a bad line is acknowledged, too.
    async fn send_all(
        &mut self,
        feed: &mut Receiver<Fed>,
        (args, patience): (&LoadArgs, Duration),
        progress: &mut Progress,
    ) -> Result<Count> {
        loop {
            let fed = tokio::select! {
                fed = feed.recv() => fed,
                Some(joined) = self.flight.join_next() => {
                    self.settle(joined, progress)?;
                    continue;
                }
            };
            let lines = match fed {
                Some(Fed::Lines(lines)) => lines,
                Some(Fed::End(ended)) => {
                    self.send();
                    while let Some(joined) = self.flight.join_next().await {
                        self.settle(joined, progress)?;
                    }
                    return ended;
                }
                None => return Err(Report::new(codes::INTERNAL, "reading ended without an end")),
            };
            self.keep_session(patience).await?;
            for line in lines {
                while !self.has_room(&line, usize::from(args.in_flight)) {
                    self.send();
                    if let Some(joined) = self.flight.join_next().await {
                        self.settle(joined, progress)?;
                    }
                }
                self.take(line, usize::from(args.in_flight));
            }
            // Who types, or writes into a pipe now and then, waits for nothing.
            if feed.is_empty() {
                self.send();
            }
        }
    }

    /// Opens another session where a pipe was quiet for so long that this one would expire. One
    /// that an operator has closed is not replaced: that is meant to end the load.
    async fn keep_session(&self, patience: Duration) -> Result<()> {
        if self.flight.is_empty() && self.shared.is_idle_for_long() {
            let opened = open(self.shared.client(), patience).await?;
            let former = self.shared.replace_session(opened);
            // It ends by itself, too.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, former.close()).await;
        }
        Ok(())
    }

    fn has_room(&self, line: &Line, in_flight_max: usize) -> bool {
        self.lines.is_empty()
            || (self.lines.len() < in_flight_max
                && self.bytes + line.size() <= IN_FLIGHT_BYTES_MAX
                && !self.keys.contains(&line.key))
    }

    /// Takes a line into the next message, which is sent when it is full.
    fn take(&mut self, line: Line, in_flight_max: usize) {
        self.lines.insert(line.number);
        self.keys.insert(line.key.clone());
        self.bytes += line.size();
        self.next.push(line);
        let bytes: usize = self.next.iter().map(Line::size).sum();
        if self.next.len() >= in_flight_max.div_ceil(MESSAGES_IN_FLIGHT)
            || bytes >= MESSAGE_BYTES_MAX
        {
            self.send();
        }
    }

    /// Sends the next message, if there is anything in it.
    fn send(&mut self) {
        let Some(last) = self.next.last() else { return };
        self.sent = last.number;
        if self.flight.is_empty() {
            // A pipe may have been quiet for longer than the cluster was.
            self.shared.stir();
        }
        let (shared, lines) = (Arc::clone(&self.shared), std::mem::take(&mut self.next));
        self.flight.spawn(put_all(shared, lines));
    }

    /// Notes what came of a message.
    fn settle(
        &mut self,
        joined: std::result::Result<Settled, JoinError>,
        progress: &mut Progress,
    ) -> Result<()> {
        let Settled { lines, failed } =
            joined.map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        for Put { number, key, bytes, acknowledged } in lines {
            self.keys.remove(&key);
            self.bytes -= bytes;
            if acknowledged {
                self.lines.remove(&number);
                self.done += 1;
            }
        }
        progress.set(self.done, &format!("acknowledged up to line {}", self.acknowledged()));
        failed.map_or(Ok(()), Err)
    }

    /// Waits a little for what is under way, so that as much as possible is known.
    async fn drain(&mut self) {
        let deadline = tokio::time::Instant::now() + DRAIN_TIMEOUT;
        while let Ok(Some(joined)) =
            tokio::time::timeout_at(deadline, self.flight.join_next()).await
        {
            for put in joined.into_iter().flat_map(|settled| settled.lines) {
                if put.acknowledged {
                    self.lines.remove(&put.number);
                }
            }
        }
    }

    /// Ends the session, if that is quick, and the connections.
    async fn close(&self) {
        // Without it, the session expires; who has not answered for long does not answer now.
        if self.shared.patience_left() > Duration::ZERO {
            let ended = self.shared.session().close();
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, ended).await;
        }
        self.shared.client().close().await;
    }

    /// Returns the last line before which, and with which, every line is acknowledged.
    fn acknowledged(&self) -> u64 {
        self.lines.first().map_or(self.sent, |first| first - 1)
    }

    fn summary(&self, args: &LoadArgs, name: &str, count: Count) -> View {
        let took = self.shared.took();
        let per_second = self.done as f64 / took.as_secs_f64().max(1e-6);
        let repeated = self.shared.repeated();
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
        let mut warnings = count.warnings();
        if count.lines == 0 {
            warnings.push(format!("{name} is empty: there was nothing to load"));
        }
        View {
            kind: "Load",
            data: json!({
                "file": args.file.display().to_string(),
                "fromLine": args.from_line,
                "lines": count.lines,
                "acknowledgedLine": self.acknowledged(),
                "puts": self.done,
                "repeated": repeated,
                "tookMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "putsPerSecond": per_second.round(),
            }),
            text: text.into_bytes(),
            names: vec![args.file.display().to_string()],
            warnings,
        }
    }
}

/// Opens the session, also if nobody leads for a while.
async fn open(client: &Client, patience: Duration) -> Result<ClientSession> {
    let began = Instant::now();
    loop {
        match client.session("raftctl kv load").await {
            Ok(invocation) => return Ok(invocation),
            Err(
                ClientError::Unknown { .. }
                | ClientError::NoLeader { .. }
                | ClientError::Busy { .. },
            ) if began.elapsed() + RETRY_AFTER < patience => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}
