//! The daemon: Raft nodes over mutually authenticated QUIC with a RocksDB log. [`main`] is a whole
//! program around any machine; `raftd` itself is that, with the key/value machine.
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
pub mod logging;
mod metrics;
mod node;
mod pending;
mod program;
mod shutdown;
mod status;
mod systemd;
mod turn;

pub use daemon::{check, explain, run};
pub use program::main;
