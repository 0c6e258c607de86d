//! What is replicated: the seams for machines, the envelope around commands, the host that applies
//! entries atomically, and the built-in machines.
//!
//! # Architecture invariants
//! - No I/O: stores are reached through [`OrderedStore`], which others implement.
//! - Deterministic: no clock but cluster time, no chance, no iteration in hash order.
//! - The machine's state, the system's state and the applied index change in one batch.
//! - What a client did wrong is an answer; an error is the store's and stops the node.

mod codec;
mod envelope;
mod host;
mod kv;
mod kv_codec;
mod machine;
mod register;
mod store;

pub use codec::CodecError;
pub use envelope::{ENVELOPE_BYTES, Envelope};
pub use host::{Host, HostError, QueryView};
pub use kv::{KEY_BYTES_MAX, Kv, PAGE_BYTES_MAX, PAGE_KEYS_MAX, VALUE_BYTES_MAX};
pub use kv_codec::{KvCommand, KvQuery, KvResponse};
pub use machine::{Command, Response, RestoreError, SnapshotSource, StateMachine, StoredMachine};
pub use register::Register;
pub use store::{
    Batch, MemoryStore, OrderedStore, Pair, PrefixView, StoreError, Transaction, View,
};
