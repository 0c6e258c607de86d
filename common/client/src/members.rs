//! Where the nodes are: what the client was told, and what the cluster has said since. So a client
//! that runs for long finds the cluster also when none of its first endpoints is left.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consensus::Configuration;

/// A client that lives shorter never asks.
const FIRST_AFTER: Duration = Duration::from_secs(1);

/// How old the knowledge of the members may become while the client is in use.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Members {
    /// In the order in which they were named.
    told: Vec<String>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    learnt: Vec<String>,
    /// What is older than this is no news: a member that hears from no leader may not know.
    as_of: Place,
    due: Instant,
}

/// Where a configuration stands: the changes of history before it, and its index in the log.
type Place = (u64, u64);

impl Members {
    pub(crate) fn new(told: &[String]) -> Self {
        let due = Instant::now() + FIRST_AFTER;
        let known = Known { learnt: Vec::new(), as_of: (0, 0), due };
        Self { told: told.to_vec(), known: Mutex::new(known) }
    }

    /// Returns every address at which a node may be: first those that were told.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let known = self.lock();
        let new = known.learnt.iter().filter(|address| !self.told.contains(address));
        self.told.iter().chain(new).cloned().collect()
    }

    /// Says whether it is time to ask again; then the caller does, and nobody else for a while.
    pub(crate) fn is_due(&self) -> bool {
        let (mut known, now) = (self.lock(), Instant::now());
        let due = now >= known.due;
        if due {
            known.due = now + REFRESH_EVERY;
        }
        due
    }

    /// Takes over where the members are. What is not `committed` may be replaced by what stands
    /// before it.
    pub(crate) fn learn(&self, place: Place, committed: bool, configuration: &Configuration) {
        let members = configuration.members().values();
        let learnt: Vec<String> = members.map(|member| member.address.clone()).collect();
        let mut known = self.lock();
        if learnt.is_empty() || place < known.as_of {
            return;
        }
        known.learnt = learnt;
        if committed {
            known.as_of = place;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{Incarnation, Majority, Member, NodeId, Voters};
    use std::collections::{BTreeMap, BTreeSet};

    fn configuration(addresses: &[&str]) -> Configuration {
        let member = |address: &&str| Member {
            incarnation: Incarnation::new(1),
            name: "n".to_owned(),
            address: (*address).to_owned(),
        };
        let ids = (1..).map_while(NodeId::new);
        let members: BTreeMap<NodeId, Member> = ids.zip(addresses.iter().map(member)).collect();
        let voters = Voters::Stable(Majority::new(members.keys().copied()));
        Configuration::new(voters, BTreeSet::new(), members).expect("it is valid")
    }

    #[test]
    fn the_latest_members_are_asked_beside_the_first_endpoints() {
        let members = Members::new(&["a:1".to_owned(), "b:1".to_owned()]);
        members.learn((1, 1), true, &configuration(&["b:1", "c:1", "d:1"]));
        assert_eq!(members.endpoints(), ["a:1", "b:1", "c:1", "d:1"]);
        members.learn((1, 9), true, &configuration(&["d:1", "e:1"]));
        assert_eq!(members.endpoints(), ["a:1", "b:1", "d:1", "e:1"]);
        members.learn((1, 9), true, &Configuration::unknown());
        assert_eq!(members.endpoints(), ["a:1", "b:1", "d:1", "e:1"], "nobody is no news");
    }

    #[test]
    fn a_member_that_was_left_behind_tells_nothing_new() {
        let members = Members::new(&["a:1".to_owned()]);
        let learn = |place, committed, address: &str| {
            members.learn(place, committed, &configuration(&[address]));
            members.endpoints()
        };
        assert_eq!(learn((1, 9), true, "b:1"), ["a:1", "b:1"]);
        assert_eq!(learn((1, 8), true, "old:1"), ["a:1", "b:1"]);
        assert_eq!(learn((1, 12), false, "c:1"), ["a:1", "c:1"]);
        assert_eq!(learn((1, 11), true, "d:1"), ["a:1", "d:1"], "it took the other one's place");
        assert_eq!(learn((2, 1), true, "e:1"), ["a:1", "e:1"], "of another history");
        assert_eq!(learn((1, 20), true, "old:1"), ["a:1", "e:1"]);
    }

    #[test]
    fn the_members_are_not_asked_for_at_once_and_then_by_one_at_a_time() {
        let members = Members::new(&[]);
        assert!(!members.is_due());
        members.lock().due = Instant::now();
        assert!(members.is_due());
        assert!(!members.is_due());
    }
}
