//! The daemon: Raft nodes over mutually authenticated QUIC with a RocksDB log.
//!
//! # Architecture invariants
//! - No logic of the Raft algorithm: it is all in `consensus` and `replica`; here bytes are moved.

mod admin;
mod answer;
pub mod cli;
mod clock;
pub mod config;
pub mod exit;
mod lanes;
pub mod logging;
mod metrics;
mod pending;
mod shutdown;
mod systemd;
