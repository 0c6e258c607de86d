//! Messages between replicas, as frames.

use bytes::Bytes;
use consensus::{
    Body, Entry, EntryId, Incarnation, LogIndex, Message, ReadRound, ReadTicket, Term, Verdict,
};
use prost::Message as _;

use crate::configuration::bounded;
use crate::entry::{decode_entry, encode_entry};
use crate::error::ProtocolError;
use crate::frame::{Frame, encode_frame};
use crate::generation::Generation;
use crate::hello::no_body;
use crate::limits::ENTRIES_PER_FRAME_MAX;
use crate::wire::peer as pb;
use crate::wire::peer::message::Body as Wire;

/// Encodes a message as chunks to be written in order; payloads are shared, not copied.
///
/// # Errors
/// If there are more entries or bytes than a frame may carry: the sender splits ranges.
pub fn encode_message(
    generation: &Generation,
    message: &Message,
) -> Result<Vec<Bytes>, ProtocolError> {
    let mut body = Vec::new();
    let mut body_bytes = 0;
    if let Body::AppendEntries { entries, .. } = &message.body {
        bounded("the number of entries in a frame", entries.len(), ENTRIES_PER_FRAME_MAX)?;
        body.reserve(2 * entries.len());
        for entry in entries {
            let encoded = encode_entry(generation, entry);
            body_bytes += encoded.len();
            body.push(Bytes::copy_from_slice(&encoded.header));
            if !encoded.payload.is_empty() {
                body.push(encoded.payload);
            }
        }
    }
    let header = pb::Message { term: message.term.get(), body: Some(to_wire(&message.body)) };
    let mut chunks = Vec::with_capacity(1 + body.len());
    chunks.push(encode_frame(&header, body_bytes)?);
    chunks.append(&mut body);
    Ok(chunks)
}

/// Decodes a frame between replicas and checks every entry in it.
///
/// # Errors
/// If anything about it is not as it should be; nothing of it may then be used.
pub fn decode_message(generation: &Generation, frame: Frame) -> Result<Message, ProtocolError> {
    let what = "a message";
    let header = pb::Message::decode(frame.header.clone())
        .map_err(|source| ProtocolError::Malformed { what, source })?;
    let term = Term::new(header.term);
    let body = header.body.ok_or(ProtocolError::Missing { what: "a message's body" })?;
    let body = if let Wire::AppendEntries(append) = body {
        append_from_wire(generation, &append, frame.body)?
    } else {
        no_body(what, &frame)?;
        from_wire(body)?
    };
    Ok(Message { term, body })
}

fn append_from_wire(
    generation: &Generation,
    append: &pb::AppendEntries,
    mut bytes: Bytes,
) -> Result<Body, ProtocolError> {
    let count = append.entries as usize;
    bounded("the number of entries in a frame", count, ENTRIES_PER_FRAME_MAX)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(decode_entry(generation, &mut bytes)?);
    }
    if !bytes.is_empty() {
        return Err(ProtocolError::Trailing { what: "the last entry", extra: bytes.len() });
    }
    Ok(Body::AppendEntries {
        prev: entry_id(append.prev),
        entries,
        commit: LogIndex::new(append.commit),
        round: ReadRound::new(append.round),
    })
}

