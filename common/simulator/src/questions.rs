//! What clients ask about the state, which follows from the number of the request, and whether what
//! they are told was so at one moment.

use bytes::Bytes;
use consensus::{LogIndex, RequestId};
use replica::Question;
use state_machine::{KvQuery, KvResponse, QueryView, SystemAnswer, SystemQuery, Viewer};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::machine;
use crate::world::World;

const RULE: &str = "a question is answered as the state is at one moment (§6.4)";

/// Of so many questions one is carried out: what they cost is most of what a read costs.
const CARRIED_OUT: u64 = 2;

/// A question about the state.
#[derive(Clone, Debug)]
enum Asks {
    Machine(KvQuery),
    /// By an operator, or by whoever has this name.
    System(SystemQuery, Option<String>),
}

/// The question of a request, as it goes through the replica.
pub(crate) fn query(request: RequestId) -> Bytes {
    Bytes::copy_from_slice(&request.get().to_le_bytes())
}

impl World {
    /// A node answers a question from a view: as the state was when the view was made, or a little
    /// later.
    pub(crate) fn judge_answer(
        &mut self,
        node: usize,
        question: &Question,
        view: &QueryView,
    ) -> Result<(), Broken> {
        let (request, at) = (question.request, view.applied());
        if question.query != query(request) {
            let why = format!("{request} is answered as if it were {:?}", question.query);
            return Err(Broken::new("a question is answered as it was asked", why));
        }
        let (time, wanted) = (view.time(), self.oracle.model.time(at));
        if time != wanted {
            let why = format!("node {node} shows {time:?} at {at}, where it is {wanted:?}");
            return Err(Broken::new(RULE, why));
        }
        let number = request.get() / CARRIED_OUT;
        if !request.get().is_multiple_of(CARRIED_OUT) {
            return Ok(());
        }
        let asks = self.asks(number);
        if self.nodes[node].applied() > at {
            self.coverage.meet(Met::QuestionOvertaken);
        }
        let (first, last) = (at.get(), self.nodes[node].applied().get());
        let mut moments = (first..=last.max(first)).rev().map(LogIndex::new);
        let (is_right, found) = match &asks {
            Asks::Machine(query) => {
                let found = view.query(&query.encode()).expect("memory does not fail");
                let found = KvResponse::decode(&found).map_err(unread)?;
                let is_right = moments.any(|at| self.oracle.model.answer(at, query) == found);
                (is_right, format!("{found:?}"))
            }
            Asks::System(query, name) => {
                let viewer = name.as_deref().map_or(Viewer::Operator, Viewer::Own);
                let query = SystemQuery::decode(&query.encode()).map_err(unread)?;
                let found = view.system(viewer, &query).expect("memory does not fail");
                let found = SystemAnswer::decode(&found.encode()).map_err(unread)?;
                let model = &self.oracle.model;
                let is = |at| model.is_system_answer(at, viewer, query, &found);
                let is_right = moments.any(is);
                (is_right, format!("{found:?}"))
            }
        };
        if is_right {
            return Ok(());
        }
        let why = format!("node {node} at {first} to {last}: {asks:?} is answered {found}");
        Err(Broken::new(RULE, why))
    }

    /// Returns what is meant by a request that asks something.
    fn asks(&self, number: u64) -> Asks {
        let (kind, number) = (number % 12, number / 12);
        let limit = 1 + u32::try_from(number % 4).expect("small");
        let name = (number % 3 > 0).then(|| format!("client {}", number % 4));
        let session = self.sessions.known(number).unwrap_or(number);
        match kind {
            0 => Asks::System(SystemQuery::Sessions { after: 0, limit }, name),
            1 => Asks::System(SystemQuery::Sessions { after: session, limit }, name),
            2 => Asks::System(SystemQuery::Session { session }, name),
            3 => Asks::System(SystemQuery::Reservations, name),
            5 if number % 3 == 0 => Asks::System(SystemQuery::Revocations, name),
            5 if number % 3 == 1 => {
                let after = number % 500;
                Asks::System(SystemQuery::Audit { after, limit: 8 * limit }, None)
            }
            4 if number % 3 == 0 => Asks::System(SystemQuery::History, name),
            4 if number % 3 == 1 => Asks::System(SystemQuery::Tombstones, name),
            4 => Asks::System(SystemQuery::Alarms, name),
            _ => Asks::Machine(machine::asked(number)),
        }
    }
}

fn unread(error: state_machine::CodecError) -> Broken {
    Broken::new(RULE, format!("the answer cannot be read: {error}"))
}
