//! What a leader's log keeps for a follower that was sent a snapshot.
//!
//! It keeps it as long as the follower takes something over from time to time, or it would need
//! another snapshot, for ever. But while nothing gets through to it, or it takes nothing over, it
//! is kept once: transfers that follow do not prolong it, or the log would grow for as long as they
//! fail.

use std::collections::BTreeMap;
use std::mem;

use consensus::{LogIndex, NodeId, Timestamp};

/// The log behind a snapshot stays for so long, and for the time that installing may take, after
/// its transfer and after whatever the follower has taken over since: one that takes nothing over
/// for longer, or has not come back for the rest of what broke, needs another snapshot.
const HOLD_NS: u64 = 60_000_000_000;

/// A snapshot is installed at least so fast, and a follower takes little meanwhile: the state that
/// it replaces is written anew.
const INSTALLED_BYTES_PER_S_MIN: u64 = 32 * 1024 * 1024;

/// A follower has caught up that needs less time for all that the log held when it began: what came
/// since is less than what stays anyway (§4.2.1).
const ROUND_NS: u64 = 10_000_000_000;

/// What stays for one follower.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// The snapshot's last entry.
    last: LogIndex,
    /// The end of the log when the present round began: the follower is to get there.
    goal: LogIndex,
    began: Timestamp,
    /// Over then, if the follower takes nothing over.
    until: Timestamp,
    patience_ns: u64,
    /// What the follower had when the transfer ended.
    had_before: LogIndex,
    /// What it had when it was last looked at.
    had: LogIndex,
}

/// What stays for followers whose transfer has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(BTreeMap<NodeId, Hold>);

impl Holds {
    /// Keeps what follows `last` for this follower, which has the log up to `had`, instead of what
    /// followed an earlier snapshot, until it has the log, which ends at `goal`. If it has taken
    /// nothing over since an earlier transfer, it is given no more time than it had then.
    pub(crate) fn hold(
        &mut self,
        now: Timestamp,
        follower: NodeId,
        (last, goal): (LogIndex, LogIndex),
        had: LogIndex,
        state_bytes: u64,
    ) {
        let installing_s = state_bytes / INSTALLED_BYTES_PER_S_MIN;
        let patience_ns = installing_s.saturating_mul(1_000_000_000).saturating_add(HOLD_NS);
        let before = self.0.get(&follower).filter(|hold| hold.had_before >= had);
        let until = before.map_or_else(|| now.after(patience_ns), |hold| hold.until);
        let (began, had_before) = (now, had);
        self.0.insert(follower, Hold { last, goal, began, until, patience_ns, had_before, had });
    }

    /// Keeps nothing for anybody.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Looks how far followers are, in a log from `base` to `end`: one that has taken something
    /// over is given time anew, one that has caught up needs nothing, and one behind which there is
    /// too much log is given up. `matched` is `None` of one that is no member any more.
    pub(crate) fn follow(
        &mut self,
        now: Timestamp,
        (base, end): (LogIndex, LogIndex),
        matched: impl Fn(NodeId) -> Option<LogIndex>,
        outgrown: impl Fn(LogIndex) -> bool,
    ) {
        // One whose time is over is remembered, so that it is not given more.
        self.0.retain(|follower, hold| {
            let Some(matched) = matched(*follower) else { return false };
            let needs = hold.last.max(matched);
            if matched > hold.had && needs >= base {
                hold.until = hold.until.max(now.after(hold.patience_ns));
            }
            hold.had = hold.had.max(matched);
            if outgrown(needs) {
                hold.until = hold.until.min(now);
            }
            matched < hold.goal || hold.begins_another_round(now, matched, end)
        });
    }

    /// Returns behind which entry the log must stay, if followers have the log up to `matched`.
    pub(crate) fn floor(
        &self,
        now: Timestamp,
        matched: impl Fn(NodeId) -> Option<LogIndex>,
    ) -> Option<LogIndex> {
        let in_time = self.0.iter().filter(|(_, hold)| hold.until > now);
        in_time.filter_map(|(id, hold)| Some(hold.last.max(matched(*id)?))).min()
    }
}

