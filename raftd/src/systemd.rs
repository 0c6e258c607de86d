//! What the service manager is told: READY, STATUS, STOPPING and the watchdog's keepalive.
//!
//! READY says that the log is recovered and the port is bound. It never waits for a quorum: a node
//! that boots first must not be restarted for being alone. Without a service manager nothing
//! happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The longest status text that is sent, in bytes.
const STATUS_BYTES_MAX: usize = 200;

/// The line to the service manager.
#[derive(Debug)]
pub(crate) struct Systemd {
    watchdog: Option<Duration>,
    status: String,
}

impl Systemd {
    /// Reads `WATCHDOG_USEC`; the socket's name is read at each message.
    pub(crate) fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled(), status: String::new() }
    }

    /// Returns how often the keepalive is due: half of the watchdog's time.
    pub(crate) fn keepalive_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The log is recovered and the port is bound.
    pub(crate) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The loop is alive.
    pub(crate) fn keepalive(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// The daemon is about to end.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Says in one line what the node does, if that changed.
    pub(crate) fn status(&mut self, status: &str) {
        let end = status.floor_char_boundary(STATUS_BYTES_MAX.min(status.len()));
        if self.status != status[..end] {
            status[..end].clone_into(&mut self.status);
            tell(&[NotifyState::Status(&self.status)]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
