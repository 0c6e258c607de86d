//! What the tests of the protocol have in common: one of everything, and bytes as text.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

pub mod any;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{
    Chain, ClusterTime, Configuration, Entry, EntryId, Incarnation, LogIndex, Majority, Member,
    NodeId, Payload, Term, Voters,
};
use protocol::{BootstrapRecord, Frame, FrameReader, Generation, Hello, PROTOCOL_VERSION};

pub const GENERATION: Generation = Generation::new([0xab; 32]);

pub fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub fn at(term: u64, index: u64) -> EntryId {
    EntryId { term: Term::new(term), index: LogIndex::new(index) }
}

pub fn entry(term: u64, index: u64, payload: Payload) -> Entry {
    let chain = Chain::new(0x1122_3344_5566_7788);
    Entry { id: at(term, index), stamp: ClusterTime::new(0x0102_0304), chain, payload }
}

pub fn command(bytes: &[u8]) -> Payload {
    Payload::Command(Bytes::copy_from_slice(bytes))
}

pub fn majority(ids: &[u64]) -> Majority {
    Majority::new(ids.iter().map(|id| node(*id)))
}

/// A configuration in which each member's description follows from its id.
pub fn configuration(voters: Voters, learners: &[u64]) -> Configuration {
    let learners: BTreeSet<NodeId> = learners.iter().map(|id| node(*id)).collect();
    let described = |id: NodeId| {
        let incarnation = Incarnation::new(0x1000 + id.get());
        (id, Member { incarnation, name: format!("n{id}"), address: format!("host{id}:7400") })
    };
    let members: BTreeMap<NodeId, Member> =
        voters.iter().chain(learners.iter().copied()).map(described).collect();
    Configuration::new(voters, learners, members).unwrap()
}

pub fn stable(voters: &[u64], learners: &[u64]) -> Configuration {
    configuration(Voters::Stable(majority(voters)), learners)
}

pub fn record() -> BootstrapRecord {
    BootstrapRecord {
        cluster: *b"0123456789abcdef",
        configuration: stable(&[1, 2, 3], &[]),
        machine: "kv".into(),
        machine_version: 1,
        parent: None,
    }
}

pub fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: *b"0123456789abcdef",
        generation: Some(GENERATION),
        node: Some(node(3)),
        incarnation: Incarnation::new(0x1122_3344_5566_7788),
        boot: 0x99aa_bbcc_ddee_ff00,
        software: "0.1.0".into(),
        lease: None,
        promises: protocol::Promises::default(),
    }
}

/// Cuts the one frame out of these chunks.
pub fn frame(chunks: &[Bytes]) -> Frame {
    let mut reader = FrameReader::new();
    chunks.iter().for_each(|chunk| reader.extend(chunk));
    let frame = reader.next_frame().unwrap().unwrap();
    assert!(reader.is_between_frames(), "one frame, and nothing behind it");
    frame
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
