//! Small programs on raftd.
