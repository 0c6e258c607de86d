//! How members change (§4.1-4.3): one change at a time, through a joint configuration where voters
//! change, and out of it again.

use crate::vocabulary::actions::Rejection;
use crate::vocabulary::configuration::{Configuration, Voters};
use crate::vocabulary::ids::{LogIndex, NodeId};

/// Says whether a leader may begin a change: the configuration in force is stable and committed,
/// and so is the leader's first entry, for a change of an earlier leader may be in force elsewhere
/// (§4.1, museum C1, C3).
pub(crate) fn may_begin(
    latest: &Configuration,
    index: LogIndex,
    commit: LogIndex,
    first: LogIndex,
) -> bool {
    commit >= first && index <= commit && !latest.voters().is_joint()
}

/// Checks that `target` can be asked for: it is stable, and a member that stays keeps its data
/// directory, unless it votes neither before nor after. What a voter has promised is on its
/// directory; nothing depends on what a learner holds.
pub(crate) fn check_target(
    current: &Configuration,
    target: &Configuration,
) -> Result<(), Rejection> {
    let replaced = |id: &NodeId| {
        let both = current.member(*id).zip(target.member(*id));
        let votes = current.is_voter(*id) || target.is_voter(*id);
        votes && both.is_some_and(|(now, then)| now.incarnation != then.incarnation)
    };
    if target.voters().is_joint() || target.members().keys().any(replaced) {
        return Err(Rejection::Invalid);
    }
    Ok(())
}

/// Returns `target` with the marks of members that return: who asks for another change need not
/// know of them, and a mark goes with its purpose only, when the member votes or leaves.
pub(crate) fn keep_returning(current: &Configuration, target: &Configuration) -> Configuration {
    let both = current.returning().union(target.returning()).copied();
    target.clone().with_returning(both)
}

/// Says whether a new voter has caught up as a learner, or it would hold up every commit (§4.2.1).
/// It must also hold the configuration, for a node that knows of no cluster never votes.
pub(crate) fn has_caught_up(
    matched: LogIndex,
    configuration_index: LogIndex,
    last: LogIndex,
    lag_max: u64,
) -> bool {
    matched >= configuration_index && last.since(matched) <= lag_max
}

/// Returns the configuration to append on the way to `target`: the joint one where voters change
/// (§4.3), else `target` itself; `None` if the joint one has too many members.
pub(crate) fn step_towards(
    current: &Configuration,
    target: &Configuration,
) -> Option<Configuration> {
    if current.voters() == target.voters() {
        return Some(target.clone());
    }
    let (_, outgoing) = current.voters().halves();
    let (_, incoming) = target.voters().halves();
    let mut members = target.members().clone();
    for id in outgoing.iter() {
        let member = current.member(id).expect("a voter is a member");
        members.entry(id).or_insert_with(|| member.clone());
    }
    let voters = Voters::Joint { outgoing: outgoing.clone(), incoming: incoming.clone() };
    let joint = Configuration::new(voters, target.learners().clone(), members).ok()?;
    Some(joint.with_returning(target.returning().iter().copied()))
}

/// Says whether the configuration at `index` is committed, so that a joint one may be left and a
/// change ends: that entry itself, and an entry of the leader's own term at or behind it, both
/// under the rule that it brings (§4.3, museum C7).
pub(crate) fn is_decided(index: LogIndex, commit: LogIndex, first: LogIndex) -> bool {
    commit >= index && commit >= first
}

