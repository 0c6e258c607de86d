//! Clients that wait: for an entry to be applied, or for a read to become servable.
//!
//! One owner of all waiters. A waiter ends exactly once: with the machine's answer, with "certainly
//! not applied" when another entry has taken its place, or with "unknown".

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use consensus::{Basis, LogIndex, RequestId, Term, Timestamp};

use crate::input::Consistency;
use crate::lanes::Question;

/// Waiting clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// By index and term: who waits for that entry. More than one may wait at an index: an entry
    /// that is cut from this log may still be committed by others (figure 3.7), so that its client
    /// is told only when the place is decided.
    writes: BTreeMap<(LogIndex, Term), RequestId>,
    /// The term of the last applied entry when that was last looked at.
    applied_term: Term,
    /// Questions that wait for a read index.
    asked: BTreeMap<RequestId, Bytes>,
    /// Those that were told that the node stops: the core does not know that, and may yet refuse
    /// them.
    abandoned: BTreeSet<RequestId>,
    /// Questions with an index that is not applied yet, in order of that index.
    reads: BTreeMap<LogIndex, VecDeque<Question>>,
    reading: usize,
    /// When they give up, in that order; with some that have been answered.
    waiting_for_index: VecDeque<(Timestamp, LogIndex, RequestId)>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Applied {
        request: RequestId,
        index: LogIndex,
        response: Bytes,
    },
    Superseded {
        request: RequestId,
    },
    /// The place was decided by a snapshot, which does not tell how.
    Unknown {
        request: RequestId,
    },
}

impl Requests {
    /// Notes where a proposal stands.
    pub(crate) fn appended(&mut self, request: RequestId, term: Term, index: LogIndex) {
        self.writes.insert((index, term), request);
    }

    /// Notes that entries up to `index` are applied, with the machine's answers. The term of an
    /// applied entry tells whether it is the one that was waited for.
    pub(crate) fn applied(
        &mut self,
        index: LogIndex,
        term_at: impl Fn(LogIndex) -> Option<Term>,
        responses: Vec<(LogIndex, Bytes)>,
    ) -> Vec<Ending> {
        let mut endings = Vec::new();
        if self.writes.is_empty() {
            return endings;
        }
        let mut responses = responses.into_iter().peekable();
        while let Some(((at, term), request)) = self.writes.first_key_value() {
            let (at, term, request) = (*at, *term, *request);
            if at > index {
                break;
            }
            while responses.next_if(|(found, _)| *found < at).is_some() {}
            let decided = term_at(at);
            let ours = decided == Some(term);
            let response = responses.next_if(|(found, _)| ours && *found == at);
            endings.push(match response {
                Some((_, response)) => Ending::Applied { request, index: at, response },
                None if decided.is_none() || ours => Ending::Unknown { request },
                None => Ending::Superseded { request },
            });
            self.writes.pop_first();
        }
        self.end_branches(term_at(index), &mut endings);
        endings
    }

    /// Ends the writes that no log can hold behind an applied entry of this term: terms never
    /// decrease along a log (§3.4), so that those of earlier leaders stand on a branch that is
    /// dead. To wait until their own places are decided is to wait for other clients to write.
    fn end_branches(&mut self, applied: Option<Term>, endings: &mut Vec<Ending>) {
        let Some(applied) = applied.filter(|term| *term > self.applied_term) else {
            return;
        };
        self.applied_term = applied;
        let dead = self.writes.extract_if(.., |(_, term), _| *term < applied);
        endings.extend(dead.map(|(_, request)| Ending::Superseded { request }));
    }

    /// Says whether somebody waits for an entry.
    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(crate) fn asked(&mut self, request: RequestId, query: Bytes) {
        self.asked.insert(request, query);
    }

