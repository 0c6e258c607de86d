//! What the other members have said of damaged entries, and what follows from it.

use std::collections::BTreeSet;

use consensus::{NodeId, Tally as Votes, Voters};
use storage::{Damage, StorageError};

use crate::exit::{Failure, storage_failure};

/// What is left to a node without others that can decide anything.
pub(super) const PUT_BACK: &str = "put a copy of the whole data directory back, or a snapshot \
                                   that was saved into a new cluster (raftctl snapshot restore)";

/// What came of the answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Repaired(String),
    /// A quorum of the voters, with this node, is sure to have no copy; whether somebody has not
    /// answered.
    Gone {
        why: String,
        silent: bool,
    },
    /// This node alone votes, and no other member has a copy: there is nobody to begin anew from.
    Nowhere(String),
    /// Too few have answered.
    Unknown(String),
}

/// What has been said of a damage. Everybody is asked, since anybody's copy will do; whether the
/// entry is given up is for the voters: an entry is committed by them.
pub(super) struct Tally<'a> {
    voters: &'a Voters,
    is_only: bool,
    /// Who is sure to have no copy, this node with them.
    without: BTreeSet<NodeId>,
    silent: bool,
    said: Vec<String>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(node: NodeId, voters: &'a Voters) -> Self {
        // Where no configuration can be read, nobody is known to vote.
        let is_only = voters.contains(node) && voters.iter().all(|voter| voter == node);
        Self { voters, is_only, without: [node].into(), silent: false, said: Vec::new() }
    }

    /// Takes what became of a member's copy; `true` if the damage is repaired with it. One that
    /// does not fit is of entries that were never committed: the next member may have the right
    /// one.
    pub(super) fn take(
        &mut self,
        (id, name): (NodeId, &str),
        taken: Result<(), StorageError>,
    ) -> Result<bool, Failure> {
        match taken {
            Ok(()) => Ok(true),
            Err(error @ StorageError::Corrupt { .. }) => {
                self.lacks(id, name, &error.to_string());
                Ok(false)
            }
            Err(error) => Err(storage_failure(&error)),
        }
    }

    /// Notes a member that is sure to have no copy.
    pub(super) fn lacks(&mut self, id: NodeId, name: &str, why: &str) {
        self.without.insert(id);
        self.said.push(format!("{name}: {why}"));
    }

    /// Notes a member of which nobody knows.
    pub(super) fn is_silent(&mut self, name: &str, why: &str) {
        self.silent = true;
        self.said.push(format!("{name}: {why}"));
    }

    /// Judges when all members were asked.
    pub(super) fn judge(self, damage: &Damage) -> Judged {
        let why = self.said.join("; ");
        tracing::debug!("{damage}: {why}");
        if self.is_only {
            return if self.silent { Judged::Unknown(why) } else { Judged::Nowhere(why) };
        }
        let lacks = |voter| Some(self.without.contains(&voter));
        match self.voters.tally(lacks) {
            Votes::Won => Judged::Gone { why, silent: self.silent },
            Votes::Undecided | Votes::Lost => Judged::Unknown(why),
        }
    }
}

