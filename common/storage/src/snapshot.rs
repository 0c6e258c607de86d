//! Snapshots: the whole state behind one entry, in a file that says of itself what it is (§5.1).
//!
//! | part | what it holds |
//! |---|---|
//! | header | cluster, generation, last entry, configuration, cluster time, machine, when made |
//! | chunks | the pairs of the store in order, the system's and the machine's, each at most once |
//! | trailer | how many chunks, pairs and bytes, a digest of all chunks, a seal over everything |
//!
//! Everything is read and written as a stream: neither side holds more than one chunk. Equal states
//! behind the same entry have equal bytes, but for the time of the making, so that a transfer which
//! one node began another one may finish.

mod directory;
mod frame;
mod header;
mod place;
mod read;
mod receive;
mod write;

pub use directory::Snapshots;
pub use frame::{CHUNK_BYTES_MAX, SnapshotTotals};
pub use header::{SnapshotHeader, SnapshotId};
pub use place::SnapshotFile;
pub use read::SnapshotReader;
pub use receive::SnapshotReceiver;
pub use write::SnapshotWriter;
