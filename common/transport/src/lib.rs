//! QUIC between nodes and clients.
