//! What goes over the wire and on to the disk: frames, entries, messages, requests, handshakes, and
//! the limits on all of them; and which hellos can be believed, by what peers have promised before.
//!
//! The protobuf schemas in `proto/` are the contract with other languages; entries have a fixed
//! header of their own, for they are encoded once and stand on every wire and disk as the same
//! bytes.
//!
//! # Architecture invariants
//! - No I/O: bytes in, values out, and the other way round.
//! - Only this crate names prost; its structs are private, and what others see is plain Rust.
//! - No decoder panics, whatever the bytes, and none allocates by a length that it has not checked.
//! - Every format carries a version; another version is refused by its number.

mod batch;
mod body;
mod certificate_request;
mod configuration;
mod configuration_request;
mod enrol;
mod entry;
mod error;
mod frame;
mod generation;
mod hello;
pub mod limits;
mod log_page;
mod memory;
mod peer;
mod remembered;
mod request;
mod response;
mod snapshot;
mod snapshot_request;
mod status;
mod trouble;
mod wire;

pub use certificate_request::{CertificateAnswer, CertificateRequest};
pub use configuration::{decode_configuration, encode_configuration};
pub use configuration_request::{
    CertificatesRead, ConfigurationAnswer, ConfigurationRequest, Reloaded, Setting, SettingChange,
    SettingSource,
};
pub use enrol::Enrolment;
pub use entry::{
    ENTRY_HEADER_BYTES, EncodedEntry, EntryHeader, EntryKind, chain, chain_of, check_header,
    decode_entry, decode_payload, encode_entry, peek_entry,
};
pub use error::ProtocolError;
pub use frame::{FRAME_PREFIX_BYTES, Frame, FrameReader, Prefix, parse_prefix};
pub use generation::{BootstrapRecord, Generation};
pub use hello::{Hello, HelloReply, LeaseTerms, PROTOCOL_VERSION, Promises, RefusalCode};
pub use log_page::{LogDetail, LogEntry, LogPage};
pub use memory::{Memory, Refusal, Speaker};
pub use peer::{decode_message, encode_message};
pub use remembered::{Remembered, decode_memory, encode_memory};
pub use request::{CertificateId, Consistency, Passage, Request};
pub use response::{AGE_UNKNOWN_MS, Applied, ErrorCode, ErrorReply, LeaderHint, Outcome, Response};
pub use snapshot::{SnapshotChunk, SnapshotOffer, SnapshotReply};
pub use snapshot_request::{SnapshotAnswer, SnapshotInfo, SnapshotRequest};
pub use status::{FormerReport, LeaseReport, NodeStatus, PeerReport, ReadThrough, RoundReport};
pub use trouble::{Trouble, TroubleReport};
