//! Which requests are administrative acts, and in which words they stand in the audit.
//!
//! Every kind of request is named here: a new one does not compile before it is decided.

use certs::{Role, RoleKind};
use consensus::{Configuration, Member, NodeId};
use protocol::{CertificateRequest, ConfigurationRequest, Request, SnapshotRequest};
use state_machine::{
    ACT_TEXT_BYTES_MAX, ACT_WHAT_BYTES_MAX, Act, Envelope, EnvelopeKind, Outcome, Owners,
    SystemCommand,
};

/// An act, as the audit knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It goes through the log: the leader notes it before it is done.
    Logged(String),
    /// This node does it by itself: it is noted when it is done.
    Local(String),
}

/// Says what somebody of this role does with a request, if it is an administrative act.
pub(crate) fn deed(
    role: &Role,
    request: &Request,
    (present, owners): (&Configuration, &Owners),
) -> Option<Deed> {
    match request {
        Request::Propose { command } => told(role, command, owners).map(Deed::Logged),
        Request::Reconfigure { target, .. } => {
            Some(Deed::Logged(format!("member {}", change(present, target))))
        }
        Request::Transfer { to } => {
            let to = NodeId::new(*to).map_or_else(|| "0".to_owned(), |to| name(present, to));
            Some(Deed::Logged(format!("leader transfer {to}")))
        }
        Request::Snapshot(SnapshotRequest::Take) => Some(Deed::Local("snapshot create".to_owned())),
        Request::Certificate(CertificateRequest::Install { certificate, authorities }) => {
            let what = match (certificate.is_empty(), authorities.is_empty()) {
                (false, true) => "a certificate",
                (true, false) => "authorities",
                (false, false) => "a certificate and authorities",
                (true, true) => "nothing",
            };
            Some(Deed::Local(format!("cert install {what}")))
        }
        Request::Configuration(ConfigurationRequest::Reload) => {
            Some(Deed::Local("config reload".to_owned()))
        }
        // Data, for nothing else is taken in a batch; questions; records of a history that is there
        // already; and acts that are noted as such.
        Request::Batch { .. }
        | Request::Query { .. }
        | Request::SystemQuery { .. }
        | Request::Status
        | Request::ReadLog { .. }
        | Request::Snapshot(_)
        | Request::Bootstrap { .. }
        | Request::Join { .. }
        | Request::Certificate(CertificateRequest::Show | CertificateRequest::Request)
        | Request::Configuration(ConfigurationRequest::Show | ConfigurationRequest::Check)
        | Request::Note { .. } => None,
    }
}

/// Says what an operator tells the system with a command.
fn told(role: &Role, command: &bytes::Bytes, owners: &Owners) -> Option<String> {
    if role.kind() != RoleKind::Operator {
        return None;
    }
    let envelope = Envelope::decode(command).ok()?;
    if envelope.kind == EnvelopeKind::Machine {
        return None;
    }
    match SystemCommand::decode(&envelope.body).ok()? {
        SystemCommand::ReserveId { name, above: _ } => Some(format!("member reserve {name}")),
        // Every `kv cas` ends with one.
        SystemCommand::CloseSession { session } if owners.is_own(session, &role.to_string()) => {
            None
        }
        SystemCommand::CloseSession { session } => Some(format!("session close {session}")),
        SystemCommand::Revoke { holder, until_s, key: _, why } => {
            Some(format!("cert revoke {holder} until {}: {why}", certs::utc(until_s)))
        }
        SystemCommand::ForgetRevocation { holder } => Some(format!("cert forgive {holder}")),
        // Data's own business; and what has no effect from outside.
        SystemCommand::RegisterSession { .. }
        | SystemCommand::SetAlarm { .. }
        | SystemCommand::Note(_) => None,
    }
}

/// Makes an act of texts that may be too long.
pub(crate) fn act(id: [u8; 16], who: &str, from: &str, node: NodeId, what: &str) -> Act {
    Act {
        id,
        who: shortened(who, ACT_TEXT_BYTES_MAX),
        from: shortened(from, ACT_TEXT_BYTES_MAX),
        node: node.get(),
        clock_s: wall_clock_s(),
        what: shortened(what, ACT_WHAT_BYTES_MAX),
        outcome: Outcome::Asked,
    }
}

fn wall_clock_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Makes the outcome of an act that was refused.
pub(crate) fn refused(why: &str) -> Outcome {
    Outcome::Refused { reason: shortened(why, ACT_TEXT_BYTES_MAX) }
}

fn shortened(text: &str, bytes_max: usize) -> String {
    const CUT: &str = "..";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max - CUT.len());
    format!("{}{CUT}", &text[..end])
}

/// Says what a change does to each member; one that changes nothing says so.
fn change(present: &Configuration, target: &Configuration) -> String {
    let ids: std::collections::BTreeSet<NodeId> =
        present.members().keys().chain(target.members().keys()).copied().collect();
    let changes: Vec<String> = ids.into_iter().filter_map(|id| one(present, target, id)).collect();
    if changes.is_empty() { "set (nothing changes)".to_owned() } else { changes.join(", ") }
}

