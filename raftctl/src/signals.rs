//! Ctrl-C, SIGTERM and SIGHUP, in one place for all commands.
//!
//! A signal ends the program at once, with 130 or 143, whatever its threads wait for: a pipe that
//! nobody writes to, a person, a disk, a reader of stdout who has stopped. Two things put it off:
//!
//! - [`Signals`], for a command that has something to put in order. A second signal ends it at once
//!   all the same; but for `dev`, which has processes to stop.
//! - [`Hold`], for the moment in which a file is replaced.
//!
//! Who blocks while signals are caught and cannot be called off says so with [`at_once`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};
use tokio::signal::unix::{SignalKind, signal};

use crate::codes;
use crate::exit::Exit;
use crate::report::{Report, Result};

/// Which signal asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Terminate,
}

impl Stop {
    /// Returns how the process ends then.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }
}

/// What the handlers look at, and what they leave behind.
struct State {
    /// Whether a signal ends the program at once.
    at_once: Arc<AtomicBool>,
    /// The exit code of a signal that was put off, and that nobody has taken yet; else 0.
    pending: Arc<AtomicUsize>,
    /// What lets the second signal end the program at once.
    insisting: OnceLock<Vec<SigId>>,
}

fn state() -> &'static State {
    static STATE: OnceLock<State> = OnceLock::new();
    STATE.get_or_init(|| State {
        at_once: Arc::new(AtomicBool::new(true)),
        pending: Arc::new(AtomicUsize::new(0)),
        insisting: OnceLock::new(),
    })
}

/// Lets signals end the program from now on, with the exit codes of the manual.
///
/// # Errors
/// If the system does not let them be caught.
pub(crate) fn install() -> Result<()> {
    let State { at_once, pending, insisting } = state();
    let mut ids = Vec::new();
    for (number, stop) in
        [(SIGINT, Stop::Interrupt), (SIGTERM, Stop::Terminate), (SIGHUP, Stop::Terminate)]
    {
        if number == SIGHUP && hangups_are_ignored() {
            continue;
        }
        let code = stop.exit().code();
        // In this order: the first signal finds the switch as the command has set it, and sets it
        // for the second one.
        let id = flag::register_conditional_shutdown(number, code.into(), Arc::clone(at_once))
            .and_then(|_| flag::register_usize(number, Arc::clone(pending), code.into()))
            .and_then(|_| flag::register(number, Arc::clone(at_once)))
            .map_err(|error| uncaught(&error))?;
        ids.push(id);
    }
    insisting.get_or_init(|| ids);
    Ok(())
}

/// Whether this program was started to go on when its terminal is closed, as by `nohup`.
fn hangups_are_ignored() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
    })
}

fn uncaught(error: &std::io::Error) -> Report {
    Report::new(codes::INTERNAL, format!("signal handlers: {error}"))
}

/// The signals, caught from the moment this is made until it is dropped. Who catches them must not
/// block its thread meanwhile.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Catches the signals.
    ///
    /// # Errors
    /// If the system does not let them be caught.
    pub(crate) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(|error| uncaught(&error));
        let caught = Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: match hangups_are_ignored() {
                true => None,
                false => Some(catch(SignalKind::hangup())?),
            },
        };
        state().at_once.store(false, Ordering::SeqCst);
        Ok(caught)
    }

    /// Catches the signals for a command that must put things in order whatever comes, in a time
    /// that has a limit: a second one changes nothing.
    ///
    /// # Errors
    /// If the system does not let them be caught.
    pub(crate) fn catch_all() -> Result<Self> {
        let caught = Self::catch()?;
        for id in state().insisting.get().into_iter().flatten() {
            low_level::unregister(*id);
        }
        Ok(caught)
    }

    /// Waits for the first one. The next one ends the program at once, unless all are caught.
    pub(crate) async fn stopped(&mut self) -> Stop {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let stop = tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            _ = hangup => Stop::Terminate,
        };
        state().pending.store(0, Ordering::SeqCst);
        stop
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        state().at_once.store(true, Ordering::SeqCst);
    }
}

/// Puts signals off until this is dropped; one that came meanwhile takes effect then.
#[must_use = "signals are put off as long as this lives"]
pub(crate) struct Hold {
    /// Whether they took effect at once before.
    before: bool,
}

/// Puts signals off: for moments, while a file takes another's place.
pub(crate) fn hold() -> Hold {
    Hold { before: state().at_once.swap(false, Ordering::SeqCst) }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.before {
            return;
        }
        state().at_once.store(true, Ordering::SeqCst);
        if let code @ 1.. = state().pending.load(Ordering::SeqCst) {
            low_level::exit(i32::try_from(code).unwrap_or(1));
        }
    }
}

/// Lets signals take effect at once until this is dropped, also where they are caught.
#[must_use = "signals take effect at once as long as this lives"]
pub(crate) struct AtOnce {
    before: bool,
}

/// Lets signals take effect at once: while a thread waits that cannot be called off.
pub(crate) fn at_once() -> AtOnce {
    AtOnce { before: state().at_once.swap(true, Ordering::SeqCst) }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        if !self.before {
            state().at_once.store(false, Ordering::SeqCst);
        }
    }
}
