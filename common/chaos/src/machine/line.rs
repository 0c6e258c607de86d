//! A slow line: what arrives at a host waits in a thread of ours before it is let in.
//!
//! The kernel hands each packet to that thread (netfilter's queue number 0 in the host's namespace)
//! and takes it on when told so, in whatever order that is. Where nobody listens to the queue,
//! packets pass at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nfq::{Message, Queue, Verdict};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::{Failure, Result, file};
use crate::random::Random;

/// The queue's number, in every namespace.
pub(crate) const QUEUE: u16 = 0;

/// How many packets wait at most; what comes then is lost, as in a router.
const PACKETS_MAX: u32 = 10_000;

/// How exact the delays are.
const STEP: Duration = Duration::from_micros(500);

/// What a line does to what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How long everything takes at least.
    pub(crate) base: Duration,
    /// How much longer it takes at most, drawn for each packet.
    pub(crate) jitter: Duration,
    /// Whether a packet may overtake another.
    pub(crate) reorders: bool,
}

/// A host whose line is slow as long as this lives.
#[derive(Debug)]
pub(crate) struct Slow {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    /// Begins to hold what arrives in this namespace, a file.
    ///
    /// # Errors
    /// If the kernel has no such queue, or another process has it.
    pub(crate) fn begin(space: String, line: Line, random: Random) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let opened = open(&space);
            let queue = opened.map_err(|failure| drop(tell.send(Err(failure))));
            if let Ok(queue) = queue {
                // Whoever waits for it has not gone away.
                let _ = tell.send(Ok(()));
                let (held, last) = (BinaryHeap::new(), Instant::now());
                Carrier { queue, line, random, held, last }.carry(&stops);
            }
        });
        let died = || Failure::Machine("the thread of a slow line has died".to_owned());
        told.recv().map_err(|_| died())??;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}

/// Moves this thread into the namespace, for good, and opens the queue there.
fn open(space: &str) -> Result<Queue> {
    let path = std::path::Path::new(space);
    let opened = File::open(path).map_err(file("cannot open", path))?;
    let failed = |error: std::io::Error| Failure::Machine(format!("a slow line: {error}"));
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(opened.as_fd(), network).map_err(|errno| failed(errno.into()))?;
    let mut queue = Queue::open().map_err(failed)?;
    queue.bind(QUEUE).map_err(failed)?;
    queue.set_copy_range(QUEUE, 0).map_err(failed)?;
    queue.set_queue_max_len(QUEUE, PACKETS_MAX).map_err(failed)?;
    queue.set_nonblocking(true);
    Ok(queue)
}

/// A packet that waits, ordered by when it is let in.
struct Held(Reverse<(Instant, u32)>, Message);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// What a thread does for a host.
struct Carrier {
    queue: Queue,
    line: Line,
    random: Random,
    held: BinaryHeap<Held>,
    /// When the last of them is let in.
    last: Instant,
}

impl Carrier {
    fn carry(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            loop {
                match self.queue.recv() {
                    Ok(packet) => self.take(packet),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // The namespace is gone, or a packet was lost on the way to this thread.
                    Err(_) => break,
                }
            }
            self.let_in(Instant::now());
            std::thread::sleep(STEP);
        }
        // Nothing that was held is lost because a fault ends.
        while let Some(Held(_, packet)) = self.held.pop() {
            self.pass(packet);
        }
        // Closing the socket is not enough: a process that was started meanwhile has it as well.
        // If that fails, the next line says so.
        let _ = self.queue.unbind(QUEUE);
    }

    /// Decides when a packet is let in.
    fn take(&mut self, packet: Message) {
        let jitter_ns = u64::try_from(self.line.jitter.as_nanos()).unwrap_or(u64::MAX);
        let more = Duration::from_nanos(self.random.below(jitter_ns.max(1)));
        let mut at = Instant::now() + self.line.base + more;
        if !self.line.reorders {
            at = at.max(self.last);
        }
        self.last = at;
        let number = packet.get_packet_id();
        self.held.push(Held(Reverse((at, number)), packet));
    }

    fn let_in(&mut self, now: Instant) {
        while self.held.peek().is_some_and(|Held(Reverse((at, _)), _)| *at <= now) {
            if let Some(Held(_, packet)) = self.held.pop() {
                self.pass(packet);
            }
        }
    }

    fn pass(&mut self, mut packet: Message) {
        packet.set_verdict(Verdict::Accept);
        // A host that is removed takes its packets with it.
        let _ = self.queue.verdict(packet);
    }
}
