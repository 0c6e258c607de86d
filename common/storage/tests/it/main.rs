//! The log, the state and the snapshots on real disks, with crashes and damage.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod compaction;
mod corruption;
mod crash;
mod crash_points;
mod damaged_writes;
mod directory;
mod failing_syncs;
mod full_disk;
mod hard_state;
mod kit;
mod large_values;
mod log;
mod model;
mod offline;
mod parts;
mod receive;
mod reconcile;
mod replace;
mod reserve;
mod restore;
mod snapshot;
mod snapshot_crash;
mod state;
mod state_model;
mod views;
