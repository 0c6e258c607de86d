//! How much may be asked at once: judged here, before anything is sent. A node refuses the same,
//! but what does not even fit into a frame never comes to a node.

use std::collections::BTreeMap;

use bytes::Bytes;
use consensus::Configuration;
use protocol::Request;
use protocol::limits::{ADDRESS_BYTES_MAX, COMMAND_BYTES_MAX, NAME_BYTES_MAX};
use state_machine::ENVELOPE_BYTES;

use crate::error::ClientError;

/// The largest command that may be proposed, in bytes: 32 less than 1 MiB, since it is replicated
/// in an envelope.
///
/// ```
/// assert_eq!(client::PROPOSAL_BYTES_MAX, 1_048_544);
/// ```
pub const PROPOSAL_BYTES_MAX: usize = COMMAND_BYTES_MAX - ENVELOPE_BYTES;

/// The largest question that may be asked, in bytes.
///
/// ```
/// assert_eq!(client::QUERY_BYTES_MAX, 1_048_576);
/// ```
pub const QUERY_BYTES_MAX: usize = COMMAND_BYTES_MAX;

/// The longest answer of a machine that arrives, in bytes. Where many requests are under way, the
/// answers that one connection has not taken yet have 8 MiB together.
///
/// ```
/// assert_eq!(client::ANSWER_BYTES_MAX, 8_388_544);
/// ```
pub const ANSWER_BYTES_MAX: usize = protocol::limits::ANSWER_BYTES_MAX;

/// Refuses a command that is too large.
pub(crate) fn command(body: &Bytes) -> Result<(), ClientError> {
    bounded("the command", body.len(), PROPOSAL_BYTES_MAX)
}

/// Refuses a question that is too large.
pub(crate) fn query(query: &Bytes) -> Result<(), ClientError> {
    bounded("the question", query.len(), QUERY_BYTES_MAX)
}

/// Refuses whatever is too large to be asked.
pub(crate) fn request(request: &Request) -> Result<(), ClientError> {
    bounded("the request", request.payload_bytes(), COMMAND_BYTES_MAX)
}

/// Refuses what is no address of a node. Whether a name can be resolved is found out when it is
/// needed, and may change.
pub(crate) fn endpoint(text: &str) -> Result<(), ClientError> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    if !is_host || !matches!(port.parse::<u16>(), Ok(1..)) || text.len() > ADDRESS_BYTES_MAX {
        let why = format!("the endpoint {text:?} is no host and port, such as \"db1:4001\"");
        return Err(ClientError::Invalid(why));
    }
    Ok(())
}

/// Refuses members that nobody can tell apart, and descriptions that no node can read.
pub(crate) fn members(configuration: &Configuration) -> Result<(), ClientError> {
    let mut called = BTreeMap::new();
    for (id, member) in configuration.members() {
        let (name, address) = (&member.name, &member.address);
        if name.is_empty() {
            return Err(ClientError::Invalid(format!("member {id} has no name")));
        }
        bounded(format!("the name of member {id}, {name:?},"), name.len(), NAME_BYTES_MAX)?;
        let what = format!("the address of member {id}, {name},");
        bounded(what, address.len(), ADDRESS_BYTES_MAX)?;
        if let Some(other) = called.insert(name, id) {
            let why = format!("members {other} and {id} are both called {name:?}");
            return Err(ClientError::Invalid(why));
        }
    }
    Ok(())
}

fn bounded(what: impl Into<String>, bytes: usize, limit: usize) -> Result<(), ClientError> {
    if bytes > limit {
        return Err(ClientError::TooLarge { what: what.into(), bytes, limit });
    }
    Ok(())
}
