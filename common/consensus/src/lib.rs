//! The Raft consensus algorithm (Ongaro, "Consensus: Bridging Theory and Practice", 2014), as a
//! value that is stepped.
//!
//! A driver owns a [`Raft`], tells it everything that happens as [`Input`]s, and [`Raft::drain`]s
//! what is to be done as [`Actions`]: lanes for disk, network, state machine and clients. The rest
//! of this page is the driver's manual. `raftd` is such a driver, and the simulator is another.
//!
//! # The loop
//!
//! 1. Wait for something to happen, or for [`Raft::deadline`]; then read the clock.
//! 2. [`Raft::step`] each input. Any number of them may be stepped before the next drain: one drain
//!    for many inputs makes one write, and one round of messages, for all of them.
//! 3. [`Raft::drain`] once, and hand each lane on. No lane waits for another one, and the loop
//!    waits for none: every action may start at once.
//! 4. Tell what has come of an action as an input, whenever that is.
//!
//! The clock is monotonic, and is read after the input has arrived and before it is stepped.
//! Elections, heartbeats and retries all come out of the deadline; a timeout that comes early, or
//! for a role that is gone, changes nothing.
//!
//! A whole driver of a cluster of one node, whose disk is a map, and whose state machine keeps
//! commands in a vector:
//!
//! ```
//! use std::collections::{BTreeMap, BTreeSet};
//!
//! use bytes::Bytes;
//! use consensus::*;
//!
//! let me = NodeId::new(1).expect("not 0");
//! let incarnation = Incarnation::new(7);
//! let (name, address) = ("node-1".to_owned(), "localhost:7001".to_owned());
//! let voters = Voters::Stable(Majority::new([me]));
//! let members = BTreeMap::from([(me, Member { incarnation, name, address })]);
//! let configuration = Configuration::new(voters, BTreeSet::new(), members)?;
//!
//! // The first entry of every log is the configuration that the cluster was made with.
//! let first = LogIndex::new(1);
//! let runs = vec![TermRun { term: Term::new(1), first }];
//! let log = LogView::restore(EntryId::ZERO, runs, first).expect("one run of one entry");
//! let nobody = (LogIndex::ZERO, Configuration::unknown());
//! let membership = Membership::restore(nobody, vec![(first, configuration)]);
//! let restored = Restored {
//!     incarnation,
//!     hard_state: HardState { term: Term::new(1), vote: None },
//!     log,
//!     membership: membership.expect("it stands behind the place before the log"),
//!     applied: LogIndex::ZERO,
//!     stamp: ClusterTime::ZERO,
//! };
//! let mut raft = Raft::restore(me, Config::new(42), restored, Timestamp::ZERO)?;
//!
//! let (mut disk, mut machine) = (BTreeMap::<LogIndex, Entry>::new(), Vec::<Bytes>::new());
//! let request = RequestId::new(1);
//! let mut inputs = Vec::new();
//! let mut answers = Vec::new();
//! while machine.is_empty() {
//!     // Nothing happens by itself here, so time goes straight to the deadline.
//!     let (now, timer) = raft.deadline().expect("the disk works");
//!     inputs.push(Input::Timeout(timer));
//!     if raft.leads() && answers.is_empty() {
//!         inputs.push(Input::Propose { request, commands: vec![Bytes::from("hello")] });
//!     }
//!     while !inputs.is_empty() {
//!         for input in inputs.drain(..) {
//!             raft.step(now, input);
//!         }
//!         let actions = raft.drain(now);
//!         if let Some(write) = actions.write {
//!             disk.extend(write.append.into_iter().map(|entry| (entry.id.index, entry)));
//!             inputs.push(Input::Persisted { write: write.id });
//!         }
//!         if let Some(range) = actions.apply {
//!             let index = *range.end();
//!             machine.extend(disk.range(range).filter_map(|(_, entry)| match &entry.payload {
//!                 Payload::Command(bytes) => Some(bytes.clone()),
//!                 Payload::Noop | Payload::Configuration(_) => None,
//!             }));
//!             inputs.push(Input::Applied { index });
//!         }
//!         answers.extend(actions.reply);
//!     }
//! }
//! assert_eq!(machine, ["hello"]);
//! assert!(matches!(answers[..], [Reply::Appended { .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The lanes
//!
//! | lane | order | may be merged | may be dropped |
//! |---|---|---|---|
//! | `write` | as handed out | yes, with those that wait behind it | no |
//! | `send` | as handed out, to each peer | ranges that follow each other | yes, if that is told |
//! | `install` | before any later `apply` | no | no |
//! | `apply` | as handed out | yes, with those that follow | no |
//! | `reply` | any | no | yes: the client asks again |
//! | `event` | any | no | yes |
//!
//! **Disk.** A [`Write`] is atomic: truncate, compact and append, with term and vote, all or
//! nothing, and synced before it is acknowledged. Acknowledging a write acknowledges all before it,
//! so a disk thread takes all writes that are queued, puts them into one batch with one sync, and
//! acknowledges the last. After a crash, what was acknowledged is there; of the others a prefix may
//! be, and never one without those before it. A write that fails is not tried again, since nobody
//! can tell what a failed sync has left: say [`Input::WriteFailed`], let the last answers out, and
//! end the process. Nothing else waits for the disk: the core itself holds back whatever claims
//! that something is durable, and hands it out in a later `send`.
//!
//! **Network.** Messages may be lost, repeated and overtaken; whoever drops one says
//! [`Input::Unreachable`], which makes the leader send again at the next heartbeat. For
//! [`Outgoing::Entries`] the driver fetches the bytes, from memory or from its disk, and may split
//! the range into several messages, each with its own `prev`. If the entries are gone meanwhile,
//! because the log was cut or compacted, the message is dropped. For [`Outgoing::Snapshot`] it
//! sends its latest snapshot, and says [`Input::SnapshotSent`] when the receiver has confirmed it,
//! or the transfer has failed: until then the core sends that peer no entries. The transport
//! vouches for the sender of each message, and for the data directory that the sender's handshake
//! named. A driver that learns that a peer's process has ended says [`Input::Gone`]: followers then
//! need not wait until an election timeout tells them so.
//!
//! **State machine.** `apply` names entries that are committed and on this node's disk: each index
//! once, in order, without gaps. The driver applies them whenever it likes, and says how far it is.
//! `install` replaces the state by the snapshot that [`Input::SnapshotReceived`] told of. By then
//! the log on disk begins behind it: a node that crashes before the state is replaced finds the
//! snapshot beside its log, and installs it before it starts. The end of both is
//! [`Input::Applied`].
//!
//! **Clients.** [`Reply::Appended`] says where commands stand, not that they are committed: their
//! fate is decided when an entry is applied at that index. It is theirs if the term agrees, or
//! another leader's. [`Reply::ReadAt`] is served when its index is applied; then the clock is read
//! again, and [`Basis::holds`] says whether the answer may leave.
//!
//! # Snapshots of one's own
//!
//! Whenever the state machine's state is durable up to an index, the log may be compacted behind
//! it: [`Input::SnapshotTaken`] with what [`Raft::snapshot_meta`] says of that index. When, and how
//! much of the log is kept for followers that lag, is the driver's business.
//!
//! # Starting
//!
//! [`Raft::restore`] takes what the disk holds; see [`Restored`]. The incarnation is made at random
//! with the data directory, and is durable before it is told to anybody. The same data directory is
//! never opened twice at a time. A node that belongs to no cluster has an empty log, and waits
//! until a leader finds it.
//!
//! # Checking
//!
//! [`Raft::check_state`] says by a panic that an invariant is broken; the process must not go on.
//! It is cheap enough for every drain. [`Raft::check_transition`] needs a copy of the state before,
//! and is for tests.
//!
//! # Where things are
//!
//! Each folder uses only those below it.
//!
//! | folder | what |
//! |---|---|
//! | `raft` | the public value: hands inputs to roles, changes the role, answers questions |
//! | `invariants` | what holds of every state, and of every step |
//! | `follower`, `candidate`, `leader` | procedures on the roles |
//! | `core` | what every role has: log, vote, members, and the lanes that fill |
//! | `rules` | the sentences of the dissertation that decide something, as pure functions |
//! | `vocabulary` | the values that all of these, and the driver, speak with |
//!
//! What only a leader may do is a procedure on the leader's data, so that it can be called on
//! nobody else; what decides is in `rules`, with its test.
//!
//! # Architecture invariants
//! - No I/O, no clock, no thread, no async, no global, no iteration in hash order: the same inputs
//!   give the same outputs, byte for byte.
//! - No storage trait and no entry bytes: the log is known by its term runs ([`LogView`]); bytes
//!   pass through and are never read.
//! - No errors: inputs from the network are judged and ignored, requests are refused by a
//!   [`Reply`]; a broken invariant ends the process.
//! - Whatever claims durability is held back until the write that it relies on is acknowledged.

