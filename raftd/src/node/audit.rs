//! Administrative acts on their way into the audit, which is in the log: a leader notes what goes
//! through the log before it does it, and how it ended; other nodes let the leader note what they
//! do. What cannot be told yet waits, but not for ever: the log of the process has it all the same.

use std::collections::BTreeMap;

use certs::{Role, RoleKind};
use consensus::{NodeId, RequestId, Timestamp};
use protocol::{CertificatesRead, ConfigurationAnswer, ErrorCode, LeaderHint, Reloaded, Response};
use replica::{Input, Purpose};
use state_machine::{Act, Envelope, Outcome, SystemCommand, SystemResponse};
use transport::Responder;

use crate::acts::{self, Deed};
use crate::answer;
use crate::lanes::Done;
use crate::logging::repeat::{self, Kind};
use crate::node::{Node, moved};

/// The most acts that wait until there is a leader to note them.
const NOTES_MAX: usize = 256;

/// The most notes that a leader remembers until they are applied: as many as there are requests.
const PROPOSED_MAX: usize = 65_536;

/// The name of what a node proposes by itself, and does not hear of again; no client's.
const OWN: RequestId = RequestId::new(0);

/// Who waits for an answer, and for what act.
pub(crate) struct Asker {
    /// Where the answer goes.
    pub(crate) responder: Responder,
    /// The act that is noted when it has ended.
    pub(crate) act: Option<Box<Act>>,
    /// Whether it is an operator, for whom some room is kept.
    pub(crate) is_operator: bool,
}

/// What gave a node its history.
pub(crate) struct Founded {
    /// The act.
    pub(crate) by: Act,
    /// Whether the first nodes of the cluster were all given the same.
    pub(crate) of_all: bool,
}

/// Acts that wait for a leader.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: Vec<Act>,
    /// The record that founded the cluster, which each of its first nodes was given: the first
    /// leader notes it for all.
    founding: Vec<Act>,
    /// Some are under way to the leader.
    sending: bool,
    /// How many acts of this process have a name.
    named: u64,
    /// What this node has proposed as the leader, by a request's name: from 1 to
    /// [`PROPOSED_MAX`], where no client's is.
    proposed: BTreeMap<RequestId, Act>,
    /// The last one of these names.
    last: u64,
}

impl Notes {
    /// Names an act that is to be proposed now.
    fn propose(&mut self, act: &Act) -> RequestId {
        if self.proposed.len() >= PROPOSED_MAX {
            return OWN;
        }
        let is_free = |name: &u64| !self.proposed.contains_key(&RequestId::new(*name));
        let mut names = (self.last + 1..=PROPOSED_MAX as u64).chain(1..=self.last);
        self.last = names.find(is_free).expect("one of so many is free");
        let request = RequestId::new(self.last);
        self.proposed.insert(request, act.clone());
        request
    }

    /// Takes what became of one, and says whether it was one. What is not known to be noted waits
    /// again: noted twice, it is one act.
    pub(super) fn ended(&mut self, request: RequestId, is_noted: bool) -> bool {
        let Some(act) = self.proposed.remove(&request) else { return false };
        if !is_noted && self.waiting.len() < NOTES_MAX {
            self.waiting.push(act);
        }
        true
    }
}

/// How the name of a node begins, as one who acts.
const NODE: &str = "node ";

impl Node {
    /// Notes what somebody asks for, if it is an administrative act, and returns it for the
    /// outcome. What only a leader does is noted where that is.
    pub(super) fn begin_act(
        &mut self,
        now: Timestamp,
        deed: Option<Deed>,
        (role, from, via): (&Role, &str, Option<NodeId>),
    ) -> Option<Box<Act>> {
        let leads = self.leads();
        let (what, logged) = match deed? {
            Deed::Logged(what) if leads => (what, true),
            Deed::Logged(_) => return None,
            Deed::Local(what) => (what, false),
        };
        let via = via.map(|node| format!(" by way of node {node}")).unwrap_or_default();
        let from = format!("{from}{via}");
        let id = self.name_act();
        let act = acts::act(id, &role.to_string(), &from, self.identity.node, &what);
        // A node that waits for a snapshot asks again and again; a person is always logged.
        if !act.who.starts_with(NODE) || repeat::may(Kind::Change, &act.who, &act.what) {
            tracing::info!(
                name: "act-asked",
                by = act.who, from = act.from, what = act.what, "asked for"
            );
        }
        if logged {
            self.propose_note(now, &act);
            // Commands that gather in a turn are appended behind a change of members in it: the
            // note is to stand before.
            self.dispatch(now);
        }
        Some(Box::new(act))
    }

