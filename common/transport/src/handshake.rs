//! The handshake above TLS: both sides say hello, and one function decides whether the side that
//! dialled may speak.
//!
//! A node judges peers strictly: their certificate, leases and generation must fit, and they must
//! not have been removed. Clients may know no generation yet; one that they name must fit. A node
//! without a history cannot compare anything: it checks the protocol's version, says who it is, and
//! hears nothing else.

use certs::Identity;
use consensus::NodeId;
use protocol::{
    Hello, HelloReply, LeaseTerms, PROTOCOL_VERSION, ProtocolError, Refusal, RefusalCode,
};
use quinn::Connection;
use tokio::time::timeout;

use crate::close::Close;
use crate::endpoint::{broken, describe, heard};
use crate::error::{Cause, ConnectError};
use crate::guard::removal;
use crate::limits::CONNECT_TIMEOUT;
use crate::memory::SharedMemory;
use crate::removed::Removed;
use crate::stream::{FrameStream, ReadFailure};

/// As what the other side has connected.
#[derive(Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// As a client, or as a node that forwards requests of clients.
    Client,
    /// As a node that wants to be heard as a peer.
    Peer {
        /// Its certificate's.
        identity: &'a Identity,
        /// The members that were removed, as far as this node has applied the log.
        removed: &'a Removed,
        /// What the members have promised, as far as this node has heard.
        memory: &'a SharedMemory,
    },
    /// As a peer of a node that belongs to no cluster yet.
    PeerOfNewNode,
}

/// Decides whether the side that dialled may speak: the one judge of all handshakes.
///
/// # Errors
/// The first check that failed.
pub(crate) fn judge(ours: &Hello, theirs: &Hello, caller: Caller<'_>) -> Result<(), Refusal> {
    if theirs.protocol != PROTOCOL_VERSION {
        let reason = format!("protocol {}, this node speaks {PROTOCOL_VERSION}", theirs.protocol);
        return Err((RefusalCode::Version, reason));
    }
    match caller {
        Caller::PeerOfNewNode => Ok(()),
        Caller::Client => {
            is_same_cluster(ours, theirs)?;
            has_what_is_named(ours, theirs)
        }
        Caller::Peer { identity, removed, memory } => {
            is_same_cluster(ours, theirs)?;
            is_itself(ours, theirs, identity)?;
            has_same_lease(ours, theirs)?;
            if theirs.generation.is_none() {
                return Err((RefusalCode::Generation, "it has no generation".into()));
            }
            is_same_generation(ours, theirs)?;
            is_not_removed(identity, removed)?;
            memory.meet(ours, theirs)
        }
    }
}

fn is_same_cluster(ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
    if theirs.cluster == ours.cluster {
        return Ok(());
    }
    Err((RefusalCode::Cluster, "another cluster's id".into()))
}

/// Two histories never mix. Who has none yet, on either side, has nothing to mix.
fn is_same_generation(ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
    match (theirs.generation, ours.generation) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let reason = format!("generation {}, this node has {}", theirs.short(), ours.short());
            Err((RefusalCode::Generation, reason))
        }
        (Some(_), Some(_)) | (None, _) | (_, None) => Ok(()),
    }
}

/// A client that names a history hears nothing of another one, nor of a node that has none: it may
/// have lost the one that is meant.
fn has_what_is_named(ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
    match (theirs.generation, ours.generation) {
        (Some(named), None) => {
            let reason = format!(
                "generation {} is asked for, this node has none: it was never initialised, or has \
                 lost its data; a member that has comes back by `raftctl member heal NAME`, or a \
                 new node takes its place: `raftctl member replace OLD NEW=HOST:PORT`",
                named.short()
            );
            Err((RefusalCode::Generation, reason))
        }
        (_, _) => is_same_generation(ours, theirs),
    }
}

/// A node speaks only for the id in its certificate.
fn is_itself(ours: &Hello, theirs: &Hello, identity: &Identity) -> Result<(), Refusal> {
    let certified = identity.node_id().map(NodeId::from);
    // A node may dial itself, to find out whether an address is its own.
    let is_copy = certified == ours.node && theirs.boot != ours.boot;
    if theirs.node == certified && certified.is_some() && !is_copy {
        return Ok(());
    }
    let said = theirs.node.map_or_else(|| "nobody".into(), |id| format!("node {id}"));
    let reason = format!("it says it is {said}, its certificate {identity}");
    Err((RefusalCode::Identity, reason))
}

