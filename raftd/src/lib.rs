//! The daemon: Raft nodes over mutually authenticated QUIC with a RocksDB log.
//!
//! # Architecture invariants
//! - No logic of the Raft algorithm: it is all in `consensus` and `replica`; here bytes are moved.

pub mod cli;
pub mod config;
pub mod exit;
pub mod logging;
mod shutdown;
mod systemd;
