//! QUIC between nodes and clients, over loopback with real certificates.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod forward;
mod identify;
mod malformed;
mod refusals;
mod restart;

/// Places for whoever comes.
fn places() -> transport::Seats {
    transport::Seats::new(transport::SeatLimits { connections_max: 64, per_identity_max: 64 })
}
