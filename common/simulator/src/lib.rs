//! A deterministic world in which the replica that runs in the daemon is tested: network, disk,
//! clocks, faults and clients are modelled, one seed decides everything, and an oracle that sees
//! all nodes at once checks every step.
//!
//! # Architecture invariants
//! - The code under test is the real one: `replica` and `consensus`, driven as the daemon does.
//! - One seed, one run: no clock, no thread, no hash order; a failure is replayed by its number.
//! - The oracle knows what is on every disk; no check relies on what a node says of itself.
//! - No RocksDB and no sockets: what those do to real processes is tested with real processes.

mod broken;
mod changes;
mod coverage;
mod crash;
mod crash_points;
mod disk;
mod dispatch;
pub mod explorer;
mod faults;
mod feeding;
mod figure_3_7;
mod full_disks;
mod hanging;
mod inject;
mod ledger;
mod liveness;
mod log;
mod machine;
pub mod museum;
mod newcomers;
mod node;
mod oracle;
mod requests;
mod rng;
mod rooms;
mod rules;
mod run;
mod scenario_steps;
mod scenarios;
mod search;
mod sessions;
mod snapshots;
mod stream;
mod workload;
mod world;

pub use coverage::{Coverage, Kind, Met};
pub use run::{Outcome, Settings, Violation, run};
pub use search::{Found, Report, search};
