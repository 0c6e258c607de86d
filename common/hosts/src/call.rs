//! Calls of programs, each with a time after which it is given up.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How often it is looked whether something has happened.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the output of a program that has ended may take.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// How long there is time, and whether anybody wants to go on.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    stop: Arc<AtomicBool>,
    until: Instant,
}

impl Clock {
    pub(crate) fn new(stop: Arc<AtomicBool>, lasts: Duration) -> Self {
        Self { stop, until: Instant::now() + lasts }
    }

    /// A time for tidying up, which nobody interrupts.
    pub(crate) fn for_the_end() -> Self {
        Self::new(Arc::default(), Duration::from_secs(120))
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        if Instant::now() >= self.until { Err(Failure::Late) } else { Ok(()) }
    }

    /// Waits until something is found.
    ///
    /// # Errors
    /// If it is not, in this time; `what` says what was waited for.
    pub(crate) fn wait<T>(
        &self,
        within: Duration,
        what: impl Fn() -> String,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            self.check()?;
            if began.elapsed() >= within {
                let what = what();
                return Err(Failure::Wrong(format!("{what}: not within {within:?}")));
            }
            sleep(10 * PAUSE);
        }
    }

    /// Waits for a time in which nothing may happen.
    ///
    /// # Errors
    /// If something does.
    pub(crate) fn stays(
        &self,
        lasts: Duration,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < lasts {
            look()?;
            self.check()?;
            sleep(10 * PAUSE);
        }
        Ok(())
    }
}

/// What a program said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn is_well(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns both streams, one behind the other.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// A program under way.
pub(crate) struct Running {
    name: String,
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// Starts a program.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn start(command: &mut Command) -> Result<Running> {
    let name = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| Failure::Command { command: name.clone(), why: error.to_string() })?;
    let out = gathered(child.stdout.take());
    let err = gathered(child.stderr.take());
    Ok(Running { name, child, out, err })
}

impl Running {
    /// Returns its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it does not end in this time; it is killed then.
    pub(crate) fn end(mut self, clock: &Clock, within: Duration) -> Result<Said> {
        let began = Instant::now();
        let status: ExitStatus = loop {
            let gave_up = match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => match clock.check() {
                    Err(failure) => Some(failure),
                    Ok(()) if began.elapsed() >= within => {
                        let why = format!("has not ended within {within:?}");
                        Some(Failure::Command { command: self.name.clone(), why })
                    }
                    Ok(()) => None,
                },
                Err(error) => {
                    let why = error.to_string();
                    Some(Failure::Command { command: self.name.clone(), why })
                }
            };
            if let Some(failure) = gave_up {
                // It may have ended meanwhile.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(failure);
            }
            sleep(PAUSE);
        };
        let text = |from: &Receiver<String>| from.recv_timeout(OUTPUT_PATIENCE).unwrap_or_default();
        Ok(Said { code: status.code(), out: text(&self.out), err: text(&self.err) })
    }
}

/// Runs a program and waits for it.
///
/// # Errors
/// If it cannot be started, or does not end in this time.
pub(crate) fn run(clock: &Clock, command: &mut Command, within: Duration) -> Result<Said> {
    start(command)?.end(clock, within)
}

/// Runs a program that must say yes, and returns its output.
///
/// # Errors
/// If it says no.
pub(crate) fn call(clock: &Clock, program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let said = run(clock, command.args(arguments), Duration::from_secs(300))?;
    if said.is_well() {
        return Ok(said.out);
    }
    Err(Failure::Command { command: shown(&command), why: said.all().trim().to_owned() })
}

/// Reads a stream to its end on a thread of its own.
fn gathered(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (to, text) = channel();
    if let Some(mut stream) = stream {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read until then is what it said.
            let _ = stream.read_to_end(&mut bytes);
            // Whoever asked may have given up.
            let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    text
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
