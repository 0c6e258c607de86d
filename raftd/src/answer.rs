//! Refusals and outcomes in words: what clients are told, and whether anything may have happened.

use consensus::{Member, NodeId, Rejection};
use protocol::{ErrorCode, ErrorReply, LeaderHint, Outcome, Response};
use replica::{ChangeRefusal, NotMet, Reply};

/// The refusal of a change before an earlier one is over.
const UNDER_WAY: &str = "another change of members is under way";

/// Makes a refusal: certainly without effect.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> ErrorReply {
    ErrorReply { code, message: message.into(), leader: None, outcome: Outcome::NotApplied }
}

/// The refusal of what would be told of a state that differs.
pub(crate) fn differs() -> ErrorReply {
    refusal(
        ErrorCode::NoLeader,
        "this node's state differs from those of a majority: nothing is answered from it; another \
         node may be asked",
    )
}

/// Puts a replica's reply in the words of the protocol. `hint` tells where the leader is.
pub(crate) fn response(reply: Reply, hint: impl FnOnce(NodeId) -> Option<LeaderHint>) -> Response {
    match reply {
        Reply::Applied { index, response, .. } => {
            Response::Applied { index: index.get(), response }
        }
        Reply::Done { .. } => Response::Done,
        Reply::SnapshotTaken { .. } => unreachable!("the snapshot lane knows what it is"),
        Reply::NoRoom { .. } => unreachable!("the gauges tell how much there is"),
        Reply::Refused { reason, .. } => Response::Error(rejection(reason, hint)),
        Reply::ChangeRefused { why, .. } => Response::Error(change_refused(&why)),
        Reply::Differs { .. } => Response::Error(differs()),
        Reply::Superseded { .. } => Response::Error(refusal(
            ErrorCode::Superseded,
            "another leader's entry took the place of this one: it was not applied and never will",
        )),
        Reply::Behind { applied, leader, .. } => Response::Error(ErrorReply {
            leader: leader.and_then(hint),
            ..refusal(
                ErrorCode::Busy,
                format!(
                    "this node has applied the log up to {applied} only; another may be further"
                ),
            )
        }),
        Reply::Unknown { .. } => Response::Error(ErrorReply {
            outcome: Outcome::Unknown,
            ..refusal(
                ErrorCode::Abandoned,
                "this node stops or leads no more before the outcome is known; it may still happen",
            )
        }),
    }
}

/// Says why a change of members was not begun.
fn change_refused(why: &ChangeRefusal) -> ErrorReply {
    match why {
        ChangeRefusal::Stale { found, expected } => refusal(
            ErrorCode::Forbidden,
            format!(
                "the members were changed meanwhile: the configuration stands at {found}, not at \
                 {expected}; look again"
            ),
        ),
        ChangeRefusal::IdUsed { node, index } => refusal(
            ErrorCode::Forbidden,
            format!(
                "node {node} was removed by log entry {index}, and an id is never used again; \
                 another is reserved for a name that is added"
            ),
        ),
        ChangeRefusal::Meeting => refusal(
            ErrorCode::Busy,
            "the nodes of another change of members are being asked who they are",
        ),
        ChangeRefusal::UnderWay => refusal(ErrorCode::Busy, UNDER_WAY),
        ChangeRefusal::NotMet { node, member, why } => {
            let Member { name, address, incarnation } = member;
            let why = match why {
                NotMet::Silent(trouble) => trouble.clone(),
                NotMet::Other(found) => {
                    format!("its data directory is {found}, the change names {incarnation}")
                }
            };
            let who = format!("{name} (node {node}) at {address}");
            refusal(ErrorCode::NotMet, format!("the leader did not meet {who}: {why}"))
        }
    }
}

fn rejection(reason: Rejection, hint: impl FnOnce(NodeId) -> Option<LeaderHint>) -> ErrorReply {
    match reason {
        Rejection::NotLeader { leader: Some(id) } => ErrorReply {
            leader: hint(id),
            ..refusal(ErrorCode::NotLeader, format!("node {id} leads"))
        },
        Rejection::NotLeader { leader: None } => {
            refusal(ErrorCode::NoLeader, "this node does not lead, and knows of no leader")
        }
        Rejection::NoQuorum => {
            refusal(ErrorCode::NoLeader, "leadership was lost before the read was confirmed")
        }
        Rejection::Busy => refusal(ErrorCode::Busy, "too much unfinished work; try again later"),
        Rejection::Reconfiguring => refusal(ErrorCode::Busy, UNDER_WAY),
        Rejection::Transferring => refusal(ErrorCode::Busy, "leadership is being handed over"),
        Rejection::Invalid => refusal(ErrorCode::BadRequest, "the request makes no sense here"),
        Rejection::NotCaughtUp { node } => refusal(
            ErrorCode::Forbidden,
            format!(
                "node {node} has not caught up with the log: it must be a learner first, which \
                 answers and has almost all of it"
            ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, LogIndex, RequestId};

    fn hint(id: NodeId) -> Option<LeaderHint> {
        let (name, address) = ("n2".to_owned(), "h:1".to_owned());
        (id.get() == 2).then_some(LeaderHint { id: 2, name, address })
    }

    fn error(reply: Reply) -> ErrorReply {
        match response(reply, hint) {
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
    fn a_change_that_is_refused_says_why_and_what_to_do() {
        let node = NodeId::new(4).expect("not 0");
        let index = LogIndex::new(7);
        let member = |found: NotMet| ChangeRefusal::NotMet {
            node,
            member: Member {
                incarnation: Incarnation::new(1),
                name: "n4".into(),
                address: "h:1".into(),
            },
            why: found,
        };
        let other = format!(
            "the leader did not meet n4 (node 4) at h:1: its data directory is {}, the change \
             names {}",
            Incarnation::new(2),
            Incarnation::new(1)
        );
        for (why, code, words) in [
            (
                ChangeRefusal::Stale { found: index, expected: LogIndex::new(5) },
                ErrorCode::Forbidden,
                "the configuration stands at 7, not at 5; look again",
            ),
            (
                ChangeRefusal::IdUsed { node, index },
                ErrorCode::Forbidden,
                "node 4 was removed by log entry 7, and an id is never used again",
            ),
            (ChangeRefusal::Meeting, ErrorCode::Busy, "are being asked who they are"),
            (ChangeRefusal::UnderWay, ErrorCode::Busy, UNDER_WAY),
            (member(NotMet::Other(Incarnation::new(2))), ErrorCode::NotMet, &other),
            (
                member(NotMet::Silent("no answer".into())),
                ErrorCode::NotMet,
                "the leader did not meet n4 (node 4) at h:1: no answer",
            ),
        ] {
            let error = error(Reply::ChangeRefused { request: RequestId::new(1), why });
            assert_eq!((error.code, error.outcome), (code, Outcome::NotApplied));
            assert!(error.message.contains(words), "{}", error.message);
        }
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
