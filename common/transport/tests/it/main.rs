//! QUIC between nodes and clients, over loopback with real certificates.
//!
//! One binary for all: each one more would be linked anew.
#![allow(clippy::unwrap_used)]

mod forward;
mod identify;
mod malformed;
mod refusals;
mod restart;
mod serve;
mod snapshots;

/// Places for whoever comes.
fn places() -> transport::Seats {
    transport::Seats::new(transport::SeatLimits {
        connections_max: 64,
        per_identity_max: 64,
        requests_per_identity_max: protocol::limits::REQUESTS_IN_FLIGHT_MAX,
    })
}

/// From now on, time passes by itself wherever nothing else is to be done: in steps so small that
/// packets on their way are not overtaken.
fn hasten() {
    tokio::time::pause();
    tokio::spawn(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}
