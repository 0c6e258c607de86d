//! Which members have no room on their disks, as far as that is known: from the replicated state,
//! where an alarm for each of them stands, and from what members have told this node since it
//! leads.
//!
//! A member tells its leader; the leader has the alarm raised, and cleared, through the log, so
//! that the next leader refuses at once what this one refuses. Both are repeated until it is so: a
//! message may be lost, and a leader may go.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Body, Configuration, NodeId, Tally, Term, Timestamp};

use crate::lanes::Alarm;

/// A member tells its leader again after so long, in nanoseconds.
const REPEAT_NS: u64 = 1_000_000_000;

/// What a leader wants in the log it asks for again after so long, in nanoseconds, if it is not
/// applied by then.
const ASK_AGAIN_NS: u64 = 3_000_000_000;

/// What is known of the room on the members' disks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    /// The members with an alarm, in the state that is applied here.
    raised: BTreeSet<NodeId>,
    /// What this node last told, to whom, and when.
    told: Option<(Term, NodeId, bool, Timestamp)>,
    /// The leadership that the rest belongs to.
    leadership: Term,
    /// Whether other members lack room, as they said last.
    heard: BTreeMap<NodeId, bool>,
    /// What was last asked for, and when.
    asked: BTreeMap<NodeId, (bool, Timestamp)>,
}

impl Alarms {
    /// These members have an alarm in the state that is applied here.
    pub(crate) fn applied(&mut self, raised: BTreeSet<NodeId>) {
        self.raised = raised;
    }

    /// Returns the members that have an alarm.
    pub(crate) fn raised(&self) -> &BTreeSet<NodeId> {
        &self.raised
    }

    /// Returns what this node tells its leader, if it is time: that it lacks room, and, as long as
    /// others think so, that it has some again.
    pub(crate) fn report(
        &mut self,
        now: Timestamp,
        (term, own, leader): (Term, NodeId, NodeId),
        lacks: bool,
    ) -> Option<Body> {
        let told = self.told.filter(|(before, to, ..)| (*before, *to) == (term, leader));
        let changed = told.is_some_and(|(_, _, before, _)| before != lacks);
        if !(lacks || changed || self.raised.contains(&own)) {
            return None;
        }
        if let Some((_, _, _, at)) = told
            && !changed
            && now.since(at) < REPEAT_NS
        {
            return None;
        }
        self.told = Some((term, leader, lacks, now));
        Some(Body::Room { lacks })
    }

    /// A member tells this node, which leads in `term`.
    pub(crate) fn heard(&mut self, term: Term, from: NodeId, lacks: bool) {
        self.lead(term);
        self.heard.insert(from, lacks);
    }

