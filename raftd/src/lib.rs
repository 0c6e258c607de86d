//! The daemon: Raft nodes over mutually authenticated QUIC with a RocksDB log. [`Server`] is
//! a whole program around any machine and any log; `raftd` itself is that, with the key/value
//! machine and RocksDB.
//!
//! # Architecture invariants
//! - No logic of the Raft algorithm: it is all in `consensus` and `replica`; here bytes are moved.
//! - One loop owns the node, and all its waiting is in one place; it never waits for a lane.
//! - Every request passes one authorisation table; the default is deny.
//! - A node without a history never votes, and gets one only from an operator's record.

mod admin;
mod answer;
mod bootstrap;
pub mod cli;
mod clock;
pub mod config;
mod daemon;
mod door;
pub mod exit;
mod gauges;
mod identity;
mod lanes;
mod listening;
pub mod logging;
mod metrics;
mod node;
mod pending;
mod reload;
mod room;
mod server;
mod shutdown;
mod stalls;
mod status;
mod systemd;
mod turn;

pub use daemon::{check, explain};
pub use server::{Server, main};

/// What a log of one's own is made of: see [`log::PersistentLog`].
pub mod log {
    pub use consensus::{Entry, LogIndex, Write};
    pub use protocol::BootstrapRecord;
    pub use storage::{
        DataDirectory, EntryReader, LogProvider, PersistentLog, RestoredLog, RocksLogs,
        StorageError,
    };
}
