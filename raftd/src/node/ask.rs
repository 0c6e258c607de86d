//! What clients and operators ask of a node: admitted by role, named, and handed to the replica or
//! a lane.

use bytes::Bytes;
use certs::{Role, RoleKind};
use consensus::{Configuration, Input as Raw, LogIndex, Member, NodeId, RequestId, Timestamp};
use protocol::{ErrorCode, ErrorReply, Outcome, Request, Response, SnapshotRequest};
use replica::{Consistency, Input, Proposal, Purpose};
use state_machine::{Envelope, EnvelopeKind, SystemQuery};
use transport::ClientRequest;

use crate::acts;
use crate::admin;
use crate::answer;
use crate::lanes::answers;
use crate::lanes::query::{Extent, Page, Part};
use crate::logging::repeat::{self, Kind};
use crate::node::Node;
use crate::node::audit::Asker;
use crate::node::read::wanted;
use crate::owner;
use crate::pending::Numbered;

/// Why a request finds no room.
const BUSY: &str = "too many unanswered requests (limits.requests_max)";

impl Node {
    /// A client asks.
    pub(crate) fn ask(&mut self, now: Timestamp, ask: ClientRequest) {
        let ClientRequest { request, identity, from, via, responder } = ask;
        let responder = self.count(&request, responder);
        let role = &identity.role;
        let request = match self.admit(role, via, request) {
            Ok(request) => request,
            Err(refusal) => {
                if refusal.code == ErrorCode::Unauthorised {
                    repeat::tell(Kind::Denied, format!("{role} at {from}"), &refusal.message);
                }
                return responder.send(Response::Error(refusal));
            }
        };
        let deed = acts::deed(role, &request, (self.replica.raft().configuration(), &self.owners));
        let act = self.begin_act(now, deed, (role, &from, via));
        let asker = Asker { responder, act, is_operator: role.kind() == RoleKind::Operator };
        match request {
            Request::Propose { command } => self.propose(now, role, command, asker),
            Request::Batch { commands } => self.propose_all(now, role, commands, asker),
            Request::Query { query, consistency } => {
                self.query(now, Part::Machine, query, wanted(consistency), asker);
            }
            Request::SystemQuery { query, .. } if is_of_effects(&query) => {
                self.answer_effects(query, asker.responder);
            }
            Request::SystemQuery { query, stale } => {
                let consistency =
                    if stale { Consistency::Stale } else { Consistency::Linearizable };
                self.query(now, Part::System(owner::owner(role)), query, consistency, asker);
            }
            Request::Status => {
                let report = self.status(now);
                asker.responder.send(Response::Status(Box::new(report)));
            }
            Request::ReadLog { from, entries_max, detail } => {
                let page = Page { from: LogIndex::new(from), entries_max, detail };
                self.queries.page(page, self.extent(), asker.responder);
            }
            Request::Reconfigure { target, expected_index } => {
                self.reconfigure(now, target, LogIndex::new(expected_index), asker);
            }
            Request::Transfer { to } => {
                let Some(to) = NodeId::new(to) else {
                    return self.refuse(now, asker, ErrorCode::BadRequest, "there is no node 0");
                };
                if let Some(request) = self.wait(now, asker) {
                    self.raw(now, Raw::Transfer { request, to });
                }
            }
            Request::Snapshot(SnapshotRequest::Take) => {
                if let Some(request) = self.wait(now, asker) {
                    self.replica.step(now, Input::TakeSnapshot { request });
                }
            }
            Request::Snapshot(request) => self.show_snapshots(now, request, asker.responder),
            Request::Certificate(request) => {
                let responder = self.noted_when_done(now, asker);
                self.identity.desk.ask(request, responder);
            }
            Request::Configuration(request) => {
                let responder = self.noted_when_done(now, asker);
                self.identity.desk.ask_owner(request, responder);
            }
            Request::Bootstrap { record } | Request::Join { record } => {
                let generation = self.identity.generation;
                asker.responder.send(crate::bootstrap::repeated(generation, &record));
            }
            Request::Note { command } => {
                self.take_note(now, &command, (role, &from), asker.responder);
            }
        }
    }

