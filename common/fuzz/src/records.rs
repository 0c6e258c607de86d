//! Entries as they stand on the disk and travel over the network.

use bytes::Bytes;
use protocol::{Generation, decode_entry, encode_entry, peek_entry};

/// Decodes one entry after the other. Whatever passes its checksum must be encoded to the same
/// bytes: they are what other nodes compare.
///
/// # Panics
/// If it is not.
pub fn run(data: &[u8]) {
    let generation = Generation::new([7; 32]);
    let mut rest = Bytes::copy_from_slice(data);
    let _ = peek_entry(data);
    loop {
        let before = rest.clone();
        let Ok(entry) = decode_entry(&generation, &mut rest) else { return };
        let encoded = encode_entry(&generation, &entry);
        let length = before.len() - rest.len();
        let again = [&encoded.header[..], &encoded.payload[..]].concat();
        assert!(again == before[..length], "an entry is encoded otherwise than it was");
        if length == 0 {
            return;
        }
    }
}
