//! The apply lane: a thread that owns the state machine.
//!
//! It takes all committed ranges that are queued, in batches bounded in bytes, each of which
//! changes the state, the system's part and the applied index at once. Entries come along from the
//! log cache; those that it had no longer are read from the disk. The state is flushed from time
//! to time, which bounds what is replayed after a crash.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use consensus::{Entry, LogIndex};
use state_machine::{Host, HostError, Revocation, applying};
use storage::{SnapshotReader, StateStore};
use transport::{Removed, Revoked};

use crate::alive::Alive;
use crate::exit::{Exit, Failure, host_failure, install_failure, state_failure, storage_failure};
use crate::lanes::apply::batch::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, batch_len, follows, is_configuration,
};
use crate::lanes::apply::scrub::Scrubbing;
use crate::lanes::apply::upkeep::{Upkeep, make_room};
use crate::lanes::{Done, Reports, View, entry_bytes, guarded, step_back};

mod batch;
mod scrub;
mod upkeep;

/// The most bytes of entries that are handed over along with their ranges and not yet applied;
/// beyond it, ranges go without entries, which the lane then reads from the disk.
pub(crate) const QUEUE_BYTES_MAX: usize = 32 << 20;

/// When the state is flushed.
pub(crate) struct Flushing {
    /// At least so often, and at the end.
    pub(crate) interval: Duration,
    /// At the latest when so many bytes of entries were applied since it last was: that bounds the
    /// log, and what is replayed after a crash.
    pub(crate) bytes_max: usize,
    /// But not while there is no room on the disk for it: the log has everything.
    pub(crate) has_room: Box<dyn Fn() -> bool + Send>,
    /// All of it is read through so often, while more is free than must be in hand.
    pub(crate) scrub_interval: Duration,
    pub(crate) has_more_room: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Told how many bytes were read, each time that all of it was whole.
    pub(crate) scrubbed: Arc<dyn Fn(u64) + Send + Sync>,
}

/// Work for the lane.
#[derive(Debug)]
enum Job {
    /// Apply these indexes; the entries are those at its beginning, as far as they were at hand.
    Apply { range: RangeInclusive<LogIndex>, entries: Vec<Entry>, view: bool },
    /// Report a view of the present state.
    View,
    /// Make the present state durable, while what follows is applied.
    Flush,
    /// Report the present state, durable, for a snapshot.
    Checkpoint,
    /// Replace the state by a snapshot's.
    Install(PathBuf),
    /// Note that the state is not to be used again when the node starts, and why.
    Condemn(String),
}

/// The loop's end of the lane.
#[derive(Debug)]
pub(crate) struct Apply {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    queued_bytes: usize,
}

