//! Faults on real `raftd` processes, each in a network namespace of its own with a disk of its own,
//! while clients ask; and a check of everything that the clients were told.
//!
//! `cargo xtask chaos` runs it. It founds a cluster with `raftctl init`, does what the [`schedule`]
//! says, and demands after each phase that `raftctl status` says HEALTHY and that commands are
//! answered. In the end every key is read through the cluster and from each member; [`check`] looks
//! for an order of all operations, and [`truth`] compares what `status` said with what was so.
//!
//! The simulator finds more bugs in a minute than this in a day. This is for what the simulator
//! believes: the kernel, the disk, the network, the processes, and the operator's tool.
//!
//! # Architecture invariants
//!
//! - For developers only: no part of the product uses this crate; `tidy` checks it.
//! - Processes are real and from the release build; nothing of `raftd` is linked in.
//! - The machine's own network is not touched: the bridge has a namespace of its own, too.
//! - Whatever a run makes, it removes; what it cannot since it was killed, the next run removes.
//! - The seed decides what is done; how long the machine takes for it decides the rest. So a seed
//!   brings back the faults, and not each message.
//! - What clients were told is judged by functions without I/O, which are tested with histories
//!   that are wrong.

mod alone;
pub mod audit;
pub mod check;
mod cluster;
mod failure;
pub mod fault;
pub mod history;
mod inject;
mod machine;
mod node;
mod operator;
mod options;
mod random;
mod report;
mod rot;
mod run;
pub mod schedule;
pub mod truth;
mod watch;
mod workload;

pub use options::main;