mod candidate;
mod core;
mod follower;
mod invariants;
mod leader;
mod raft;
mod role;
mod rules;
mod vocabulary;

pub use raft::Raft;
pub use rules::messages::{NUMBER_MAX, TERM_JUMP_MAX};
pub use vocabulary::actions::{
    Actions, Basis, Event, HardState, Ignored, Outgoing, Rejection, Reply, Vote, Write,
};
pub use vocabulary::config::{CLOCK_ERROR_PPM_MAX, Config, ConfigError, Restored};
pub use vocabulary::configuration::{
    Configuration, ConfigurationError, MEMBERS_MAX, Majority, Member, Tally, Voters,
};
pub use vocabulary::entry::{Entry, Payload};
pub use vocabulary::freedom::Freedom;
pub use vocabulary::ids::{
    Chain, ClusterTime, EntryId, Incarnation, LogIndex, NodeId, ReadRound, ReadTicket, RequestId,
    Term, Timestamp, WriteId,
};
pub use vocabulary::input::{Input, SnapshotMeta, Timer};
pub use vocabulary::log_view::{LogView, TermRun};
pub use vocabulary::membership::Membership;
pub use vocabulary::message::{Body, Message, Verdict};
pub use vocabulary::status::{CatchUp, FlowKind, PeerStatus, RoleKind, Status};
