//! Signals and panics: how the process is asked to stop or to reload, and how it dies of a bug.

use std::io;

use rustix::process::Signal as Sys;
use state_machine::applying;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lanes::is_answering;
use crate::logging;

/// What an operator asks for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// SIGTERM or SIGINT: stop cleanly.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals that the daemon understands.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// SIGHUP kept for later: while the node starts it neither ends the process nor is it forgotten.
#[derive(Debug)]
pub(crate) struct Held(Signal);

/// Holds SIGHUP back, and takes SIGXFSZ; SIGTERM and SIGINT still end the process at once, in the
/// middle of a long recovery too, which a later start does again.
///
/// # Errors
/// If the system refuses.
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) fn hold_reload() -> io::Result<Held> {
    // A file that may not grow (ulimit -f, LimitFSIZE=) is an error of the write that says so, and
    // ends the node in good order; by itself the signal ends it without a word.
    drop(signal(SignalKind::from_raw(Sys::XFSZ.as_raw()))?);
    signal(SignalKind::hangup()).map(Held)
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// If the system refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn install(Held(hangup): Held) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ask {
        tokio::select! {
            _ = self.terminate.recv() => Ask::Stop,
            _ = self.interrupt.recv() => Ask::Stop,
            _ = self.hangup.recv() => Ask::Reload,
        }
    }
}

/// Makes every panic, in whatever thread, log itself and abort the process: a broken invariant must
/// not leave a node that half works, nor run destructors that would flush a wrong state. Only what
/// [`answers`](crate::lanes::answers) is spared.
pub(crate) fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        if is_answering() {
            return;
        }
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed").to_owned();
        let backtrace = std::backtrace::Backtrace::force_capture();
        let command = applying().map(|index| format!(" while the machine applied entry {index}"));
        let command = command.unwrap_or_default();
        tracing::error!(
            name: "panic",
            thread,
            "panic{command}: {info}; the process ends at once"
        );
        logging::last_words(tracing::Level::ERROR, &backtrace.to_string());
        std::process::abort();
    }));
}