    /// Notes how an act ended.
    pub(super) fn end_act(&mut self, now: Timestamp, act: Option<Box<Act>>, response: &Response) {
        if let Some((act, outcome)) = act.zip(outcome(response)) {
            self.ended(now, *act, outcome);
        }
    }

    /// An act has ended.
    pub(crate) fn ended(&mut self, now: Timestamp, mut act: Act, outcome: Outcome) {
        if let Outcome::Refused { reason } = &outcome
            && (!act.who.starts_with(NODE) || repeat::may(Kind::Change, &act.who, reason))
        {
            tracing::warn!(
                name: "act-refused",
                by = act.who, what = act.what, why = reason, "refused"
            );
        }
        act.outcome = outcome;
        self.note_act(now, act);
    }

    /// Notes what others will do, and how it ended when they answer.
    pub(super) fn noted_when_done(&mut self, now: Timestamp, asker: Asker) -> Responder {
        let Asker { responder, act, is_operator: _ } = asker;
        let Some(act) = act else { return responder };
        self.note_act(now, Act::clone(&act));
        let reports = self.network.reports().clone();
        responder.watched(move |response| {
            if let Some(outcome) = outcome(response) {
                // Nobody waits here: without room, it stays noted as asked for.
                let _ = reports.try_send(Done::Acted { act, outcome });
            }
        })
    }

    /// Answers, and notes how the act ended.
    pub(super) fn refuse(&mut self, now: Timestamp, asker: Asker, code: ErrorCode, why: &str) {
        let response = Response::Error(answer::refusal(code, why));
        self.end_act(now, asker.act, &response);
        asker.responder.send(response);
    }

    /// Has an act noted, by this node or by whoever leads.
    pub(crate) fn note_act(&mut self, now: Timestamp, act: Act) {
        if self.notes.waiting.len() >= NOTES_MAX {
            let why = "not in the audit: too many acts wait";
            if repeat::may(Kind::Change, &act.who, why) {
                tracing::warn!(name: "act-not-noted", by = act.who, what = act.what, "{why}");
            }
            return;
        }
        self.notes.waiting.push(act);
        self.send_notes(now);
    }

    /// Has acts noted that were done before this node had a history.
    pub(crate) fn note_founding(&mut self, now: Timestamp, founded: Vec<Founded>) {
        for Founded { by, of_all } in founded {
            let act = Act { id: self.name_act(), ..by };
            if of_all {
                self.notes.founding.push(act);
            } else {
                self.note_act(now, act);
            }
        }
    }

    /// Notes what waits, or lets the leader do so, if there is one.
    pub(crate) fn send_notes(&mut self, now: Timestamp) {
        let Notes { waiting, founding, sending, .. } = &mut self.notes;
        if (waiting.is_empty() && founding.is_empty()) || *sending {
            return;
        }
        if self.replica.raft().leads() {
            founding.append(waiting);
            for act in std::mem::take(founding) {
                self.propose_note(now, &act);
            }
            return;
        }
        let Some(leader) = self.leader_hint() else { return };
        self.notes.founding.clear();
        if self.notes.waiting.is_empty() {
            return;
        }
        self.notes.sending = true;
        self.network.note(leader, std::mem::take(&mut self.notes.waiting));
    }

    /// What the leader has not noted waits again.
    pub(super) fn noted(&mut self, left: Vec<Act>) {
        self.notes.sending = false;
        self.notes.waiting.splice(0..0, left);
        self.notes.waiting.truncate(NOTES_MAX);
    }

