//! Raft nodes over mutually authenticated QUIC with a RocksDB log: the daemon `raftd`, and the
//! library with which any program replicates a machine of its own.
//!
//! [`Server`] is made of a machine and a log. [`Server::main`] is all of a daemon's `main`; `raftd`
//! itself is that, with the key/value machine. [`Server::start`] runs a node inside of a program,
//! as many in one process as one likes.
//!
//! # From an empty `Cargo.toml` to three nodes in one process
//!
//! ```toml
//! [dependencies]
//! raftd = { path = "raftd" }
//! tempfile = "3"
//! tokio = { version = "1", features = ["macros", "rt"] }
//! ```
//!
//! A machine is deterministic: the same commands in the same order give the same state on each
//! node. This one adds up numbers, in an ordered store that the node keeps for it:
//!
//! ```
//! use raftd::machine::{
//!     Bytes, Command, Response, StoreError, StoredMachine, Transaction, View,
//! };
//!
//! struct Sum;
//!
//! fn number(bytes: &[u8]) -> u64 {
//!     std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
//! }
//!
//! impl StoredMachine for Sum {
//!     fn name(&self) -> &'static str {
//!         "sum"
//!     }
//!
//!     fn version(&self) -> u32 {
//!         1
//!     }
//!
//!     /// A command is a number, and is answered with the sum.
//!     fn apply(
//!         &self,
//!         command: &Command<'_>,
//!         transaction: &mut Transaction<'_>,
//!     ) -> Result<Response, StoreError> {
//!         let before = transaction.get(b"sum")?.unwrap_or_default();
//!         let sum = Bytes::from(number(&before).saturating_add(number(command.data)).to_string());
//!         transaction.put(b"sum", sum.clone());
//!         Ok(sum)
//!     }
//!
//!     /// Every question is answered with the sum.
//!     fn query(&self, view: &dyn View, _query: &[u8]) -> Result<Response, StoreError> {
//!         Ok(view.get(b"sum")?.unwrap_or_default())
//!     }
//! }
//!
//! use std::num::NonZeroU64;
//! use std::time::Duration;
//!
//! use raftd::certs::{Authority, ClusterId, Identity, Role};
//! use raftd::client::Consistency;
//! use raftd::{Config, Server};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Nodes and clients have certificates of their cluster's authority. Here they are in
//!     // memory; the daemon reads them from files.
//!     let day = Duration::from_secs(24 * 60 * 60);
//!     let authority = Authority::create(ClusterId::generate()?, day)?;
//!     let issue = |role| {
//!         authority.issue(&Identity::new(authority.cluster(), role), day)?.credentials()
//!     };
//!
//!     // Nodes 1 to 3, each with a data directory and a port that the system chooses. All other
//!     // settings are fields of `Config`; their defaults are those of raftd.toml(5).
//!     let directory = tempfile::tempdir()?;
//!     let mut nodes = Vec::new();
//!     for id in 1..=3 {
//!         let data = directory.path().join(id.to_string());
//!         let node = Role::Node(NonZeroU64::try_from(id)?);
//!         let config = Config::new(data, issue(node)?).listen("127.0.0.1:0".parse()?);
//!         nodes.push(Server::new(Sum).start(config).await?);
//!     }
//!
//!     // Nodes without a history wait: these three become a cluster, which elects a leader.
//!     raftd::bootstrap(&[&nodes[0], &nodes[1], &nodes[2]]).await?;
//!
//!     // A client finds the leader through any node. What it is answered is on two disks at least.
//!     let client = nodes[0].client(&issue(Role::Client("example".parse()?))?)?;
//!     client.propose("40".into()).await?;
//!     assert_eq!(client.propose("2".into()).await?.response, "42");
//!
//!     // One of three nodes may go.
//!     nodes.remove(2).stop().await?;
//!     assert_eq!(client.query(Bytes::new(), Consistency::Linearizable).await?.response, "42");
//!
//!     // Dropped nodes stop in good order.
//!     client.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # How a node ends
//!
//! [`Running::stop`] and dropping [`Running`] end it in good order. A node also ends by itself: its
//! disk fails, it is removed from the cluster, its machine panics, an invariant is broken.
//! [`Running::wait`] tells, with [`Failure::exit`] to decide by; the other nodes of the process go
//! on, as far as they still have a majority. A daemon turns the same failures into exit codes.
//!
//! # What is global
//!
//! [`Server::start`] takes no signals, sets no panic hook, sets up no log and never ends the
//! process. Nodes write to `tracing`, wherever the program sends that. Lines that strangers can
//! cause again and again are counted for all nodes of the process together. [`Server::main`] and
//! [`Server::run`] own the process, and do all of that.
//!
//! # Architecture invariants
//! - No logic of the Raft algorithm: it is all in `consensus` and `replica`; here bytes are moved.
//! - One loop owns the node, and all its waiting is in one place; it never waits for a lane.
//! - Every request passes one authorisation table; the default is deny.
//! - A node without a history never votes, and gets one only from an operator's record.
//! - What is global to a process is named in `daemon.rs` alone, and one table in `config/keys.rs`
//!   defines every setting.

mod acts;
mod admin;
mod alive;
mod answer;
mod assemble;
mod bootstrap;
pub mod cli;
mod clock;
mod cluster;
pub mod config;
mod control;
mod daemon;
mod desk;
mod enroll;
mod exit;
mod gauges;
mod identity;
mod inbound;
mod lanes;
mod lifecycle;
mod listening;
mod logging;
mod metrics;
mod node;
mod observe;
mod opening;
mod owner;
mod pending;
mod program;
mod rebuild;
mod reload;
mod removal;
mod repair;
mod reserve;
mod room;
mod running;
mod scrubs;
mod server;
mod services;
mod shutdown;
mod stalls;
mod status;
mod syncs;
mod systemd;
mod troubles;
mod turn;

pub use ::{certs, client};
pub use cluster::bootstrap;
pub use config::Config;
pub use consensus::NodeId;
pub use exit::{Exit, Failure};
pub use logging::{MESSAGES, Message};
pub use observe::{Row as Metric, metrics};
pub use protocol::NodeStatus;
pub use running::Running;
pub use server::{Server, main};

/// All that a machine of one's own is made of.
///
/// A [`StateMachine`](machine::StateMachine) has its state in memory, and runs as
/// [`Plain`](machine::Plain); a [`StoredMachine`](machine::StoredMachine) stands on an ordered
/// store, for states larger than memory.
pub mod machine {
    pub use bytes::Bytes;
    pub use consensus::{ClusterTime, LogIndex};
    pub use state_machine::{
        Command, Kv, KvCommand, KvQuery, KvResponse, Pair, Plain, Response, RestoreError,
        SnapshotSource, StateMachine, StoreError, StoredMachine, Transaction, View,
    };
}

/// All that a log of one's own is made of: see [`PersistentLog`](log::PersistentLog).
pub mod log {
    pub use consensus::{
        Chain, ClusterTime, Entry, EntryId, HardState, LogIndex, LogView, Membership, NodeId,
        Payload, Term, Write, WriteId,
    };
    pub use protocol::BootstrapRecord;
    pub use storage::{
        Condition, DataDirectory, EntryReader, LogProvider, PersistentLog, RestoredLog, RocksLogs,
        StorageError,
    };
}