fn has_same_lease(ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
    if theirs.lease == ours.lease {
        return Ok(());
    }
    let reason = format!(
        "its leases rest on {}, this node's on {}: raft.lease_clock_error_ppm and \
         raft.election_timeout_ms must be the same on all nodes",
        lease(theirs.lease),
        lease(ours.lease)
    );
    Err((RefusalCode::Lease, reason))
}

fn is_not_removed(identity: &Identity, removed: &Removed) -> Result<(), Refusal> {
    let node = identity.node_id().map(NodeId::from);
    match node.and_then(|node| Some((node, removed.index_of(node)?))) {
        Some((node, index)) => Err((RefusalCode::Removed, removal(node, index))),
        None => Ok(()),
    }
}

fn lease(terms: Option<LeaseTerms>) -> String {
    terms.map_or_else(
        || "nothing, for they are off".to_owned(),
        |terms| format!("{} ppm and {} ms", terms.clock_error_ppm, terms.stands_ms),
    )
}

/// Takes a hello, judges it, and answers. A refusal closes the connection once the other side has
/// had time to read it.
///
/// # Errors
/// Why the other side may not speak, or did not.
pub(crate) async fn answer_hello(
    connection: &Connection,
    ours: &Hello,
    caller: Caller<'_>,
) -> Result<Hello, (Cause, String)> {
    timeout(CONNECT_TIMEOUT, take_hello(connection, ours, caller))
        .await
        .unwrap_or_else(|_| Err((Cause::Gone, "its hello took too long".into())))
}

async fn take_hello(
    connection: &Connection,
    ours: &Hello,
    caller: Caller<'_>,
) -> Result<Hello, (Cause, String)> {
    let nonsense = |error: ProtocolError| {
        connection.close(Close::Malformed.code(), error.to_string().as_bytes());
        (Cause::Nonsense, error.to_string())
    };
    let accepted = connection.accept_bi().await;
    let (mut send, receive) = accepted.map_err(|error| (Cause::Gone, describe(&error)))?;
    let frame = match FrameStream::new(receive).next().await {
        Ok(frame) => frame,
        Err(ReadFailure::Ended(why)) => return Err((Cause::Gone, why)),
        Err(ReadFailure::Malformed(error)) => return Err(nonsense(error)),
    };
    let theirs = Hello::decode(&frame).map_err(nonsense)?;
    let gone = |error: quinn::WriteError| (Cause::Gone, error.to_string());
    match judge(ours, &theirs, caller) {
        Ok(()) => {
            let reply = HelloReply::Accepted(ours.clone());
            send.write_all(&reply.encode()).await.map_err(gone)?;
            Ok(theirs)
        }
        Err((code, reason)) => {
            let reply = HelloReply::Refused { code, reason: reason.clone() };
            send.write_all(&reply.encode()).await.map_err(gone)?;
            let _ = send.finish();
            let _ = timeout(CONNECT_TIMEOUT, send.stopped()).await;
            connection.close(Close::Refused.code(), reason.as_bytes());
            Err((Cause::Greeting, reason))
        }
    }
}

/// Exchanges hellos on a stream of their own, and checks the answer.
pub(crate) async fn greet(
    connection: &Connection,
    address: &str,
    ours: &Hello,
) -> Result<Hello, ConnectError> {
    let ended = |why: String| match connection.close_reason() {
        Some(error) => broken(address, &error),
        None => ConnectError::Closed { address: address.into(), why },
    };
    let (mut send, receive) = connection.open_bi().await.map_err(|e| broken(address, &e))?;
    send.write_all(&ours.encode()).await.map_err(|error| ended(error.to_string()))?;
    let frame = match FrameStream::new(receive).next().await {
        Ok(frame) => frame,
        Err(ReadFailure::Ended(why)) => return Err(ended(why)),
        Err(ReadFailure::Malformed(why)) => {
            return Err(ConnectError::Protocol { address: address.into(), why });
        }
    };
    let reply = HelloReply::decode(&frame)
        .map_err(|why| ConnectError::Protocol { address: address.into(), why })?;
    match reply {
        HelloReply::Accepted(theirs) => Ok(theirs),
        HelloReply::Refused { code, reason } => {
            let reason = heard(reason.as_bytes());
            Err(ConnectError::Refused { address: address.into(), code, reason })
        }
    }
}