    /// Notes that a question may be answered once `index` is applied, if that is before `until`.
    pub(crate) fn readable(
        &mut self,
        request: RequestId,
        index: LogIndex,
        basis: Basis,
        until: Timestamp,
    ) {
        if let Some(query) = self.asked.remove(&request) {
            self.waiting_for_index.push_back((until, index, request));
            let consistency = Consistency::Linearizable;
            self.wait(index, Question { request, query, consistency, basis });
        }
    }

    /// Takes a question that may be answered once `index` is applied, if that is before `until`.
    pub(crate) fn awaits(
        &mut self,
        request: RequestId,
        query: Bytes,
        index: LogIndex,
        until: Timestamp,
    ) {
        self.waiting_for_index.push_back((until, index, request));
        let (consistency, basis) = (Consistency::AtLeast(index), Basis::Local);
        self.wait(index, Question { request, query, consistency, basis });
    }

    fn wait(&mut self, index: LogIndex, question: Question) {
        self.reads.entry(index).or_default().push_back(question);
        self.reading += 1;
    }

    /// Takes the questions that can be answered now.
    pub(crate) fn ready(&mut self, applied: LogIndex) -> Vec<Question> {
        let mut ready = Vec::new();
        while let Some(entry) = self.reads.first_entry() {
            if *entry.key() > applied {
                break;
            }
            ready.extend(entry.remove());
        }
        while self.waiting_for_index.pop_front_if(|(_, index, _)| *index <= applied).is_some() {}
        self.reading -= ready.len();
        ready
    }