    /// Returns what is to be changed in the log by this node, which leads in `term`, as far as that
    /// is not on its way.
    pub(crate) fn wanted(
        &mut self,
        now: Timestamp,
        (term, own): (Term, NodeId),
        configuration: &Configuration,
        lacks: bool,
    ) -> Vec<Alarm> {
        self.lead(term);
        if self.raised.is_empty() && self.heard.is_empty() && !lacks {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        let said = self.heard.iter().map(|(member, lacks)| (*member, *lacks));
        for (member, lacks) in std::iter::once((own, lacks)).chain(said) {
            let is_known = configuration.member(member).is_some();
            if !is_known || self.raised.contains(&member) == lacks {
                self.asked.remove(&member);
                continue;
            }
            let pending = self
                .asked
                .get(&member)
                .is_some_and(|(asked, at)| *asked == lacks && now.since(*at) < ASK_AGAIN_NS);
            if !pending {
                self.asked.insert(member, (lacks, now));
                wanted.push(Alarm { member, raised: lacks });
            }
        }
        wanted
    }

    /// Returns the voters without room, if a quorum of voters with room is missing, of either half
    /// of a joint configuration.
    pub(crate) fn shortage(
        &self,
        term: Term,
        configuration: &Configuration,
    ) -> Option<Vec<NodeId>> {
        let lacks = |id: NodeId| self.lacks(term, id);
        let voters = configuration.voters();
        if voters.tally(|id| Some(!lacks(id))) == Tally::Won {
            return None;
        }
        Some(voters.iter().filter(|id| lacks(*id)).collect())
    }

    /// Says whether a member has no room, as far as it is known in this term.
    pub(crate) fn lacks(&self, term: Term, id: NodeId) -> bool {
        let said = self.leadership == term && self.heard.get(&id) == Some(&true);
        said || self.raised.contains(&id)
    }

    fn lead(&mut self, term: Term) {
        if self.leadership != term {
            self.leadership = term;
            self.heard.clear();
            self.asked.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Member, Voters};

    const SECOND: u64 = 1_000_000_000;

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn members(ids: &[u64]) -> BTreeMap<NodeId, Member> {
        let member = |number: &u64| {
            let incarnation = Incarnation::new(*number);
            (id(*number), Member { incarnation, name: String::new(), address: String::new() })
        };
        ids.iter().map(member).collect()
    }

    fn majority(ids: &[u64]) -> Majority {
        Majority::new(ids.iter().map(|number| id(*number)))
    }

    fn configuration(ids: &[u64]) -> Configuration {
        Configuration::new(Voters::Stable(majority(ids)), [].into(), members(ids)).expect("valid")
    }

    fn alarmed(ids: &[u64]) -> Alarms {
        Alarms { raised: ids.iter().map(|number| id(*number)).collect(), ..Alarms::default() }
    }

    #[test]
    fn only_voters_that_are_no_quorum_without_the_others_stop_the_cluster() {
        let three = configuration(&[1, 2, 3]);
        let shortage = |raised: &[u64], configuration: &Configuration| {
            alarmed(raised).shortage(Term::new(1), configuration).map(|found| found.len())
        };
        assert_eq!(shortage(&[], &three), None);
        assert_eq!(shortage(&[2], &three), None);
        assert_eq!(shortage(&[2, 3], &three), Some(2));
        assert_eq!(shortage(&[2], &configuration(&[1, 2])), Some(1));
        assert_eq!(shortage(&[8, 9], &three), None, "no members");
        // Two of five are few, but two of the three that are to be voters are not.
        let (outgoing, incoming) = (majority(&[1, 4, 5]), majority(&[1, 2, 3]));
        let voters = Voters::Joint { outgoing, incoming };
        let joint =
            Configuration::new(voters, [].into(), members(&[1, 2, 3, 4, 5])).expect("valid");
        assert_eq!(shortage(&[2], &joint), None);
        assert_eq!(shortage(&[2, 3], &joint), Some(2));
        assert_eq!(shortage(&[2, 4], &joint), None);
        assert_eq!(shortage(&[4, 5], &joint), Some(2));
    }

    #[test]
    fn what_members_said_counts_in_the_leadership_in_which_they_said_it() {
        let (mut alarms, three) = (Alarms::default(), configuration(&[1, 2, 3]));
        let term = Term::new(4);
        alarms.heard(term, id(2), true);
        alarms.heard(term, id(3), true);
        assert_eq!(alarms.shortage(term, &three), Some(vec![id(2), id(3)]));
        alarms.heard(term, id(3), false);
        assert_eq!(alarms.shortage(term, &three), None);
        alarms.heard(term, id(3), true);
        assert_eq!(alarms.shortage(Term::new(5), &three), None, "another leadership");
    }

    #[test]
    fn a_leader_asks_for_what_the_log_does_not_say_until_it_does() {
        let (mut alarms, three) = (Alarms::default(), configuration(&[1, 2, 3]));
        let (own, at) = ((Term::new(4), id(1)), |s: u64| Timestamp::new(s * SECOND));
        let alarm = |member, raised| Alarm { member: id(member), raised };
        assert_eq!(alarms.wanted(at(1), own, &three, false), []);
        alarms.heard(own.0, id(2), true);
        alarms.heard(own.0, id(9), true);
        assert_eq!(alarms.wanted(at(1), own, &three, true), [alarm(1, true), alarm(2, true)]);
        assert_eq!(alarms.wanted(at(3), own, &three, true), [], "it is on its way");
        assert_eq!(alarms.wanted(at(4), own, &three, true), [alarm(1, true), alarm(2, true)]);
        alarms.applied([id(1), id(2), id(3)].into());
        assert_eq!(alarms.wanted(at(5), own, &three, true), [], "3 has not said anything");
        assert_eq!(alarms.wanted(at(5), own, &three, false), [alarm(1, false)]);
        alarms.heard(own.0, id(2), false);
        assert_eq!(alarms.wanted(at(5), own, &three, false), [alarm(2, false)]);
        let next = (Term::new(5), id(1));
        assert_eq!(alarms.wanted(at(5), next, &three, false), [alarm(1, false)], "asked anew");
    }

    #[test]
    fn a_member_tells_its_leader_again_and_again_and_when_it_has_room_again() {
        let mut alarms = Alarms::default();
        let (to, at) = ((Term::new(4), id(2), id(1)), |s: u64| Timestamp::new(s * SECOND));
        let says = |lacks| Some(Body::Room { lacks });
        assert_eq!(alarms.report(at(1), to, false), None);
        assert_eq!(alarms.report(at(2), to, true), says(true));
        assert_eq!(alarms.report(at(2), to, true), None);
        assert_eq!(alarms.report(at(3), to, true), says(true), "it may have been lost");
        assert_eq!(alarms.report(at(3), to, false), says(false), "at once");
        assert_eq!(alarms.report(at(9), to, false), None, "nobody thinks otherwise");
        alarms.applied([id(2)].into());
        assert_eq!(alarms.report(at(9), to, false), says(false));
        assert_eq!(alarms.report(at(9), (Term::new(4), id(2), id(3)), false), says(false));
        alarms.applied([id(3)].into());
        assert_eq!(alarms.report(at(11), to, false), None);
    }
}
