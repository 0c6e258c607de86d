//! The core under test: scenarios as text, and tests in Rust by the dissertation's section.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod bounds;
mod election;
mod invariants;
mod kit;
mod leases;
mod membership;
mod museum;
mod museum_live;
mod one_turn;
mod quorum;
mod reads;
mod replication;
mod scenario;
mod snapshot;
mod start;
mod status;
mod turns;
