//! Two threads that watch: the one asks for the status again and again, the other hears how the
//! clients get on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::operator::Operator;
use crate::truth::Sample;
use crate::workload::now_ns;

/// How long to wait between two questions.
const ASK: Duration = Duration::from_millis(300);

/// How long the clients may take to end: outcomes are asked for, every key is read, and the members
/// are compared.
const ENDING: Duration = Duration::from_secs(180);

/// Asks for the status as long as it lives.
#[derive(Debug)]
pub(crate) struct Observer {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    pub(crate) fn start(operator: Operator) -> Self {
        let (samples, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, stops) = (Arc::clone(&samples), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                let sample = sample(&operator);
                into.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                std::thread::sleep(ASK);
            }
        });
        Self { samples, stop, thread: Some(thread) }
    }

    /// Returns all answers up to now.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last answer.
    pub(crate) fn last(&self) -> Option<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}

/// Asks once.
fn sample(operator: &Operator) -> Sample {
    let at_ns = now_ns();
    let status = operator.status().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Sample {
        at_ns,
        health: text(&status["health"]),
        reason: text(&status["reason"]),
        tolerates: status["toleratesFailures"].as_u64(),
        voters: status["voters"].as_array().map_or(0, |voters| voters.len() as u64),
        leader: status["leader"]["name"].as_str().map(str::to_owned),
    }
}

/// How the clients get on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Operations that were answered.
    pub(crate) answered: u64,
    /// Operations whose outcome nobody knows.
    pub(crate) unknown: u64,
    /// Operations that certainly had no effect.
    pub(crate) failed: u64,
    /// Commands that were answered.
    pub(crate) acknowledged: u64,
    /// Times at which commands were answered.
    pub(crate) acknowledged_ns: Vec<u64>,
    /// What members had in the end, a line each.
    pub(crate) states: Vec<String>,
}

/// The process of the clients.
#[derive(Debug)]
pub(crate) struct Clients {
    child: Child,
    stdin: Option<ChildStdin>,
    progress: Arc<Mutex<Progress>>,
    thread: Option<JoinHandle<()>>,
    history: PathBuf,
}

impl Clients {
    /// Starts them with a command that needs only their own arguments.
    pub(crate) fn start(
        mut command: Command,
        arguments: &[String],
        directory: &Path,
    ) -> Result<Self> {
        let history = directory.join("history");
        let failed = |error: std::io::Error| Failure::Machine(format!("the clients: {error}"));
        let log = std::fs::File::create(directory.join("clients.log")).map_err(failed)?;
        command.arg("clients").args(arguments).arg("--history").arg(&history);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let progress = Arc::new(Mutex::new(Progress::default()));
        let into = Arc::clone(&progress);
        let thread = std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                let Ok(line) = line else { return };
                note(&mut into.lock().unwrap_or_else(PoisonError::into_inner), &line);
            }
        });
        Ok(Self { child, stdin, progress, thread: Some(thread), history })
    }

    /// Returns how they get on.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many commands were answered.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).acknowledged
    }

    /// Lets them end, and returns where the history is.
    ///
    /// # Errors
    /// If they do not end well.
    pub(crate) fn finish(&mut self, endpoints: &[String]) -> Result<PathBuf> {
        if let Some(mut stdin) = self.stdin.take() {
            let told = writeln!(stdin, "stop {}", endpoints.join(","));
            told.map_err(|error| Failure::Machine(format!("the clients have died: {error}")))?;
            let began = Instant::now();
            loop {
                match self.child.try_wait() {
                    Ok(Some(status)) if status.success() => break,
                    Ok(Some(status)) => {
                        let why = format!("the clients ended with {status}: see clients.log");
                        return Err(Failure::Cluster(why));
                    }
                    Ok(None) if began.elapsed() < ENDING => {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    Ok(None) | Err(_) => {
                        let why = "the clients do not end: not every key can be read";
                        return Err(Failure::Cluster(why.to_owned()));
                    }
                }
            }
        }
        if let Some(thread) = self.thread.take() {
            // It ends with the stdout of the clients.
            let _ = thread.join();
        }
        Ok(self.history.clone())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn note(progress: &mut Progress, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    if let ["progress", _, answered, unknown, failed, acknowledged, at] = words[..] {
        progress.answered = number(answered);
        progress.unknown = number(unknown);
        progress.failed = number(failed);
        progress.acknowledged = number(acknowledged);
        if progress.acknowledged_ns.last() != Some(&number(at)) && number(at) > 0 {
            progress.acknowledged_ns.push(number(at));
        }
    } else if let ["state" | "silent", ..] = words[..] {
        progress.states.push(line.to_owned());
    }
}
