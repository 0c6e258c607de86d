//! What goes over the wire and on to the disk, from outside.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod enrol;
mod golden;
mod kit;
mod malformed;
mod roundtrip;
