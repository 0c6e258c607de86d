//! Whether there is room on the disk for more, judged by what the next flush and compaction need
//! and not by a share of the disk.
//!
//! A node that takes writes until the disk is full ends by the write that fails, and so do all
//! others at the same time, for they hold the same. So a leader stops earlier: it refuses what adds
//! data, and goes on to lead, to answer and to delete. A follower stops later, when what is left is
//! needed by itself: it drops entries, which its leader sends again. Both go on by themselves when
//! there is room.

use std::sync::Arc;

use consensus::{Entry, Payload, Timestamp};
use storage::Space;

use crate::gauges::Gauges;
use crate::logging::repeat::{self, Kind};

/// Bytes of commands take so many times their size on the disk before anything of them is removed:
/// in the log, and in the state.
const COPIES: u64 = 2;

/// Room must have been there for so long before it counts: compactions take and give; in
/// nanoseconds.
const STEADY_NS: u64 = 3_000_000_000;

/// While there is no room, what was deleted is flushed so often, so that it makes some; in
/// nanoseconds.
const FLUSH_NS: u64 = 5_000_000_000;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// More than twice of what is needed in hand.
    Enough,
    /// Less than that: time to do something.
    Low,
    /// Less than what is needed in hand: nothing is taken that adds data.
    Short,
}

/// The room of a node.
pub(crate) struct Room {
    gauges: Arc<Gauges>,
    level: Level,
    /// Since when there is more room than the level says.
    better: Option<Timestamp>,
    flushed: Timestamp,
}

impl Room {
    pub(crate) fn new(gauges: Arc<Gauges>) -> Self {
        let flushed = Timestamp::default();
        Self { gauges, level: Level::Enough, better: None, flushed }
    }

    /// Judges anew, and tells the log if that is news. So many bytes of commands are under way.
    pub(crate) fn look(&mut self, now: Timestamp, under_way_bytes: usize) {
        let Some(space) = self.gauges.space() else {
            return;
        };
        let needed = self.gauges.needed_bytes();
        let level = judge(self.level, spare(space, under_way_bytes), needed);
        if level >= self.level {
            self.better = None;
        }
        let better = *self.better.get_or_insert(now);
        if level == self.level || (level < self.level && now.since(better) < STEADY_NS) {
            return;
        }
        self.better = None;
        let before = std::mem::replace(&mut self.level, level);
        let state = self.state(space, needed);
        if repeat::may(Kind::Room, self.gauges.directory().display(), told(level, &state)) {
            log(before, level, &state);
        }
    }

    /// Says whether what was deleted should be flushed now, so that compaction can make room of it;
    /// not if the flush itself might not find room.
    pub(crate) fn wants_flush(&mut self, now: Timestamp) -> bool {
        let due = self.level == Level::Short && now.since(self.flushed) >= FLUSH_NS;
        if !due || self.is_at_its_end(0) {
            return false;
        }
        self.flushed = now;
        true
    }

    /// Says why nothing is taken that adds data; empty if it is.
    pub(crate) fn trouble(&self) -> String {
        match (self.level, self.gauges.space()) {
            // So much that it is taken again, and for how long it must be there.
            (Level::Short, Some(space)) => {
                let needed = above(self.gauges.needed_bytes());
                let lasts = match space.usable_bytes() < needed {
                    true => String::new(),
                    false => format!(" for {} s", STEADY_NS / 1_000_000_000),
                };
                self.state(space, needed) + &lasts
            }
            (Level::Short | Level::Low | Level::Enough, _) => String::new(),
        }
    }

    /// Says why a leader refuses a command, if it does; one that frees space is taken for longer.
    pub(crate) fn refusal(
        &mut self,
        now: Timestamp,
        under_way_bytes: usize,
        frees: bool,
    ) -> Option<String> {
        self.look(now, under_way_bytes);
        let at_its_end = self.is_at_its_end(under_way_bytes);
        let refuses = self.level == Level::Short && (!frees || at_its_end);
        refuses.then(|| {
            let trouble = self.trouble();
            let rest = match at_its_end {
                true => "reads go on, deletions do not: there is no room for their log entries",
                false => "reads and deletions go on",
            };
            format!("the leader's disk has no room: {trouble}; {rest}")
        })
    }

    /// Says whether a follower takes entries, if so many bytes wait for the disk. What a leader
    /// needs to lead is always taken: its first entry, and changes of members.
    pub(crate) fn takes(&self, entries: &[Entry], queued_bytes: usize) -> bool {
        let adds = |entry: &Entry| match entry.payload {
            Payload::Command(_) => true,
            Payload::Noop | Payload::Configuration(_) => false,
        };
        !self.is_at_its_end(queued_bytes) || !entries.iter().any(adds)
    }

    fn is_at_its_end(&self, under_way_bytes: usize) -> bool {
        let space = self.gauges.space();
        space.is_some_and(|space| spare(space, under_way_bytes) < self.gauges.least_bytes())
    }

    fn state(&self, space: Space, needed: u64) -> String {
        let directory = self.gauges.directory().display();
        format!("{space} at {directory}, {} in hand", space.needs(needed))
    }
}

