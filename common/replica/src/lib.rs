//! Consensus, log cache and client requests, still without I/O.
