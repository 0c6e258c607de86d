//! What is counted while a node runs, by its loop, its lanes and its handshakes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use protocol::{ErrorCode, Request, Response};
use transport::{Cause, Responder};

use crate::observe::catalogue::{Catalogue, Counts};
use crate::observe::histogram::Histogram;

/// What came of somebody who began a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// It was begun.
    Begun,
    /// The address had to be proven first.
    Proven,
    /// There were too many: it was not answered.
    Dropped,
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// One was written here.
    Made(Ended),
    /// One was sent to a member.
    Sent(Ended),
    /// One came from a leader.
    Received(Ended),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Failed,
}

impl<T, E> From<&Result<T, E>> for Ended {
    fn from(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Done } else { Self::Failed }
    }
}

/// What kind of request somebody made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Write,
    Read,
    Status,
    Other,
}

/// All counts of a node.
#[derive(Debug)]
pub(crate) struct Counted {
    /// A batch of writes on the disk, with its sync.
    pub(crate) sync: Histogram,
    /// A batch of entries in the state machine.
    pub(crate) apply: Histogram,
    write: Histogram,
    read: Histogram,
    requests: Counts<(Asked, Option<ErrorCode>), 2>,
    /// This node began to follow a leader, or to lead.
    pub(crate) leaders: Counter,
    /// This node asked for votes.
    pub(crate) elections: Counter,
    /// Messages from and to peers that were dropped because a lane was full.
    pub(crate) dropped: Counter,
    /// Snapshots, by what became of them.
    pub(crate) snapshots: Counts<Snapshot, 2>,
    /// Connections that were refused or cut.
    pub(crate) refused: Counts<Cause, 1>,
    /// Handshakes that somebody began.
    pub(crate) handshakes: Counts<Handshake, 1>,
}

impl Default for Counted {
    fn default() -> Self {
        let asked = [Asked::Write, Asked::Read, Asked::Status, Asked::Other];
        let results = || [None].into_iter().chain(ErrorCode::ALL.iter().copied().map(Some));
        let requests = asked.into_iter().flat_map(|asked| {
            results()
                .map(move |result| ((asked, result), [asked.label().to_owned(), outcome(result)]))
        });
        let snapshots = [Snapshot::Made, Snapshot::Sent, Snapshot::Received];
        let snapshots = snapshots.into_iter().flat_map(|snapshot| {
            [Ended::Done, Ended::Failed]
                .map(snapshot)
                .map(|which| (which, which.labels().map(str::to_owned)))
        });
        let causes = [
            Cause::Certificate,
            Cause::Protocol,
            Cause::Role,
            Cause::Greeting,
            Cause::Nonsense,
            Cause::Crowd,
            Cause::Share,
            Cause::Deaf,
        ];
        let handshakes = [
            (Handshake::Begun, "begun"),
            (Handshake::Proven, "address_asked"),
            (Handshake::Dropped, "dropped"),
        ];
        let handshakes = handshakes.map(|(which, label)| (which, [label.to_owned()]));
        let causes = causes.map(|cause| (cause, [reason(cause).to_owned()]));
        Self {
            sync: Histogram::default(),
            apply: Histogram::default(),
            write: Histogram::default(),
            read: Histogram::default(),
            requests: Counts::new(["kind", "result"], requests),
            leaders: Counter::default(),
            elections: Counter::default(),
            dropped: Counter::default(),
            snapshots: Counts::new(["what", "result"], snapshots),
            refused: Counts::new(["reason"], causes),
            handshakes: Counts::new(["result"], handshakes),
        }
    }
}

impl Counted {
    /// Adds all of it to the list of metrics.
    pub(crate) fn register(&self, all: &mut Catalogue) {
        all.counter("changes", LEADERS, &self.leaders);
        all.counter("elections", ELECTIONS, &self.elections);
        all.histogram(SYNC, &self.sync);
        all.histogram(APPLY, &self.apply);
        all.histogram(WRITE, &self.write);
        all.histogram(READ, &self.read);
        all.counts("requests", REQUESTS, &self.requests);
        all.counts("snapshots", SNAPSHOTS, &self.snapshots);
        all.counts("connections", REFUSED, &self.refused);
        all.counts("handshakes", HANDSHAKES, &self.handshakes);
        all.counter("messages", DROPPED, &self.dropped);
    }

    /// Has a request counted when it is answered.
    pub(crate) fn watch(self: Arc<Self>, request: &Request, responder: Responder) -> Responder {
        let (asked, count, began) = (Asked::of(request), request.count(), Instant::now());
        responder.watched(move |response| self.answered((asked, count), response, began.elapsed()))
    }

