//! Who gets a vote (§3.4, §3.6.1, §4.2.3, §9.6), and who may ask for one (§4.2.2).

use crate::vocabulary::actions::Vote;
use crate::vocabulary::configuration::Configuration;
use crate::vocabulary::ids::{EntryId, Incarnation, NodeId, Term};
use crate::vocabulary::message::Verdict;

/// A node that is asked for its vote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voter {
    /// Its current term.
    pub(crate) term: Term,
    /// Its vote in that term.
    pub(crate) vote: Option<Vote>,
    /// The last entry of its log.
    pub(crate) last: EntryId,
    /// Whether it may vote at all, see [`may_vote`].
    pub(crate) eligible: bool,
    /// Whether it started so lately that a lease may still run that it has granted and forgotten.
    pub(crate) sits_out: bool,
    /// Whether it leads, or hears from a leader other than the candidate.
    pub(crate) leader_alive: bool,
}

/// A request for a vote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Campaign {
    /// What is asked for: who asks, with which data directory.
    pub(crate) vote: Vote,
    /// The term of the election.
    pub(crate) term: Term,
    /// The last entry of the candidate's log.
    pub(crate) last: EntryId,
    /// Whether the leader asked for this election (§3.10).
    pub(crate) transfer: bool,
}

/// Says whether a candidate's log is at least as up-to-date as the voter's: the later term of the
/// last entries decides, then the higher index (§3.6.1, museum A8, A9).
pub(crate) fn is_up_to_date(candidate: EntryId, voter: EntryId) -> bool {
    candidate >= voter
}

/// Answers a request for a vote: at most one vote a term, first come first served (§3.4), and only
/// for a log that is up-to-date. Whoever hears from a leader refuses (§4.2.3), unless that leader
/// asked for the election.
pub(crate) fn vote(voter: &Voter, campaign: &Campaign) -> Verdict {
    let Campaign { vote: asked, term, last, transfer } = *campaign;
    if term < voter.term {
        Verdict::StaleTerm
    } else if !voter.eligible || voter.sits_out && !transfer {
        Verdict::NotEligible
    } else if voter.leader_alive && !transfer {
        Verdict::LeaderAlive
    } else if voter.vote.is_some_and(|given| given != asked) {
        Verdict::AlreadyVoted
    } else if !is_up_to_date(last, voter.last) {
        Verdict::LogBehind
    } else {
        Verdict::Granted
    }
}

/// Answers whether the voter *would* vote in the proposed term (§9.6). A vote that it has given
/// belongs to an earlier term, and is no reason to refuse.
pub(crate) fn pre_vote(voter: &Voter, campaign: &Campaign) -> Verdict {
    let Campaign { vote: _, term, last, transfer: _ } = *campaign;
    if term <= voter.term {
        Verdict::StaleTerm
    } else if !voter.eligible || voter.sits_out {
        Verdict::NotEligible
    } else if voter.leader_alive {
        Verdict::LeaderAlive
    } else if !is_up_to_date(last, voter.last) {
        Verdict::LogBehind
    } else {
        Verdict::Granted
    }
}

/// Says whether a node may vote. It need not know itself for a voter (museum C10), but it must
/// belong to a cluster, and a new data directory must not speak for the old one (museum C21).
pub(crate) fn may_vote(
    configuration: &Configuration,
    id: NodeId,
    incarnation: Incarnation,
) -> bool {
    let own = configuration.member(id);
    !configuration.members().is_empty() && own.is_none_or(|own| own.incarnation == incarnation)
}

/// Says whether a node may stand for election: a voter of the latest configuration in its own log.
/// A voter that this configuration removes may stand until it is committed: perhaps nobody else
/// can finish the change (§4.2.2). `before` is the previous configuration as long as the latest
/// one is uncommitted.
pub(crate) fn may_campaign(
    latest: &Configuration,
    before: Option<&Configuration>,
    id: NodeId,
    incarnation: Incarnation,
) -> bool {
    let votes = latest.is_voter(id) || before.is_some_and(|before| before.is_voter(id));
    votes && may_vote(latest, id, incarnation)
}

