//! What stands in the log and comes out of the state machine: envelopes, commands, queries,
//! answers.

use bytes::Bytes;
use state_machine::{
    Envelope, KvCommand, KvQuery, KvResponse, SystemAnswer, SystemCommand, SystemQuery,
    SystemResponse,
};

/// Decodes the bytes as everything that an entry's payload can be. What decodes must encode to
/// itself, for replicas compare what they store.
///
/// # Panics
/// If it does not.
pub fn run(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = Envelope::decode(&bytes);
    macro_rules! canonical {
        ($($kind:ty),*) => {$(
            if let Ok(value) = <$kind>::decode(&bytes) {
                let again = <$kind>::decode(&value.encode()).expect("what was encoded decodes");
                assert!(again == value, "a value changed by being encoded");
            }
        )*};
    }
    canonical!(KvCommand, KvQuery, KvResponse);
    canonical!(SystemCommand, SystemQuery, SystemAnswer, SystemResponse);
}
