//! What the log looks like without its bytes: where each term starts.
//!
//! A few words describe the whole log, so every comparison is answered without I/O.

use super::ids::{EntryId, LogIndex, Term};

/// The identities of all entries of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogView {
    /// The entry before the first one that is kept; compacted, or the place before the log.
    base: EntryId,
    /// Where each term starts, ascending in both; the first run may start at `base.index + 1`.
    runs: Vec<TermRun>,
    /// The last index; `base.index` when the log is empty.
    last: LogIndex,
}

/// A run of entries of one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TermRun {
    /// The term of the run.
    pub term: Term,
    /// Its first index.
    pub first: LogIndex,
}

impl Default for LogView {
    fn default() -> Self {
        Self { base: EntryId::ZERO, runs: Vec::new(), last: LogIndex::ZERO }
    }
}

impl LogView {
    /// Makes a view from what a disk holds; `None` if the parts contradict each other: runs out
    /// of order, outside the log, not covering it, or below the base's term.
    pub fn restore(base: EntryId, runs: Vec<TermRun>, last: LogIndex) -> Option<Self> {
        let covered = match runs.first() {
            Some(run) => run.first == base.index.next() && run.term >= base.term,
            None => last == base.index,
        };
        let ascending = runs.windows(2).all(|w| w[0].term < w[1].term && w[0].first < w[1].first);
        let inside = runs.last().is_none_or(|run| run.first <= last);
        (covered && ascending && inside).then_some(Self { base, runs, last })
    }

    /// Returns the entry before the first one that is kept.
    pub fn base(&self) -> EntryId {
        self.base
    }

    /// Returns the identity of the last entry, or of the base when the log is empty.
    pub fn last(&self) -> EntryId {
        let term = self.runs.last().map_or(self.base.term, |run| run.term);
        EntryId { term, index: self.last }
    }

