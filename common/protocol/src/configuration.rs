//! Configurations in bytes: entries, the bootstrap record, status answers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{Configuration, Incarnation, Majority, Member, NodeId, Voters};
use prost::Message as _;

use crate::error::ProtocolError;
use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};
use crate::wire::peer as pb;

/// The version of the encoding, the first byte of every encoded configuration.
const VERSION: u8 = 1;

/// Encodes a configuration: a version byte and a protobuf message. Equal configurations have equal
/// bytes.
pub fn encode_configuration(configuration: &Configuration) -> Bytes {
    let message = to_wire(configuration);
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(VERSION);
    message.encode_raw(&mut bytes);
    bytes.into()
}

/// Decodes what [`encode_configuration`] wrote.
///
/// # Errors
/// If the bytes are of another version, malformed, or describe no valid configuration.
pub fn decode_configuration(bytes: &[u8]) -> Result<Configuration, ProtocolError> {
    let what = "a configuration";
    match bytes.split_first() {
        None => Err(ProtocolError::Truncated { what, needed: 1, found: 0 }),
        Some((&VERSION, rest)) => {
            let message = pb::Configuration::decode(rest)
                .map_err(|source| ProtocolError::Malformed { what, source })?;
            from_wire(message)
        }
        Some((version, _)) => {
            let (found, known) = (u32::from(*version), u32::from(VERSION));
            Err(ProtocolError::Version { what, found, known })
        }
    }
}

pub(crate) fn to_wire(configuration: &Configuration) -> pb::Configuration {
    let member = |(id, member): (&NodeId, &Member)| pb::Member {
        id: id.get(),
        incarnation: member.incarnation.get(),
        name: member.name.clone(),
        address: member.address.clone(),
    };
    let ids = |majority: &Majority| majority.iter().map(NodeId::get).collect();
    let (outgoing, incoming) = configuration.voters().halves();
    pb::Configuration {
        members: configuration.members().iter().map(member).collect(),
        voters: ids(incoming),
        outgoing: outgoing.map(ids).unwrap_or_default(),
        learners: configuration.learners().iter().map(|id| id.get()).collect(),
        returning: configuration.returning().iter().map(|id| id.get()).collect(),
    }
}

pub(crate) fn from_wire(message: pb::Configuration) -> Result<Configuration, ProtocolError> {
    if message.members.is_empty() && message.voters.is_empty() {
        return Ok(Configuration::unknown());
    }
    let mut members = BTreeMap::new();
    for member in message.members {
        bounded("a member's name", member.name.len(), NAME_BYTES_MAX)?;
        bounded("a member's address", member.address.len(), ADDRESS_BYTES_MAX)?;
        let described = Member {
            incarnation: Incarnation::new(member.incarnation),
            name: member.name,
            address: member.address,
        };
        if members.insert(node_id(member.id)?, described).is_some() {
            let why = format!("node {} is described twice", member.id);
            return Err(ProtocolError::Invalid { what: "a configuration", why });
        }
    }
    let incoming = Majority::new(node_ids(&message.voters)?);
    let voters = match message.outgoing.is_empty() {
        true => Voters::Stable(incoming),
        false => Voters::Joint { outgoing: Majority::new(node_ids(&message.outgoing)?), incoming },
    };
    let configuration = Configuration::new(voters, node_ids(&message.learners)?, members)
        .map_err(|why| ProtocolError::Invalid { what: "a configuration", why: why.to_string() })?;
    let returning = node_ids(&message.returning)?;
    if let Some(id) = returning.difference(configuration.learners()).next() {
        let why = format!("node {id} is said to return and is no learner");
        return Err(ProtocolError::Invalid { what: "a configuration", why });
    }
    Ok(configuration.with_returning(returning))
}

pub(crate) fn node_id(id: u64) -> Result<NodeId, ProtocolError> {
    NodeId::new(id).ok_or(ProtocolError::Unknown { what: "a node id", found: id })
}

fn node_ids(ids: &[u64]) -> Result<BTreeSet<NodeId>, ProtocolError> {
    ids.iter().map(|id| node_id(*id)).collect()
}

pub(crate) fn bounded(what: &'static str, found: usize, limit: usize) -> Result<(), ProtocolError> {
    if found > limit { Err(ProtocolError::TooLarge { what, found, limit }) } else { Ok(()) }
}