    fn propose(&mut self, now: Timestamp, role: &Role, command: Bytes, asker: Asker) {
        let command = match owner::claim(role, command, &self.owners) {
            Ok(command) => command,
            Err(refusal) => {
                return self.refuse(now, asker, refusal.code, &refusal.message);
            }
        };
        if let Some(proposal) = self.proposal(now, command, asker) {
            let Proposal { request, command, purpose } = proposal;
            self.measure_room(now);
            self.replica.step(now, Input::Propose { request, command, purpose });
        }
    }

    /// Names a command that is to be proposed. One that this leader has under way already is not:
    /// it would take room in the log once more for each time that its client is out of patience,
    /// while the log is slow. Who asked last gets the answer.
    fn proposal(&mut self, now: Timestamp, command: Bytes, asker: Asker) -> Option<Proposal> {
        let envelope = Envelope::decode(&command).ok();
        let numbered = envelope.as_ref().and_then(numbered);
        self.pending.lead(self.leads().then(|| self.replica.raft().term()));
        let asker = match &numbered {
            Some(numbered) => match self.pending.take_over(numbered, asker) {
                Ok(before) => {
                    before.responder.send(Response::Error(sent_again()));
                    return None;
                }
                Err(asker) => asker,
            },
            None => asker,
        };
        let request = self.wait(now, asker)?;
        if let Some(numbered) = numbered {
            self.pending.number(request, numbered);
        }
        let purpose = self.purpose(envelope.as_ref());
        Some(Proposal { request, command, purpose })
    }

    /// Proposes commands in their order: all of them are looked at before the first one is taken.
    fn propose_all(&mut self, now: Timestamp, role: &Role, commands: Vec<Bytes>, asker: Asker) {
        let claim = |command| owner::claim(role, command, &self.owners);
        let commands: Vec<Bytes> = match commands.into_iter().map(claim).collect() {
            Ok(commands) => commands,
            Err(ErrorReply { code, message, .. }) => {
                return self.refuse(now, asker, code, &message);
            }
        };
        let is_operator = asker.is_operator;
        if !self.pending.has_room_for(commands.len(), is_operator) {
            return self.refuse(now, asker, ErrorCode::Busy, BUSY);
        }
        self.measure_room(now);
        let responders = asker.responder.split(commands.len());
        let mut proposals = Vec::with_capacity(commands.len());
        for (command, responder) in commands.into_iter().zip(responders) {
            let asker = Asker { responder, act: None, is_operator };
            proposals.extend(self.proposal(now, command, asker));
        }
        if !proposals.is_empty() {
            self.replica.step(now, Input::ProposeAll { proposals });
        }
    }

    /// Judges who asks, by whom it was passed on, and what it is.
    fn admit(
        &self,
        role: &Role,
        via: Option<NodeId>,
        request: Request,
    ) -> Result<Request, ErrorReply> {
        let refuse = |why: String| Err(answer::refusal(ErrorCode::Unauthorised, why));
        if let Some(by) = via.filter(|by| !self.has_member(*by)) {
            return refuse(format!(
                "node {by} passes this on, and is no member as far as is known here"
            ));
        }
        if let Role::Node(id) = role
            && NodeId::new(id.get()).is_none_or(|id| !self.has_member(id))
        {
            return refuse(format!("node {id} is no member as far as is known here"));
        }
        admin::admit(role, request)
    }

    fn has_member(&self, id: NodeId) -> bool {
        self.replica.raft().configuration().member(id).is_some()
    }

    /// Returns what of the log can be shown.
    fn extent(&self) -> Extent {
        let raft = self.replica.raft();
        Extent { first: raft.first(), last: raft.durable(), commit: raft.commit() }
    }

    /// Begins a change of members if the replica finds nothing against it.
    fn reconfigure(
        &mut self,
        now: Timestamp,
        target: Configuration,
        expected_index: LogIndex,
        asker: Asker,
    ) {
        // What another node would judge is judged there.
        let raft = self.replica.raft();
        if raft.leads()
            && let Some(why) = shared_name(raft.configuration(), &target)
        {
            return self.refuse(now, asker, ErrorCode::Forbidden, &why);
        }
        if let Some(request) = self.wait(now, asker) {
            let removed = self.network.removed(target.members().keys());
            let input = Input::Reconfigure { request, target, expected_index, removed };
            self.replica.step(now, input);
        }
    }

