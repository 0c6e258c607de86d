//! Data directories: a superblock, and a record of the bootstrap beside it.

use std::fs;

use storage::StoppedNode;

use crate::scratch::directory;

/// What a copy's checksum covers, in bytes.
const CHECKED: usize = 126;

/// Where the second copy begins.
const SECOND_AT: usize = 4_096;

/// Lays the bytes down as the superblock of a data directory and looks at it as `raftctl` does.
/// Behind a byte of 1 they are one copy without its checksum, which is put behind them: nobody
/// guesses a checksum.
///
/// # Panics
/// If the directory cannot be written.
pub fn run(data: &[u8]) {
    let file = match data.split_first() {
        Some((1, copy)) => sealed(copy),
        Some(_) | None => data.to_vec(),
    };
    directory(|path| {
        fs::write(path.join("superblock"), &file).expect("the directory can be written");
        if let Ok(node) = StoppedNode::open(path) {
            let _ = (node.cluster(), node.node(), node.incarnation(), node.generation());
            let _ = node.bootstrap();
        }
    });
}

fn sealed(copy: &[u8]) -> Vec<u8> {
    let mut file = copy.to_vec();
    file.resize(CHECKED, 0);
    file.extend_from_slice(&crc32c::crc32c(&file).to_le_bytes());
    let copy = file.clone();
    file.resize(SECOND_AT, 0);
    file.extend_from_slice(&copy);
    file
}