impl Hold {
    /// A round has ended: says whether it took so long that another one is to follow.
    fn begins_another_round(&mut self, now: Timestamp, matched: LogIndex, end: LogIndex) -> bool {
        self.goal = end;
        now.since(mem::replace(&mut self.began, now)) >= ROUND_NS && matched < end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> LogIndex {
        LogIndex::new(index)
    }

    fn node(id: u64) -> NodeId {
        NodeId::new(id).expect("not 0")
    }

    /// What stays, after a look at followers that have so much of a log up to 100.
    fn floor(
        holds: &mut Holds,
        now: Timestamp,
        matched: impl Fn(NodeId) -> Option<LogIndex>,
    ) -> Option<LogIndex> {
        holds.follow(now, (at(0), at(100)), &matched, |_| false);
        holds.floor(now, matched)
    }

    fn all(index: u64) -> impl Fn(NodeId) -> Option<LogIndex> {
        move |_| Some(at(index))
    }

    const BEGIN: Timestamp = Timestamp::new(5);

    #[test]
    fn the_log_behind_a_snapshot_stays_until_the_follower_has_caught_up_and_not_for_ever() {
        let mut holds = Holds::default();
        let (follower, other) = (node(2), node(3));
        let soon = BEGIN.after(ROUND_NS - 1);
        assert_eq!(floor(&mut holds, BEGIN, all(0)), None);
        holds.hold(BEGIN, follower, (at(40), at(60)), at(3), 0);
        assert_eq!(floor(&mut holds, soon, all(30)), Some(at(40)), "it is fed from there");
        assert_eq!(floor(&mut holds, soon, all(59)), Some(at(59)), "what it lacks");
        holds.hold(soon, other, (at(50), at(60)), at(3), 0);
        let caught_up = |id| Some(if id == follower { at(60) } else { at(50) });
        assert_eq!(floor(&mut holds, soon, caught_up), Some(at(50)), "the first has all of it");
        holds.hold(soon, other, (at(90), at(95)), at(50), 0);
        assert_eq!(floor(&mut holds, soon, all(0)), Some(at(90)), "the newest snapshot counts");
        assert_eq!(floor(&mut holds, soon.after(HOLD_NS), all(0)), None);
        holds.hold(BEGIN, follower, (at(40), at(60)), at(60), 0);
        assert_eq!(floor(&mut holds, BEGIN, |_| None), None, "it is no member any more");
    }

    #[test]
    fn who_needed_long_for_what_there_was_is_not_close_yet_s4_2_1() {
        let mut holds = Holds::default();
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 0);
        let late = BEGIN.after(ROUND_NS);
        assert_eq!(floor(&mut holds, late, all(60)), Some(at(60)), "much may have come since");
        let soon = late.after(ROUND_NS - 1);
        assert_eq!(floor(&mut holds, soon, all(99)), Some(at(99)), "a second round has begun");
        assert_eq!(floor(&mut holds, soon, all(100)), None);
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 0);
        assert_eq!(floor(&mut holds, late, all(100)), None, "nothing has come since");
    }

    #[test]
    fn whatever_a_follower_takes_over_gives_it_time_anew() {
        let mut holds = Holds::default();
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 0);
        let mut now = BEGIN;
        for matched in 40..60 {
            now = now.after(HOLD_NS);
            assert_eq!(floor(&mut holds, now, all(matched)), Some(at(matched)));
        }
        assert_eq!(floor(&mut holds, now.after(HOLD_NS), all(59)), None, "it has stopped");
    }

    #[test]
    fn who_lacks_what_is_compacted_keeps_nothing() {
        let mut holds = Holds::default();
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 0);
        let late = BEGIN.after(HOLD_NS);
        assert_eq!(floor(&mut holds, late, all(3)), None);
        holds.follow(late, (at(50), at(100)), all(49), |_| false);
        assert_eq!(holds.floor(late, all(49)), None, "a late answer is of no use any more");
    }

    #[test]
    fn installing_a_large_state_takes_its_time() {
        let mut holds = Holds::default();
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 640 * INSTALLED_BYTES_PER_S_MIN);
        let patience_ns = HOLD_NS + 640_000_000_000;
        let almost = BEGIN.after(patience_ns - 1);
        assert_eq!(floor(&mut holds, almost, all(3)), Some(at(40)));
        assert_eq!(floor(&mut holds, almost.after(1), all(3)), None);
    }

    #[test]
    fn a_follower_that_the_log_outgrows_is_given_up() {
        let mut holds = Holds::default();
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 0);
        holds.follow(BEGIN, (at(0), at(100)), all(45), |index| index < at(45));
        assert_eq!(holds.floor(BEGIN, all(45)), Some(at(45)), "what it has counts");
        holds.follow(BEGIN, (at(0), at(100)), all(45), |index| index <= at(45));
        assert_eq!(holds.floor(BEGIN, all(45)), None);
    }

    /// It needs its time once more: it was sent one snapshot after the other.
    #[test]
    fn who_had_caught_up_behind_an_earlier_snapshot_is_given_time_behind_the_next_one() {
        let mut holds = Holds::default();
        holds.hold(BEGIN, node(2), (at(40), at(60)), at(3), 0);
        assert_eq!(floor(&mut holds, BEGIN.after(1), all(45)), Some(at(45)), "it is fed");
        let late = BEGIN.after(10 * HOLD_NS);
        holds.hold(late, node(2), (at(90), at(95)), at(45), 0);
        assert_eq!(floor(&mut holds, late.after(1), all(45)), Some(at(90)));
    }

    #[test]
    fn a_transfer_that_is_of_no_use_gives_no_more_time() {
        let mut holds = Holds::default();
        let (follower, late) = (node(2), BEGIN.after(HOLD_NS));
        holds.hold(BEGIN, follower, (at(40), at(60)), at(3), 0);
        let almost = BEGIN.after(HOLD_NS - 1);
        holds.hold(almost, follower, (at(50), at(70)), at(3), 0);
        assert_eq!(floor(&mut holds, almost, all(3)), Some(at(50)));
        assert_eq!(floor(&mut holds, late, all(3)), None);
        holds.hold(late, follower, (at(90), at(95)), at(3), 0);
        assert_eq!(floor(&mut holds, late, all(3)), None, "it has taken nothing over");
        holds.hold(late, follower, (at(90), at(95)), at(90), 0);
        assert_eq!(floor(&mut holds, late, all(90)), Some(at(90)), "it got through");
    }
}
