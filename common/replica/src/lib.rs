//! Consensus with the log's tail in memory and the clients that wait, still without I/O: the
//! simulator and the daemon drive the same replica and differ only in who moves the bytes.
//!
//! # Architecture invariants
//! - No I/O, clock, thread or randomness of its own: as deterministic as the core inside.
//! - The core's invariants are checked with every drain, in release too: a broken one panics, and
//!   the daemon's process ends by SIGABRT, with the invariant in the last lines of its log.
//! - Every waiting client is told exactly once how it ended: done, certainly not, or unknown.
//! - Memory is bounded: cache, proposals and questions have limits, and beyond them a request is
//!   refused before it has any effect.

mod alarms;
mod cache;
mod chaining;
mod compaction;
mod comparison;
mod departures;
mod feeding;
mod healing;
mod holds;
mod input;
mod lanes;
mod limits;
mod newcomers;
mod pacer;
mod replica;
mod requests;
mod room;
mod snapshots;
mod under_way;
mod untaken;
mod views;

pub use compaction::Keep;
pub use input::{
    Answer, Consistency, Input, Proposal, Purpose, Sent, SnapshotNews, Space, Transfer,
};
pub use lanes::{
    Alarm, ChangeRefusal, Difference, Differing, Lanes, Meeting, NotMet, Piece, Question, Removal,
    Reply, RoomAction, RoomLevel, SnapshotAction,
};
pub use limits::{FeedLimits, Limits};
pub use pacer::Pacer;
pub use replica::Replica;
pub use room::{ROOM_STEADY_NS, room_above};
pub use under_way::UnderWay;
