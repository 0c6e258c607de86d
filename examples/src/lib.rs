//! Small programs on raftd, and what they share.
//!
//! # Architecture invariants
//! - They use what users have: the two programs and the client library, nothing inside of them.
//! - Everything that they make is in a temporary directory and goes away with it.

pub mod arguments;
pub mod cluster;
pub mod dataset;
