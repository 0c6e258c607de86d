//! QUIC between nodes and clients, over loopback with real certificates.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod forward;
mod identify;
mod malformed;
mod refusals;
mod restart;