/// Logs that it is another level than before.
fn log(before: Level, level: Level, state: &str) {
    let what = "free space there or enlarge the file system";
    match level {
        Level::Short => tracing::error!(
            "no room on the disk: {state}; this node refuses new data, and goes on to vote, to \
             lead, to answer and to delete: {what}"
        ),
        Level::Low if before == Level::Enough => tracing::warn!(
            "the disk fills up: {state}; with less than that, new data is refused: {what}"
        ),
        Level::Low => {
            tracing::info!("there is room on the disk again, but little: {state}; data is taken");
        }
        Level::Enough => tracing::info!("there is room on the disk: {state}"),
    }
}

/// Says what a level means, for a summary.
fn told(level: Level, state: &str) -> String {
    let taken = match level {
        Level::Short => "new data is refused",
        Level::Low | Level::Enough => "new data is taken",
    };
    format!("{taken}: {state}")
}

/// Returns what is free when all that is under way is written.
fn spare(space: Space, under_way_bytes: usize) -> u64 {
    let under_way = u64::try_from(under_way_bytes).unwrap_or(u64::MAX);
    space.usable_bytes().saturating_sub(under_way.saturating_mul(COPIES))
}

/// A level is left only well above its bound.
fn judge(before: Level, spare: u64, needed: u64) -> Level {
    let bound = |bound: u64, level: Level| if before >= level { above(bound) } else { bound };
    if spare < bound(needed, Level::Short) {
        Level::Short
    } else if spare < bound(2 * needed, Level::Low) {
        Level::Low
    } else {
        Level::Enough
    }
}

/// Returns the bound at which a level is left.
fn above(bound: u64) -> u64 {
    bound.saturating_add(bound / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use consensus::{ClusterTime, EntryId};

    #[test]
    fn room_is_judged_by_what_is_needed_and_not_by_a_share() {
        assert_eq!(judge(Level::Enough, 200, 100), Level::Enough);
        assert_eq!(judge(Level::Enough, 199, 100), Level::Low);
        assert_eq!(judge(Level::Low, 100, 100), Level::Low);
        assert_eq!(judge(Level::Low, 99, 100), Level::Short);
        assert_eq!(judge(Level::Enough, 0, 100), Level::Short);
    }

    #[test]
    fn a_level_is_left_only_well_above_its_bound() {
        assert_eq!(judge(Level::Short, 111, 100), Level::Short);
        assert_eq!(judge(Level::Short, 112, 100), Level::Low);
        assert_eq!(judge(Level::Low, 224, 100), Level::Low);
        assert_eq!(judge(Level::Low, 225, 100), Level::Enough);
        assert_eq!(judge(Level::Short, 225, 100), Level::Enough);
    }

    #[test]
    fn what_is_under_way_is_counted_before_it_is_written() {
        let space = Space { total_bytes: 1_000, free_bytes: 500, free_inodes: None };
        assert_eq!(spare(space, 100), 300);
        assert_eq!(spare(space, usize::MAX), 0);
        assert_eq!(spare(Space { free_inodes: Some(0), ..space }, 0), 0);
    }

    #[test]
    fn a_refusal_says_what_goes_on() {
        let place = tempfile::tempdir().expect("a directory");
        let mut room = Room::new(Arc::new(Gauges::at(place.path())));
        let mut now = Timestamp::default();
        assert_eq!(room.refusal(now, 0, false), None, "this machine has room for the test");
        for frees in [false, true] {
            let why = room.refusal(now, usize::MAX, frees).expect("all is under way already");
            assert!(why.contains("reads go on, deletions do not"), "{why}");
        }
        // There is room again, but that must last.
        let why = room.refusal(now, 0, false).expect("it is not steady yet");
        assert!(why.contains("in hand for 3 s; reads and deletions go on"), "{why}");
        assert_eq!(room.refusal(now, 0, true), None);
        now = now.after(STEADY_NS);
        assert_eq!(room.refusal(now, 0, false), None);
    }

    #[test]
    fn room_that_comes_and_goes_is_counted_after_a_few_lines() {
        let place = tempfile::tempdir().expect("a directory");
        let mut room = Room::new(Arc::new(Gauges::at(place.path())));
        let path = place.path().join("log");
        let file = std::fs::File::create(&path).expect("there is room");
        let lines = tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(file)).finish();
        tracing::subscriber::with_default(lines, || {
            let mut now = Timestamp::default();
            for _ in 0..20 {
                room.look(now, usize::MAX);
                room.look(now, 0);
                now = now.after(STEADY_NS);
                room.look(now, 0);
            }
        });
        let said = std::fs::read_to_string(path).expect("it is there");
        assert!(said.contains("no room on the disk"), "{said}");
        assert!(said.lines().count() <= 6, "{said}");
    }

    #[test]
    fn a_leader_s_first_entry_is_taken_even_without_room() {
        let place = tempfile::tempdir().expect("a directory");
        let room = Room::new(Arc::new(Gauges::at(place.path())));
        let entry = |payload| Entry { id: EntryId::ZERO, stamp: ClusterTime::ZERO, payload };
        let command = entry(Payload::Command(Bytes::from_static(b"put")));
        let noop = entry(Payload::Noop);
        assert!(
            room.takes(std::slice::from_ref(&command), 0),
            "this machine has room for the test"
        );
        assert!(!room.takes(&[noop.clone(), command], usize::MAX));
        assert!(room.takes(&[noop], usize::MAX));
    }
}
