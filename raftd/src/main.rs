//! raftd.
fn main() {}
