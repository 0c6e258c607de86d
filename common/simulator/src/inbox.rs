//! What has arrived at a node's loop, and what a turn takes of it.

use consensus::{Body, Configuration, Input as Raw, SnapshotMeta, Timestamp};
use replica::{Input, SnapshotNews, Space};

use crate::log::Log;

/// Inputs of one kind that are stepped before the replica is drained, as in the daemon.
const INPUTS_MAX: usize = 256;

/// A node's loop.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// What has arrived.
    pub(crate) inbox: Vec<Input>,
    /// Nothing is taken before this.
    pub(crate) busy_until: Timestamp,
    /// It has begun to ask for votes in its last turn.
    pub(crate) stands: bool,
    /// A turn is scheduled.
    pub(crate) due: bool,
    /// More arrives at the same time.
    pub(crate) gathers: bool,
    /// The clock as it was read before the process stood still: the first inputs behind that are
    /// stepped by it.
    pub(crate) frozen: Option<Timestamp>,
    /// The clock as it was read first, and last, for the last turn.
    pub(crate) began: Timestamp,
    pub(crate) now: Timestamp,
}

/// Where an input comes from: the daemon takes reports of its lanes first, then news of peers, then
/// what clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Report,
    Peer,
    Client,
}

/// What the inputs of a turn were, as far as anybody looks at it afterwards.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// How many inputs.
    pub(crate) count: usize,
    /// Commands that were held until now, while leadership is handed over.
    pub(crate) held: usize,
    /// Commands, their bytes, and questions.
    pub(crate) proposals: usize,
    pub(crate) proposal_bytes: usize,
    pub(crate) questions: usize,
    /// Changes of members, transfers and snapshots that were asked for.
    pub(crate) requests: usize,
    /// Who acknowledged entries.
    pub(crate) appended: Vec<consensus::NodeId>,
    /// Writes were reported.
    pub(crate) persisted: bool,
    /// The room on the disk was told.
    pub(crate) space: Option<Space>,
    /// The least that was free, of all that was told in the turn.
    pub(crate) least_bytes: u64,
    /// Snapshots that are durable here, and whether the log has their last entry.
    pub(crate) received: Vec<(SnapshotMeta, bool)>,
    /// Entries that were taken and cut in this very turn.
    pub(crate) cut_unwritten: bool,
    /// Whether an answer to its entries of an earlier term reached a leader.
    pub(crate) answered_too_late: bool,
    /// Whether the leader became the only voter while questions waited.
    pub(crate) last_voter_asked: bool,
    /// The configuration by which this node counts, if it leads and has something to count.
    pub(crate) counts_by: Option<Configuration>,
}

/// Returns where an input comes from.
pub(crate) fn kind(input: &Input) -> Kind {
    match input {
        Input::Raft(Raw::Receive { .. } | Raw::Unreachable { .. } | Raw::Gone { .. })
        | Input::ToldRemoved { .. }
        | Input::Snapshot(SnapshotNews::Offered { .. }) => Kind::Peer,
        Input::Propose { .. }
        | Input::ProposeAll { .. }
        | Input::Query { .. }
        | Input::Reconfigure { .. }
        | Input::TakeSnapshot { .. }
        | Input::Abandon
        | Input::Raft(
            Raw::Transfer { .. } | Raw::Propose { .. } | Raw::Read { .. } | Raw::Reconfigure { .. },
        ) => Kind::Client,
        Input::Raft(
            Raw::Timeout(_)
            | Raw::Persisted { .. }
            | Raw::WriteFailed { .. }
            | Raw::Applied { .. }
            | Raw::SnapshotTaken { .. }
            | Raw::SnapshotReceived { .. }
            | Raw::SnapshotSent { .. },
        )
        | Input::Applied { .. }
        | Input::Viewed { .. }
        | Input::Flushed { .. }
        | Input::Met { .. }
        | Input::Effects { .. }
        | Input::Alarms { .. }
        | Input::Directories { .. }
        | Input::Space(_)
        | Input::Fed { .. }
        | Input::Snapshot(
            SnapshotNews::Checkpointed { .. }
            | SnapshotNews::Made { .. }
            | SnapshotNews::Unflushed
            | SnapshotNews::Damaged { .. }
            | SnapshotNews::Sent { .. }
            | SnapshotNews::Received { .. },
        ) => Kind::Report,
    }
}

impl Turns {
    /// Takes what woke the loop, and what else has arrived, by kinds.
    pub(crate) fn take(&mut self) -> Vec<Input> {
        if self.inbox.len() < 2 {
            return std::mem::take(&mut self.inbox);
        }
        let mut counts = [0; 3];
        let first = self.inbox.remove(0);
        let (mut taken, mut left) = (vec![first], Vec::new());
        for input in self.inbox.drain(..) {
            let count = &mut counts[kind(&input) as usize];
            *count += 1;
            let queue = if *count <= INPUTS_MAX { &mut taken } else { &mut left };
            queue.push(input);
        }
        self.inbox = left;
        taken[1..].sort_by_key(kind);
        taken
    }
}

impl Taken {
    /// Notes an input, at a node whose log is this.
    pub(crate) fn note(&mut self, log: &Log, input: &Input) {
        match input {
            Input::Propose { command, .. } => {
                self.proposals += 1;
                self.proposal_bytes += command.len();
            }
            Input::ProposeAll { proposals } => {
                self.proposals += proposals.len();
                let bytes = proposals.iter().map(|proposal| proposal.command.len());
                self.proposal_bytes += bytes.sum::<usize>();
            }
            Input::Query { .. } => self.questions += 1,
            Input::Reconfigure { .. }
            | Input::TakeSnapshot { .. }
            | Input::Raft(Raw::Transfer { .. }) => self.requests += 1,
            Input::Raft(Raw::Receive { from, message, .. }) => {
                if let Body::Appended { .. } = message.body {
                    self.appended.push(*from);
                }
            }
            Input::Snapshot(SnapshotNews::Received { meta: Some(meta), .. }) => {
                let kept = log.id(meta.last.index) == Some(meta.last);
                self.received.push((meta.clone(), kept));
            }
            Input::Raft(Raw::Persisted { .. }) => self.persisted = true,
            Input::Space(space) => {
                let before = self.space.map_or(u64::MAX, |_| self.least_bytes);
                (self.space, self.least_bytes) = (Some(*space), before.min(space.usable_bytes));
            }
            Input::Raft(_)
            | Input::Applied { .. }
            | Input::Viewed { .. }
            | Input::Flushed { .. }
            | Input::Snapshot(_)
            | Input::Met { .. }
            | Input::Effects { .. }
            | Input::Alarms { .. }
            | Input::Directories { .. }
            | Input::Fed { .. }
            | Input::ToldRemoved { .. }
            | Input::Abandon => {}
        }
    }
}