    /// Counts each command of a batch, and how long all of it took.
    fn answered(&self, (asked, count): (Asked, usize), response: &Response, took: Duration) {
        let refused = match response {
            Response::Error(refusal) => Some(refusal.code),
            Response::Applied { .. }
            | Response::Batch { .. }
            | Response::Answer { .. }
            | Response::Status(_)
            | Response::Log(_)
            | Response::Snapshot(_)
            | Response::Bootstrapped { .. }
            | Response::Certificate(_)
            | Response::Configuration(_)
            | Response::Done => None,
        };
        if let Response::Batch { outcomes } = response {
            for outcome in outcomes {
                let refused = outcome.as_ref().err().map(|refusal| refusal.code);
                self.requests.count(&(asked, refused));
            }
        } else {
            self.requests.count_many(&(asked, refused), count);
        }
        match asked {
            Asked::Write if refused.is_none() => self.write.observe(took),
            Asked::Read if refused.is_none() => self.read.observe(took),
            Asked::Write | Asked::Read | Asked::Status | Asked::Other => {}
        }
    }
}

impl Asked {
    fn of(request: &Request) -> Self {
        match request {
            Request::Propose { .. } | Request::Batch { .. } => Self::Write,
            Request::Query { .. } | Request::SystemQuery { .. } => Self::Read,
            Request::Status => Self::Status,
            Request::ReadLog { .. }
            | Request::Reconfigure { .. }
            | Request::Transfer { .. }
            | Request::Snapshot(_)
            | Request::Certificate(_)
            | Request::Configuration(_)
            | Request::Note { .. }
            | Request::Bootstrap { .. }
            | Request::Join { .. } => Self::Other,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Status => "status",
            Self::Other => "other",
        }
    }
}

impl Snapshot {
    fn labels(self) -> [&'static str; 2] {
        let (what, ended) = match self {
            Self::Made(ended) => ("made", ended),
            Self::Sent(ended) => ("sent", ended),
            Self::Received(ended) => ("received", ended),
        };
        [what, if ended == Ended::Done { "ok" } else { "failed" }]
    }
}

/// Names a result as labels are written: `no_room`.
fn outcome(refused: Option<ErrorCode>) -> String {
    let Some(code) = refused else {
        return "ok".to_owned();
    };
    let mut label = String::new();
    for letter in code.name().chars() {
        if letter.is_ascii_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.push(letter.to_ascii_lowercase());
    }
    label
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Gone => "gone",
        Cause::Certificate => "certificate",
        Cause::Protocol => "protocol",
        Cause::Role => "role",
        Cause::Greeting => "greeting",
        Cause::Nonsense => "nonsense",
        Cause::Crowd => "crowd",
        Cause::Share => "share",
        Cause::Deaf => "reads_no_answers",
    }
}

const LEADERS: (&str, &str) = (
    "raftd_leader_changes_total",
    "How often this node began to follow a leader, or to lead, since it started",
);
const ELECTIONS: (&str, &str) =
    ("raftd_elections_total", "How often this node asked the others for their votes");
const SYNC: (&str, &str) = (
    "raftd_log_sync_seconds",
    "How long a batch of log entries took to be written and synced. One that is still under way \
     is not counted: raftd_log_sync_running_seconds shows it",
);
const APPLY: (&str, &str) =
    ("raftd_apply_seconds", "How long a batch of entries took in the state machine");
const WRITE: (&str, &str) = (
    "raftd_write_seconds",
    "From the arrival of a write, or of a batch of them, to its answer; those that were refused \
     are not counted",
);
const READ: (&str, &str) = (
    "raftd_read_seconds",
    "From the arrival of a question about the state to its answer; those that were refused are \
     not counted",
);
const REQUESTS: (&str, &str) = (
    "raftd_requests_total",
    "Requests that were answered, by kind (write, read, status, other) and by result: ok, or why \
     not (busy, no_leader, no_room, ..). Each command of a batch counts. One that is passed on to \
     the leader is counted at both nodes",
);
const SNAPSHOTS: (&str, &str) = (
    "raftd_snapshots_total",
    "Snapshots that were made here, sent to a member or received from the leader, by what and \
     result (ok, failed)",
);
const REFUSED: (&str, &str) = (
    "raftd_connections_refused_total",
    "Connections that were refused or cut, by reason: certificate (not accepted, theirs or ours), \
     protocol (not raftd's), role, greeting (another cluster, history or version, or a removed \
     node), nonsense, crowd (limits.connections_max), share \
     (limits.connections_per_identity_max), reads_no_answers",
);
const HANDSHAKES: (&str, &str) = (
    "raftd_handshakes_total",
    "Handshakes that somebody began, by result: begun, address_asked (there are many: the address \
     had to be proven first), dropped (too many a second)",
);
const DROPPED: (&str, &str) = (
    "raftd_messages_dropped_total",
    "Messages between members that were dropped since a queue was full; they are sent again",
);
