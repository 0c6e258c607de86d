//! Ctrl-C: what was started is ended, and what was made is removed, before this program ends.
//!
//! A signal is only noted. Whoever waits for something looks at the note and gives up, and what is
//! dropped on the way out ends its processes and removes its directories.

use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register;

/// What a program ends with that was interrupted.
pub(crate) const EXIT: u8 = 130;

/// How often those who wait look.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

static NOTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A process that is killed when nobody waits for it any more.
pub(crate) struct Waited(pub(crate) Child);

/// Notes signals from now on.
///
/// # Errors
/// The system's.
pub(crate) fn watch() -> Result<(), String> {
    let noted = NOTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        register(signal, Arc::clone(noted))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    Ok(())
}

/// Says whether a signal came.
pub(crate) fn is_noted() -> bool {
    NOTED.get().is_some_and(|noted| noted.load(Ordering::Relaxed))
}

/// Fails if a signal came.
///
/// # Errors
/// That it did.
pub(crate) fn check() -> Result<(), String> {
    if is_noted() { Err("interrupted".to_owned()) } else { Ok(()) }
}

/// Waits for a while.
///
/// # Errors
/// If a signal comes.
pub(crate) fn pause(how_long: Duration) -> Result<(), String> {
    let until = Instant::now() + how_long;
    loop {
        check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// Runs a command to its end, however long that takes. What it says must fit into a pipe.
///
/// # Errors
/// If it cannot be run, fails, or a signal comes; with what it said.
pub(crate) fn run(mut command: Command) -> Result<Output, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let said = |error: std::io::Error| format!("{shown}: {error}");
    let mut waited = Waited(command.spawn().map_err(said)?);
    while waited.0.try_wait().map_err(said)?.is_none() {
        check()?;
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = waited.output().map_err(said)?;
    if output.status.success() {
        return Ok(output);
    }
    check()?;
    Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Waited {
    /// Reads what is left of what it said, when it has ended.
    fn output(&mut self) -> std::io::Result<Output> {
        use std::io::Read;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let Some(mut pipe) = self.0.stdout.take() {
            pipe.read_to_end(&mut stdout)?;
        }
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_end(&mut stderr)?;
        }
        Ok(Output { status: self.0.wait()?, stdout, stderr })
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        // It has ended, unless its caller gave up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_named_with_what_it_said() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo well; echo why >&2; exit 3"]);
        let why = run(shell).expect_err("it fails");
        assert!(why.contains("\"sh\"") && why.ends_with(": why"), "{why}");
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo well"]);
        assert_eq!(run(shell).expect("it ends well").stdout, b"well\n");
    }
}
