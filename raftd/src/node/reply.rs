//! Answers of the replica on their way back to who waits for them.

use consensus::Timestamp;
use protocol::{ErrorCode, Response};
use replica::Reply;

use crate::answer;
use crate::logging::repeat::{self, Kind};
use crate::node::audit::Asker;
use crate::node::{Node, moved};
use crate::pending::Waiting;

impl Node {
    pub(super) fn reply(&mut self, now: Timestamp, reply: Reply) {
        let (request, applied) = match &reply {
            Reply::Applied { request, .. } => (*request, true),
            Reply::Done { request }
            | Reply::Refused { request, .. }
            | Reply::ChangeRefused { request, .. }
            | Reply::NoRoom { request, .. }
            | Reply::Differs { request }
            | Reply::Superseded { request }
            | Reply::Behind { request, .. }
            | Reply::SnapshotTaken { request, .. }
            | Reply::Unknown { request } => (*request, false),
        };
        if self.notes.ended(request, applied) {
            return;
        }
        let Some(Waiting { responder: asker, since, .. }) = self.pending.remove(request) else {
            return;
        };
        if applied {
            self.metrics.operations.add(now, 1);
            let took = std::time::Duration::from_nanos(now.since(since));
            self.metrics.commit.record(now, took);
        }
        let Asker { responder, act, is_operator: _ } = asker;
        let response = self.response(reply);
        self.end_act(now, act, &response);
        responder.send(response);
    }

    /// Puts a reply in the words of the protocol.
    fn response(&self, reply: Reply) -> Response {
        if let Reply::SnapshotTaken { last, .. } = reply {
            return self.snapshots.taken(last);
        }
        if let Reply::NoRoom { deletions, voters, .. } = &reply {
            let why = self.no_room(*deletions, voters);
            return Response::Error(answer::refusal(ErrorCode::NoRoom, why));
        }
        let configuration = self.replica.raft().configuration();
        let network = &self.network;
        let hint = |id| moved::hint(id, configuration, network);
        let refuses = matches!(reply, Reply::ChangeRefused { .. });
        let response = answer::response(reply, hint);
        if let Response::Error(refusal) = &response
            && refuses
        {
            repeat::tell(Kind::Change, "the leader", &refusal.message);
        }
        response
    }
}