    /// Says whether a command is taken when there is little room on the disk. The system's are few
    /// and small, and needed to mend things.
    fn purpose(&self, envelope: Option<&Envelope>) -> Purpose {
        let frees = envelope.is_some_and(|envelope| match envelope.kind {
            EnvelopeKind::System => true,
            EnvelopeKind::Machine => {
                let frees = answers(|| self.machine.frees_space(&envelope.body));
                frees.unwrap_or_else(|panic| {
                    repeat::tell(Kind::Answer, "whether a command frees space", &panic);
                    false
                })
            }
        });
        if frees { Purpose::Frees } else { Purpose::Data }
    }

    /// Asks one part of the state; the replica says when it is right to answer.
    fn query(
        &mut self,
        now: Timestamp,
        part: Part,
        query: bytes::Bytes,
        consistency: Consistency,
        asker: Asker,
    ) {
        if let Some(request) = self.wait_for(part, now, asker) {
            self.replica.step(now, Input::Query { request, query, consistency });
        }
    }

    /// Gives a client's request a name, or refuses it.
    pub(super) fn wait(&mut self, now: Timestamp, asker: Asker) -> Option<RequestId> {
        self.wait_for(Part::Machine, now, asker)
    }

    fn wait_for(&mut self, part: Part, now: Timestamp, asker: Asker) -> Option<RequestId> {
        let named = match self.pending.has_room_for(1, asker.is_operator) {
            true => self.pending.insert(part, now, asker),
            false => Err(asker),
        };
        match named {
            Ok(request) => Some(request),
            Err(asker) => {
                self.refuse(now, asker, ErrorCode::Busy, BUSY);
                None
            }
        }
    }
}

/// Returns which command of a session it is.
fn numbered(envelope: &Envelope) -> Option<Numbered> {
    let Envelope { session, sequence, .. } = *envelope;
    (session != 0).then(|| Numbered { owner: envelope.owner.name.clone(), session, sequence })
}

/// What is answered to who has sent the same command again.
fn sent_again() -> ErrorReply {
    let message = "the same command was sent again, and its answer goes to who sent it last";
    let (leader, outcome) = (None, Outcome::Unknown);
    ErrorReply { code: ErrorCode::Abandoned, message: message.into(), leader, outcome }
}

/// Returns which members nobody could tell apart: two of one name. Those that have it already may
/// keep it, or such a cluster could not be changed at all.
fn shared_name(present: &Configuration, target: &Configuration) -> Option<String> {
    let is_new = |id: &NodeId, member: &Member| {
        present.member(*id).is_none_or(|known| known.name != member.name)
    };
    target.members().iter().find_map(|(id, member)| {
        let same = |(other, described): &(&NodeId, &Member)| {
            *other != id && described.name == member.name && is_new(id, member)
        };
        let (other, _) = target.members().iter().find(same)?;
        Some(format!("members {other} and {id} would both be called {}", member.name))
    })
}

/// Says whether a question is about digests, which are no part of the state.
fn is_of_effects(query: &Bytes) -> bool {
    matches!(SystemQuery::decode(query), Ok(SystemQuery::Effects { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Voters};
    use std::collections::{BTreeMap, BTreeSet};

    fn members(names: &[&str]) -> Configuration {
        let member = |name: &&str| Member {
            incarnation: Incarnation::new(1),
            name: (*name).to_owned(),
            address: String::new(),
        };
        let ids = (1..).map_while(NodeId::new);
        let members: BTreeMap<NodeId, Member> = ids.zip(names.iter().map(member)).collect();
        let voters = Voters::Stable(Majority::new(members.keys().copied()));
        Configuration::new(voters, BTreeSet::new(), members).expect("it is valid")
    }

    #[test]
    fn a_name_is_given_once_and_who_shares_one_already_may_keep_it() {
        let change =
            |present: &[&str], target: &[&str]| shared_name(&members(present), &members(target));
        let both = Some("members 1 and 2 would both be called a".to_owned());
        assert_eq!(change(&["a"], &["a", "a"]), both);
        assert_eq!(change(&["a", "b"], &["a", "a"]), both);
        assert_eq!(change(&["a", "b"], &["b", "a"]), None);
        assert_eq!(change(&["a", "a", "a"], &["a", "a"]), None);
        assert_eq!(change(&["a", "a"], &["a", "c"]), None);
    }
}
