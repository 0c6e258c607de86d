//! The query lane: a thread that answers questions from a view of the state, and log pages from the
//! disk. It answers clients directly: nothing comes back to the loop.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use consensus::{Basis, Entry, LogIndex, Payload, Timestamp};
use protocol::limits::LOG_PAGE_BYTES_MAX;
use protocol::{
    EntryKind, ErrorCode, LogDetail, LogEntry, LogPage, Response, encode_configuration,
};
use state_machine::{
    Envelope, EnvelopeKind, HostError, Moment, Owner, QueryView, SystemAnswer, SystemQuery,
};
use transport::Responder;

use crate::alive::Alive;
use crate::answer;
use crate::clock::Clock;
use crate::exit::{Exit, Failure, host_failure};
use crate::lanes::network::ReadLog;
use crate::lanes::{Done, Reports, answers, guarded, step_back};
use crate::logging::repeat::{self, Kind};
use crate::owner;
use crate::program::Machine;

/// The most questions that wait for the lane.
const QUESTIONS_MAX: usize = 65_536;

/// The most log pages that are read at a time.
const PAGES_MAX: usize = 4;

/// Questions for one view.
struct Batch {
    view: QueryView,
    questions: Vec<Asked>,
}

/// Which part of the state is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The replicated machine's.
    Machine,
    /// The system's: sessions, removed members, reserved ids; and who asks.
    System(Owner),
}

/// A question, and what its answer must say and obey.
pub(crate) struct Asked {
    /// Whom it is for.
    pub(crate) part: Part,
    /// The question.
    pub(crate) query: Bytes,
    /// Who waits.
    pub(crate) responder: Responder,
    /// The answer leaves only if this holds when the state has been read.
    pub(crate) basis: Basis,
    /// How long ago this node heard from a leader, where the client is told.
    pub(crate) age_ms: Option<u64>,
}

/// The loop's end of the lane.
pub(crate) struct Queries {
    jobs: Sender<Batch>,
    progress: Arc<Progress>,
    pages: Arc<AtomicUsize>,
    read: ReadLog,
    machine: Machine,
    reports: Reports,
    alive: Alive,
}

/// How far the thread is.
#[derive(Debug, Default)]
struct Progress {
    /// Questions that are not answered yet.
    waiting: AtomicUsize,
    /// When the thread began to read for one, in nanoseconds of the clock; 0 while it reads for
    /// none.
    reads_since: AtomicU64,
}

/// A page that a client wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The first index.
    pub(crate) from: LogIndex,
    /// The most entries.
    pub(crate) entries_max: u32,
    /// What is wanted of each.
    pub(crate) detail: LogDetail,
}

/// What the log holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The first index.
    pub(crate) first: LogIndex,
    /// The last index on the disk.
    pub(crate) last: LogIndex,
    /// The commit index.
    pub(crate) commit: LogIndex,
}

impl Queries {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(crate) fn start(
        read: ReadLog,
        machine: Machine,
        clock: Clock,
        (reports, alive): (Reports, Alive),
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let progress = Arc::new(Progress::default());
        let ours = Arc::clone(&progress);
        std::thread::Builder::new().name("query".to_owned()).spawn({
            let (reports, alive) = (reports.clone(), alive.clone());
            move || {
                guarded("query", &reports, || run(&queue, &ours, clock, &reports));
                drop((queue, alive));
            }
        })?;
        let pages = Arc::new(AtomicUsize::new(0));
        Ok(Self { jobs, progress, reports, pages, read, machine, alive })
    }

    /// Lets go of the view of a state that was replaced. Who does so last closes its database and
    /// removes its files: for a large one that takes seconds, which the loop does not have.
    pub(crate) fn retire(&self, view: QueryView) {
        let alive = self.alive.clone();
        let thread = std::thread::Builder::new().name("retire".to_owned());
        // Without a thread, what it was to hold is dropped here.
        let _ = thread.spawn(move || {
            step_back();
            drop((view, alive));
        });
    }

    /// Answers questions at a view, which must hold all that they may have to see.
    pub(crate) fn answer(&self, view: &QueryView, questions: Vec<Asked>) {
        if questions.is_empty() {
            return;
        }
        let waiting = &self.progress.waiting;
        if waiting.fetch_add(questions.len(), Ordering::Relaxed) > QUESTIONS_MAX {
            waiting.fetch_sub(questions.len(), Ordering::Relaxed);
            for Asked { responder, .. } in questions {
                responder.send(busy("too many questions wait"));
            }
            return;
        }
        // The thread lives as long as this sender.
        let _ = self.jobs.send(Batch { view: view.clone(), questions });
    }

    /// Returns for how long the thread has read for the question that it is at, in milliseconds;
    /// `None` if it is at none. A disk that hangs on reads shows there, and nowhere else.
    pub(crate) fn waits_ms(&self, now: Timestamp) -> Option<u64> {
        let since = self.progress.reads_since.load(Ordering::Relaxed);
        (since > 0).then(|| now.since(Timestamp::new(since)) / 1_000_000)
    }

