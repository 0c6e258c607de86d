//! Whether the states of all nodes are the same: each keeps a running digest of what applying did,
//! followers report theirs with their answers to the leader, and the leader compares it with its
//! own behind the same entry.
//!
//! Whoever differs from a majority has a state that nobody can trust: it answers nothing from it,
//! and does not lead. Where there is no majority, as with two voters, both are named, and none of
//! them is judged. The first entry that differs is found by asking for digests further back; here
//! it is only said where it was noticed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consensus::{Body, Configuration, LogIndex, Majority, NodeId, Term, Timestamp};

use crate::lanes::{Difference, Differing};

/// So many digests of the last entries are kept, one an entry.
const KEPT: usize = 65_536;

/// A follower reports at most so often, in nanoseconds: several times within a heartbeat's interval
/// would tell no more.
const REPORT_NS: u64 = 50_000_000;

/// .. and at least so often, also if it applies nothing.
const REPEAT_NS: u64 = 1_000_000_000;

/// So many of a follower's last reports are kept, to find whom it agrees with.
const REPORTS: usize = 16;

/// What a node knows of its own effects and, while it leads, of the others'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// The last entry whose digest is known, and the digests up to it.
    last: LogIndex,
    digests: VecDeque<u64>,
    /// What was last reported, to whom, and when.
    reported: Option<(Term, NodeId, LogIndex, Timestamp)>,
    /// The last reports of this leadership.
    leadership: Term,
    reports: BTreeMap<NodeId, Report>,
    /// This node's own state differs from a majority's.
    own: Option<Difference>,
    news: Vec<Differing>,
}

#[derive(Clone, Debug)]
struct Report {
    index: LogIndex,
    digest: u64,
    /// `None` while this node cannot tell: it has not applied that entry, or no longer knows.
    is_same: Option<bool>,
    /// It was told of.
    is_known: bool,
    /// This one and those before, each with its index and digest.
    last: VecDeque<(LogIndex, u64)>,
}

impl Comparison {
    /// This node has applied entries up to `last`; these are the digests behind the last of them.
    pub(crate) fn applied(&mut self, last: LogIndex, digests: &[u64]) {
        let count = digests.len() as u64;
        if last.get() != self.last.get() + count {
            self.digests.clear();
        }
        self.last = last;
        self.digests.extend(digests);
        let over = self.digests.len().saturating_sub(KEPT);
        self.digests.drain(..over);
        let waiting: Vec<NodeId> = self.reports.keys().copied().collect();
        waiting.into_iter().for_each(|id| self.look(id));
    }

    /// Returns what this node reports to its leader, if it is time. Where much was applied since
    /// the last report, it is of a round index, so that followers report the same ones: who agrees
    /// with whom is seen from those alone.
    pub(crate) fn report(&mut self, now: Timestamp, term: Term, leader: NodeId) -> Option<Body> {
        let mut index = self.last;
        if let Some((before, to, earlier, at)) = self.reported
            && (before, to) == (term, leader)
        {
            let pause = if earlier == index { REPEAT_NS } else { REPORT_NS };
            if now.since(at) < pause {
                return None;
            }
            let more = index.get().saturating_sub(earlier.get());
            let stride = more.checked_ilog2().map_or(1, |power| 1 << power);
            index = LogIndex::new(index.get() / stride * stride);
        }
        let (index, digest) = match self.digest(index) {
            Some(digest) => (index, digest),
            None => (self.last, *self.digests.back()?),
        };
        self.reported = Some((term, leader, index, now));
        Some(Body::Effects { index, digest, judged: false })
    }

    /// A follower reports to this node, which leads in `term`.
    pub(crate) fn heard(&mut self, term: Term, from: NodeId, index: LogIndex, digest: u64) {
        if self.leadership != term {
            self.leadership = term;
            self.reports.clear();
        }
        let mut before = self.reports.remove(&from);
        let is_known = before.as_ref().is_some_and(|before| before.is_known);
        let mut last = before.as_mut().map(|it| std::mem::take(&mut it.last)).unwrap_or_default();
        last.push_back((index, digest));
        last.drain(..last.len().saturating_sub(REPORTS));
        self.reports.insert(from, Report { index, digest, is_same: None, is_known, last });
        self.look(from);
        // Once it differs it stays so, for everything that follows goes into the same digest. Where
        // it was seen first is what the others' reports have to reach before they say anything.
        let differs = self.reports.get(&from).is_some_and(Report::differs);
        if let Some(first) = before.filter(|first| differs && first.differs())
            && first.index < index
            && self.digest(first.index).is_some()
            && let Some(report) = self.reports.get_mut(&from)
        {
            let last = std::mem::take(&mut report.last);
            *report = Report { last, ..first };
        }
    }

