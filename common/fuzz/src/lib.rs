//! Bytes that come from outside: from the network, from the disk, from the operator. Nothing may
//! fall over any of them, and what is accepted must mean one thing.
//!
//! Each module is one target: a function that takes any bytes at all and panics where the product
//! is wrong. `cargo xtask fuzz` searches with libFuzzer, which is led by coverage; what it found
//! worth keeping lies in `corpus/`. The tests run the corpus, and a bounded number of changes of
//! it.
//!
//! | module | what the bytes are |
//! |---|---|
//! | [`frames`] | a stream from a peer or a client, cut into frames |
//! | [`commands`] | payloads of entries, queries and answers |
//! | [`records`] | entries, as disk and network have them |
//! | [`snapshots`] | a snapshot file |
//! | [`superblock`] | a data directory's superblock |
//! | [`config`] | raftd.toml |
//! | [`certificates`] | certificates in DER and PEM |
//! | [`steps`] | a schedule of a cluster of cores, with messages that no honest node sends |
//!
//! # Architecture invariants
//!
//! - For developers only: no part of the product uses this crate.
//! - A target is a plain function of bytes: it reads no clock, and all that it leaves is in memory
//!   or in a directory of its own, which goes with it. So what falls once falls again.
//! - Panicking is how a target says that the product is wrong; an error for bad bytes is right.
//! - Tests need neither nightly nor libFuzzer: these are needed by the search alone.

pub mod certificates;
pub mod commands;
pub mod config;
pub mod frames;
pub mod records;
mod scratch;
pub mod snapshots;
pub mod steps;
pub mod superblock;

/// A target: any bytes, and a panic if the product is wrong.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: [(&str, Target); 8] = [
    ("certificates", certificates::run),
    ("commands", commands::run),
    ("config", config::run),
    ("frames", frames::run),
    ("records", records::run),
    ("snapshots", snapshots::run),
    ("steps", steps::run),
    ("superblock", superblock::run),
];
