//! The one thread that writes the log. It alone waits for a pipe that nobody reads, a terminal that
//! is held, a disk that hangs or a journal that is being restarted; and it says how much was lost
//! meanwhile as soon as lines go out again.
//!
//! `tracing-appender` would do half of it: it counts lines, not bytes, forgets those that could not
//! be written, and at the end prints to stdout, which may be the very pipe that nobody reads.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::logging::queue::{Next, Queue};
use crate::logging::repeat;

/// How long the thread sleeps when nothing is to be written.
const IDLE: Duration = Duration::from_secs(60);

/// How long it waits before it asks a sink again that takes nothing at the moment.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a journal that does not listen is waited for, when it did before: it is restarted.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(5);

/// Where lines go.
pub(super) trait Sink: Send + 'static {
    /// Writes a line, however long that takes.
    ///
    /// # Errors
    /// If the line is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;
}

/// Starts the thread.
///
/// # Errors
/// If the system starts no thread.
pub(super) fn start(queue: Arc<Queue>, sink: impl Sink) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || run(&queue, sink)).map(drop)
}

fn run(queue: &Queue, mut sink: impl Sink) {
    let mut failed: u64 = 0;
    let mut why = String::new();
    loop {
        let now = Instant::now();
        let idle = now + IDLE;
        match queue.next(repeat::due().map_or(idle, |due| due.min(idle))) {
            Next::Line(line) => match sink.write(&line) {
                Ok(()) if failed > 0 => {
                    tracing::warn!(
                        name: "log-not-written",
                        lines = failed, why, "log lines could not be written"
                    );
                    failed = 0;
                }
                Ok(()) => {}
                Err(error) => {
                    queue.note_lost();
                    failed += 1;
                    why = error.to_string();
                }
            },
            Next::Due => repeat::summarise(Instant::now(), false),
        }
        if let Some(lines) = queue.gap() {
            tracing::warn!(
                name: "log-lines-lost",
                lines, "log lines were lost before this one: the log took none"
            );
        }
    }
}

/// The standard error stream, without the lock of the standard library: who holds that while it
/// waits would stop everybody else who has something to say.
#[derive(Debug, Default)]
pub(super) struct Stderr {
    /// The last line was written in part.
    cut: bool,
}

impl Sink for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.cut {
            write_all(b"\n").map_err(|(_, error)| error)?;
            self.cut = false;
        }
        write_all(line).map_err(|(written, error)| {
            self.cut = written > 0;
            error
        })
    }
}

/// Writes all, or returns how much was written before the error.
fn write_all(bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let stderr = io::stderr();
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(stderr.as_fd(), &bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            // Another process that shares the terminal or pipe has set it to non-blocking.
            Err(Errno::AGAIN) => std::thread::sleep(PAUSE),
            Err(error) => return Err((written, error.into())),
        }
    }
    Ok(())
}

/// The journal's socket.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Whether it took the last line.
    listens: bool,
}

impl Journal {
    /// # Errors
    /// If no journal listens there.
    pub(super) fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let (socket, path) = (UnixDatagram::unbound()?, path.into());
        socket.set_nonblocking(true)?;
        // The journal discards what is empty. One that is busy is there as well.
        match socket.send_to(&[], &path) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
        socket.set_nonblocking(false)?;
        Ok(Self { socket, path, listens: true })
    }
}

impl Sink for Journal {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let sent = self.socket.send_to(line, &self.path);
            let again = self.listens && began.elapsed() < JOURNAL_PATIENCE;
            match sent {
                Err(error) if again && is_passing(&error) => std::thread::sleep(PAUSE),
                sent => {
                    self.listens = sent.is_ok();
                    return sent.map(drop);
                }
            }
        }
    }
}

/// Says whether a journal that is being restarted may answer so.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, NotFound, WouldBlock};
    [ConnectionRefused, ConnectionReset, Interrupted, NotFound, WouldBlock].contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::queue::{LINES_MAX, Weight};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A sink that takes a line when somebody reads it.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Sink for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            self.0.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    fn pipe() -> (Arc<Queue>, Receiver<Vec<u8>>) {
        let (sender, reader) = sync_channel(0);
        let queue = Arc::new(Queue::default());
        start(Arc::clone(&queue), Pipe(sender)).expect("a thread can be had");
        (queue, reader)
    }

    #[test]
    fn a_sink_that_nobody_reads_holds_up_nobody_and_what_was_kept_arrives_in_order() {
        let (queue, reader) = pipe();
        let lines = LINES_MAX + 1_000;
        for number in 0..lines {
            queue.push(Weight::Plain, number.to_string().into_bytes());
        }
        let lost = queue.lost();
        assert!(lost >= 1_000, "{lost}");
        let kept = lines - usize::try_from(lost).expect("it is small");
        // The sink takes some on the way, which makes room behind those that were lost.
        let mut next = 0;
        for _ in 0..kept {
            let line = reader.recv_timeout(PATIENCE).expect("it was kept");
            let number = String::from_utf8(line).expect("digits").parse::<usize>();
            let number = number.expect("digits");
            assert!(number >= next, "{number} is not behind those before");
            next = number + 1;
        }
        assert!(queue.flush(PATIENCE));
    }

    #[test]
    fn lines_that_a_sink_refuses_are_counted() {
        let (queue, reader) = pipe();
        drop(reader);
        for _ in 0..3 {
            queue.push(Weight::Plain, b"x".to_vec());
        }
        assert!(queue.flush(PATIENCE));
        assert_eq!(queue.lost(), 3);
    }

    #[test]
    fn a_journal_that_is_restarted_loses_nothing() {
        let directory = tempfile::TempDir::new().expect("there is room");
        let path = directory.path().join("socket");
        assert!(Journal::open(&path).is_err(), "nobody listens");
        let before = UnixDatagram::bind(&path).expect("it is free");
        let mut journal = Journal::open(&path).expect("it listens");
        drop(before);
        std::fs::remove_file(&path).expect("it is there");
        let writing = std::thread::spawn(move || journal.write(b"line"));
        let after = UnixDatagram::bind(&path).expect("it is free");
        let mut buffer = [0; 9];
        let length = after.recv(&mut buffer).expect("it is sent");
        assert_eq!(&buffer[..length], b"line");
        writing.join().expect("it does not panic").expect("it was taken");
    }
}