    /// Returns the term of the entry at `index`; `None` where that is not known: below the base
    /// or behind the end (museum B14).
    pub fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|run| run.first <= index);
        Some(self.runs[run - 1].term)
    }

    /// Returns the identity of the entry at `index`, where that is known.
    pub fn id(&self, index: LogIndex) -> Option<EntryId> {
        self.term(index).map(|term| EntryId { term, index })
    }

    /// Says whether this very entry stands in the log.
    pub fn contains(&self, id: EntryId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// Returns where the runs start.
    pub fn runs(&self) -> &[TermRun] {
        &self.runs
    }

    /// Returns the last entry of this log that is not beyond `hint`: lower or equal in index *and*
    /// in term. No entry behind it and up to `hint.index` can agree with the log that gave the
    /// hint, so one round trip skips a whole term (§3.5). The base if there is none: what is before
    /// it is not known any more.
    pub fn last_within(&self, hint: EntryId) -> EntryId {
        let mut index = hint.index.min(self.last);
        loop {
            let Some(term) = self.term(index) else {
                return self.base;
            };
            if term <= hint.term {
                return EntryId { term, index };
            }
            // The base is of the same term as the first run, or stands alone: nothing is before it.
            if index == self.base.index {
                return self.base;
            }
            // All of this term's run is beyond the hint: step before it.
            let run = self.runs.partition_point(|run| run.term < term);
            let first = self.runs.get(run).map_or(self.base.index, |run| run.first);
            match first.prev() {
                Some(prev) if prev >= self.base.index => index = prev,
                Some(_) | None => return self.base,
            }
        }
    }

    /// Appends an entry's identity.
    ///
    /// # Panics
    /// If it is not the next index, or its term is below the last.
    pub(crate) fn append(&mut self, id: EntryId) {
        assert!(id.index == self.last.next(), "entries are appended without gaps");
        assert!(id.term >= self.last().term, "terms never decrease along a log");
        if self.runs.last().is_none_or(|run| run.term < id.term) {
            self.runs.push(TermRun { term: id.term, first: id.index });
        }
        self.last = id.index;
    }

    /// Forgets `from` and all behind it.
    ///
    /// # Panics
    /// If `from` is not behind the base.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.base.index, "what is compacted cannot be truncated");
        let keep = self.runs.partition_point(|run| run.first < from);
        self.runs.truncate(keep);
        self.last = self.last.min(from.prev().expect("from is behind the base"));
    }

    /// Forgets all up to and with `base`. A log that does not hold `base` becomes empty at it.
    pub(crate) fn compact(&mut self, base: EntryId) {
        if !self.contains(base) {
            *self = Self { base, runs: Vec::new(), last: base.index };
            return;
        }
        let first = base.index.next();
        let keep = self.runs.partition_point(|run| run.first <= first).saturating_sub(1);
        self.runs.drain(..keep);
        if first > self.last {
            self.runs.clear();
        } else if let Some(run) = self.runs.first_mut() {
            run.first = run.first.max(first);
        }
        self.base = base;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(term: u64, index: u64) -> EntryId {
        EntryId { term: Term::new(term), index: LogIndex::new(index) }
    }

    fn run(term: u64, first: u64) -> TermRun {
        TermRun { term: Term::new(term), first: LogIndex::new(first) }
    }

    /// The same log, kept entry by entry.
    #[derive(Debug)]
    struct Plain {
        base: EntryId,
        entries: Vec<EntryId>,
    }

    impl Plain {
        fn last(&self) -> EntryId {
            self.entries.last().copied().unwrap_or(self.base)
        }

        fn term(&self, index: LogIndex) -> Option<Term> {
            let mut known = [self.base].into_iter().chain(self.entries.iter().copied());
            known.find(|id| id.index == index).map(|id| id.term)
        }

        fn last_within(&self, hint: EntryId) -> EntryId {
            let within = |id: &&EntryId| id.index <= hint.index && id.term <= hint.term;
            self.entries.iter().rev().find(within).copied().unwrap_or(self.base)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The term grows by so much.
        Append(u64),
        /// So many at the end are forgotten.
        Truncate(u64),
        /// Up to so many behind the base.
        Compact(u64),
        /// At so many behind the base, with an entry that the log does not hold.
        Replace(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => prop_oneof![3 => Just(0), 1 => 1..4u64].prop_map(Step::Append),
            1 => (1..5u64).prop_map(Step::Truncate),
            1 => (0..6u64).prop_map(Step::Compact),
            1 => (0..6u64).prop_map(Step::Replace),
        ];
        prop::collection::vec(step, 0..60)
    }

    fn take(view: &mut LogView, plain: &mut Plain, step: &Step) {
        let (base, last) = (plain.base, plain.last());
        match *step {
            Step::Append(more) => {
                let id = at(last.term.get() + more, last.index.get() + 1);
                view.append(id);
                plain.entries.push(id);
            }
            Step::Truncate(back) => {
                let from = (last.index.get() + 1).saturating_sub(back).max(base.index.get() + 1);
                view.truncate(LogIndex::new(from));
                plain.entries.retain(|id| id.index.get() < from);
            }
            Step::Compact(ahead) => {
                let index = LogIndex::new((base.index.get() + ahead).min(last.index.get()));
                let term = plain.term(index).expect("it is within the log");
                view.compact(EntryId { term, index });
                plain.base = EntryId { term, index };
                plain.entries.retain(|id| id.index > index);
            }
            Step::Replace(ahead) => {
                let foreign = at(last.term.get() + 1, base.index.get() + ahead);
                view.compact(foreign);
                *plain = Plain { base: foreign, entries: Vec::new() };
            }
        }
    }

    proptest! {
        #[test]
        fn a_view_answers_as_the_log_would_entry_by_entry(steps in steps()) {
            let mut view = LogView::default();
            let mut plain = Plain { base: EntryId::ZERO, entries: Vec::new() };
            for step in &steps {
                take(&mut view, &mut plain, step);
                let (base, last) = (plain.base, plain.last());
                prop_assert_eq!((view.base(), view.last()), (base, last));
                let lowest = base.index.get().saturating_sub(2);
                for index in lowest..=last.index.get() + 2 {
                    let index = LogIndex::new(index);
                    prop_assert_eq!(view.term(index), plain.term(index), "{}", index);
                    for term in base.term.get().saturating_sub(1)..=last.term.get() + 1 {
                        let hint = EntryId { term: Term::new(term), index };
                        let found = view.last_within(hint);
                        prop_assert_eq!(found, plain.last_within(hint), "{}", hint);
                    }
                }
                let again = LogView::restore(base, view.runs().to_vec(), last.index);
                prop_assert_eq!(again.as_ref(), Some(&view));
            }
        }
    }

    #[test]
    fn parts_that_contradict_each_other_make_no_view() {
        let restore = |runs: &[TermRun], last| {
            LogView::restore(at(2, 3), runs.to_vec(), LogIndex::new(last)).is_some()
        };
        assert!(restore(&[], 3) && restore(&[run(2, 4), run(5, 6)], 6), "these are logs");
        assert!(!restore(&[], 4) && !restore(&[], 2), "no run covers the entries, or all are cut");
        assert!(!restore(&[run(2, 5)], 6), "the first is covered by none");
        assert!(!restore(&[run(1, 4)], 6), "a term below the base's");
        assert!(!restore(&[run(2, 4), run(2, 6)], 6), "one term in two runs");
        assert!(!restore(&[run(2, 4), run(1, 6)], 6), "terms that decrease");
        assert!(!restore(&[run(2, 4), run(5, 4)], 6), "two runs in one place");
        assert!(!restore(&[run(2, 4), run(5, 7)], 6), "a run behind the end");
    }
}
