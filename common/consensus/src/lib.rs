//! The Raft consensus algorithm (Ongaro, "Consensus: Bridging Theory and Practice", 2014), as a
//! value that is stepped.
//!
//! A driver owns a [`Raft`], tells it everything that happens as [`Input`]s, and [`Raft::drain`]s
//! what is to be done as [`Actions`]: lanes for disk, network, state machine and clients. Between
//! two drains any number of inputs may be stepped; everything drained may start at once, in any
//! order among the lanes.
//!
//! ```
//! # use consensus::*;
//! let me = NodeId::new(1).expect("not 0");
//! let disk = Restored {
//!     incarnation: Incarnation::new(7),
//!     hard_state: HardState::default(),
//!     log: LogView::default(),
//!     membership: Membership::default(),
//!     applied: LogIndex::ZERO,
//!     stamp: ClusterTime::ZERO,
//! };
//! let now = Timestamp::ZERO;
//! let mut raft = Raft::restore(me, Config::new(42), disk, now)?;
//! raft.step(now, Input::Timeout(Timer::Election));
//! let actions = raft.drain(now);
//! assert!(actions.is_empty(), "a node that belongs to no cluster keeps still");
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! # Architecture invariants
//! - No I/O, no clock, no thread, no async, no global, no iteration in hash order: the same inputs
//!   give the same outputs, byte for byte.
//! - No storage trait and no entry bytes: the log is known by its term runs ([`LogView`]); bytes
//!   pass through and are never read.
//! - No errors: inputs from the network are judged and ignored, requests are refused by a
//!   [`Reply`]; a broken invariant ends the process.
//! - Whatever claims durability is held back until the write that it relies on is acknowledged.

mod actions;
mod append;
mod commit;
mod config;
mod configuration;
mod durability;
mod election;
mod entry;
mod forward;
mod freedom;
mod ids;
mod input;
mod invariants;
mod lease;
mod log_view;
mod membership;
mod message;
mod progress;
mod raft;
mod reads;
mod receive;
mod reconfigure;
mod replication;
mod rng;
mod role;
mod snapshot;
mod status;
mod transfer;

pub use actions::{Actions, Basis, Event, HardState, Ignored, Rejection, Reply, Send, Write};
pub use config::{CLOCK_ERROR_PPM_MAX, Config, ConfigError, Restored};
pub use configuration::{
    Configuration, ConfigurationError, MEMBERS_MAX, Majority, Member, Tally, Voters,
};
pub use entry::{Entry, Payload};
pub use freedom::Freedom;
pub use ids::{
    ClusterTime, EntryId, Incarnation, LogIndex, NodeId, ReadRound, ReadTicket, RequestId, Term,
    Timestamp, WriteId,
};
pub use input::{Input, SnapshotMeta, Timer};
pub use log_view::{LogView, TermRun};
pub use membership::Membership;
pub use message::{Body, Message, Verdict};
pub use raft::Raft;
pub use receive::{NUMBER_MAX, TERM_JUMP_MAX};
pub use status::{CatchUp, FlowKind, PeerStatus, RoleKind, Status};