    /// The leader says that a majority has this digest behind this entry.
    pub(crate) fn judged(&mut self, index: LogIndex, theirs: u64) {
        if let Some(ours) = self.digest(index)
            && ours != theirs
        {
            self.condemn(Difference { index, ours, theirs });
        }
    }

    /// Compares what is known, of the voters and learners of a configuration. Returns to whom a
    /// leader must say that it differs from a majority.
    pub(crate) fn judge(
        &mut self,
        term: Term,
        (own, configuration): (NodeId, &Configuration),
    ) -> Vec<(NodeId, Body)> {
        if self.leadership != term || !self.reports.values().any(Report::differs) {
            return Vec::new();
        }
        // Who was the same further back has said nothing of an entry behind that.
        let with_us = |index: LogIndex| {
            decide(configuration, |id| {
                let report = self.reports.get(&id);
                id == own || report.is_some_and(|report| report.is_same_up_to(index))
            })
        };
        let against_us = self.against_us(configuration);
        let differing = self.reports.values().filter(|report| report.differs());
        let agreed: BTreeSet<LogIndex> =
            differing.map(|report| report.index).filter(|index| with_us(*index)).collect();
        let mut verdicts = Vec::new();
        let mut news = Vec::new();
        for (id, report) in self.reports.iter_mut().filter(|(_, report)| report.differs()) {
            let Some(ours) = self.last.get().checked_sub(report.index.get()) else { continue };
            let back = usize::try_from(ours).unwrap_or(usize::MAX);
            let place = self.digests.len().checked_sub(back.saturating_add(1));
            let Some(ours) = place.and_then(|place| self.digests.get(place)).copied() else {
                continue;
            };
            let (index, theirs) = (report.index, report.digest);
            let with_us = agreed.contains(&index);
            if with_us {
                verdicts.push((*id, Body::Effects { index, digest: ours, judged: true }));
            }
            if !std::mem::replace(&mut report.is_known, true) {
                let difference = Difference { index, ours, theirs };
                news.push(Differing::Peer { id: *id, difference, outvoted: with_us });
            }
        }
        self.news.extend(news);
        against_us.into_iter().for_each(|difference| self.condemn(difference));
        verdicts
    }

    /// Returns in what this node differs from a majority whose states are the same, if it does.
    fn against_us(&self, configuration: &Configuration) -> Option<Difference> {
        let differing = || self.reports.values().filter(|report| report.differs());
        let reported = differing().flat_map(|report| report.last.iter().copied());
        reported
            .filter_map(|(index, theirs)| {
                let ours = self.digest(index).filter(|ours| *ours != theirs)?;
                Some(Difference { index, ours, theirs })
            })
            .find(|Difference { index, theirs, .. }| {
                let said = (*index, *theirs);
                let says = |id| self.reports.get(&id).is_some_and(|it| it.last.contains(&said));
                decide(configuration, says)
            })
    }

    /// Returns how this node's own state differs from a majority's, if it does.
    pub(crate) fn own(&self) -> Option<Difference> {
        self.own
    }

    /// Returns behind which entry it was last seen that a follower's state differs from this one's.
    pub(crate) fn of(&self, term: Term, id: NodeId) -> Option<LogIndex> {
        let report = self.reports.get(&id).filter(|report| report.differs())?;
        (self.leadership == term).then_some(report.index)
    }

    /// Takes the news.
    pub(crate) fn take(&mut self) -> Vec<Differing> {
        std::mem::take(&mut self.news)
    }

    fn look(&mut self, id: NodeId) {
        let Some(report) = self.reports.get(&id) else { return };
        let own = self.digest(report.index);
        let is_same = own.map(|own| own == report.digest).or(report.is_same);
        if let Some(report) = self.reports.get_mut(&id) {
            report.is_same = is_same;
            // What it said before it was the same was said of another state.
            if is_same == Some(true) {
                report.last.clear();
            }
        }
    }

    fn digest(&self, index: LogIndex) -> Option<u64> {
        let back = usize::try_from(self.last.get().checked_sub(index.get())?).ok()?;
        self.digests.get(self.digests.len().checked_sub(back + 1)?).copied()
    }