impl Apply {
    /// Starts the thread. `read` reads entries from the disk, at least one and at most so many
    /// bytes.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(crate) fn start(
        host: Host<StateStore>,
        read: impl Fn(Range<LogIndex>, usize) -> Result<Vec<Entry>, Failure> + Send + 'static,
        flushing: Flushing,
        (reports, alive): (Reports, Alive),
        removed: Removed,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let (scrub_interval, scrubbed) = (flushing.scrub_interval, Arc::clone(&flushing.scrubbed));
        let worker = Worker {
            host,
            read,
            reports,
            removed,
            when: flushing,
            persisted: Instant::now(),
            unflushed_bytes: 0,
            dirty: false,
            flushing: Arc::default(),
            passed_over: None,
            scrubbing: Scrubbing::new(scrub_interval, alive.clone(), scrubbed),
            upkeep: Upkeep::new(alive.clone()),
            alive,
        };
        let thread = std::thread::Builder::new().name("apply".to_owned()).spawn(move || {
            let reports = worker.reports.clone();
            guarded("apply", &reports, || worker.run(&queue));
        })?;
        Ok(Self { jobs, thread, queued_bytes: 0 })
    }

    /// Queues a committed range with those of its first entries that are at hand; asks for a view
    /// of the state behind it.
    pub(crate) fn apply(
        &mut self,
        range: RangeInclusive<LogIndex>,
        entries: Vec<Entry>,
        view: bool,
    ) {
        self.queued_bytes += entries.iter().map(entry_bytes).sum::<usize>();
        // The thread has ended only after a failure, which its report tells.
        let _ = self.jobs.send(Job::Apply { range, entries, view });
    }

    /// Asks for a view of the present state.
    pub(crate) fn view(&self) {
        let _ = self.jobs.send(Job::View);
    }

    /// Asks that the present state becomes durable.
    pub(crate) fn flush(&self) {
        let _ = self.jobs.send(Job::Flush);
    }

    /// Asks for the present state, for a snapshot. What is not durable yet is made so first, and
    /// nothing is applied meanwhile: a flush before makes that short.
    pub(crate) fn checkpoint(&self) {
        let _ = self.jobs.send(Job::Checkpoint);
    }

    /// Replaces the state by that of a snapshot's file, before what is applied next.
    pub(crate) fn install(&self, file: PathBuf) {
        let _ = self.jobs.send(Job::Install(file));
    }

    /// Notes durably that the state is not to be used again when the node starts, and why.
    pub(crate) fn condemn(&self, why: String) {
        let _ = self.jobs.send(Job::Condemn(why));
    }

    /// Notes that so many bytes have left the queue.
    pub(crate) fn applied(&mut self, bytes: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
    }

    /// Returns how many bytes of entries may be handed over along with a range.
    pub(crate) fn room_bytes(&self) -> usize {
        QUEUE_BYTES_MAX.saturating_sub(self.queued_bytes)
    }

    /// Ends the lane when everything queued is applied and flushed. The reports must still be
    /// received, or there must be room for them.
    pub(crate) fn finish(self) -> JoinHandle<()> {
        self.thread
    }
}

struct Worker<R> {
    host: Host<StateStore>,
    read: R,
    reports: Reports,
    /// Who is refused as a peer.
    removed: Removed,
    when: Flushing,
    persisted: Instant,
    /// Bytes of entries that were applied and not flushed, and whether there are any at all.
    unflushed_bytes: usize,
    dirty: bool,
    /// A flush is under way.
    flushing: Arc<AtomicBool>,
    /// Bytes of entries that are not applied, since those before them are compacted: a snapshot
    /// that is installed next has them all.
    passed_over: Option<usize>,
    scrubbing: Scrubbing,
    upkeep: Upkeep,
    /// Held by threads that use the files.
    alive: Alive,
}

