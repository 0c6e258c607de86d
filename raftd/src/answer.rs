//! Refusals and outcomes in words: what clients are told, and whether anything may have happened.

use consensus::{Configuration, NodeId, Rejection};
use protocol::{ErrorCode, ErrorReply, LeaderHint, Outcome, Response};
use replica::Reply;

/// Makes a refusal: certainly without effect.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> ErrorReply {
    ErrorReply { code, message: message.into(), leader: None, outcome: Outcome::NotApplied }
}

/// Puts a replica's reply in the words of the protocol. The configuration tells where the leader
/// is.
pub(crate) fn response(reply: Reply, configuration: &Configuration) -> Response {
    match reply {
        Reply::Applied { index, response, .. } => {
            Response::Applied { index: index.get(), response }
        }
        Reply::Done { .. } => Response::Done,
        Reply::Refused { reason, .. } => Response::Error(rejection(reason, configuration)),
        Reply::Superseded { .. } => Response::Error(refusal(
            ErrorCode::Superseded,
            "another leader's entry took the place of this one: it was not applied and never will",
        )),
        Reply::Behind { applied, .. } => Response::Error(refusal(
            ErrorCode::Busy,
            format!("this node has applied the log up to {applied} only; another may be further"),
        )),
        Reply::Unknown { .. } => Response::Error(ErrorReply {
            outcome: Outcome::Unknown,
            ..refusal(
                ErrorCode::Abandoned,
                "this node stops or leads no more before the outcome is known; it may still happen",
            )
        }),
    }
}

fn rejection(reason: Rejection, configuration: &Configuration) -> ErrorReply {
    match reason {
        Rejection::NotLeader { leader: Some(id) } => ErrorReply {
            leader: hint(id, configuration),
            ..refusal(ErrorCode::NotLeader, format!("node {id} leads"))
        },
        Rejection::NotLeader { leader: None } => {
            refusal(ErrorCode::NoLeader, "this node does not lead, and knows of no leader")
        }
        Rejection::NoQuorum => {
            refusal(ErrorCode::NoLeader, "leadership was lost before the read was confirmed")
        }
        Rejection::Busy => refusal(ErrorCode::Busy, "too much unfinished work; try again later"),
        Rejection::Reconfiguring => {
            refusal(ErrorCode::Busy, "another change of members is under way")
        }
        Rejection::Transferring => refusal(ErrorCode::Busy, "leadership is being handed over"),
        Rejection::Invalid => refusal(ErrorCode::BadRequest, "the request makes no sense here"),
        Rejection::NotCaughtUp { node } => refusal(
            ErrorCode::Forbidden,
            format!("node {node} has not caught up with the log: it must be a learner first"),
        ),
        Rejection::WouldLoseQuorum => refusal(
            ErrorCode::Forbidden,
            "a majority of the voters to be does not answer: nothing could be decided any more",
        ),
        // Not "busy": the client would ask for it again, and writes would wait again.
        Rejection::TransferTimedOut => refusal(
            ErrorCode::Forbidden,
            "the successor did not take over within an election timeout; this node leads on",
        ),
        Rejection::DiskFailed => {
            refusal(ErrorCode::DiskFailed, "this node's disk failed; it stops")
        }
    }
}

fn hint(id: NodeId, configuration: &Configuration) -> Option<LeaderHint> {
    let member = configuration.member(id)?;
    Some(LeaderHint { id: id.get(), name: member.name.clone(), address: member.address.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Member, RequestId, Voters};
    use std::collections::{BTreeMap, BTreeSet};

    fn configuration() -> Configuration {
        let id = NodeId::new(2).expect("not 0");
        let member = Member {
            incarnation: Incarnation::new(1),
            name: "n2".to_owned(),
            address: "h:1".to_owned(),
        };
        let voters = Voters::Stable(Majority::new([id]));
        Configuration::new(voters, BTreeSet::new(), BTreeMap::from([(id, member)])).expect("valid")
    }

    fn error(reply: Reply) -> ErrorReply {
        match response(reply, &configuration()) {
            Response::Error(error) => error,
            other => panic!("not an error: {other:?}"),
        }
    }

    #[test]
    fn a_follower_names_the_leader_and_its_address() {
        let request = RequestId::new(1);
        let refused =
            |leader| error(Reply::Refused { request, reason: Rejection::NotLeader { leader } });
        let known = refused(NodeId::new(2));
        assert_eq!((known.code, known.outcome), (ErrorCode::NotLeader, Outcome::NotApplied));
        assert_eq!(known.leader.map(|leader| leader.address).as_deref(), Some("h:1"));
        assert_eq!(refused(None).code, ErrorCode::NoLeader);
        assert_eq!(refused(NodeId::new(9)).leader, None, "not a member here");
    }

    #[test]
    fn only_what_nobody_knows_is_unknown() {
        let request = RequestId::new(1);
        assert_eq!(error(Reply::Unknown { request }).outcome, Outcome::Unknown);
        assert_eq!(error(Reply::Superseded { request }).outcome, Outcome::NotApplied);
        for reason in [Rejection::Busy, Rejection::NoQuorum, Rejection::DiskFailed] {
            assert_eq!(error(Reply::Refused { request, reason }).outcome, Outcome::NotApplied);
        }
    }
}