/// Says whether a node may stand for election that is no voter of the latest configuration in its
/// own log, when no leader was heard of for long: as a learner of it (§4.2.2).
pub(crate) fn may_stand_in(latest: &Configuration, id: NodeId, incarnation: Incarnation) -> bool {
    latest.learners().contains(&id) && may_vote(latest, id, incarnation)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::vocabulary::configuration::{Majority, Member, Voters};
    use crate::vocabulary::ids::LogIndex;

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn at(term: u64, index: u64) -> EntryId {
        EntryId { term: Term::new(term), index: LogIndex::new(index) }
    }

    fn for_directory(node: u64, incarnation: u64) -> Vote {
        Vote { candidate: id(node), incarnation: Incarnation::new(incarnation) }
    }

    fn voter() -> Voter {
        Voter {
            term: Term::new(4),
            vote: None,
            last: at(3, 5),
            eligible: true,
            sits_out: false,
            leader_alive: false,
        }
    }

    fn campaign(term: u64) -> Campaign {
        Campaign {
            vote: for_directory(2, 2),
            term: Term::new(term),
            last: at(3, 5),
            transfer: false,
        }
    }

    fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
        let member = |number: &u64| {
            let (name, address) = (format!("node-{number}"), String::new());
            (id(*number), Member { incarnation: Incarnation::new(*number), name, address })
        };
        let members: BTreeMap<NodeId, Member> = voters.iter().chain(learners).map(member).collect();
        let learners: BTreeSet<NodeId> = learners.iter().map(|number| id(*number)).collect();
        let voters = Majority::new(voters.iter().map(|number| id(*number)));
        Configuration::new(Voters::Stable(voters), learners, members).expect("it is sound")
    }

    #[test]
    fn the_later_term_is_more_up_to_date_then_the_longer_log_s3_6_1() {
        for (candidate, voter, up_to_date) in [
            (at(3, 5), at(3, 5), true),
            (at(3, 6), at(3, 5), true),
            (at(3, 4), at(3, 5), false),
            (at(4, 1), at(3, 5), true),
            (at(2, 9), at(3, 5), false),
        ] {
            assert_eq!(is_up_to_date(candidate, voter), up_to_date, "{candidate} {voter}");
        }
    }

    #[test]
    fn a_vote_is_given_once_a_term_s3_4() {
        assert_eq!(vote(&voter(), &campaign(4)), Verdict::Granted);
        assert_eq!(vote(&voter(), &campaign(3)), Verdict::StaleTerm);
        let given = |vote| Voter { vote: Some(vote), ..voter() };
        let same = given(for_directory(2, 2));
        assert_eq!(vote(&same, &campaign(4)), Verdict::Granted, "the same one asks again");
        let other = given(for_directory(3, 3));
        assert_eq!(vote(&other, &campaign(4)), Verdict::AlreadyVoted);
        let renewed = given(for_directory(2, 9));
        assert_eq!(vote(&renewed, &campaign(4)), Verdict::AlreadyVoted, "another data directory");
        let behind = Campaign { last: at(3, 4), ..campaign(4) };
        assert_eq!(vote(&voter(), &behind), Verdict::LogBehind);
    }

    #[test]
    fn a_live_leader_is_a_reason_to_refuse_unless_it_asked_for_the_election_s4_2_3() {
        let asked = Campaign { transfer: true, ..campaign(4) };
        let hears = Voter { leader_alive: true, ..voter() };
        assert_eq!(vote(&hears, &campaign(4)), Verdict::LeaderAlive);
        assert_eq!(vote(&hears, &asked), Verdict::Granted);
        let restarted = Voter { sits_out: true, ..voter() };
        assert_eq!(vote(&restarted, &campaign(4)), Verdict::NotEligible);
        assert_eq!(vote(&restarted, &asked), Verdict::Granted);
        let stranger = Voter { eligible: false, ..voter() };
        assert_eq!(vote(&stranger, &asked), Verdict::NotEligible);
        let given = Voter { vote: Some(for_directory(3, 3)), ..hears };
        assert_eq!(vote(&given, &asked), Verdict::AlreadyVoted, "even then one vote a term");
    }

    #[test]
    fn a_pre_vote_is_of_a_term_to_come_and_binds_nobody_s9_6() {
        assert_eq!(pre_vote(&voter(), &campaign(4)), Verdict::StaleTerm);
        assert_eq!(pre_vote(&voter(), &campaign(5)), Verdict::Granted);
        let given = Voter { vote: Some(for_directory(3, 3)), ..voter() };
        assert_eq!(pre_vote(&given, &campaign(5)), Verdict::Granted);
        let hears = Voter { leader_alive: true, ..voter() };
        let asked = Campaign { transfer: true, ..campaign(5) };
        assert_eq!(pre_vote(&hears, &asked), Verdict::LeaderAlive);
        let behind = Campaign { last: at(2, 9), ..campaign(5) };
        assert_eq!(pre_vote(&voter(), &behind), Verdict::LogBehind);
    }

    #[test]
    fn who_belongs_to_no_cluster_or_lost_its_memory_does_not_vote_museum_c10_c21() {
        let three = configuration(&[1, 2], &[3]);
        assert!(!may_vote(&Configuration::unknown(), id(1), Incarnation::new(1)));
        assert!(may_vote(&three, id(1), Incarnation::new(1)));
        assert!(!may_vote(&three, id(1), Incarnation::new(9)), "another data directory");
        assert!(may_vote(&three, id(3), Incarnation::new(3)), "it may be a voter elsewhere");
        assert!(may_vote(&three, id(4), Incarnation::new(4)), "it may be a member elsewhere");
    }

    #[test]
    fn a_removed_voter_stands_until_its_removal_is_committed_s4_2_2() {
        let (before, after) = (configuration(&[1, 2, 3], &[]), configuration(&[1, 2], &[3]));
        let stands =
            |before, number| may_campaign(&after, before, id(number), Incarnation::new(number));
        assert!(stands(None, 1));
        assert!(stands(Some(&before), 3));
        assert!(!stands(None, 3), "a learner does not stand");
        assert!(!may_campaign(&after, Some(&before), id(1), Incarnation::new(9)));
    }
}