impl<R> Worker<R>
where
    R: Fn(Range<LogIndex>, usize) -> Result<Vec<Entry>, Failure>,
{
    fn run(mut self, queue: &Receiver<Job>) {
        if let Err(failure) = self.work(queue) {
            self.report(Done::ApplyFailed(failure));
        }
    }

    /// Works until the loop is gone, then flushes.
    fn work(&mut self, queue: &Receiver<Job>) -> Result<(), Failure> {
        self.tell_removed()?;
        self.tell_revoked();
        let mut batch = Vec::new();
        let mut next = None;
        loop {
            let job = match next.take() {
                Some(job) => job,
                None => match queue.recv_timeout(self.until_due()) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        self.do_what_is_due()?;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return self.persist(),
                },
            };
            match job {
                Job::Apply { range, entries, mut view } => {
                    let mut end = *range.end();
                    batch.extend(entries);
                    next = join(queue, &mut batch, &mut end, &mut view);
                    self.apply(&mut batch, end, view)?;
                    self.do_what_is_due()?;
                }
                Job::View => self.report(Done::Viewed(View(self.host.view()))),
                Job::Flush => self.flush()?,
                Job::Checkpoint => self.checkpoint()?,
                Job::Install(file) => self.install(&file)?,
                Job::Condemn(why) => {
                    let noted = self.host.store().condemn_later(&why);
                    noted.map_err(|error| storage_failure(&error))?;
                }
            }
        }
    }

    /// Applies up to `end`: first the entries at hand, then those on the disk.
    fn apply(&mut self, batch: &mut Vec<Entry>, end: LogIndex, view: bool) -> Result<(), Failure> {
        if let Some(bytes) = &mut self.passed_over {
            *bytes += batch.drain(..).map(|entry| entry_bytes(&entry)).sum::<usize>();
            return Ok(());
        }
        while self.host.applied().index < end {
            if batch.is_empty() {
                let next = self.host.applied().index.next();
                batch.extend((self.read)(next..end.next(), BATCH_BYTES_MAX)?);
            }
            // Compacted meanwhile, for a snapshot that is installed next.
            if batch.is_empty() {
                self.passed_over = Some(0);
                return Ok(());
            }
            let began = Instant::now();
            let before = self.host.applied().index;
            let wanted = &batch[..batch_len(batch)];
            let responses = self.host.apply_some(wanted).map_err(|error| failed(&error))?;
            let digests = self.host.effects().after(before);
            // Of commands that do much, it takes fewer at a time.
            let done = self.host.applied().index.get() - before.get();
            let count = usize::try_from(done).expect("it is a part of what was handed over");
            let took = began.elapsed();
            if batch[..count].iter().any(is_configuration) {
                self.tell_removed()?;
            }
            self.dirty = true;
            let bytes = batch.drain(..count).map(|entry| entry_bytes(&entry)).sum();
            self.unflushed_bytes += bytes;
            self.upkeep.note(bytes);
            let last = self.host.applied().index;
            let view = (view && last == end).then(|| View(self.host.view()));
            let alarms = self.host.take_alarms();
            self.tell_revoked();
            self.report(Done::Applied { last, responses, view, bytes, took, digests, alarms });
        }
        Ok(())
    }

    /// Tells the transport who was removed, as far as the log is applied.
    fn tell_removed(&self) -> Result<(), Failure> {
        let stones = self.host.view().tombstones().map_err(|error| failed(&error))?;
        self.removed.replace(stones.into_iter().map(|stone| (stone.id, stone.index)));
        Ok(())
    }

    /// Tells the transport which certificates count no more, if that is news.
    fn tell_revoked(&mut self) {
        let Some(revoked) = self.host.take_revoked() else { return };
        self.removed.guard().revoke(revoked.into_iter().map(told));
    }

    /// Makes everything durable, at the end; also waits for a flush that is under way.
    fn persist(&mut self) -> Result<(), Failure> {
        if !(self.when.has_room)() {
            return Ok(());
        }
        self.host.persist().map(drop).map_err(|error| failed(&error))
    }

    fn do_what_is_due(&mut self) -> Result<(), Failure> {
        self.flush_if_due()?;
        self.scrub_if_due()?;
        self.keep_up_if_due()
    }

    fn flush_if_due(&mut self) -> Result<(), Failure> {
        if !self.until_persist().is_zero() {
            return Ok(());
        }
        if self.dirty {
            return self.flush();
        }
        self.note_flush();
        Ok(())
    }

    /// Flushes on a thread of its own, unless one does: what follows is applied meanwhile.
    fn flush(&mut self) -> Result<(), Failure> {
        self.note_flush();
        if !(self.when.has_room)() {
            make_room(self.host.store());
            self.report(Done::Unflushed);
            return Ok(());
        }
        if self.flushing.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.dirty = false;
        let index = self.host.applied().index;
        let flush = self.host.with_store(|store| store.flush_later());
        let flush = flush.map_err(|error| failed(&error))?;
        let (reports, flushing) = (self.reports.clone(), Arc::clone(&self.flushing));
        let alive = self.alive.clone();
        let thread = thread::Builder::new().name("flush".to_owned());
        let thread = thread.spawn(move || {
            guarded("flush", &reports, || {
                let _alive = alive;
                step_back();
                let flushed = flush.run();
                flushing.store(false, Ordering::Release);
                // A loop that is gone needs no report.
                let _ = reports.blocking_send(match flushed {
                    Ok(state_bytes) => Done::Flushed { index, state_bytes },
                    Err(error) => Done::ApplyFailed(state_failure(&error)),
                });
            });
        });
        thread.map(drop).map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))
    }

    fn scrub_if_due(&mut self) -> Result<(), Failure> {
        if !self.scrubbing.due_in().is_zero() {
            return Ok(());
        }
        let Self { scrubbing, host, reports, when, .. } = self;
        let begun = scrubbing.begin(|| host.store().scrub_later(), reports, &when.has_more_room);
        begun.map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))
    }

    fn keep_up_if_due(&mut self) -> Result<(), Failure> {
        if !self.upkeep.due_in().is_zero() {
            return Ok(());
        }
        let begun = self.upkeep.begin(self.host.store().upkeep(), &self.reports);
        begun.map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))
    }

    fn until_due(&self) -> Duration {
        self.until_persist().min(self.scrubbing.due_in()).min(self.upkeep.due_in())
    }

    /// The next flush is due later.
    fn note_flush(&mut self) {
        (self.unflushed_bytes, self.persisted) = (0, Instant::now());
    }

    fn flushed(&mut self, index: LogIndex) -> Result<(), Failure> {
        self.note_flush();
        let bytes = self.host.with_store(|store| store.bytes()).map_err(|error| failed(&error))?;
        self.report(Done::Flushed { index, state_bytes: bytes });
        Ok(())
    }

    /// A state that cannot be kept is no reason to stop; one that is damaged is.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        let result =
            self.host.with_store(StateStore::checkpoint).map_err(|error| failed(&error))?;
        let last = self.host.applied();
        if result.is_ok() {
            self.dirty = false;
            self.flushed(last.index)?;
        }
        let result = result.map_err(|error| state_failure(&error));
        if let Err(failure) = &result
            && failure.is_of_the_state()
        {
            return Err(failure.clone());
        }
        self.report(Done::Checkpointed { last, result });
        Ok(())
    }

    fn install(&mut self, file: &Path) -> Result<(), Failure> {
        // On a thread that steps back; this one cannot step forward again.
        let replace = |store: &mut StateStore| {
            step_back();
            SnapshotReader::open(file).and_then(|mut snapshot| store.replace_from(&mut snapshot))
        };
        let replaced = self.host.with_store(|store| {
            let done = thread::scope(|scope| scope.spawn(|| replace(store)).join());
            done.expect("a panic ends the process")
        });
        replaced.map_err(|error| failed(&error))?.map_err(|error| install_failure(&error))?;
        self.dirty = false;
        self.tell_removed()?;
        self.tell_revoked();
        let last = self.host.applied().index;
        let digest = self.host.digest();
        let alarms = self.host.take_alarms();
        let (view, bytes) = (View(self.host.view()), self.passed_over.take().unwrap_or_default());
        self.report(Done::Installed { last, view, bytes, digest, alarms });
        self.flushed(last)
    }

    fn until_persist(&self) -> Duration {
        if self.unflushed_bytes >= self.when.bytes_max {
            return Duration::ZERO;
        }
        self.when.interval.saturating_sub(self.persisted.elapsed())
    }

    fn report(&self, done: Done) {
        // A loop that is gone needs no report.
        let _ = self.reports.blocking_send(done);
    }
}

