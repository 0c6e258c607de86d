//! Questions that may be answered, and views of the state: an answer comes from a view that holds
//! all that was applied when its question was released.

use std::mem;

use consensus::{LogIndex, RequestId, Timestamp};

use crate::lanes::Question;

/// How long views are made with every batch after the last question, in nanoseconds.
const VIEWS_NS: u64 = 1_000_000_000;

/// The newest view, and the questions that wait for a newer one.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    /// What the newest view holds.
    newest: LogIndex,
    /// A view was asked for.
    asked: bool,
    /// When a question last came.
    question: Option<Timestamp>,
    waiting: Vec<Question>,
}

impl Views {
    /// Begins with a view of what was applied before the start.
    pub(crate) fn new(newest: LogIndex) -> Self {
        Self { newest, asked: false, question: None, waiting: Vec::new() }
    }

    /// A question has come: more may follow, and need views.
    pub(crate) fn question(&mut self, now: Timestamp) {
        self.question = Some(now);
    }

    /// Says whether a view is to be made with what is applied now.
    pub(crate) fn are_wanted(&self, now: Timestamp) -> bool {
        self.question.is_some_and(|when| now.since(when) < VIEWS_NS)
    }

    /// There is a view that holds everything up to `applied`.
    pub(crate) fn made(&mut self, applied: LogIndex) {
        self.newest = self.newest.max(applied);
        self.asked = false;
    }

    /// A question may be answered by a view of the present state.
    pub(crate) fn release(&mut self, questions: impl IntoIterator<Item = Question>) {
        self.waiting.extend(questions);
    }

    /// Gives up: the node stops.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        mem::take(&mut self.waiting).into_iter().map(|question| question.request)
    }

    /// Returns how many questions wait for a view.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the questions that the newest view answers, if that holds what is applied; says
    /// whether a newer one is to be made.
    pub(crate) fn take(&mut self, applied: LogIndex) -> (Vec<Question>, bool) {
        if self.waiting.is_empty() {
            return (Vec::new(), false);
        }
        if self.newest < applied {
            return (Vec::new(), !mem::replace(&mut self.asked, true));
        }
        (mem::take(&mut self.waiting), false)
    }
}

#[cfg(test)]
mod tests {
    use consensus::Basis;

    use super::*;
    use crate::input::Consistency;

    fn question(number: u64) -> Question {
        let (request, query) = (RequestId::new(number), bytes::Bytes::new());
        Question { request, query, consistency: Consistency::Stale, basis: Basis::Local }
    }

    #[test]
    fn views_come_with_what_is_applied_for_a_while_behind_each_question() {
        let mut views = Views::new(LogIndex::ZERO);
        let now = Timestamp::new(VIEWS_NS);
        assert!(!views.are_wanted(now), "nobody has asked anything");
        views.question(now);
        assert!(views.are_wanted(now) && views.are_wanted(now.after(VIEWS_NS - 1)));
        assert!(!views.are_wanted(now.after(VIEWS_NS)));
    }

    #[test]
    fn a_view_is_asked_for_once_and_answers_all_that_wait() {
        let (old, new) = (LogIndex::new(4), LogIndex::new(5));
        let mut views = Views::new(old);
        assert!(!views.take(new).1, "nobody waits");
        views.release([question(1), question(2)]);
        assert_eq!(views.waiting(), 2);
        let (answered, asks) = views.take(new);
        assert!(answered.is_empty() && asks, "the view is too old");
        views.release([question(3)]);
        assert!(!views.take(new).1, "one is under way");
        views.made(new);
        let (answered, asks) = views.take(new);
        assert_eq!((answered.len(), asks, views.waiting()), (3, false, 0));
        // One that was made before, and comes later, is not newer.
        views.made(old);
        views.release([question(4)]);
        assert_eq!(views.take(new).0.len(), 1);
    }
}
