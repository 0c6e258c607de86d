//! Nodes that are elsewhere than the configuration in the log says: dialled where raftd.toml says,
//! and told of in the log of the process, once.

use std::collections::BTreeMap;

use consensus::{Configuration, NodeId};
use protocol::LeaderHint;

use crate::config::listed;
use crate::lanes::network::{Elsewhere, Network, differs};
use crate::node::Node;

/// What was told last, so that it is told once.
#[derive(Debug, Default)]
pub(super) struct Told {
    own: Option<String>,
    moved: BTreeMap<String, String>,
}

impl Node {
    /// Dials members where this table says, whatever the configuration says.
    pub(crate) fn redirect(&mut self, elsewhere: Elsewhere) {
        for name in elsewhere.strangers(self.replica.raft().configuration()) {
            tracing::warn!(
                name: "peers-unknown",
                name, "raftd.toml, [peers]: no member has this name or id"
            );
        }
        self.network.redirect(elsewhere);
        self.tell_addresses();
    }

    /// Says where members are dialled instead, and that this node is dialled where it does not
    /// listen.
    pub(super) fn tell_addresses(&mut self) {
        let raft = self.replica.raft();
        let (id, configuration) = (raft.id(), raft.configuration());
        let own = configuration.member(id).map(|member| member.address.clone());
        if let Some(dialled) = own.as_ref().filter(|_| self.told.own != own) {
            let name = configuration.member(id).map(|member| member.name.as_str());
            self.tell_own(name.unwrap_or_default(), dialled);
        }
        let moved: BTreeMap<String, String> = self
            .network
            .moved(configuration)
            .map(|(member, address)| (member.name.clone(), address.to_owned()))
            .collect();
        for (name, address) in &moved {
            if self.told.moved.get(name) != Some(address) {
                tracing::info!(
                    name: "peers-used",
                    member = name, address, "dialled where raftd.toml, [peers] says"
                );
            }
        }
        self.told = Told { own, moved };
    }

    /// Says that this node is dialled where it is not, by what it advertises or, where it does not
    /// say so, by where it listens.
    fn tell_own(&self, name: &str, dialled: &str) {
        match &self.identity.advertise {
            Some(advertised) if advertised != dialled => {
                tracing::warn!(
                    name: "advertised-differs",
                    dialled,
                    advertised,
                    "the others dial this node at another address than it advertises; if it has \
                     moved: raftctl member update {name} --address {advertised}"
                );
            }
            // A port may be forwarded.
            Some(_) => {}
            None if self.listen.iter().all(|listen| differs(dialled, *listen)) => {
                tracing::warn!(
                    name: "address-differs",
                    dialled,
                    listens = %listed(&self.listen),
                    "the others dial this node at another address than it listens on; if nothing \
                     forwards one to the other: raft(7), MOVING NODES"
                );
            }
            None => {}
        }
    }
}

/// Tells a client where the leader is: where this node itself dials it.
pub(super) fn hint(
    id: NodeId,
    configuration: &Configuration,
    network: &Network,
) -> Option<LeaderHint> {
    let member = configuration.member(id)?;
    let address = network.address(id, member).to_owned();
    Some(LeaderHint { id: id.get(), name: member.name.clone(), address })
}