    /// Notes what an operator says to have done elsewhere, or what another node has seen.
    pub(super) fn take_note(
        &mut self,
        now: Timestamp,
        command: &bytes::Bytes,
        (role, from): (&Role, &str),
        responder: Responder,
    ) {
        let Ok(SystemCommand::Note(sent)) = SystemCommand::decode(command) else {
            let refusal = answer::refusal(ErrorCode::BadRequest, "this is no act to be noted");
            return responder.send(Response::Error(refusal));
        };
        let act = if role.kind() == RoleKind::Node {
            // It was there, and is trusted as with every vote and entry.
            sent
        } else {
            // Nobody speaks for others.
            let who = role.to_string();
            let act = acts::act(sent.id, &who, from, self.identity.node, &sent.what);
            Act { outcome: Outcome::Done, ..act }
        };
        let is_operator = role.kind() == RoleKind::Operator;
        let asker = Asker { responder, act: None, is_operator };
        if let Some(request) = self.wait(now, asker) {
            let command = Envelope::system(&SystemCommand::Note(act)).encode();
            self.replica.step(now, Input::Propose { request, command, purpose: Purpose::Frees });
        }
    }

    fn propose_note(&mut self, now: Timestamp, act: &Act) {
        let command = Envelope::system(&SystemCommand::Note(act.clone())).encode();
        let request = self.notes.propose(act);
        self.replica.step(now, Input::Propose { request, command, purpose: Purpose::Note });
    }

    /// Returns a name that no other act has: no other process draws the same number.
    fn name_act(&mut self) -> [u8; 16] {
        self.notes.named += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.identity.boot.to_le_bytes());
        id[8..].copy_from_slice(&self.notes.named.to_le_bytes());
        id
    }

    fn leader_hint(&self) -> Option<LeaderHint> {
        let leader = self.leader.filter(|leader| *leader != self.identity.node)?;
        moved::hint(leader, self.replica.raft().configuration(), &self.network)
    }
}

/// Says how an act ended; nothing if nobody knows.
fn outcome(response: &Response) -> Option<Outcome> {
    match response {
        Response::Error(error) => match error.outcome {
            protocol::Outcome::NotApplied => Some(acts::refused(&error.message)),
            protocol::Outcome::Unknown => None,
        },
        Response::Applied { response, .. } => Some(match SystemResponse::decode(response) {
            Ok(SystemResponse::Refused { reason }) => acts::refused(&reason),
            Ok(_) | Err(_) => Outcome::Done,
        }),
        Response::Configuration(ConfigurationAnswer::Reloaded(Reloaded { refused, .. }))
            if !refused.is_empty() =>
        {
            Some(acts::refused(refused))
        }
        Response::Configuration(ConfigurationAnswer::Reloaded(Reloaded {
            certificates: CertificatesRead::Refused(why),
            ..
        })) => Some(acts::refused(&format!("certificates: {why}"))),
        Response::Batch { .. }
        | Response::Answer { .. }
        | Response::Status(_)
        | Response::Log(_)
        | Response::Bootstrapped { .. }
        | Response::Done
        | Response::Certificate(_)
        | Response::Configuration(_)
        | Response::Snapshot(_) => Some(Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its leader steps down, or its disk has no room, before the note is in the log.
    #[test]
    fn what_a_leader_could_not_note_waits_for_the_next_one() {
        let mut notes = Notes::default();
        let node = NodeId::new(1).expect("it is not 0");
        let act = |number: u8| acts::act([number; 16], "operator o", "there", node, "an act");
        let [first, second] = [1, 2].map(|number| notes.propose(&act(number)));
        assert!(notes.ended(first, true) && notes.ended(second, false));
        assert_eq!(notes.waiting, [act(2)]);
        assert!(!notes.ended(second, false) && !notes.ended(OWN, false));
        // Names go round, and none is given twice at a time.
        notes.last = PROPOSED_MAX as u64 - 1;
        let [third, fourth] = [3, 4].map(|number| notes.propose(&act(number)));
        assert_eq!((third.get(), fourth.get()), (PROPOSED_MAX as u64, 1));
        assert!(first != third && third.get() < 1 << 20, "no client's name");
    }

    /// The audit would say of what may never have happened that it was done.
    #[test]
    fn an_act_of_which_nobody_knows_how_it_ended_stays_as_asked_for() {
        let refusal = answer::refusal(ErrorCode::Internal, "the disk hangs");
        let refused = Response::Error(refusal.clone());
        assert_eq!(outcome(&refused), Some(acts::refused("the disk hangs")));
        let unknown = protocol::ErrorReply { outcome: protocol::Outcome::Unknown, ..refusal };
        assert_eq!(outcome(&Response::Error(unknown)), None);
        assert_eq!(outcome(&Response::Done), Some(Outcome::Done));
    }
}
