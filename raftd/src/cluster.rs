//! Making a cluster out of nodes that run in one process.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Configuration, Majority, Member, NodeId, Voters};
use protocol::BootstrapRecord;
use tokio::sync::oneshot;

use crate::control::Command;
use crate::exit::{Exit, Failure};
use crate::running::Running;

/// Makes one cluster of these nodes, of which none has a history yet: all of them are voters, and
/// they reach each other on this machine. Node 1 is called `n1`. A node that is started again must
/// listen at the same address, or the others look for it in vain.
///
/// This is for nodes in one process. A cluster of several machines is made by `raftctl init`, or by
/// sending one record to each node with `client::Client::bootstrap`.
///
/// # Errors
/// If a node has another history, or the nodes' clusters or machines differ; the nodes that have
/// taken the record by then keep it, and calling this again for the same nodes goes on.
pub async fn bootstrap(nodes: &[&Running]) -> Result<(), Failure> {
    let Some(first) = nodes.first() else {
        return Err(Failure::new(Exit::Usage, "a cluster needs a node"));
    };
    let (cluster, (machine, machine_version)) =
        (first.about().cluster, first.about().machine.clone());
    let members: BTreeMap<NodeId, Member> =
        nodes.iter().map(|node| (node.node(), member(node))).collect();
    if members.len() < nodes.len() {
        return Err(Failure::new(Exit::Usage, "two nodes have the same id"));
    }
    // The record would stay with those that come before.
    let runs = (cluster, (&machine, machine_version));
    let differs = |node: &&&Running| {
        let about = node.about();
        (about.cluster, (&about.machine.0, about.machine.1)) != runs
    };
    if let Some(node) = nodes.iter().find(differs) {
        let (id, other) = (node.node(), first.node());
        let why =
            format!("node {id} has another cluster's certificate or machine than node {other}");
        return Err(Failure::new(Exit::Data, why));
    }
    let voters = Voters::Stable(Majority::new(members.keys().copied()));
    let configuration = Configuration::new(voters, BTreeSet::new(), members)
        .map_err(|error| Failure::from_error(Exit::Usage, "the members", &error))?;
    let record = BootstrapRecord { cluster, configuration, machine, machine_version, parent: None };
    for node in nodes {
        let (reply, answer) = oneshot::channel();
        node.command(Command::Bootstrap(Box::new(record.clone()), reply)).await;
        let refused = match answer.await {
            Ok(Ok(_)) => continue,
            Ok(Err(why)) => why,
            Err(_) => "it has ended".to_owned(),
        };
        let id = node.node();
        return Err(Failure::new(Exit::Data, format!("node {id} takes no part: {refused}")));
    }
    Ok(())
}

fn member(node: &Running) -> Member {
    Member {
        incarnation: node.about().incarnation,
        name: format!("n{}", node.node()),
        address: node.local_address().to_string(),
    }
}
