//! What is to happen: by time, or, where a run is repeated without some of its events, by what it
//! is.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use consensus::Timestamp;

/// Things that are to happen.
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Scheduled<T>>>,
    /// What waits to be called, by its key; the latest is the last.
    called: Option<Called<T>>,
    count: u64,
}

struct Called<T> {
    key: fn(&T) -> u64,
    waiting: BTreeMap<u64, Vec<Scheduled<T>>>,
}

struct Scheduled<T> {
    at: Timestamp,
    number: u64,
    what: T,
}

impl<T> PartialEq for Scheduled<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Scheduled<T> {}

impl<T> PartialOrd for Scheduled<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Scheduled<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Agenda<T> {
    /// Nothing yet, and in the order of time.
    pub(crate) fn by_time() -> Self {
        Self { heap: BinaryHeap::new(), called: None, count: 0 }
    }

    /// From now on things happen when they are called by their key, whatever their time is.
    pub(crate) fn wait_for_calls(&mut self, key: fn(&T) -> u64) {
        self.called = Some(Called { key, waiting: BTreeMap::new() });
    }

    /// From now on things happen in the order of time again. Of those that wait only what is
    /// wanted stays, and happens at `now` if its time has passed.
    pub(crate) fn go_on_by_time(&mut self, now: Timestamp, is_wanted: impl Fn(&T) -> bool) {
        let called = self.called.take();
        for late in called.into_iter().flat_map(|called| called.waiting.into_values().flatten()) {
            if is_wanted(&late.what) {
                self.heap.push(Reverse(Scheduled { at: late.at.max(now), ..late }));
            }
        }
    }

    pub(crate) fn add(&mut self, at: Timestamp, what: T) {
        self.count += 1;
        let scheduled = Scheduled { at, number: self.count, what };
        match &mut self.called {
            Some(called) => {
                let key = (called.key)(&scheduled.what);
                called.waiting.entry(key).or_default().push(scheduled);
            }
            None => self.heap.push(Reverse(scheduled)),
        }
    }

    /// Takes the next thing, unless it is later than `until`.
    pub(crate) fn next(&mut self, until: Timestamp) -> Option<(Timestamp, T)> {
        if self.heap.peek().is_none_or(|Reverse(next)| next.at > until) {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at, next.what))
    }

    /// Takes what waits under a key: the very same thing if it is there, else the latest one.
    pub(crate) fn call(&mut self, key: u64, is_same: impl Fn(&T) -> bool) -> Option<T> {
        let waiting = self.called.as_mut()?.waiting.get_mut(&key)?;
        let others = if waiting.len() > 1 { waiting.as_slice() } else { &[] };
        let place = others.iter().rposition(|scheduled| is_same(&scheduled.what));
        let place = place.or(waiting.len().checked_sub(1))?;
        Some(waiting.remove(place).what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agenda() -> Agenda<(u64, &'static str)> {
        Agenda::by_time()
    }

    fn at(nanos: u64) -> Timestamp {
        Timestamp::new(nanos)
    }

    #[test]
    fn things_happen_in_the_order_of_time_and_then_of_their_numbers() {
        let mut agenda = agenda();
        for (time, what) in [(3, "c"), (1, "a"), (3, "d"), (2, "b")] {
            agenda.add(at(time), (0, what));
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next(at(3))).map(|(_, w)| w.1).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_waits_is_called_by_its_key_and_the_rest_goes_on_by_time() {
        let mut agenda = agenda();
        agenda.wait_for_calls(|(key, _)| *key);
        for what in [(1, "old"), (1, "same"), (1, "new"), (2, "other"), (3, "unwanted")] {
            agenda.add(at(5), what);
        }
        assert_eq!(agenda.next(at(9)), None, "nothing happens by itself");
        assert_eq!(agenda.call(1, |what| what.1 == "same"), Some((1, "same")));
        assert_eq!(agenda.call(1, |what| what.1 == "same"), Some((1, "new")));
        assert_eq!(agenda.call(4, |_| true), None);
        agenda.go_on_by_time(at(7), |what| what.1 != "unwanted");
        assert_eq!(agenda.next(at(9)), Some((at(7), (1, "old"))));
        assert_eq!(agenda.next(at(9)), Some((at(7), (2, "other"))));
        assert_eq!(agenda.next(at(9)), None);
    }
}
