//! What a node has promised, as it says of itself, and as others remember it.
//!
//! A directory that was put back to an earlier state as a whole, with its file system, cannot know
//! that. Its peers can: each remembers durably how far it knew every data directory.

use bytes::Bytes;
use consensus::{EntryId, Incarnation, LogIndex, NodeId, Term};
use prost::Message as _;

use crate::configuration::node_id;
use crate::error::ProtocolError;
use crate::frame::{Frame, encode_frame};
use crate::hello::no_body;
use crate::wire::peer as pb;

/// The most that a node remembers: so many data directories.
pub(crate) const REMEMBERED_MAX: usize = 256;

/// What is remembered of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Whose it is.
    pub node: NodeId,
    /// Which one.
    pub incarnation: Incarnation,
    /// The highest start that was heard of.
    pub starts: u64,
    /// The process of that start.
    pub boot: u64,
    /// The highest term in which it promised something.
    pub term: Term,
    /// The last term in which it voted for the node that remembers this.
    pub voted: Option<Term>,
    /// The term of the leader to which it acknowledged entries last, and up to which index.
    pub acknowledged: EntryId,
    /// Up to which index of those is committed, so that they stay whoever leads.
    pub kept: LogIndex,
}

/// Encodes what is remembered, as a frame.
pub fn encode_memory(memory: &[Remembered]) -> Bytes {
    let known = memory.iter().take(REMEMBERED_MAX).map(to_wire).collect();
    encode_frame(&pb::Memory { known }, 0).expect("so much fits into a frame")
}

/// Decodes such a frame.
///
/// # Errors
/// If it is malformed, or too long.
pub fn decode_memory(frame: &Frame) -> Result<Vec<Remembered>, ProtocolError> {
    let what = "a memory of members";
    no_body(what, frame)?;
    let memory = pb::Memory::decode(frame.header.clone())
        .map_err(|source| ProtocolError::Malformed { what, source })?;
    memory.known.into_iter().take(REMEMBERED_MAX).map(from_wire).collect()
}

fn to_wire(known: &Remembered) -> pb::Remembered {
    pb::Remembered {
        node: known.node.get(),
        incarnation: known.incarnation.get(),
        starts: known.starts,
        boot: known.boot,
        term: known.term.get(),
        voted: known.voted.map(Term::get),
        acknowledged_term: known.acknowledged.term.get(),
        acknowledged_index: known.acknowledged.index.get(),
        kept: known.kept.get(),
    }
}

fn from_wire(known: pb::Remembered) -> Result<Remembered, ProtocolError> {
    Ok(Remembered {
        node: node_id(known.node)?,
        incarnation: Incarnation::new(known.incarnation),
        starts: known.starts,
        boot: known.boot,
        term: Term::new(known.term),
        voted: known.voted.map(Term::new),
        acknowledged: EntryId {
            term: Term::new(known.acknowledged_term),
            index: LogIndex::new(known.acknowledged_index),
        },
        kept: LogIndex::new(known.kept),
    })
}