    /// Reads a page of the log on another thread and answers.
    pub(crate) fn page(&self, page: Page, extent: Extent, responder: Responder) {
        if self.pages.fetch_add(1, Ordering::Relaxed) >= PAGES_MAX {
            self.pages.fetch_sub(1, Ordering::Relaxed);
            responder.send(busy("too many log pages are being read"));
            return;
        }
        let (read, pages) = (Arc::clone(&self.read), Arc::clone(&self.pages));
        let machine = Arc::clone(&self.machine);
        let reports = self.reports.clone();
        tokio::task::spawn_blocking(move || {
            guarded("page", &reports, || {
                responder.send(read_page(&read, &machine, page, extent));
                pages.fetch_sub(1, Ordering::Relaxed);
            });
        });
    }
}

fn run(queue: &Receiver<Batch>, progress: &Progress, clock: Clock, reports: &Reports) {
    let mut damage = None;
    while let Ok(Batch { view, questions }) = queue.recv() {
        let count = questions.len();
        // All that wait are answered at one moment: it is read from behind their coming.
        view.at_one_moment(|moment| {
            let mut now = clock.now();
            for Asked { part, query, responder, basis, age_ms } in questions {
                // What is read elsewhere in a damaged state may be whole and wrong.
                if let Some(failure) = &damage {
                    responder.send(lost(failure));
                    continue;
                }
                // Who has gone, or asks elsewhere by now, is not in the way of those who wait.
                if !responder.is_awaited() {
                    responder.send(busy("nobody waits for the answer any more"));
                    continue;
                }
                progress.reads_since.store(now.get(), Ordering::Relaxed);
                let read = || answered(moment, (&part, &query), age_ms, (&mut damage, reports));
                let (response, behind) = read_within(basis, || clock.now(), read);
                now = behind;
                responder.send(response);
            }
        });
        progress.reads_since.store(0, Ordering::Relaxed);
        progress.waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Reads, and returns the answer with the time behind the read; the answer leaves only if the basis
/// holds then, since the process may have been stopped on the way (§6.4.1).
fn read_within(
    basis: Basis,
    now: impl Fn() -> Timestamp,
    read: impl FnOnce() -> Response,
) -> (Response, Timestamp) {
    let response = read();
    let behind = now();
    (if basis.holds(behind) { response } else { lapsed() }, behind)
}

/// Answers one question. Damage that it finds is kept for those that follow, and reported.
fn answered(
    moment: &Moment<'_>,
    (part, query): (&Part, &Bytes),
    age_ms: Option<u64>,
    (damage, reports): (&mut Option<Failure>, &Reports),
) -> Response {
    let answered = match part {
        Part::Machine => answers(|| moment.query(query).map_err(HostError::Store)),
        Part::System(by) => Ok(answer_system(moment, by, query)),
    };
    match answered {
        Ok(Ok(response)) => Response::Answer { index: moment.reached().get(), response, age_ms },
        Err(panic) => {
            let failure = Failure::new(Exit::Internal, panic);
            repeat::tell(Kind::Answer, "a question", &failure);
            lost(&failure)
        }
        Ok(Err(error)) => {
            let failure = host_failure("a question", &error);
            let response = lost(&failure);
            if failure.is_of_the_state() {
                *damage = Some(failure.clone());
                // A loop that is gone needs no report.
                let _ = reports.blocking_send(Done::ApplyFailed(failure));
            } else {
                repeat::tell(Kind::Answer, "a question", &failure);
            }
            response
        }
    }
}

/// What is answered in place of a read whose lease ran out meanwhile: to be asked again.
fn lapsed() -> Response {
    let why = "this node's lease ran out before the answer could leave; another may lead";
    Response::Error(answer::refusal(ErrorCode::NoLeader, why))
}

/// What is answered where the state cannot be read. Another node has a state of its own, and files
/// and memory.
fn lost(failure: &Failure) -> Response {
    let is_here = failure.is_of_the_state() || failure.exit == Exit::Io;
    let code = if is_here { ErrorCode::NoLeader } else { ErrorCode::Internal };
    Response::Error(answer::refusal(code, failure.to_string()))
}

fn answer_system(moment: &Moment<'_>, by: &Owner, query: &Bytes) -> Result<Bytes, HostError> {
    let answer = match SystemQuery::decode(query) {
        Ok(query) => moment.system(owner::viewer(by), &query)?,
        Err(error) => SystemAnswer::Refused { reason: error.to_string() },
    };
    Ok(answer.encode())
}

fn busy(why: &str) -> Response {
    Response::Error(answer::refusal(ErrorCode::Busy, why))
}

fn read_page(read: &ReadLog, machine: &Machine, page: Page, extent: Extent) -> Response {
    let range = within(page, extent);
    let entries = if range.is_empty() { Ok(Vec::new()) } else { read(range, LOG_PAGE_BYTES_MAX) };
    match entries {
        Ok(entries) => Response::Log(LogPage {
            first: extent.first.get(),
            last: extent.last.get(),
            commit: extent.commit.get(),
            entries: entries.into_iter().map(|entry| describe(entry, machine, page)).collect(),
        }),
        Err(failure) => {
            repeat::tell(Kind::Answer, "a page of the log", &failure);
            Response::Error(answer::refusal(ErrorCode::Internal, failure.message))
        }
    }
}

/// Returns what there is of a page.
fn within(page: Page, extent: Extent) -> Range<LogIndex> {
    let start = page.from.max(extent.first);
    let end = page.from.advanced(u64::from(page.entries_max)).min(extent.last.next());
    start..end.max(start)
}

fn describe(entry: Entry, machine: &Machine, page: Page) -> LogEntry {
    let (kind, payload) = match entry.payload {
        Payload::Noop => (EntryKind::Noop, Bytes::new()),
        Payload::Command(command) => (EntryKind::Command, command),
        // Who belongs to the cluster is no secret of its users.
        Payload::Configuration(configuration) => {
            (EntryKind::Configuration, encode_configuration(&configuration))
        }
    };
    let detailed = page.detail != LogDetail::Sizes;
    let shown = detailed || kind == EntryKind::Configuration;
    let said = || {
        let envelope = Envelope::decode(&payload).ok()?;
        let is_its = envelope.kind == EnvelopeKind::Machine;
        let said = || machine.describe(&envelope.body, page.detail == LogDetail::Values);
        is_its.then(|| answers(said).unwrap_or_else(Some)).flatten()
    };
    let text = (detailed && kind == EntryKind::Command).then(said).flatten();
    LogEntry {
        index: entry.id.index.get(),
        term: entry.id.term.get(),
        stamp_ns: entry.stamp.get(),
        kind,
        payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload: shown.then_some(payload),
        text,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use state_machine::StoreError;
    use storage::StorageError;

    use super::*;

    /// Another node may have been elected meanwhile, and have acknowledged what is not in it.
    #[test]
    fn an_answer_whose_lease_ran_out_while_it_was_read_does_not_leave() {
        let clock = Cell::new(10);
        let read_until = |basis, end| {
            clock.set(10);
            let read = || {
                clock.set(end);
                Response::Done
            };
            read_within(basis, || Timestamp::new(clock.get()), read)
        };
        let lease = Basis::Lease { until: Timestamp::new(20) };
        assert_eq!(read_until(lease, 19), (Response::Done, Timestamp::new(19)));
        assert_eq!(read_until(Basis::Round, 99), (Response::Done, Timestamp::new(99)));
        let (response, behind) = read_until(lease, 20);
        let Response::Error(error) = response else { panic!("it leaves: {response:?}") };
        assert_eq!((error.code, behind), (ErrorCode::NoLeader, Timestamp::new(20)));
    }

    /// Clients go on to another node, as with damage; what a machine answers is the same anywhere.
    #[test]
    fn a_read_that_fails_for_want_of_files_or_memory_is_asked_of_another_node() {
        let source = std::io::Error::from_raw_os_error(24);
        let open = StorageError::Io { doing: "open", path: "a table".into(), source };
        let store = |source| HostError::Store(StoreError { doing: "reading", source });
        for (source, wanted) in [
            (Box::new(open) as Box<dyn std::error::Error + Send + Sync>, ErrorCode::NoLeader),
            ("what the machine says".into(), ErrorCode::Internal),
        ] {
            let Response::Error(reply) = lost(&host_failure("a question", &store(source))) else {
                panic!("it is an answer");
            };
            assert_eq!(reply.code, wanted);
        }
    }

    #[test]
    fn a_page_stays_within_the_log() {
        let extent = |first, last| Extent {
            first: LogIndex::new(first),
            last: LogIndex::new(last),
            commit: LogIndex::ZERO,
        };
        let range = |from, entries_max, extent| {
            let page = Page { from: LogIndex::new(from), entries_max, detail: LogDetail::Sizes };
            let range = within(page, extent);
            (range.start.get(), range.end.get())
        };
        assert_eq!(range(1, 10, extent(1, 5)), (1, 6));
        assert_eq!(range(4, 10, extent(1, 5)), (4, 6));
        assert_eq!(range(2, 2, extent(1, 5)), (2, 4));
        assert_eq!(range(1, 10, extent(8, 9)), (8, 10), "what is compacted is left out");
        assert_eq!(range(1, 3, extent(8, 9)), (8, 8), "empty");
        assert_eq!(range(7, 3, extent(1, 5)), (7, 7), "empty");
        assert_eq!(range(1, 3, extent(1, 0)), (1, 1), "empty");
    }
}
