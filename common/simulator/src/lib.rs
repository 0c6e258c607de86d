//! A deterministic world in which the replica that runs in the daemon is tested: network, disk,
//! clocks, faults and clients are modelled, one seed decides everything, and an oracle that sees
//! all nodes at once checks every step.
//!
//! # Architecture invariants
//! - The code under test is the real one: `replica` and `consensus`, driven as the daemon does.
//! - One seed, one run: no clock, no thread, no hash order; a failure is replayed by its number.
//! - The oracle knows what is on every disk; no check relies on what a node says of itself.
//! - No RocksDB and no sockets: what those do to real processes is tested with real processes.

mod acquaintances;
mod agenda;
mod alarms;
mod answers;
mod broken;
mod chains;
mod changes;
mod checks;
mod coverage;
mod crash;
mod crash_points;
mod disk;
mod dispatch;
mod endings;
pub mod explorer;
mod faults;
mod feeding;
mod figure_3_7;
mod full_disks;
mod greetings;
mod habits;
mod hanging;
mod healing;
pub mod history;
mod inbox;
mod inject;
mod invariants;
mod leadership;
mod liveness;
mod log;
mod machine;
mod model;
pub mod museum;
mod narrow;
mod newcomers;
mod node;
mod oracle;
mod proofs;
mod questions;
mod quorum;
mod requests;
mod returning;
mod reunion;
mod rng;
mod rolling;
mod rooms;
mod rules;
mod run;
mod scenario_steps;
mod scenarios;
mod search;
mod sessions;
mod settings;
mod shrink;
mod snapshots;
mod spoiled;
mod stamps;
mod store;
mod stream;
mod turn;
mod unasked;
mod watch;
mod ways;
mod workload;
mod world;

pub use coverage::{Class, Coverage, Kind, Met, demanded};
pub use run::{Outcome, Short, Violation, run, shorten_failure};
pub use search::{Found, Report, search};
pub use settings::{Clocks, Settings};
