//! The rules of changes of members (§4.1-4.3), as the oracle sees them: what is in force is what
//! the log says, one change at a time, and a joint configuration is left when it may be.

use std::collections::BTreeSet;

use consensus::{Configuration, Entry, Incarnation, LogIndex, NodeId, Timestamp, Voters};

use crate::broken::Broken;
use crate::coverage::{Coverage, Met};
use crate::node::Node;
use crate::oracle::Oracle;

const IN_FORCE: &str = "the configuration in force is the log's latest (§4.1)";
const ONE_CHANGE: &str = "one change at a time, behind an entry of the own term (§4.1)";
const DIRECTORY: &str = "who votes keeps its data directory (§4.1)";
const JOINT: &str = "a joint configuration is left when it is committed (§4.3)";

impl Oracle {
    /// A node tells of another configuration: it is the one that its log says.
    pub(crate) fn reconfigured(&mut self, node: &Node) -> Result<(), Broken> {
        let raft = node.replica.as_ref().expect("it was stepped").raft();
        let status = raft.status();
        let (index, configuration) = node.memory.configuration();
        let same = match configuration {
            Some(configuration) => configuration == status.configuration,
            None => status.configuration.members().is_empty(),
        };
        if index != status.configuration_index || !same {
            let why = format!(
                "node {} goes by the configuration of {}, its log by that of {index}",
                node.id, status.configuration_index
            );
            return Err(Broken::new(IN_FORCE, why));
        }
        // A member that comes again, or with another data directory, begins anew.
        let members = status.configuration.members().iter();
        let members: BTreeSet<(NodeId, Incarnation)> =
            members.map(|(id, member)| (*id, member.incarnation)).collect();
        let before = self.members.insert(node.id, members.clone()).unwrap_or_default();
        for ((leader, term, member), known) in &mut self.matched {
            let comes = members.difference(&before).any(|(id, _)| id == member);
            if *leader == node.id && *term == status.term && comes {
                *known = raft.matched(*member).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// A node stands for election, at this time by its own clock. A learner does so only when it
    /// has heard of no leader for so long that the voters had every chance.
    pub(crate) fn stands(node: &Node, now: Timestamp, silence_ns: u64) -> Result<(), Broken> {
        let raft = node.replica.as_ref().expect("it was stepped").raft();
        let configuration = raft.configuration();
        let heard = raft.contact().filter(|_| !configuration.is_voter(node.id));
        let uncommitted = raft.configuration_index() > raft.commit();
        let before = node.memory.configuration_before(raft.configuration_index()).1;
        let leaving = uncommitted && before.is_some_and(|before| before.is_voter(node.id));
        match heard.filter(|_| !leaving).map(|heard| now.since(heard)) {
            Some(ns) if ns < silence_ns => {
                let why = format!("node {} stands {ns} ns after it heard of a leader", node.id);
                Err(Broken::new("learners leave elections to voters (§4.2.2)", why))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A leader appends a configuration of its own.
    pub(crate) fn changes(
        &mut self,
        node: &Node,
        entry: &Entry,
        next: &Configuration,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let raft = node.replica.as_ref().expect("it was stepped").raft();
        let (at, before) = node.memory.configuration();
        let broken = |rule, what: &str| {
            let why = format!("leader {} appends {}: {what}", node.id, entry.id);
            Err(Broken::new(rule, why))
        };
        let Some(before) = before else {
            return broken(ONE_CHANGE, "it belongs to no cluster");
        };
        let votes = |id: &NodeId| before.is_voter(*id) || next.is_voter(*id);
        let mut both = next.members().iter().filter(|(id, _)| votes(id));
        let changes = |id: &NodeId, incarnation| {
            before.member(*id).is_some_and(|known| known.incarnation != incarnation)
        };
        if both.any(|(id, member)| changes(id, member.incarnation)) {
            return broken(DIRECTORY, "a voter has another data directory");
        }
        // Entries of the own term begin somewhere in the log; the commit index must be there.
        let own = raft.term_at(raft.commit()) == Some(raft.term());
        let known = |index: LogIndex| index <= raft.commit() && self.committed_at(index).is_some();
        match (before.voters(), next.voters()) {
            (Voters::Joint { incoming, .. }, Voters::Stable(voters)) => {
                if voters != incoming {
                    return broken(JOINT, "these are not the incoming voters");
                }
                if !known(at) || !own {
                    return broken(JOINT, "it is not committed under the joint rule");
                }
                let began = self.began.take_if(|(index, _, _)| *index == at);
                if began.is_some_and(|(_, leader, term)| (leader, term) != (node.id, raft.term())) {
                    coverage.meet(Met::JointLeftByAnother);
                }
            }
            (Voters::Joint { .. }, Voters::Joint { .. }) => {
                return broken(ONE_CHANGE, "another change is under way");
            }
            (Voters::Stable(voters), Voters::Joint { outgoing, .. }) if voters != outgoing => {
                return broken(ONE_CHANGE, "these are not the outgoing voters");
            }
            (Voters::Stable(voters), Voters::Stable(others)) if voters != others => {
                return broken(ONE_CHANGE, "voters change without a joint configuration");
            }
            (Voters::Stable(_), Voters::Stable(_) | Voters::Joint { .. }) => {
                if !known(at) || !own {
                    return broken(ONE_CHANGE, "the one before is not committed");
                }
                if next.voters().is_joint() {
                    self.began = Some((entry.id.index, node.id, raft.term()));
                }
                if before.learners().iter().any(|id| next.is_voter(*id)) {
                    coverage.meet(Met::LearnerPromoted);
                }
                if next.voters().halves().1.contains(node.id) != before.is_voter(node.id) {
                    coverage.meet(Met::LeaderRemoved);
                }
            }
        }
        Ok(())
    }
}