    /// Returns when the first question gives up.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.waiting_for_index.front().map(|(until, _, _)| *until)
    }

    /// Gives up the questions whose time is over, and returns their names.
    pub(crate) fn late(&mut self, now: Timestamp) -> Vec<RequestId> {
        let due = self.waiting_for_index.iter().take_while(|(until, _, _)| *until <= now).count();
        let mut late = Vec::new();
        for (_, index, request) in self.waiting_for_index.drain(..due) {
            let Some(waiting) = self.reads.get_mut(&index) else {
                continue;
            };
            // Questions of one index stand in both queues in the order in which they came, and
            // leave the longer one last: it is the first one, or has been answered.
            if waiting.pop_front_if(|question| question.request == request).is_some() {
                self.reading -= 1;
                late.push(request);
            }
            if waiting.is_empty() {
                self.reads.remove(&index);
            }
        }
        late
    }

    /// Forgets a question that was refused; says whether its client is still to be told.
    pub(crate) fn refused(&mut self, request: RequestId) -> bool {
        self.asked.remove(&request);
        !self.abandoned.remove(&request)
    }

    /// Ends everything: the node stops. Writes may still come to be; questions never had an effect.
    pub(crate) fn abandon(&mut self) -> (Vec<RequestId>, Vec<RequestId>) {
        let writes = std::mem::take(&mut self.writes).into_values();
        self.abandoned.extend(self.asked.keys());
        let asked = std::mem::take(&mut self.asked).into_keys();
        let reads = std::mem::take(&mut self.reads).into_values().flatten();
        let questions = asked.chain(reads.map(|question| question.request)).collect();
        self.reading = 0;
        self.waiting_for_index.clear();
        (writes.collect(), questions)
    }

    pub(crate) fn writing(&self) -> usize {
        self.writes.len()
    }

    pub(crate) fn questions(&self) -> usize {
        self.asked.len() + self.reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_whose_place_a_snapshot_decided_is_unknown_museum_g15() {
        let mut requests = Requests::default();
        requests.appended(RequestId::new(1), Term::new(2), LogIndex::new(5));
        let endings = requests.applied(LogIndex::new(9), |_| None, Vec::new());
        assert_eq!(endings, [Ending::Unknown { request: RequestId::new(1) }]);
        assert_eq!(requests.writing(), 0);
    }

    #[test]
    fn a_write_that_is_cut_is_not_declared_dead_before_its_place_is_decided() {
        let (index, old, new) = (LogIndex::new(5), Term::new(2), Term::new(4));
        let (first, second) = (RequestId::new(1), RequestId::new(2));
        let mut requests = Requests::default();
        requests.appended(first, old, index);
        // Another leader cut it off; this node leads again and writes to the same place. As in
        // figure 3.7, a third node may still have the first entry, be elected, and commit it.
        requests.appended(second, new, index);
        let response = Bytes::from_static(b"done");
        let responses = vec![(index, response.clone())];
        let endings = requests.applied(index, |_| Some(old), responses);
        let done = Ending::Applied { request: first, index, response };
        assert_eq!(endings, [done, Ending::Superseded { request: second }]);
        assert_eq!(requests.writing(), 0);
    }

    #[test]
    fn a_write_behind_an_applied_entry_of_a_later_leader_is_dead_s3_4() {
        let (old, new) = (Term::new(2), Term::new(4));
        let request = RequestId::new;
        let mut requests = Requests::default();
        for number in 5..=7 {
            requests.appended(request(number), old, LogIndex::new(number));
        }
        // Up to 5 the log is that of the old leader; nobody writes anything behind 6 any more.
        let done = vec![(LogIndex::new(5), Bytes::new())];
        let endings = requests.applied(LogIndex::new(5), |_| Some(old), done);
        assert!(matches!(endings[..], [Ending::Applied { .. }]), "{endings:?}");
        let endings = requests.applied(LogIndex::new(6), |_| Some(new), Vec::new());
        let dead = [6, 7].map(|number| Ending::Superseded { request: request(number) });
        assert_eq!(endings, dead);
        // A write of its own, later leadership is on the branch that lives.
        requests.appended(request(8), Term::new(5), LogIndex::new(7));
        assert_eq!(requests.applied(LogIndex::new(6), |_| Some(new), Vec::new()), []);
        assert_eq!(requests.writing(), 1);
    }

    #[test]
    fn answers_to_commands_that_nobody_here_waits_for_are_passed_over() {
        let (term, index, request) = (Term::new(4), LogIndex::new(7), RequestId::new(1));
        let mut requests = Requests::default();
        requests.appended(request, term, index);
        // 5 and 6 are an earlier leader's, whose clients wait there.
        let answer = |number: u64| (LogIndex::new(number), Bytes::from(number.to_string()));
        let endings = requests.applied(index, |_| Some(term), [5, 6, 7].map(answer).into());
        let response = Bytes::from_static(b"7");
        assert_eq!(endings, [Ending::Applied { request, index, response }]);
    }
    /// To look at all of an index for each would take minutes, in which no heartbeat leaves.
    #[test]
    fn giving_up_is_as_much_work_as_there_are_questions_however_many_wait_for_one_index() {
        let (count, index) = (1 << 19, LogIndex::new(9));
        let mut requests = Requests::default();
        for number in 0..count {
            let until = Timestamp::new(number);
            requests.awaits(RequestId::new(number), Bytes::new(), index, until);
        }
        let names = |range: std::ops::Range<u64>| range.map(RequestId::new).collect::<Vec<_>>();
        assert_eq!(requests.late(Timestamp::new(1)), names(0..2));
        assert_eq!(requests.questions(), count as usize - 2);
        assert_eq!(requests.late(Timestamp::new(count)), names(2..count));
        assert_eq!((requests.questions(), requests.ready(index).len()), (0, 0));
    }

    #[test]
    fn a_question_that_was_answered_is_not_given_up_and_keeps_no_other_from_it() {
        let [near, far] = [5, 9].map(LogIndex::new);
        let mut requests = Requests::default();
        for (number, index) in [(1, far), (2, near), (3, far)] {
            let until = Timestamp::new(number);
            requests.awaits(RequestId::new(number), Bytes::new(), index, until);
        }
        assert_eq!(requests.ready(near).len(), 1);
        assert_eq!(requests.late(Timestamp::new(9)), [1, 3].map(RequestId::new));
        assert_eq!(requests.questions(), 0);
    }
}
