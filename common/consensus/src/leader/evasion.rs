//! Handing leadership over because of the own disk: it hangs, or has failed.
//!
//! A leader whose disk hangs still sends heartbeats, so nobody would elect another one, and clients
//! wait for what it cannot apply. It hands over (§3.10) to a voter whose disk is known to be
//! better: one that has acknowledged what the own disk still writes, and whose slowest
//! acknowledgement of late took less than half as long. So leadership does not wander about where
//! all disks are slow (etcd#13527, hashicorp/raft#503, consul#22064). Ours.

use std::cmp::Reverse;

use super::progress::Progress;
use super::{Leader, Transfer};
use crate::core::Core;
use crate::vocabulary::actions::Event;
use crate::vocabulary::configuration::Tally;
use crate::vocabulary::ids::{NodeId, Timestamp};
use crate::vocabulary::message::Body;

/// A disk must be slower than another one by so many times before leadership moves.
const TIMES_SLOWER: u64 = 2;

/// A leader knows its followers' disks when it has led for so many election timeouts.
const TENURE: u64 = 10;

/// Before that it bears with its own disk, which has just written its vote, for so many of them.
const YOUNG_PATIENCE: u64 = 4;

/// The pause after a vain attempt is doubled so often.
const DOUBLINGS: u32 = 4;

/// Attempts to hand over because of the own disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Evasion {
    /// Attempts in vain.
    vain: u32,
    /// No other is made before this time.
    not_before: Timestamp,
}

impl Leader {
    /// Begins to hand over if the own disk hangs and another voter's is better.
    pub(super) fn evade_own_disk(&mut self, core: &mut Core, now: Timestamp) {
        let Some((begun, mark)) = core.oldest_write() else {
            return;
        };
        let (age_ns, patience_ns) = (now.since(begun), core.patience_ns());
        let is_young = now.since(self.since) < TENURE.saturating_mul(patience_ns);
        let bears_ns =
            if is_young { YOUNG_PATIENCE.saturating_mul(patience_ns) } else { patience_ns };
        let must_wait = now < self.evasion.not_before || self.is_transferring();
        if age_ns < bears_ns || must_wait || !self.others_are_enough(core, now) {
            return;
        }
        let is_better = |progress: &Progress| {
            // Nobody knows when that was sent which was lost and sent again: not before it began to
            // be written here. What was acknowledged before that tells nothing of now.
            let pace = progress.pace();
            let since = || (pace.proven() >= begun).then(|| pace.proven().since(begun));
            progress.matched() >= mark
                && pace
                    .slowest_ns()
                    .or_else(since)
                    .is_some_and(|ns| ns.saturating_mul(TIMES_SLOWER) <= age_ns)
        };
        if let Some(to) = self.best(core, now, |_, progress| is_better(progress)) {
            let until = now.after(patience_ns);
            core.tell(Event::HandsOver { to });
            self.transfer = Some(Transfer { to, until, request: None, told: false });
            self.advance_transfer(core);
        }
    }

    /// A successor did not take over: the next attempt is made later.
    pub(super) fn evaded_in_vain(&mut self, core: &Core, now: Timestamp) {
        let wait_ns = core.patience_ns() << self.evasion.vain.min(DOUBLINGS);
        self.evasion.vain = self.evasion.vain.saturating_add(1);
        self.evasion.not_before = now.after(wait_ns);
    }

    /// Returns what a leader says last whose disk has failed: a voter that has as much of the log
    /// as possible is to campaign at once, or all would wait for an election timeout.
    pub(crate) fn last_words(&self, core: &Core, now: Timestamp) -> Option<(NodeId, Body)> {
        let to = self.successor(core, now, |_| true)?;
        Some((to, Body::TimeoutNow { last: core.log().last() }))
    }

    /// Returns the voter that had best lead next, of those that answer, do not stand still, and are
    /// `ready`: the one that has most of the log, then the one with the fastest disk.
    pub(crate) fn successor(
        &self,
        core: &Core,
        now: Timestamp,
        ready: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        self.best(core, now, |id, _| ready(id))
    }

    fn best(
        &self,
        core: &Core,
        now: Timestamp,
        fit: impl Fn(NodeId, &Progress) -> bool,
    ) -> Option<NodeId> {
        let configuration = core.configuration();
        let ready = |(id, progress): &(&NodeId, &Progress)| {
            configuration.is_voter(**id)
                && self.is_sound(core, now, progress)
                && fit(**id, progress)
        };
        let best = |(_, progress): &(&NodeId, &Progress)| {
            let slowest_ns = progress.pace().slowest_ns().unwrap_or(u64::MAX);
            (progress.matched(), Reverse(slowest_ns))
        };
        self.progress.iter().filter(ready).max_by_key(best).map(|(id, _)| *id)
    }

    /// Says whether the other voters are a quorum without this node, whose vote might not get to
    /// its disk.
    fn others_are_enough(&self, core: &Core, now: Timestamp) -> bool {
        let sound = |id: NodeId| {
            let progress = self.progress.get(&id);
            Some(progress.is_some_and(|progress| self.is_sound(core, now, progress)))
        };
        core.voters().tally(sound) == Tally::Won
    }

