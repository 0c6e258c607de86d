//! Whether there is room on the disk for more, judged by what the next flush and compaction need
//! and not by a share of the disk.
//!
//! A node that takes writes until the disk is full ends by the write that fails, and so do all
//! others at the same time, for they hold the same. So a leader stops earlier: it refuses what adds
//! data, and goes on to lead, to answer and to delete. A follower stops later, when what is left is
//! needed by itself: it drops entries, which its leader sends again. Both go on by themselves when
//! there is room.

use std::collections::VecDeque;
use std::mem;

use consensus::{Entry, Payload, Timestamp, Write, WriteId};

use crate::cache::size;
use crate::input::Space;
use crate::lanes::{RoomAction, RoomLevel as Level};

/// Bytes of commands take so many times their size on the disk before anything of them is removed:
/// in the log, and in the state.
const COPIES: u64 = 2;

/// Room must have been there for so long before it counts: compactions take and give; in
/// nanoseconds.
pub const ROOM_STEADY_NS: u64 = 3_000_000_000;

/// While there is no room, what was deleted is flushed so often, so that it makes some; in
/// nanoseconds.
const FLUSH_NS: u64 = 5_000_000_000;

/// The room on the disk of a node.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// As it was measured last.
    space: Option<Space>,
    level: Level,
    /// Since when there is more room than the level says.
    better: Option<Timestamp>,
    /// When a flush was last asked for.
    flushed: Timestamp,
    /// Writes with entries that are on their way to the disk, and their bytes.
    unwritten: VecDeque<(WriteId, usize)>,
    unwritten_bytes: usize,
    todo: Vec<RoomAction>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            space: None,
            level: Level::Enough,
            better: None,
            flushed: Timestamp::ZERO,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            todo: Vec::new(),
        }
    }
}

impl Room {
    /// The disk was measured, while so many bytes of commands are under way. What was deleted is
    /// flushed from time to time while there is no room, so that compaction can make some of it;
    /// not if the flush itself might not find room.
    pub(crate) fn measured(&mut self, now: Timestamp, space: Space, under_way_bytes: usize) {
        self.space = Some(space);
        self.look(now, under_way_bytes);
        let due = self.level == Level::Short && now.since(self.flushed) >= FLUSH_NS;
        if due && !self.is_at_its_end(0) {
            self.flushed = now;
            self.todo.push(RoomAction::Flush);
        }
    }

    /// Judges anew, while so many bytes of commands are under way.
    pub(crate) fn look(&mut self, now: Timestamp, under_way_bytes: usize) {
        let Some(space) = self.space else {
            return;
        };
        let level = judge(self.level, spare(space, under_way_bytes), space.needed_bytes);
        if level >= self.level {
            self.better = None;
        }
        if level == self.level {
            return;
        }
        let better = *self.better.get_or_insert(now);
        if level < self.level && now.since(better) < ROOM_STEADY_NS {
            return;
        }
        self.better = None;
        let before = mem::replace(&mut self.level, level);
        self.todo.push(RoomAction::Tell { before, level });
    }

    /// Says whether a leader refuses a command: one that frees space is taken for longer. If it
    /// does, returns whether those are taken.
    pub(crate) fn refuses(
        &mut self,
        now: Timestamp,
        under_way_bytes: usize,
        frees: bool,
    ) -> Option<bool> {
        self.look(now, under_way_bytes);
        let deletions = !self.is_at_its_end(under_way_bytes);
        let takes = self.level < Level::Short || (frees && deletions);
        (!takes).then_some(deletions)
    }

    /// Says whether a follower takes entries. What a leader needs to lead is always taken: its
    /// first entry, and changes of members.
    pub(crate) fn takes(&self, entries: &[Entry]) -> bool {
        let adds = |entry: &Entry| match entry.payload {
            Payload::Command(_) => true,
            Payload::Noop | Payload::Configuration(_) => false,
        };
        self.takes_commands() || !entries.iter().any(adds)
    }

    /// Says whether a follower takes all entries.
    pub(crate) fn takes_commands(&self) -> bool {
        !self.is_at_its_end(self.unwritten_bytes)
    }

    /// A write is handed to the disk.
    pub(crate) fn follow(&mut self, write: &Write) {
        let bytes = write.append.iter().map(size).sum();
        if bytes > 0 {
            self.unwritten.push_back((write.id, bytes));
            self.unwritten_bytes += bytes;
        }
    }

    /// All writes up to this one are on the disk.
    pub(crate) fn written(&mut self, last: WriteId) {
        while let Some((_, bytes)) = self.unwritten.pop_front_if(|(id, _)| *id <= last) {
            self.unwritten_bytes -= bytes;
        }
    }

    /// Returns the bytes of entries that are on their way to the disk.
    pub(crate) fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    /// Returns how much room there is.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Takes what is to be done.
    pub(crate) fn take(&mut self) -> Vec<RoomAction> {
        mem::take(&mut self.todo)
    }

    fn is_at_its_end(&self, under_way_bytes: usize) -> bool {
        self.space.is_some_and(|space| spare(space, under_way_bytes) < space.least_bytes)
    }
}

/// Returns what is free when all that is under way is written.
fn spare(space: Space, under_way_bytes: usize) -> u64 {
    let under_way = u64::try_from(under_way_bytes).unwrap_or(u64::MAX);
    space.usable_bytes.saturating_sub(under_way.saturating_mul(COPIES))
}

/// A level is left only well above its bound.
fn judge(before: Level, spare: u64, needed: u64) -> Level {
    let bound = |bound: u64, level: Level| if before >= level { room_above(bound) } else { bound };
    if spare < bound(needed, Level::Short) {
        Level::Short
    } else if spare < bound(2 * needed, Level::Low) {
        Level::Low
    } else {
        Level::Enough
    }
}

/// Returns how much must be free for a level to be left that is entered below `bound`.
pub fn room_above(bound: u64) -> u64 {
    bound.saturating_add(bound / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A disk that others fill and free again has no room that lasts.
    #[test]
    fn room_that_was_gone_in_between_has_not_been_there_for_long() {
        let space = |usable_bytes| Space { usable_bytes, needed_bytes: 100, least_bytes: 10 };
        let mut room = Room::default();
        let mut level = |at_ns: u64, usable_bytes| {
            room.measured(Timestamp::new(at_ns), space(usable_bytes), 0);
            room.level
        };
        assert_eq!(level(0, 50), Level::Short);
        assert_eq!(level(1, 1_000), Level::Short);
        assert_eq!(level(ROOM_STEADY_NS - 1, 50), Level::Short);
        assert_eq!(level(ROOM_STEADY_NS, 1_000), Level::Short);
        assert_eq!(level(ROOM_STEADY_NS + 1, 1_000), Level::Short, "it came back just now");
        assert_eq!(level(2 * ROOM_STEADY_NS, 1_000), Level::Enough);
    }

    #[test]
    fn what_is_under_way_is_counted_before_it_is_written() {
        let space = Space { usable_bytes: 500, needed_bytes: 100, least_bytes: 10 };
        assert_eq!(spare(space, 100), 300);
        assert_eq!(spare(space, usize::MAX), 0);
    }
}
