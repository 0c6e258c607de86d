//! Three machines with a systemd of their own, in containers on a network of their own, and what an
//! operator does on them: install the package, found a cluster, restart, upgrade, reboot, remove.
//!
//! `cargo xtask hosts` prints a transcript of every command, and at the end a table of what came of
//! each step. It takes root, systemd-nspawn and mmdebstrap, and says so where they are missing.
//!
//! # Architecture invariants
//! - The real thing: the package as it is shipped, a booted systemd, the kernel's network. Nothing
//!   of raftd is linked here; what is known of it is what its programs say.
//! - Everything lies in one directory, and namespaces and control groups have one prefix; whatever
//!   is there is removed at the start and at the end, also after Ctrl-C.
//! - Every command and the whole run have a time after which they are given up.

mod call;
mod failure;
mod host;
mod image;
mod leftovers;
mod load;
mod network;
mod operator;
mod options;
mod package;
mod report;
mod steps;
mod world;

pub use options::main;
