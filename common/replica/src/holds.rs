//! What a leader's log keeps for a follower that was sent a snapshot.
//!
//! It keeps it once: while nothing gets through to a follower, or it takes nothing over, transfers
//! that follow do not prolong it, or the log would grow for as long as they fail.

use std::collections::BTreeMap;

use consensus::{LogIndex, NodeId, Timestamp};

/// The log behind a snapshot stays for no longer than this after its transfer: a follower that has
/// not caught up by then, or not come back for the rest of what broke, needs another snapshot.
const HOLD_NS: u64 = 60_000_000_000;

/// What stays for one follower.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// The snapshot's last entry.
    last: LogIndex,
    /// The end of the log when the transfer ended: it stays until the follower has got there.
    goal: LogIndex,
    until: Timestamp,
    /// What the follower had when the transfer ended; it has taken nothing over since.
    had: LogIndex,
}

/// What stays for followers whose transfer has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(BTreeMap<NodeId, Hold>);

impl Holds {
    /// Keeps what follows `last` for this follower, which has the log up to `had`, instead of what
    /// followed an earlier snapshot, until it has the log up to `goal`. If it has taken nothing
    /// over since an earlier transfer, it is given no more time than it had then.
    pub(crate) fn hold(
        &mut self,
        now: Timestamp,
        follower: NodeId,
        (last, goal): (LogIndex, LogIndex),
        had: LogIndex,
    ) {
        let before = self.0.get(&follower).filter(|hold| hold.had >= had);
        let until = before.map_or_else(|| now.after(HOLD_NS), |hold| hold.until);
        self.0.insert(follower, Hold { last, goal, until, had });
    }

    /// Keeps nothing for anybody.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns behind which entry the log must stay, if followers have the log up to `matched`;
    /// `None` of one that is no member any more.
    pub(crate) fn floor(
        &mut self,
        now: Timestamp,
        matched: impl Fn(NodeId) -> Option<LogIndex>,
    ) -> Option<LogIndex> {
        // One whose time is over is remembered, so that it is not given more.
        let lacks = |follower: &NodeId, hold: &Hold| {
            matched(*follower).is_some_and(|matched| matched < hold.goal)
        };
        self.0.retain(|follower, hold| lacks(follower, hold));
        self.0.values().filter(|hold| hold.until > now).map(|hold| hold.last).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_behind_a_snapshot_stays_until_the_follower_has_caught_up_and_not_for_ever() {
        let mut holds = Holds::default();
        let node = |id| NodeId::new(id).expect("not 0");
        let at = LogIndex::new;
        let (follower, other, begin) = (node(2), node(3), Timestamp::new(5));
        let almost = begin.after(HOLD_NS - 1);
        let all = |index| move |_| Some(at(index));
        assert_eq!(holds.floor(begin, all(0)), None);
        holds.hold(begin, follower, (at(40), at(60)), at(3));
        assert_eq!(holds.floor(almost, all(59)), Some(at(40)), "it is fed from there");
        holds.hold(almost, other, (at(50), at(60)), at(3));
        let caught_up = |id| Some(if id == follower { at(60) } else { at(50) });
        assert_eq!(holds.floor(almost, caught_up), Some(at(50)), "the first has all of it");
        holds.hold(almost, other, (at(90), at(95)), at(50));
        assert_eq!(holds.floor(almost, all(0)), Some(at(90)), "the newest snapshot counts");
        assert_eq!(holds.floor(almost.after(HOLD_NS), all(0)), None);
        holds.hold(begin, follower, (at(40), at(60)), at(60));
        assert_eq!(holds.floor(begin, |_| None), None, "it is no member any more");
    }

    #[test]
    fn a_transfer_that_is_of_no_use_gives_no_more_time() {
        let mut holds = Holds::default();
        let (at, begin) = (LogIndex::new, Timestamp::new(5));
        let follower = NodeId::new(2).expect("not 0");
        let stands = |_| Some(at(3));
        let late = begin.after(HOLD_NS);
        holds.hold(begin, follower, (at(40), at(60)), at(3));
        let almost = begin.after(HOLD_NS - 1);
        holds.hold(almost, follower, (at(50), at(70)), at(3));
        assert_eq!(holds.floor(almost, stands), Some(at(50)));
        assert_eq!(holds.floor(late, stands), None);
        holds.hold(late, follower, (at(90), at(95)), at(3));
        assert_eq!(holds.floor(late, stands), None, "it has taken nothing over");
        holds.hold(late, follower, (at(90), at(95)), at(90));
        assert_eq!(holds.floor(late, stands), Some(at(90)), "it got through");
    }
}
