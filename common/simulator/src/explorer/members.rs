//! The members of an explored cluster: node 1 stands at place 0.

use std::collections::BTreeMap;

use consensus::{Configuration, Incarnation, Majority, Member, NodeId, Voters};

pub(super) fn id(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1).expect("not 0")
}

/// Returns a node's place among the nodes.
pub(super) fn place_of(id: NodeId) -> usize {
    usize::try_from(id.get() - 1).expect("there are few nodes")
}

pub(super) fn incarnation(at: usize) -> Incarnation {
    Incarnation::new(100 + at as u64)
}

/// Returns the data directory that a node draws when it finds that `before` has forgotten.
pub(super) fn another(before: Incarnation) -> Incarnation {
    Incarnation::new(before.get() + 100)
}

pub(super) fn member(incarnation: Incarnation) -> Member {
    Member { incarnation, name: String::new(), address: String::new() }
}

/// So many voters, and learners behind them.
pub(super) fn configuration(voters: usize, learners: usize) -> Configuration {
    let members: BTreeMap<NodeId, Member> =
        (0..voters + learners).map(|at| (id(at), member(incarnation(at)))).collect();
    let majority = Majority::new((0..voters).map(id));
    let learners = (voters..voters + learners).map(id).collect();
    Configuration::new(Voters::Stable(majority), learners, members).expect("sound by construction")
}