fn told(revocation: Revocation) -> Revoked {
    // The time of the cluster is none of people's: raftctl audit says when that was.
    let Revocation { holder, until_s, keys, why, by, index, time: _ } = revocation;
    let reason = if why.is_empty() { String::new() } else { format!(": {why}") };
    let why = format!("by {by} (log entry {index}){reason}");
    Revoked { holder, until_s, keys, why }
}

/// Joins what is queued behind a range: ranges are contiguous, so those that are complete may be
/// applied together. Returns the job that ends it.
fn join(
    queue: &Receiver<Job>,
    batch: &mut Vec<Entry>,
    end: &mut LogIndex,
    view: &mut bool,
) -> Option<Job> {
    let mut bytes: usize = batch.iter().map(entry_bytes).sum();
    while follows(batch, *end)
        && batch.len() < BATCH_ENTRIES_MAX
        && bytes < BATCH_BYTES_MAX
        && let Ok(next) = queue.try_recv()
    {
        match next {
            Job::Apply { range, entries, view: wanted } => {
                *end = *range.end();
                *view |= wanted;
                bytes += entries.iter().map(entry_bytes).sum::<usize>();
                batch.extend(entries);
            }
            Job::View => *view = true,
            other @ (Job::Flush | Job::Checkpoint | Job::Install(_) | Job::Condemn(_)) => {
                return Some(other);
            }
        }
    }
    None
}

fn failed(error: &HostError) -> Failure {
    let at = applying().map(|index| format!(", at entry {index}")).unwrap_or_default();
    host_failure(&format!("the state machine cannot go on{at}"), error)
}

#[cfg(test)]
mod tests;
