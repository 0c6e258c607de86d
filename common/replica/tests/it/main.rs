//! A replica from outside: what goes in, what comes out, and what it never does.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod departures;
mod effects;
mod feeding;
mod healing;
mod held;
mod kit;
mod load;
mod museum;
mod newcomers;
mod proposals;
mod questions;
mod room;
mod snapshots;
