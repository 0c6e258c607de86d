//! Snapshot files: from a peer, from a backup, from a disk that rots.

use storage::SnapshotReader;

/// Reads the bytes as a snapshot file, to its end or to the first thing that is wrong.
pub fn run(data: &[u8]) {
    if let Ok(reader) = SnapshotReader::new("a snapshot".to_owned(), data) {
        let _ = reader.verify(|_| {});
    }
    let Ok(mut reader) = SnapshotReader::new("a snapshot".to_owned(), data) else { return };
    while let Ok(Some(_)) = reader.next_chunk() {}
}
