//! What the service manager is told: that a start takes time, READY, STATUS, STOPPING and the
//! watchdog's keepalive.
//!
//! READY says that the log is recovered and the port is bound. It never waits for a quorum: a node
//! that boots first must not be restarted for being alone. Without a service manager nothing
//! happens.
//!
//! A thread of its own sends the messages, so that the node never waits for a manager that takes
//! nothing for a while, such as one that is being reloaded. Messages that find no room are left
//! out.
//!
//! The manager may also have opened the port, with larger buffers than the kernel gives a process
//! without rights: a socket unit.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::exit::{Exit, Failure};

/// How often a node that starts says so, and for how long the manager waits for the next time.
pub(crate) const STARTING_INTERVAL: Duration = Duration::from_secs(2);
const STARTING_USEC: u32 = 60_000_000;

/// The longest status text that is sent, in bytes.
const STATUS_BYTES_MAX: usize = 200;

/// Messages that wait while the manager takes none.
const MESSAGES_MAX: usize = 16;

/// How long the end of the process waits until the manager has heard of it.
const STOPPING_TIMEOUT: Duration = Duration::from_millis(200);

/// The line to the service manager.
#[derive(Debug)]
pub(crate) struct Systemd {
    watchdog: Option<Duration>,
    status: String,
    /// `None` without a manager.
    line: Option<SyncSender<Message>>,
}

/// What the thread passes on.
#[derive(Debug)]
enum Message {
    Starting,
    Ready,
    Keepalive,
    Status(String),
    /// It says when it is sent.
    Stopping(SyncSender<()>),
}

impl Systemd {
    /// Reads `WATCHDOG_USEC` and `NOTIFY_SOCKET`.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(crate) fn from_environment() -> std::io::Result<Self> {
        // A time of 0 is none: the loop would do nothing else than say that it is alive.
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        let is_managed = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        let line = if is_managed { Some(start()?) } else { None };
        Ok(Self { watchdog, status: String::new(), line })
    }

    /// Returns how often the keepalive is due: half of the watchdog's time.
    pub(crate) fn keepalive_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The node has begun to start, and is at it: a state that is made anew from a snapshot takes
    /// as long as it is large, whatever the unit's start timeout. To be said again within
    /// [`STARTING_INTERVAL`].
    pub(crate) fn starting(&mut self, status: &str) {
        self.tell(Message::Starting);
        self.status(status);
    }

    /// The log is recovered and the port is bound.
    pub(crate) fn ready(&self) {
        self.tell(Message::Ready);
    }

    /// The loop is alive.
    pub(crate) fn keepalive(&self) {
        self.tell(Message::Keepalive);
    }

    /// The daemon is about to end; waits a short time until the manager has heard that.
    pub(crate) fn stopping(&self) {
        let (sent, is_sent) = sync_channel(1);
        if self.tell(Message::Stopping(sent)) {
            // A manager that does not take it is not waited for.
            let _ = is_sent.recv_timeout(STOPPING_TIMEOUT);
        }
    }

    /// Says in one line what the node does, if that changed.
    pub(crate) fn status(&mut self, status: &str) {
        let status = &status[..status.floor_char_boundary(STATUS_BYTES_MAX.min(status.len()))];
        if self.status != status && self.tell(Message::Status(status.to_owned())) {
            status.clone_into(&mut self.status);
        }
    }

    /// Queues a message; `false` if it is left out.
    fn tell(&self, message: Message) -> bool {
        self.line.as_ref().is_some_and(|line| line.try_send(message).is_ok())
    }
}

/// Returns the socket that the service manager has opened, if it has.
///
/// # Errors
/// If it is not one UDP socket with the port that `listen` in this file names.
pub(crate) fn socket(listen: SocketAddr, file: &Path) -> Result<Option<UdpSocket>, Failure> {
    let mut handed = ListenFd::from_env();
    let refused = |why: String| {
        let message = format!("the sockets that the service manager hands over: {why}");
        let hint = format!(
            "raftd.socket has one ListenDatagram=, with the port of `listen` in {}",
            file.display()
        );
        Failure::new(Exit::Config, message).hint(hint)
    };
    match handed.len() {
        0 => return Ok(None),
        1 => {}
        more => return Err(refused(format!("{more}, where one can be used"))),
    }
    let taken = handed.take_udp_socket(0).map_err(|error| refused(error.to_string()))?;
    let port = taken.as_ref().and_then(|socket| socket.local_addr().ok()).map(|it| it.port());
    match port {
        Some(port) if port == listen.port() => Ok(taken),
        Some(port) => {
            let shown = file.display();
            Err(refused(format!("port {port}, but listen = \"{listen}\" in {shown}")))
        }
        None => Err(refused("it is not bound".to_owned())),
    }
}

fn start() -> std::io::Result<SyncSender<Message>> {
    let (line, messages) = sync_channel(MESSAGES_MAX);
    let thread = std::thread::Builder::new().name("notify".to_owned());
    thread.spawn(move || run(&messages))?;
    Ok(line)
}

fn run(messages: &Receiver<Message>) {
    for message in messages {
        let sent = match &message {
            Message::Starting => {
                sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(STARTING_USEC)])
            }
            Message::Ready => sd_notify::notify(&[NotifyState::Ready]),
            Message::Keepalive => sd_notify::notify(&[NotifyState::Watchdog]),
            Message::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Message::Stopping(_) => sd_notify::notify(&[NotifyState::Stopping]),
        };
        if let Message::Stopping(done) = &message {
            // The channel has room for it. The receiver may have stopped waiting.
            let _ = done.try_send(());
        }
        if let Err(error) = sent {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}