/// Returns the configuration that follows a joint one: the incoming voters and the learners. `None`
/// if `latest` is stable.
pub(crate) fn leave_joint(latest: &Configuration) -> Option<Configuration> {
    let Voters::Joint { incoming, outgoing: _ } = latest.voters() else {
        return None;
    };
    let learners = latest.learners();
    let stays = |id: &NodeId| incoming.contains(*id) || learners.contains(id);
    let members = latest.members().iter().filter(|(id, _)| stays(id));
    let members = members.map(|(id, member)| (*id, member.clone())).collect();
    let left = Configuration::new(Voters::Stable(incoming.clone()), learners.clone(), members);
    let left = left.expect("a joint configuration was made of a valid target");
    Some(left.with_returning(latest.returning().iter().copied()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::vocabulary::configuration::{Majority, Member};
    use crate::vocabulary::ids::Incarnation;

    const fn index(number: u64) -> LogIndex {
        LogIndex::new(number)
    }

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn members(ids: &[u64]) -> BTreeMap<NodeId, Member> {
        let member = |number: &u64| {
            let (name, address) = (format!("node-{number}"), String::new());
            (id(*number), Member { incarnation: Incarnation::new(*number), name, address })
        };
        ids.iter().map(member).collect()
    }

    fn half(ids: &[u64]) -> Majority {
        Majority::new(ids.iter().map(|number| id(*number)))
    }

    fn stable(voters: &[u64], learners: &[u64]) -> Configuration {
        let all: Vec<u64> = voters.iter().chain(learners).copied().collect();
        let learners: BTreeSet<NodeId> = learners.iter().map(|number| id(*number)).collect();
        let voters = Voters::Stable(half(voters));
        Configuration::new(voters, learners, members(&all)).expect("it is sound")
    }

    #[test]
    fn one_change_at_a_time_and_none_before_the_own_term_commits_s4_1_museum_c1_c3() {
        let three = stable(&[1, 2, 3], &[]);
        let begins = |at, commit, first| may_begin(&three, index(at), index(commit), index(first));
        assert!(begins(1, 5, 5));
        assert!(!begins(1, 4, 5), "nothing of the own term is committed");
        assert!(!begins(6, 5, 5), "the last change is not committed");
        let joint = step_towards(&three, &stable(&[1, 2, 4], &[])).expect("it is small");
        assert!(!may_begin(&joint, index(1), index(5), index(5)), "a change is half done");
    }

    #[test]
    fn voters_change_through_a_joint_configuration_and_others_at_once_s4_3() {
        let three = stable(&[1, 2, 3], &[4]);
        let joint = step_towards(&three, &stable(&[1, 2, 4], &[3])).expect("it is small");
        let voters = Voters::Joint { outgoing: half(&[1, 2, 3]), incoming: half(&[1, 2, 4]) };
        assert_eq!(*joint.voters(), voters);
        assert_eq!(leave_joint(&joint), Some(stable(&[1, 2, 4], &[3])));
        let learner = stable(&[1, 2, 3], &[5]);
        assert_eq!(step_towards(&three, &learner), Some(learner.clone()));
        assert_eq!(leave_joint(&learner), None);
        let many: Vec<u64> = (1..=64).collect();
        assert_eq!(step_towards(&stable(&many, &[]), &stable(&[65], &[])), None, "too many");
    }

    #[test]
    fn an_outgoing_voter_is_a_member_until_the_joint_configuration_is_left_s4_3() {
        let joint = step_towards(&stable(&[1, 2, 3], &[]), &stable(&[1, 2], &[]));
        let joint = joint.expect("it is small");
        assert!(joint.member(id(3)).is_some());
        assert_eq!(leave_joint(&joint), Some(stable(&[1, 2], &[])));
    }

    #[test]
    fn a_change_is_decided_by_its_own_entry_and_one_of_the_own_term_s4_3_museum_c7() {
        let decided = |at, commit, first| is_decided(index(at), index(commit), index(first));
        assert!(!decided(7, 6, 5), "it is not committed itself");
        assert!(decided(7, 7, 5));
        assert!(!decided(7, 7, 8), "an earlier leader's, and nothing of the own term yet");
        assert!(decided(7, 8, 8));
    }

    #[test]
    fn a_new_voter_has_caught_up_and_knows_of_the_cluster_s4_2_1() {
        let caught_up =
            |matched, at, last| has_caught_up(index(matched), index(at), index(last), 9);
        assert!(caught_up(91, 3, 100));
        assert!(!caught_up(90, 3, 100));
        assert!(!caught_up(2, 3, 4), "it has no configuration yet");
    }

    #[test]
    fn a_target_is_stable_and_gives_no_voter_another_data_directory_s4_3() {
        let three = stable(&[1, 2, 3], &[]);
        assert_eq!(check_target(&three, &stable(&[1, 2, 4], &[])), Ok(()));
        let joint = step_towards(&three, &stable(&[1, 2, 4], &[])).expect("it is small");
        assert_eq!(check_target(&three, &joint), Err(Rejection::Invalid));
        let mut members = members(&[1, 2, 3]);
        members.get_mut(&id(3)).expect("a member").incarnation = Incarnation::new(9);
        let voters = Voters::Stable(half(&[1, 2, 3]));
        let wiped = Configuration::new(voters, BTreeSet::new(), members).expect("it is sound");
        assert_eq!(check_target(&three, &wiped), Err(Rejection::Invalid));
    }

    #[test]
    fn a_returning_learner_is_marked_until_it_votes_or_leaves_s4_3() {
        let returns = stable(&[1, 2], &[3]).with_returning([id(1), id(3)]);
        let marked = BTreeSet::from([id(3)]);
        assert_eq!(returns.returning(), &marked, "a voter is not away");
        let other = keep_returning(&returns, &stable(&[1, 2, 4], &[3]));
        let joint = step_towards(&returns, &other).expect("it is small");
        assert_eq!(joint.returning(), &marked);
        assert_eq!(leave_joint(&joint).expect("it is joint").returning(), &marked);
        let votes = keep_returning(&returns, &stable(&[1, 2, 3], &[]));
        assert!(votes.returning().is_empty());
        assert!(keep_returning(&votes, &stable(&[1, 2], &[3])).returning().is_empty());
        assert!(keep_returning(&returns, &stable(&[1, 2], &[])).returning().is_empty());
    }

    #[test]
    fn a_learner_may_come_with_another_data_directory_and_not_vote_with_it_at_once_s4_3() {
        let learns = stable(&[1, 2], &[3]);
        let renewed = |voters: &[u64], learners: &[u64]| {
            let mut members = members(&[1, 2, 3]);
            members.get_mut(&id(3)).expect("a member").incarnation = Incarnation::new(9);
            let learners = learners.iter().map(|number| id(*number)).collect();
            let voters = Voters::Stable(half(voters));
            Configuration::new(voters, learners, members).expect("it is sound")
        };
        assert_eq!(check_target(&learns, &renewed(&[1, 2], &[3])), Ok(()));
        assert_eq!(check_target(&learns, &renewed(&[1, 2, 3], &[])), Err(Rejection::Invalid));
        let votes = stable(&[1, 2, 3], &[]);
        assert_eq!(check_target(&votes, &renewed(&[1, 2], &[3])), Err(Rejection::Invalid));
    }
}