fn one(present: &Configuration, target: &Configuration, id: NodeId) -> Option<String> {
    let role = |of: &Configuration| if of.is_voter(id) { "voter" } else { "learner" };
    let (before, after) = (present.member(id), target.member(id));
    match (before, after) {
        (None, None) => None,
        (None, Some(Member { name, address, .. })) => {
            Some(format!("add {name} (node {id}) at {address} as {}", role(target)))
        }
        (Some(Member { name, .. }), None) => Some(format!("remove {name} (node {id})")),
        (Some(before), Some(after)) => {
            let name = &after.name;
            let mut said = Vec::new();
            if role(present) != role(target) {
                let verb = if target.is_voter(id) { "promote" } else { "demote" };
                said.push(format!("{verb} {name}"));
            }
            if before.address != after.address {
                said.push(format!("update {name} from {} to {}", before.address, after.address));
            }
            if before.name != after.name {
                said.push(format!("rename {} to {name}", before.name));
            }
            if before.incarnation != after.incarnation {
                said.push(format!("heal {name} with data directory {}", after.incarnation));
            }
            (!said.is_empty()).then(|| said.join(", "))
        }
    }
}

fn name(configuration: &Configuration, id: NodeId) -> String {
    let member = configuration.member(id);
    member.map_or_else(|| format!("node {id}"), |member| member.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Voters};
    use std::collections::{BTreeMap, BTreeSet};

    fn id(id: u64) -> NodeId {
        NodeId::new(id).expect("not 0")
    }

    fn configuration(voters: &[u64], learners: &[u64], moved: &[u64]) -> Configuration {
        let member = |number: &u64| {
            let host = if moved.contains(number) { "m" } else { "h" };
            let address = format!("{host}{number}:1");
            let incarnation = Incarnation::new(*number);
            (id(*number), Member { incarnation, name: format!("n{number}"), address })
        };
        let members: BTreeMap<_, _> = voters.iter().chain(learners).map(member).collect();
        let voters = Voters::Stable(Majority::new(voters.iter().map(|one| id(*one))));
        let learners: BTreeSet<_> = learners.iter().map(|one| id(*one)).collect();
        Configuration::new(voters, learners, members).expect("it is one")
    }

    #[test]
    fn a_change_of_members_is_told_member_by_member() {
        let present = configuration(&[1, 2, 3], &[4], &[]);
        for (target, said) in [
            (configuration(&[1, 2, 3], &[4, 5], &[]), "add n5 (node 5) at h5:1 as learner"),
            (configuration(&[1, 2, 3, 4], &[], &[]), "promote n4"),
            (configuration(&[1, 3], &[2, 4], &[]), "demote n2"),
            (configuration(&[1, 3], &[4], &[]), "remove n2 (node 2)"),
            (configuration(&[1, 2, 3], &[4], &[2]), "update n2 from h2:1 to m2:1"),
            (configuration(&[1, 3, 4], &[], &[]), "remove n2 (node 2), promote n4"),
            (present.clone(), "set (nothing changes)"),
        ] {
            assert_eq!(change(&present, &target), said);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let act = act([1; 16], &"ü".repeat(200), "h", id(1), &"x".repeat(5_000));
        assert_eq!(act.who, "ü".repeat(126) + "..");
        assert_eq!(act.what.len(), ACT_WHAT_BYTES_MAX);
        assert_eq!(shortened("short", 10), "short");
    }

    #[test]
    fn only_operators_do_acts_and_questions_are_none() {
        let present = configuration(&[1], &[], &[]);
        let operator = Role::Operator("o".parse().expect("a name"));
        let client = Role::Client("c".parse().expect("a name"));
        let close = Envelope::system(&SystemCommand::CloseSession { session: 7 }).encode();
        let close = Request::Propose { command: close };
        let put = Request::Propose { command: Envelope::sessionless("x".into()).encode() };
        let logged = |text: &str| Some(Deed::Logged(text.to_owned()));
        for (role, request, said) in [
            (&operator, &close, logged("session close 7")),
            (&client, &close, None),
            (&operator, &put, None),
            (&operator, &Request::Status, None),
            (&operator, &Request::Transfer { to: 1 }, logged("leader transfer n1")),
            (&operator, &Request::Transfer { to: 9 }, logged("leader transfer node 9")),
            (&operator, &Request::Snapshot(SnapshotRequest::List), None),
            (
                &operator,
                &Request::Snapshot(SnapshotRequest::Take),
                Some(Deed::Local("snapshot create".to_owned())),
            ),
            (&operator, &Request::Configuration(ConfigurationRequest::Show), None),
            (
                &operator,
                &Request::Configuration(ConfigurationRequest::Reload),
                Some(Deed::Local("config reload".to_owned())),
            ),
        ] {
            let known = (&present, &Owners::default());
            assert_eq!(deed(role, request, known), said, "{role}: {request:?}");
        }
    }
}