fn to_wire(body: &Body) -> Wire {
    match body {
        Body::RequestPreVote { last } => {
            Wire::RequestPreVote(pb::RequestVote { last: id_to_wire(*last), transfer: false })
        }
        Body::PreVote { verdict } => {
            Wire::PreVote(pb::Vote { verdict: verdict_code(*verdict), candidate: 0 })
        }
        Body::RequestVote { last, transfer } => {
            Wire::RequestVote(pb::RequestVote { last: id_to_wire(*last), transfer: *transfer })
        }
        Body::Vote { candidate, verdict } => {
            Wire::Vote(pb::Vote { verdict: verdict_code(*verdict), candidate: candidate.get() })
        }
        Body::AppendEntries { prev, entries, commit, round } => {
            Wire::AppendEntries(pb::AppendEntries {
                prev: id_to_wire(*prev),
                entries: u32::try_from(entries.len()).expect("the count is bounded"),
                commit: commit.get(),
                round: round.get(),
            })
        }
        Body::Appended { matched, round } => {
            Wire::Appended(pb::Appended { matched: matched.get(), round: round.get() })
        }
        Body::Conflict { refused, hint, round } => Wire::Conflict(pb::Conflict {
            refused: id_to_wire(*refused),
            hint: id_to_wire(*hint),
            round: round.get(),
        }),
        Body::SnapshotInstalled { last } => Wire::SnapshotInstalled(raw_id(*last)),
        Body::TimeoutNow { last } => Wire::TimeoutNow(raw_id(*last)),
        Body::ReadIndex { ticket } => Wire::ReadIndex(pb::ReadIndex { ticket: ticket.get() }),
        Body::ReadIndexReply { ticket, index } => Wire::ReadIndexReply(pb::ReadIndexReply {
            ticket: ticket.get(),
            index: index.map(LogIndex::get),
        }),
        Body::Effects { index, digest, judged } => {
            Wire::Effects(pb::Effects { index: index.get(), digest: *digest, judged: *judged })
        }
        Body::Room { lacks } => Wire::Room(pb::Room { lacks: *lacks }),
    }
}

fn from_wire(body: Wire) -> Result<Body, ProtocolError> {
    Ok(match body {
        Wire::RequestPreVote(vote) => Body::RequestPreVote { last: entry_id(vote.last) },
        Wire::PreVote(vote) => Body::PreVote { verdict: verdict(vote.verdict)? },
        Wire::RequestVote(vote) => {
            Body::RequestVote { last: entry_id(vote.last), transfer: vote.transfer }
        }
        Wire::Vote(vote) => Body::Vote {
            candidate: Incarnation::new(vote.candidate),
            verdict: verdict(vote.verdict)?,
        },
        Wire::AppendEntries(_) => unreachable!("has a body, and was taken apart before"),
        Wire::Appended(appended) => Body::Appended {
            matched: LogIndex::new(appended.matched),
            round: ReadRound::new(appended.round),
        },
        Wire::Conflict(conflict) => Body::Conflict {
            refused: entry_id(conflict.refused),
            hint: entry_id(conflict.hint),
            round: ReadRound::new(conflict.round),
        },
        Wire::SnapshotInstalled(last) => Body::SnapshotInstalled { last: entry_id(Some(last)) },
        Wire::TimeoutNow(last) => Body::TimeoutNow { last: entry_id(Some(last)) },
        Wire::ReadIndex(read) => Body::ReadIndex { ticket: ReadTicket::new(read.ticket) },
        Wire::ReadIndexReply(reply) => Body::ReadIndexReply {
            ticket: ReadTicket::new(reply.ticket),
            index: reply.index.map(LogIndex::new),
        },
        Wire::Effects(pb::Effects { index, digest, judged }) => {
            Body::Effects { index: LogIndex::new(index), digest, judged }
        }
        Wire::Room(pb::Room { lacks }) => Body::Room { lacks },
    })
}

/// Protobuf leaves out what is 0, so an absent identity is the place before the log.
fn entry_id(id: Option<pb::EntryId>) -> EntryId {
    let id = id.unwrap_or_default();
    EntryId { term: Term::new(id.term), index: LogIndex::new(id.index) }
}

fn id_to_wire(id: EntryId) -> Option<pb::EntryId> {
    Some(raw_id(id))
}

fn raw_id(id: EntryId) -> pb::EntryId {
    pb::EntryId { term: id.term.get(), index: id.index.get() }
}

const VERDICTS: [(Verdict, u32); 6] = [
    (Verdict::Granted, 1),
    (Verdict::StaleTerm, 2),
    (Verdict::AlreadyVoted, 3),
    (Verdict::LogBehind, 4),
    (Verdict::LeaderAlive, 5),
    (Verdict::NotEligible, 6),
];

pub(crate) fn verdict_code(verdict: Verdict) -> u32 {
    let found = VERDICTS.iter().find(|(known, _)| *known == verdict);
    found.map(|(_, code)| *code).expect("the table names every verdict")
}

pub(crate) fn verdict(code: u32) -> Result<Verdict, ProtocolError> {
    let found = VERDICTS.iter().find(|(_, known)| *known == code).map(|(verdict, _)| *verdict);
    found.ok_or(ProtocolError::Unknown { what: "a verdict", found: code.into() })
}
