use super::*;
use consensus::{Incarnation, Member, Voters};

/// When judgements are made, where that does not matter.
const NOW: Timestamp = Timestamp::new(5);

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
    let told = leader.judge(NOW, Term::new(1), (id(1), voters));
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
    assert_eq!(leader.judge(NOW, term, (id(1), &three)), []);
    leader.heard(term, id(2), LogIndex::new(9), 91);
    assert_eq!(leader.judge(NOW, term, (id(1), &three)), []);
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
    assert_eq!(leader.judge(NOW, term, (id(1), &three)), []);
}

/// What it had reported of the state before was still counted against the leader.
#[test]
fn of_a_state_that_was_made_anew_no_earlier_report_counts() {
    let mut leader = leader(9);
    let (term, three) = (Term::new(1), voters(3));
    leader.heard(term, id(3), LogIndex::new(8), 81);
    leader.heard(term, id(3), LogIndex::new(9), 90);
    leader.heard(term, id(2), LogIndex::new(8), 81);
    leader.judge(NOW, term, (id(1), &three));
    assert_eq!(leader.own(), None, "it is node 2 alone that differs");
}

#[test]
fn what_is_ahead_is_compared_when_it_is_reached_and_what_is_far_behind_is_not() {
    let mut leader = leader(9);
    let term = Term::new(1);
    leader.heard(term, id(2), LogIndex::new(11), 110);
    leader.heard(term, id(3), LogIndex::new(11), 111);
    assert!(leader.judge(NOW, term, (id(1), &voters(3))).is_empty());
    leader.applied(LogIndex::new(11), &[100, 110]);
    let told = leader.judge(NOW, term, (id(1), &voters(3)));
    let expected = Body::Effects { index: LogIndex::new(11), digest: 110, judged: true };
    assert_eq!(told, [(id(3), expected)]);
    assert_eq!(leader.of(term, id(3)), Some(LogIndex::new(11)));
    assert_eq!(leader.of(Term::new(2), id(3)), None, "another leadership asks anew");

    // A snapshot was installed: nothing is known of before.
    leader.applied(LogIndex::new(50), &[500]);
    leader.heard(Term::new(2), id(3), LogIndex::new(11), 111);
    assert!(leader.judge(NOW, Term::new(2), (id(1), &voters(3))).is_empty());
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
    assert_eq!(leader.judge(NOW, Term::new(3), (own, &three)), []);
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
fn a_difference_is_news_once_and_said_to_the_follower_now_and_then() {
    let mut leader = leader(9);
    let (term, three, index) = (Term::new(1), voters(3), LogIndex::new(8));
    leader.heard(term, id(2), LogIndex::new(9), 90);
    leader.heard(term, id(3), index, 81);
    let verdict = (id(3), Body::Effects { index, digest: 80, judged: true });
    assert_eq!(leader.judge(NOW, term, (id(1), &three)), std::slice::from_ref(&verdict));
    let difference = Difference { index, ours: 80, theirs: 81 };
    assert_eq!(leader.take(), [Differing::Peer { id: id(3), difference, outvoted: true }]);
    leader.heard(term, id(3), LogIndex::new(9), 91);
    let mut judge = |now| leader.judge(now, term, (id(1), &three));
    assert_eq!(judge(NOW.after(REPEAT_NS - 1)), [], "it was in each turn");
    assert_eq!(judge(NOW.after(REPEAT_NS)), [verdict], "it may have been lost");
    assert_eq!(leader.take(), []);
}

#[test]
fn of_two_reports_behind_the_same_entry_the_later_one_counts() {
    let mut leader = leader(9);
    let (term, index) = (Term::new(1), LogIndex::new(8));
    // Its state was made anew in between, and is wrong once more.
    leader.heard(term, id(3), index, 81);
    leader.heard(term, id(3), index, 82);
    leader.judge(NOW, term, (id(1), &voters(3)));
    let difference = Difference { index, ours: 80, theirs: 82 };
    assert_eq!(leader.take(), [Differing::Peer { id: id(3), difference, outvoted: false }]);
}