/// Checks that a node that answered can be sent anything.
///
/// # Errors
/// If it belongs to no cluster yet.
pub(crate) fn require_history(theirs: &Hello, address: &str) -> Result<(), ConnectError> {
    if theirs.generation.is_some() {
        return Ok(());
    }
    let reason = format!(
        "this node is not initialised (data directory {}); run raftctl init, or add it anew",
        theirs.incarnation
    );
    let code = RefusalCode::Uninitialised;
    Err(ConnectError::Refused { address: address.into(), code, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, LogIndex};
    use protocol::Generation;

    fn hello(node: u64) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            cluster: [7; 16],
            generation: Some(Generation::new([1; 32])),
            node: NodeId::new(node),
            incarnation: Incarnation::new(node),
            boot: node,
            software: "1".to_owned(),
            lease: None,
            promises: protocol::Promises::default(),
        }
    }

    fn node(id: u64) -> Identity {
        let uri = format!("spiffe://07070707070707070707070707070707/node/{id}");
        uri.parse().expect("an identity")
    }

    fn verdict(theirs: &Hello, caller: Caller<'_>) -> Option<RefusalCode> {
        judge(&hello(1), theirs, caller).err().map(|(code, _)| code)
    }

    #[test]
    fn each_kind_of_caller_is_judged_by_what_it_must_share() {
        let (two, removed, memory) = (node(2), Removed::default(), SharedMemory::default());
        let peer = Caller::Peer { identity: &two, removed: &removed, memory: &memory };
        let with = |change: fn(&mut Hello)| {
            let mut theirs = hello(2);
            change(&mut theirs);
            theirs
        };
        type Case = (fn(&mut Hello), [Option<RefusalCode>; 3]);
        let cases: [Case; 7] = [
            (|_| {}, [None; 3]),
            (|theirs| theirs.protocol += 1, [Some(RefusalCode::Version); 3]),
            (
                |theirs| theirs.cluster = [8; 16],
                [Some(RefusalCode::Cluster), Some(RefusalCode::Cluster), None],
            ),
            (|theirs| theirs.node = NodeId::new(3), [Some(RefusalCode::Identity), None, None]),
            (
                |theirs| theirs.lease = Some(LeaseTerms { clock_error_ppm: 1, stands_ms: 1 }),
                [Some(RefusalCode::Lease), None, None],
            ),
            (
                |theirs| theirs.generation = Some(Generation::new([2; 32])),
                [Some(RefusalCode::Generation), Some(RefusalCode::Generation), None],
            ),
            (|theirs| theirs.generation = None, [Some(RefusalCode::Generation), None, None]),
        ];
        for (change, wanted) in cases {
            let theirs = with(change);
            let found = [peer, Caller::Client, Caller::PeerOfNewNode];
            assert_eq!(found.map(|caller| verdict(&theirs, caller)), wanted, "{theirs:?}");
        }
    }

    #[test]
    fn a_client_that_names_a_history_hears_nothing_of_a_node_without_one() {
        let ours = Hello { generation: None, ..hello(1) };
        let names = judge(&ours, &hello(2), Caller::Client).map_err(|(code, _)| code);
        assert_eq!(names, Err(RefusalCode::Generation));
        let names_none = Hello { generation: None, ..hello(2) };
        assert_eq!(judge(&ours, &names_none, Caller::Client), Ok(()));
    }

    #[test]
    fn a_removed_node_and_a_copy_of_this_one_are_refused_as_peers() {
        let (one, two, removed) = (node(1), node(2), Removed::default());
        let memory = &SharedMemory::default();
        let id = NodeId::new(2).expect("not 0");
        removed.replace([(id, LogIndex::new(9))]);
        let found =
            judge(&hello(1), &hello(2), Caller::Peer { identity: &two, removed: &removed, memory });
        let reason = "node 2 was removed from the cluster by log entry 9";
        assert_eq!(found, Err((RefusalCode::Removed, reason.to_owned())));
        let itself = Caller::Peer { identity: &one, removed: &removed, memory };
        assert_eq!(verdict(&hello(1), itself), None);
        let copy = Hello { boot: 99, ..hello(1) };
        assert_eq!(verdict(&copy, itself), Some(RefusalCode::Identity));
    }
}
