//! What is replicated: the traits of machines, the envelope around commands, the host that applies
//! entries atomically, and the built-in key/value machine.
//!
//! # Architecture invariants
//! - No I/O: stores are reached through [`OrderedStore`], which others implement.
//! - A command of a session is applied at most once; only a registration makes a session.
//! - A session belongs to the certificate's name that registered it: to all others it is not there.
//! - Deterministic: no clock but cluster time, no randomness, no iteration in hash order.
//! - What applying did, on every node alike, is in a running digest; see [`Effects`].
//! - The machine's state, the system's state and the applied index change in one batch.
//! - What a client did wrong is an answer; an error is the store's and stops the node.

mod applied;
mod codec;
mod effects;
mod envelope;
mod error;
mod host;
mod kv;
mod kv_codec;
mod machine;
mod moment;
mod owners;
mod plain;
mod store;
mod system;
pub mod text;

pub use codec::CodecError;
pub use effects::{EFFECTS_EVERY, Effects};
pub use envelope::{ENVELOPE_BYTES, Envelope, EnvelopeKind, Owner};
pub use error::{CommandMissing, HostError};
pub use host::{APPLY_BYTES_MAX, Host, Responses, applied_in, applying};
pub use kv::{KEY_BYTES_MAX, Kv, PAGE_BYTES_MAX, PAGE_KEYS_MAX, VALUE_BYTES_MAX};
pub use kv_codec::{KvCommand, KvQuery, KvResponse};
pub use machine::{Command, Response, RestoreError, SnapshotSource, StateMachine, StoredMachine};
pub use moment::{Moment, QueryView};
pub use owners::Owners;
pub use plain::Plain;
pub use store::{Batch, MemoryStore, OrderedStore, Pair, StoreError, Transaction, View};
pub use system::{
    ACT_TEXT_BYTES_MAX, ACT_WHAT_BYTES_MAX, ANSWER_KEPT_BYTES_MAX, AUDIT_ACTS_MAX, AUDIT_BYTES_MAX,
    AUDIT_PAGE_MAX, Act, Alarm, AuditTotals, AuditedAct, CachedAnswer, ConfigurationRecord,
    HISTORY_MAX, Outcome, REASON_BYTES_MAX, RESERVATIONS_MAX, RESERVED_NAME_BYTES_MAX,
    REVOCATIONS_MAX, Reservation, Revocation, SESSION_NAME_BYTES_MAX, SESSION_TIMEOUT,
    SESSION_WINDOW, SESSIONS_MAX, SESSIONS_PAGE_MAX, Session, SessionAnswers, SystemAnswer,
    SystemCommand, SystemQuery, SystemResponse, Tombstone, Viewer,
};
