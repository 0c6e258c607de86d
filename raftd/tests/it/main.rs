//! The daemon as it runs: processes with real disks, certificates, sockets and signals.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod alarms;
mod alerts;
mod batches;
mod damage;
mod disk;
mod embedded;
mod embedded_ends;
mod failover;
mod hanging;
mod http;
mod identity;
mod large_values;
mod limits;
mod lingering;
mod log;
mod membership;
mod metrics;
mod newcomers;
mod openmetrics;
mod presence;
mod reads;
mod rebuilding;
mod reloads;
mod removed;
mod renewal;
mod reopening;
mod repairing;
mod reserve;
mod restore;
mod revoked;
mod roles;
mod rot;
mod service;
mod sessions;
mod slow_ways;
mod small_disks;
mod snapshot_files;
mod snapshots;
