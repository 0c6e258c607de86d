//! The daemon: Raft nodes over mutually authenticated QUIC with a RocksDB log.
