//! Questions as they are answered: in a lane of their own, from a view of the state. Between the
//! decision that a question may be answered and its answer the process may stand still.

use consensus::{Basis, Timestamp};
use replica::{Consistency, Question};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::stream::Asked;
use crate::world::{Happening, World};

impl World {
    /// A question may be answered from the newest view.
    pub(crate) fn question(&mut self, node: usize, question: Question) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        place.watch.questions.remove(&question.request);
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        if place.view.applied() < raft.applied() {
            let (id, applied, shown) = (place.id, raft.applied(), place.view.applied());
            let why =
                format!("node {id} has applied {applied}, and answers from a view of {shown}");
            return Err(Broken::new("a question sees all that is applied here (§6.4)", why));
        }
        if !raft.leads() {
            self.coverage.meet(Met::FollowerRead);
        }
        let (life, view) = (place.life, place.view.clone());
        let slow = !self.faults_over && self.rng.permille(self.habits.slow_answers);
        let most = if slow { 400 * MS } else { MS / 10 };
        let takes = self.rng.between(1, most);
        self.after(takes, Happening::Answer(node, life, Box::new(Asked { question, view })));
        Ok(())
    }

    /// The answer is there. It leaves if what it stands on still holds (§6.4.1).
    pub(crate) fn answer_from(&mut self, node: usize, asked: Asked) -> Result<(), Broken> {
        let Asked { question, view } = asked;
        let now: Timestamp = self.nodes[node].local(self.now);
        if !question.basis.holds(now) {
            self.coverage.meet(Met::LeaseLapsed);
            return self.clients.refused(question.request);
        }
        if let Basis::Lease { .. } = question.basis {
            self.coverage.meet(Met::LeaseRead);
        }
        if question.consistency == Consistency::Stale {
            self.coverage.meet(Met::StaleRead);
        }
        self.judge_answer(node, &question, &view)?;
        self.clients.read(question.request, view.applied())
    }
}
