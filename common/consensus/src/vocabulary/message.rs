//! Messages between replicas (figure 3.1, §3.10, §5, §6.4, §9.6).

use super::entry::Entry;
use super::ids::{EntryId, Incarnation, LogIndex, ReadRound, ReadTicket, Term};

/// A message and the term its sender was in (for a pre-vote: the term it would campaign in).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender's current term, or in `RequestPreVote` and a granting `PreVote` the proposed one.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Asks whether an election could be won, without disturbing anybody (§9.6).
    RequestPreVote {
        /// The last entry of the candidate's log.
        last: EntryId,
    },
    /// Answers a pre-vote. A grant carries the proposed term, a refusal the voter's own.
    PreVote {
        /// Whether, and if not why not.
        verdict: Verdict,
    },
    /// Asks for a vote (§3.4).
    RequestVote {
        /// The last entry of the candidate's log.
        last: EntryId,
        /// The leader asked for this election (§3.10), so a live leader is no reason to refuse.
        transfer: bool,
    },
    /// Answers a vote request.
    Vote {
        /// The data directory that asked: a vote is not for another one under the same id.
        candidate: Incarnation,
        /// Whether, and if not why not.
        verdict: Verdict,
    },
    /// Replicates entries; without entries it is a heartbeat (§3.5).
    AppendEntries {
        /// The entry before the first of `entries`.
        prev: EntryId,
        /// Contiguous, from `prev.index + 1`; possibly empty.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: LogIndex,
        /// The newest read round that this message asks to confirm; 0 is none.
        round: ReadRound,
    },
    /// Accepts: the log agrees with the leader's up to `matched` and is durable there.
    Appended {
        /// Highest index known to agree with the leader *and* to be on disk.
        matched: LogIndex,
        /// The round of the request that is answered.
        round: ReadRound,
    },
    /// Refuses: the entry before the offered ones is missing or differs. Also the answer to a
    /// message of an older term, which is how its sender learns of the newer one.
    Conflict {
        /// The `prev` that did not match; lets the leader ignore answers to old requests.
        refused: EntryId,
        /// An entry of the refusing log at or before `refused` that may agree: the leader resumes
        /// at the last entry of its own that is not beyond it (fast backtracking, §3.5).
        hint: EntryId,
        /// The round of the request that is answered.
        round: ReadRound,
    },
    /// A snapshot that ends at `last` is durable here (§5).
    SnapshotInstalled {
        /// The last entry that the snapshot covers.
        last: EntryId,
    },
    /// Asks the receiver to campaign at once (§3.10).
    TimeoutNow {
        /// The leader's last entry; the receiver campaigns only if its own log ends there.
        last: EntryId,
    },
    /// Asks the leader for a read index on behalf of the sender's clients (§6.4). Whoever does not
    /// lead says so; nobody passes it on.
    ReadIndex {
        /// Named again in the answer.
        ticket: ReadTicket,
    },
    /// Answers a question for a read index.
    ReadIndexReply {
        /// The question.
        ticket: ReadTicket,
        /// A read may be served once this is applied; `None` from a node that does not lead.
        index: Option<LogIndex>,
    },
    /// Tells a digest of what applying all entries up to one did. The core neither sends it nor
    /// looks at it: who wraps the core compares states by it.
    Effects {
        /// The last of these entries.
        index: LogIndex,
        /// The digest.
        digest: u64,
        /// A leader says so of a majority.
        judged: bool,
    },
    /// Tells a leader whether the sender's disk has room for more data. As `Effects` no business of
    /// the core.
    Room {
        /// It has not.
        lacks: bool,
    },
}

/// The answer to a request for a vote, with the reason that an operator is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The vote is given.
    Granted,
    /// The voter is in a newer term.
    StaleTerm,
    /// The voter has given its vote of this term to another candidate (§3.4).
    AlreadyVoted,
    /// The candidate's log is not as up-to-date as the voter's (§3.6.1).
    LogBehind,
    /// The voter hears from a live leader (§4.2.3).
    LeaderAlive,
    /// The voter may not vote: just restarted with leases on, or its memory is not its own.
    NotEligible,
}