    fn condemn(&mut self, difference: Difference) {
        if self.own.is_none() {
            self.own = Some(difference);
            self.news.push(Differing::Own(difference));
        }
    }
}

impl Report {
    fn differs(&self) -> bool {
        self.is_same == Some(false)
    }

    /// Says whether this was the same behind an entry: digests that are equal further on were equal
    /// before.
    fn is_same_up_to(&self, index: LogIndex) -> bool {
        self.is_same == Some(true) && self.index >= index
    }
}

/// Says whether those of whom it is so are a majority, of both halves of a joint configuration.
fn decide(configuration: &Configuration, of: impl Fn(NodeId) -> bool) -> bool {
    let (outgoing, incoming) = configuration.voters().halves();
    let decides = |half: &Majority| {
        half.iter().filter(|id| of(*id)).count() >= half.quorum() && !half.is_empty()
    };
    decides(incoming) && outgoing.is_none_or(decides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Member, Voters};

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn configuration(count: u64, voters: Voters) -> Configuration {
        let member = |number: u64| {
            let (name, address) = (format!("n{number}"), format!("h:{number}"));
            (id(number), Member { incarnation: Incarnation::new(number), name, address })
        };
        let members = (1..=count).map(member).collect();
        Configuration::new(voters, BTreeSet::new(), members).expect("it is valid")
    }

    fn voters(count: u64) -> Configuration {
        configuration(count, Voters::Stable(Majority::new((1..=count).map(id))))
    }

    /// A leader with the id 1, whose digest behind entry n is 10 n.
    fn leader(entries: u64) -> Comparison {
        let mut leader = Comparison::default();
        let digests: Vec<u64> = (1..=entries).map(|index| 10 * index).collect();
        leader.applied(LogIndex::new(entries), &digests);
        leader
    }

    /// Who is told that it differs, and whether the leader itself does.
    fn judged(voters: &Configuration, reports: &[(u64, u64, u64)]) -> (Vec<u64>, bool) {
        let mut leader = leader(9);
        for (from, index, digest) in reports {
            leader.heard(Term::new(1), id(*from), LogIndex::new(*index), *digest);
        }
        let told = leader.judge(Term::new(1), (id(1), voters));
        (told.iter().map(|(to, _)| to.get()).collect(), leader.own().is_some())
    }

    #[test]
    fn the_odd_one_out_is_judged_by_a_majority_and_nobody_without_one() {
        for (count, reports, told, own) in [
            (3, &[(2, 9, 90), (3, 8, 80)][..], &[][..], false),
            (3, &[(2, 9, 90), (3, 8, 81)], &[3], false),
            (3, &[(2, 7, 70), (3, 8, 81)], &[], false),
            (3, &[(3, 8, 81), (3, 9, 91), (2, 8, 80)], &[3], false),
            (3, &[(3, 8, 81)], &[], false),
            (3, &[(2, 9, 91), (3, 9, 91)], &[], true),
            (3, &[(2, 9, 91), (3, 9, 92)], &[], false),
            (3, &[(2, 9, 91), (3, 8, 81)], &[], false),
            (3, &[(3, 8, 81), (3, 9, 91), (2, 8, 81), (2, 9, 92)], &[], true),
            (2, &[(2, 9, 91)], &[], false),
            (5, &[(2, 9, 90), (3, 8, 80), (4, 1, 11), (5, 2, 21)], &[4, 5], false),
            (5, &[(2, 9, 90), (3, 8, 81), (4, 1, 11)], &[], false),
            (5, &[(2, 9, 90), (3, 8, 80), (4, 9, 91), (5, 8, 81)], &[5], false),
            (5, &[(3, 8, 81), (4, 8, 81), (5, 8, 81)], &[], true),
            (5, &[(3, 8, 81), (4, 8, 81), (5, 8, 82)], &[], false),
        ] {
            let (told_in_fact, own_in_fact) = judged(&voters(count), reports);
            assert_eq!((told_in_fact.as_slice(), own_in_fact), (told, own), "{count}: {reports:?}");
        }
    }

    #[test]
    fn one_half_of_a_joint_configuration_judges_nobody_s4_3() {
        let half = |half: [u64; 3]| Majority::new(half.map(id));
        let voters = Voters::Joint { outgoing: half([1, 2, 3]), incoming: half([1, 4, 5]) };
        let configuration = configuration(5, voters);
        for (reports, told, own) in [
            (&[(4, 9, 91), (5, 9, 91)][..], &[][..], false),
            (&[(2, 9, 91), (3, 9, 91)], &[], false),
            (&[(2, 9, 91), (3, 9, 91), (4, 9, 91), (5, 9, 91)], &[], true),
            (&[(4, 9, 90), (5, 8, 81)], &[], false),
            (&[(2, 9, 90), (4, 9, 90), (5, 8, 81)], &[5], false),
        ] {
            let judged = judged(&configuration, reports);
            assert_eq!((judged.0.as_slice(), judged.1), (told, own), "{reports:?}");
        }
    }

    /// A leader that is wrong itself hears of it from one after the other. Who has not come so far
    /// yet was counted as agreeing with it: then the first who told was judged in its stead, and
    /// neither of them could lead any more.
    #[test]
    fn who_has_not_come_so_far_agrees_with_nobody() {
        let mut leader = leader(9);
        let (term, three) = (Term::new(1), voters(3));
        leader.heard(term, id(2), LogIndex::new(8), 80);
        leader.heard(term, id(3), LogIndex::new(9), 91);
        assert_eq!(leader.judge(term, (id(1), &three)), []);
        leader.heard(term, id(2), LogIndex::new(9), 91);
        assert_eq!(leader.judge(term, (id(1), &three)), []);
        let difference = Difference { index: LogIndex::new(9), ours: 90, theirs: 91 };
        assert_eq!(leader.own(), Some(difference));
    }

    #[test]
    fn a_state_that_was_made_anew_differs_no_more() {
        let mut leader = leader(9);
        let (term, three) = (Term::new(1), voters(3));
        leader.heard(term, id(3), LogIndex::new(8), 81);
        leader.heard(term, id(3), LogIndex::new(9), 90);
        assert_eq!(leader.of(term, id(3)), None);
        assert_eq!(leader.judge(term, (id(1), &three)), []);
    }

    /// What it had reported of the state before was still counted against the leader.
    #[test]
    fn of_a_state_that_was_made_anew_no_earlier_report_counts() {
        let mut leader = leader(9);
        let (term, three) = (Term::new(1), voters(3));
        leader.heard(term, id(3), LogIndex::new(8), 81);
        leader.heard(term, id(3), LogIndex::new(9), 90);
        leader.heard(term, id(2), LogIndex::new(8), 81);
        leader.judge(term, (id(1), &three));
        assert_eq!(leader.own(), None, "it is node 2 alone that differs");
    }

    #[test]
    fn what_is_ahead_is_compared_when_it_is_reached_and_what_is_far_behind_is_not() {
        let mut leader = leader(9);
        let term = Term::new(1);
        leader.heard(term, id(2), LogIndex::new(11), 110);
        leader.heard(term, id(3), LogIndex::new(11), 111);
        assert!(leader.judge(term, (id(1), &voters(3))).is_empty());
        leader.applied(LogIndex::new(11), &[100, 110]);
        let told = leader.judge(term, (id(1), &voters(3)));
        let expected = Body::Effects { index: LogIndex::new(11), digest: 110, judged: true };
        assert_eq!(told, [(id(3), expected)]);
        assert_eq!(leader.of(term, id(3)), Some(LogIndex::new(11)));
        assert_eq!(leader.of(Term::new(2), id(3)), None, "another leadership asks anew");

        // A snapshot was installed: nothing is known of before.
        leader.applied(LogIndex::new(50), &[500]);
        leader.heard(Term::new(2), id(3), LogIndex::new(11), 111);
        assert!(leader.judge(Term::new(2), (id(1), &voters(3))).is_empty());
    }

    #[test]
    fn a_follower_believes_a_verdict_only_about_what_it_knows() {
        let mut follower = leader(9);
        follower.judged(LogIndex::new(12), 1);
        follower.judged(LogIndex::new(9), 90);
        assert_eq!(follower.own(), None);
        follower.judged(LogIndex::new(8), 81);
        let difference = Difference { index: LogIndex::new(8), ours: 80, theirs: 81 };
        assert_eq!(follower.own(), Some(difference));
        assert!(matches!(follower.take()[..], [Differing::Own(_)]), "told once");
        follower.judged(LogIndex::new(9), 91);
        assert!(follower.take().is_empty());
    }

    #[test]
    fn a_report_is_made_when_something_was_applied_and_now_and_then() {
        let mut follower = leader(1);
        let reports = |at: u64, follower: &mut Comparison| {
            follower.report(Timestamp::new(at), Term::new(1), id(2)).is_some()
        };
        assert!(reports(0, &mut follower));
        assert!(!reports(REPORT_NS, &mut follower), "nothing new");
        follower.applied(LogIndex::new(2), &[20]);
        assert!(!reports(REPORT_NS - 1, &mut follower));
        assert!(reports(REPORT_NS, &mut follower));
        assert!(reports(REPORT_NS + REPEAT_NS, &mut follower));
        assert!(follower.report(Timestamp::new(2 * REPEAT_NS), Term::new(2), id(3)).is_some());
    }

    #[test]
    fn digests_of_earlier_turns_are_known_and_none_of_before_a_snapshot() {
        let at = LogIndex::new;
        let mut follower = leader(9);
        follower.applied(at(11), &[100, 110]);
        follower.judged(at(8), 81);
        assert_eq!(follower.own(), Some(Difference { index: at(8), ours: 80, theirs: 81 }));
        // A snapshot up to 11 took the place of the state, and entry 12 was applied behind it.
        let mut follower = leader(9);
        follower.applied(at(12), &[120]);
        follower.judged(at(9), 91);
        follower.judged(at(11), 111);
        assert_eq!(follower.own(), None, "it cannot tell");
        follower.judged(at(12), 121);
        assert_eq!(follower.own(), Some(Difference { index: at(12), ours: 120, theirs: 121 }));
    }

    /// Whoever reported then may have another state by now, and says so to this leadership again.
    #[test]
    fn what_an_earlier_leadership_heard_condemns_nobody() {
        let mut leader = leader(9);
        let (three, own) = (voters(3), id(1));
        leader.heard(Term::new(1), id(2), LogIndex::new(9), 91);
        leader.heard(Term::new(1), id(3), LogIndex::new(8), 81);
        assert_eq!(leader.judge(Term::new(3), (own, &three)), []);
        assert_eq!((leader.own(), leader.take()), (None, vec![]));
    }

    /// Two followers that apply as fast report the same entries.
    #[test]
    fn where_much_was_applied_a_round_index_is_reported() {
        let mut follower = leader(9);
        let mut report = |at: u64, last: u64| {
            let digests: Vec<u64> = (follower.last.get() + 1..=last).map(|i| 10 * i).collect();
            follower.applied(LogIndex::new(last), &digests);
            follower.report(Timestamp::new(at * REPORT_NS), Term::new(1), id(2))
        };
        let effects = |index| {
            let (index, digest) = (LogIndex::new(index), 10 * index);
            Some(Body::Effects { index, digest, judged: false })
        };
        assert_eq!(report(1, 9), effects(9), "the first");
        assert_eq!(report(2, 10), effects(10), "one more");
        assert_eq!(report(3, 200), effects(128));
        assert_eq!(report(4, 230), effects(192));
        assert_eq!(report(5, 230), effects(224));
        assert_eq!(report(6, 230), effects(228));
        assert_eq!(report(7, 230), effects(230), "it has come to the end");
        assert_eq!(report(8, 230), None);
    }

    #[test]
    fn a_difference_is_news_once_and_said_to_the_follower_each_time() {
        let mut leader = leader(9);
        let (term, three, index) = (Term::new(1), voters(3), LogIndex::new(8));
        leader.heard(term, id(2), LogIndex::new(9), 90);
        leader.heard(term, id(3), index, 81);
        let verdict = (id(3), Body::Effects { index, digest: 80, judged: true });
        assert_eq!(leader.judge(term, (id(1), &three)), std::slice::from_ref(&verdict));
        let difference = Difference { index, ours: 80, theirs: 81 };
        assert_eq!(leader.take(), [Differing::Peer { id: id(3), difference, outvoted: true }]);
        leader.heard(term, id(3), LogIndex::new(9), 91);
        assert_eq!(leader.judge(term, (id(1), &three)), [verdict], "it may have been lost");
        assert_eq!(leader.take(), []);
    }

    #[test]
    fn of_two_reports_behind_the_same_entry_the_later_one_counts() {
        let mut leader = leader(9);
        let (term, index) = (Term::new(1), LogIndex::new(8));
        // Its state was made anew in between, and is wrong once more.
        leader.heard(term, id(3), index, 81);
        leader.heard(term, id(3), index, 82);
        leader.judge(term, (id(1), &voters(3)));
        let difference = Difference { index, ours: 80, theirs: 82 };
        assert_eq!(leader.take(), [Differing::Peer { id: id(3), difference, outvoted: false }]);
    }
}
