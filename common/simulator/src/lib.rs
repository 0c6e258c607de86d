//! A deterministic world in which raftd is tested.