    /// Says whether a follower answers, and does not stand still.
    fn is_sound(&self, core: &Core, now: Timestamp, progress: &Progress) -> bool {
        let patience_ns = core.patience_ns();
        progress.answers(now, patience_ns)
            && !progress.stands_still(core.last_index(), now, patience_ns)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::tests::{id, node};
    use crate::vocabulary::config::Config;
    use crate::vocabulary::ids::{LogIndex, ReadRound, RequestId, WriteId};

    const PATIENCE_NS: u64 = 150_000_000;
    const MS: u64 = 1_000_000;

    /// When node 1 of three was elected.
    const ELECTED: Timestamp = Timestamp::new(1_000 * MS);

    struct Office {
        core: Core,
        leader: Leader,
    }

    impl Office {
        /// The no-op is on all disks.
        fn begin(config: Config) -> Self {
            let mut core = node(config);
            core.enter_own_campaign();
            let mut leader = Leader::new(&core, ELECTED);
            leader.take_office(&mut core, ELECTED);
            let mut office = Self { core, leader };
            let write = office.write(ELECTED);
            office.core.persisted(write);
            office.acknowledge(ELECTED, 2);
            office
        }

        /// A leader's disk that has had a write, of one entry, for `age_ns`. The others had it on
        /// their disks after a millisecond, and were heard from just now.
        fn hanging(tenure_ns: u64, age_ns: u64) -> (Self, Timestamp) {
            let mut office = Self::begin(Config::new(1));
            let begun = ELECTED.after(tenure_ns - age_ns);
            office.propose(begun, 1);
            office.acknowledge(begun.after(MS), 3);
            let now = ELECTED.after(tenure_ns);
            office.acknowledge(now, 3);
            (office, now)
        }

        fn write(&mut self, now: Timestamp) -> WriteId {
            self.leader.replicate(&mut self.core, now);
            self.core.take_write(now).expect("there is something to write").id
        }

        fn propose(&mut self, now: Timestamp, count: usize) {
            let commands = vec![Bytes::new(); count];
            self.leader.propose(&mut self.core, now, RequestId::new(1), commands);
            self.write(now);
        }

        fn acknowledge(&mut self, now: Timestamp, matched: u64) {
            let (matched, round) = (LogIndex::new(matched), ReadRound::ZERO);
            for voter in [2, 3].map(id) {
                self.leader.on_appended(&mut self.core, now, voter, matched, round);
            }
        }

        fn evades(&mut self, now: Timestamp) -> bool {
            self.leader.evade_own_disk(&mut self.core, now);
            self.leader.is_transferring()
        }
    }

    #[test]
    fn a_leader_hands_over_when_a_write_takes_an_election_timeout_and_a_young_one_later_s3_10() {
        let evades = |tenure_ns, age_ns| {
            let (mut office, now) = Office::hanging(tenure_ns, age_ns);
            office.evades(now)
        };
        let tenure_ns = 10 * PATIENCE_NS;
        assert!(evades(tenure_ns, PATIENCE_NS));
        assert!(!evades(tenure_ns, PATIENCE_NS - 1));
        assert!(!evades(tenure_ns - 1, PATIENCE_NS), "it has just written its vote");
        assert!(evades(tenure_ns - 1, 4 * PATIENCE_NS));
        assert!(!evades(tenure_ns - 1, 4 * PATIENCE_NS - 1));
    }

    #[test]
    fn the_next_attempt_is_made_an_election_timeout_after_a_vain_one_s3_10() {
        for (since_ns, evades) in [(PATIENCE_NS - 1, false), (PATIENCE_NS, true)] {
            let (mut office, now) = Office::hanging(20 * PATIENCE_NS, 2 * PATIENCE_NS);
            let vain = Timestamp::new(now.get() - since_ns);
            office.leader.evaded_in_vain(&office.core, vain);
            assert_eq!(office.evades(now), evades, "{since_ns} ns");
        }
    }

    /// However fast it was before: its disk may hang as well by now, or the way to it.
    #[test]
    fn who_has_not_acknowledged_the_very_write_that_hangs_is_no_better_s3_10() {
        let config = Config { entries_max: 1, inflight_max: 1, ..Config::new(1) };
        let mut office = Office::begin(config);
        let begun = ELECTED.after(10 * PATIENCE_NS);
        office.propose(begun, 2);
        let (first, now) = (begun.after(MS), begun.after(PATIENCE_NS));
        office.acknowledge(first, 3);
        office.leader.replicate(&mut office.core, first);
        office.acknowledge(now, 3);
        assert!(!office.evades(now), "the other half of the write is not acknowledged");
        office.acknowledge(now, 4);
        assert!(!office.evades(now), "it took them nearly as long as this disk so far");
        let later = begun.after(2 * PATIENCE_NS);
        office.acknowledge(later, 4);
        assert!(office.evades(later), "twice as slow as they were");
    }
}
