//! Where members are dialled. The configuration in the log says it, and changing that takes a
//! leader; nodes that have all moved elect none before they find each other. So an operator may say
//! it, too: the table `[peers]` of raftd.toml goes before the configuration. Who is met there is
//! proven by its certificate, so an address is no more than a hint.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use consensus::{Configuration, Member, NodeId};

/// Addresses by a member's name or id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere(BTreeMap<String, String>);

impl Elsewhere {
    pub(crate) fn new(addresses: BTreeMap<String, String>) -> Self {
        Self(addresses)
    }

    /// Returns where a member is dialled.
    pub(crate) fn address<'a>(&'a self, id: NodeId, member: &'a Member) -> &'a str {
        let told = self.0.get(&member.name).or_else(|| self.0.get(&id.to_string()));
        told.unwrap_or(&member.address)
    }

    /// Returns where a node is asked who it is that a change of members brings in: one that is
    /// known and stays where it is, where it is dialled; any other, where the change says.
    pub(crate) fn met<'a>(
        &'a self,
        id: NodeId,
        member: &'a Member,
        known: Option<&Member>,
    ) -> &'a str {
        match known.is_some_and(|known| known.address == member.address) {
            true => self.address(id, member),
            false => &member.address,
        }
    }

    /// Returns the members that are dialled elsewhere than the configuration says, and where.
    pub(crate) fn moved<'a>(
        &'a self,
        configuration: &'a Configuration,
    ) -> impl Iterator<Item = (&'a Member, &'a str)> {
        configuration.members().iter().filter_map(|(id, member)| {
            let address = self.address(*id, member);
            (address != member.address).then_some((member, address))
        })
    }

    /// Returns the names that are no member's.
    pub(crate) fn strangers<'a>(
        &'a self,
        configuration: &'a Configuration,
    ) -> impl Iterator<Item = &'a str> {
        let is_member = |name: &str| {
            let mut members = configuration.members().iter();
            members.any(|(id, member)| member.name == name || id.to_string() == name)
        };
        self.0.keys().map(String::as_str).filter(move |name| !is_member(name))
    }
}

/// Says how the address at which others dial this node differs from the one on which it listens, if
/// that can be told without asking anybody: by the port, or by two addresses of one family.
pub(crate) fn differs(dialled: &str, listens: SocketAddr) -> bool {
    let Some((host, port)) = dialled.rsplit_once(':') else {
        return false;
    };
    if port.parse() != Ok(listens.port()) {
        return true;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(host) = host.parse::<IpAddr>() else {
        return false;
    };
    let listens = listens.ip().to_canonical();
    !listens.is_unspecified() && host.to_canonical() != listens
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Voters};
    use std::collections::BTreeSet;

    fn configuration() -> Configuration {
        let member = |number: u64| {
            let id = NodeId::new(number).expect("not 0");
            let (name, address) = (format!("n{number}"), format!("old{number}:1"));
            (id, Member { incarnation: Incarnation::new(number), name, address })
        };
        let members: BTreeMap<NodeId, Member> = (1..=3).map(member).collect();
        let voters = Voters::Stable(Majority::new(members.keys().copied()));
        Configuration::new(voters, BTreeSet::new(), members).expect("it is valid")
    }

    #[test]
    fn a_member_is_found_by_name_or_id_and_else_where_the_configuration_says() {
        let told = [("n1", "new1:1"), ("2", "new2:1"), ("n9", "x:1")];
        let told = told.map(|(name, address)| (name.to_owned(), address.to_owned()));
        let elsewhere = Elsewhere::new(BTreeMap::from(told));
        let configuration = configuration();
        let dialled: Vec<&str> = configuration
            .members()
            .iter()
            .map(|(id, member)| elsewhere.address(*id, member))
            .collect();
        assert_eq!(dialled, ["new1:1", "new2:1", "old3:1"]);
        assert_eq!(elsewhere.moved(&configuration).count(), 2);
        assert_eq!(elsewhere.strangers(&configuration).collect::<Vec<_>>(), ["n9"]);
    }

    /// It was asked where it is not any more, and never came back.
    #[test]
    fn who_comes_back_is_asked_where_it_is_dialled_and_who_moves_where_it_moves_to() {
        let elsewhere = Elsewhere::new([("n1".to_owned(), "new1:1".to_owned())].into());
        let id = NodeId::new(1).expect("not 0");
        let known = configuration().member(id).expect("a member").clone();
        let back = Member { incarnation: Incarnation::new(99), ..known.clone() };
        let moves = Member { address: "there:1".to_owned(), ..known.clone() };
        assert_eq!(elsewhere.met(id, &back, Some(&known)), "new1:1");
        assert_eq!(elsewhere.met(id, &moves, Some(&known)), "there:1");
        assert_eq!(elsewhere.met(id, &moves, None), "there:1");
    }

    #[test]
    fn a_node_notices_that_it_is_dialled_where_it_does_not_listen() {
        for (dialled, listens, wanted) in [
            ("10.0.0.1:7400", "10.0.0.1:7400", false),
            ("10.0.0.1:7400", "[::]:7400", false),
            ("10.0.0.1:7400", "0.0.0.0:7400", false),
            ("10.0.0.1:7400", "[::ffff:10.0.0.1]:7400", false),
            ("n1.example:7400", "10.0.0.1:7400", false),
            ("10.0.0.1:7400", "10.0.0.2:7400", true),
            ("n1.example:7400", "[::]:7401", true),
            ("[2001:db8::1]:7400", "[2001:db8::2]:7400", true),
        ] {
            let listens = listens.parse().expect("an address");
            assert_eq!(differs(dialled, listens), wanted, "{dialled} {listens}");
        }
    }
}
