//! What is replicated, from outside: machines, the host, sessions, and bytes that never change.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod alarms;
mod audit;
mod golden;
mod host;
mod kit;
mod kv;
mod members;
mod model;
mod pieces;
mod plain;
mod revocations;
mod session_model;
mod session_owners;
mod sessions;
mod system_golden;