/// Says what an operator may do where those that have not answered never will. A node is emptied
/// only if a leader can give it all back: else it may have the last copy of everything.
pub(super) fn advice(node: NodeId, voters: &Voters) -> String {
    match voters.tally(|voter| Some(voter != node)) {
        Votes::Won => format!(
            "if these are gone for good and the others have a leader (raftctl status), stop raftd \
             here, empty its data directory, start it, and run: raftctl member heal {node}"
        ),
        Votes::Undecided | Votes::Lost => format!("if these are gone for good, {PUT_BACK}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::voters;
    use consensus::{Chain, Configuration, EntryId, Incarnation, LogIndex, Majority, Member, Term};

    fn id(number: u64) -> NodeId {
        NodeId::new(number).expect("it is not 0")
    }

    fn stable(ids: &[u64]) -> Voters {
        Voters::Stable(Majority::new(ids.iter().map(|number| id(*number))))
    }

    /// Entry 7 is damaged.
    fn damage() -> Damage {
        let last = EntryId { term: Term::new(1), index: LogIndex::new(7) };
        Damage { first: last.index, last, before: Chain::new(1), after: None }
    }

    /// A configuration of these voters, and others that learn.
    fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
        let member = |number: &u64| Member {
            incarnation: Incarnation::default(),
            name: format!("n{number}"),
            address: "h:1".into(),
        };
        let members = voters.iter().chain(learners).map(|one| (id(*one), member(one))).collect();
        let learners = learners.iter().map(|one| id(*one)).collect();
        Configuration::new(stable(voters), learners, members).expect("it is one")
    }

    /// What follows where these lack the entry and those do not answer; node 1 is damaged.
    fn judged(voters: &Voters, without: &[u64], silent: &[u64]) -> Judged {
        let damage = damage();
        let mut tally = Tally::new(id(1), voters);
        for one in without {
            tally.lacks(id(*one), &format!("n{one}"), "it has none");
        }
        for one in silent {
            tally.is_silent(&format!("n{one}"), "no answer");
        }
        tally.judge(&damage)
    }

    #[test]
    fn learners_are_no_majority_of_those_that_lack_an_entry() {
        let voters = stable(&[1, 2, 3]);
        let waits = judged(&voters, &[4, 5, 6], &[2, 3]);
        assert!(matches!(waits, Judged::Unknown(_)), "{waits:?}");
        let gone = judged(&voters, &[2, 4], &[3]);
        assert!(matches!(gone, Judged::Gone { silent: true, .. }), "{gone:?}");
    }

    /// In a cluster of two, the other one has a copy, and is only away.
    #[test]
    fn entries_are_given_up_when_more_than_half_of_the_voters_are_sure_to_have_none() {
        let cases = [(2, 0, false), (2, 1, true), (3, 0, false), (3, 1, true), (4, 1, false)];
        for (voters, without, is_gone) in cases.into_iter().chain([(4, 2, true)]) {
            let ids: Vec<u64> = (1..=voters).collect();
            let (lack, silent) = ids[1..].split_at(without);
            let judged = judged(&stable(&ids), lack, silent);
            let found = matches!(judged, Judged::Gone { .. });
            assert_eq!(found, is_gone, "{without} and this one of {voters}: {judged:?}");
        }
    }

    #[test]
    fn both_halves_of_a_joint_configuration_must_lack_an_entry_4_3() {
        let (outgoing, incoming) = ([1, 2, 3].map(id), [1, 4, 5].map(id));
        let (outgoing, incoming) = (Majority::new(outgoing), Majority::new(incoming));
        let voters = Voters::Joint { outgoing, incoming };
        let waits = judged(&voters, &[2, 3], &[4, 5]);
        assert!(matches!(waits, Judged::Unknown(_)), "{waits:?}");
        let gone = judged(&voters, &[2, 3, 4], &[5]);
        assert!(matches!(gone, Judged::Gone { silent: true, .. }), "{gone:?}");
    }

    #[test]
    fn who_alone_votes_gives_nothing_up_while_a_learner_is_silent() {
        let waits = judged(&stable(&[1]), &[2], &[3]);
        assert!(matches!(waits, Judged::Unknown(_)), "{waits:?}");
        let nowhere = judged(&stable(&[1]), &[2, 3], &[]);
        assert!(matches!(nowhere, Judged::Nowhere(_)), "{nowhere:?}");
    }

    /// The one voter was emptied because of one entry, and nobody could lead any more: all that was
    /// acknowledged was gone.
    #[test]
    fn nobody_is_told_to_empty_a_node_whom_no_leader_could_give_it_back() {
        for (voters, may_be_emptied) in [(&[1][..], false), (&[1, 2], false), (&[1, 2, 3], true)] {
            let said = advice(id(1), &stable(voters));
            assert_eq!(said.contains("empty its"), may_be_emptied, "{voters:?}: {said}");
            assert_eq!(said.contains("have a leader"), may_be_emptied, "{voters:?}: {said}");
            assert_eq!(said.contains("put a copy"), !may_be_emptied, "{voters:?}: {said}");
        }
    }

    /// Each right copy was refused by a log that takes none, and counted as one that is missing.
    #[test]
    fn a_log_that_takes_no_copies_is_a_failure_and_a_wrong_copy_is_none() {
        let voters = stable(&[1, 2, 3]);
        let mut tally = Tally::new(id(1), &voters);
        let refused = |error| Err::<(), StorageError>(error);
        let none = refused(StorageError::NoRepair { why: "it is my own".to_owned() });
        let failure = tally.take((id(2), "n2"), none).expect_err("it ends");
        assert_eq!((failure.exit, failure.forgotten), (crate::exit::Exit::Data, None));
        let (what, why) = ("a copy".to_owned(), "it is another one".to_owned());
        let wrong = refused(StorageError::Corrupt { what, why });
        assert_eq!(tally.take((id(2), "n2"), wrong), Ok(false));
        assert_eq!(tally.take((id(3), "n3"), Ok(())), Ok(true));
    }

    /// Its only configuration is what is damaged: it took itself for the only voter, and ended.
    #[test]
    fn a_node_that_knows_no_voters_is_not_the_only_one() {
        let waits = judged(&stable(&[]), &[2, 3], &[]);
        assert!(matches!(waits, Judged::Unknown(_)), "{waits:?}");
    }

    /// It was founded alone, and has grown since: it said that there is no other voter, and ended.
    #[test]
    fn a_node_that_has_met_others_than_its_configuration_names_is_not_the_only_voter() {
        let known = configuration(&[1], &[2]);
        let voters = |met: &[u64]| {
            voters((&known, LogIndex::new(6)), &[damage()], met.iter().copied().map(id))
        };
        assert_eq!(voters(&[2]), stable(&[1]), "its learner");
        assert_eq!(voters(&[3]), stable(&[1, 2, 3]));
        let waits = judged(&voters(&[2, 3]), &[2], &[]);
        assert!(!matches!(waits, Judged::Nowhere(_)), "{waits:?}");
    }

    /// They were removed long ago, and none of them was asked: the node waited for ever.
    #[test]
    fn who_was_removed_counts_no_more_where_the_latest_configuration_can_be_read() {
        let known = configuration(&[1, 5, 6], &[]);
        let met = [2, 3, 4, 5, 6].map(id);
        let voters = voters((&known, LogIndex::new(8)), &[damage()], met);
        let gone = judged(&voters, &[5, 6], &[]);
        assert!(matches!(gone, Judged::Gone { silent: false, .. }), "{gone:?}");
    }
}
