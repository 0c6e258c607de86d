//! The places for connections: so many in all and for one certificate, and some that are kept for
//! operators and for nodes, so that nobody can keep those out. With a place goes what its guest may
//! make the node keep in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certs::{Identity, Role};
use tokio::sync::Semaphore;

use crate::allowance::{Intake, Outlet};
use crate::alpn::Alpn;
use crate::limits::{
    ANSWER_BYTES_MAX, IDENTITY_ANSWER_BYTES_MAX, IDENTITY_INTAKE_BYTES_MAX, KIND_ANSWER_BYTES_MAX,
    KIND_INTAKE_BYTES_MAX, NODE_SEATS_MAX, NODES_SEATS_MAX, OPERATOR_SEATS_MAX,
    OPERATORS_SEATS_MAX,
};

/// How many connections of clients a node takes, and how many requests over these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatLimits {
    /// Of all clients together.
    pub connections_max: usize,
    /// Of one certificate.
    pub per_identity_max: usize,
    /// The most requests of one certificate that are not answered, over all of its connections.
    pub requests_per_identity_max: usize,
}

/// A node's places; copies share them.
#[derive(Clone, Debug)]
pub struct Seats {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: SeatLimits,
    kinds: [Kind; 3],
    guests: Mutex<Guests>,
}

/// What all of one kind may make the node keep.
#[derive(Debug)]
struct Kind {
    intake: Arc<Semaphore>,
    outlet: Arc<Outlet>,
}

#[derive(Debug, Default)]
struct Guests {
    taken: BTreeMap<Table, usize>,
    known: BTreeMap<(Table, String), Guest>,
    /// Those of them that have no connection left, and still something of what these brought.
    left: BTreeSet<(Table, String)>,
}

/// Where a connection sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    /// Everybody's.
    Common,
    /// Kept for operators.
    Operators,
    /// Nodes that pass requests on.
    Forwarders,
    /// Nodes as peers.
    Peers,
}

/// One certificate's connections at one table.
#[derive(Debug)]
struct Guest {
    seated: usize,
    requests: Arc<Semaphore>,
    requests_max: usize,
    intake: Arc<Semaphore>,
    outlet: Arc<Outlet>,
}

/// A connection's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat {
    shared: Arc<Shared>,
    table: Table,
    name: String,
    /// Requests of the certificate that are not answered.
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) intake: Intake,
    pub(crate) outlet: Arc<Outlet>,
}

/// Why there is no place for a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All are taken.
    #[error(
        "this node has {connections} connections, and takes no more (limits.connections_max in \
         raftd.toml)"
    )]
    Everybody {
        /// So many.
        connections: usize,
    },
    /// This certificate has all that one may have.
    #[error(
        "{who} has {connections} connections to this node, and one certificate gets no more \
         (limits.connections_per_identity_max in raftd.toml)"
    )]
    Identity {
        /// Whose.
        who: String,
        /// So many.
        connections: usize,
    },
}

impl Seats {
    /// Makes the places.
    pub fn new(limits: SeatLimits) -> Self {
        let kind = || Kind {
            intake: Arc::new(Semaphore::new(KIND_INTAKE_BYTES_MAX)),
            outlet: Outlet::new(KIND_ANSWER_BYTES_MAX, None),
        };
        let kinds = [kind(), kind(), kind()];
        Self { shared: Arc::new(Shared { limits, kinds, guests: Mutex::default() }) }
    }

    /// Returns how many connections there are of each kind: of nodes as peers, of nodes that pass
    /// requests on, and of clients by the role of their certificate.
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        let guests = self.shared.lock();
        for ((table, name), guest) in guests.known.iter().filter(|(_, guest)| guest.seated > 0) {
            let kind = match table {
                Table::Peers => "peer",
                Table::Forwarders => "forwarder",
                // An identity is shown as `ROLE NAME of cluster ..`.
                Table::Common | Table::Operators => name.split(' ').next().unwrap_or(name),
            };
            *kinds.entry(kind.to_owned()).or_default() += guest.seated;
        }
        kinds
    }

    /// Returns what all of a kind make the node keep now, in bytes: of what came in and is not done
    /// with, and of answers that are not read yet.
    pub fn kept(&self) -> [(&'static str, usize, usize); 3] {
        let mut names = ["user", "operator", "node"].into_iter();
        self.shared.kinds.each_ref().map(|Kind { intake, outlet }| {
            let came = KIND_INTAKE_BYTES_MAX.saturating_sub(intake.available_permits());
            (names.next().unwrap_or_default(), came, outlet.used())
        })
    }

    /// Gives a connection a place.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(crate) fn seat(&self, identity: &Identity, alpn: Alpn) -> Result<Seat, Full> {
        match (alpn, &identity.role) {
            (Alpn::Peer, _) => self.at(Table::Peers, identity),
            (Alpn::Forward, _) => self.at(Table::Forwarders, identity),
            (Alpn::Client, Role::Operator(_)) => self
                .at(Table::Common, identity)
                .or_else(|full| self.at(Table::Operators, identity).map_err(|_| full)),
            (Alpn::Client, Role::Client(_) | Role::Reader(_) | Role::Backup(_) | Role::Node(_)) => {
                self.at(Table::Common, identity)
            }
        }
    }

    fn at(&self, table: Table, identity: &Identity) -> Result<Seat, Full> {
        let (all_max, own_max) = table.limits(&self.shared.limits);
        let name = identity.to_string();
        let mut guests = self.shared.lock();
        guests.forget_done();
        let all = guests.taken.get(&table).copied().unwrap_or(0);
        let key = (table, name.clone());
        let own = guests.known.get(&key).map_or(0, |guest| guest.seated);
        if own >= own_max {
            return Err(Full::Identity { who: name, connections: own });
        }
        if all >= all_max {
            return Err(Full::Everybody { connections: all });
        }
        let kind = &self.shared.kinds[table.kind(&identity.role)];
        let requests_max = table.requests_max(&self.shared.limits);
        guests.left.remove(&key);
        let guest = guests.known.entry(key).or_insert_with(|| Guest {
            seated: 0,
            requests: Arc::new(Semaphore::new(requests_max)),
            requests_max,
            intake: Arc::new(Semaphore::new(IDENTITY_INTAKE_BYTES_MAX)),
            outlet: Outlet::new(IDENTITY_ANSWER_BYTES_MAX, Some(Arc::clone(&kind.outlet))),
        });
        guest.seated += 1;
        let intake = Intake::within(&[Arc::clone(&guest.intake), Arc::clone(&kind.intake)]);
        let outlet = Outlet::new(ANSWER_BYTES_MAX, Some(Arc::clone(&guest.outlet)));
        let requests = Arc::clone(&guest.requests);
        guests.taken.insert(table, all + 1);
        Ok(Seat { shared: Arc::clone(&self.shared), table, name, requests, intake, outlet })
    }
}

impl Table {
    /// Returns how many places there are, and for one certificate.
    fn limits(self, limits: &SeatLimits) -> (usize, usize) {
        match self {
            Self::Common => (limits.connections_max, limits.per_identity_max),
            Self::Operators => (OPERATORS_SEATS_MAX, OPERATOR_SEATS_MAX),
            Self::Forwarders | Self::Peers => (NODES_SEATS_MAX, NODE_SEATS_MAX),
        }
    }

    /// Returns how many requests one certificate may have unanswered. What nodes pass on is counted
    /// for whoever asked, where it came in.
    fn requests_max(self, limits: &SeatLimits) -> usize {
        match self {
            Self::Common | Self::Operators => limits.requests_per_identity_max,
            Self::Forwarders | Self::Peers => Semaphore::MAX_PERMITS,
        }
    }

    /// Returns with whom it shares what the node keeps: users, operators or nodes.
    fn kind(self, role: &Role) -> usize {
        match (self, role) {
            (Self::Common, Role::Client(_) | Role::Reader(_) | Role::Backup(_) | Role::Node(_)) => {
                0
            }
            (Self::Common, Role::Operator(_)) | (Self::Operators, _) => 1,
            (Self::Forwarders | Self::Peers, _) => 2,
        }
    }
}

impl Guests {
    /// Forgets those without a connection of whom nothing is kept any more. Earlier, whoever comes
    /// again would have all of its room anew, beside what it has filled.
    fn forget_done(&mut self) {
        let Self { known, left, .. } = self;
        left.retain(|key| {
            let is_kept = known.get(key).is_some_and(Guest::has_something);
            if !is_kept {
                known.remove(key);
            }
            is_kept
        });
    }
}

impl Guest {
    /// Says whether anything is kept that one of its connections brought.
    fn has_something(&self) -> bool {
        self.intake.available_permits() < IDENTITY_INTAKE_BYTES_MAX
            || self.outlet.used() > 0
            || self.requests.available_permits() < self.requests_max
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.shared.lock();
        if let Some(taken) = guests.taken.get_mut(&self.table) {
            *taken = taken.saturating_sub(1);
        }
        let key = (self.table, std::mem::take(&mut self.name));
        let is_last = guests.known.get_mut(&key).is_some_and(|guest| {
            guest.seated = guest.seated.saturating_sub(1);
            guest.seated == 0
        });
        if is_last {
            guests.left.insert(key);
            guests.forget_done();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::limits::INTAKE_BYTES_MAX;

    const LIMITS: SeatLimits =
        SeatLimits { connections_max: 6, per_identity_max: 4, requests_per_identity_max: 9 };

    fn identity(role: &str) -> Identity {
        let uri = format!("spiffe://07070707070707070707070707070707/{role}");
        uri.parse().expect("an identity")
    }

    fn fill(seats: &Seats, who: &Identity, alpn: Alpn) -> (Vec<Seat>, Full) {
        let mut taken = Vec::new();
        loop {
            match seats.seat(who, alpn) {
                Ok(seat) => taken.push(seat),
                Err(full) => return (taken, full),
            }
        }
    }

    #[test]
    fn one_certificate_leaves_places_for_others_and_nobody_keeps_operators_and_nodes_out() {
        let seats = Seats::new(LIMITS);
        let (one, full) = fill(&seats, &identity("reader/one"), Alpn::Client);
        assert_eq!((one.len(), matches!(full, Full::Identity { connections: 4, .. })), (4, true));
        let (two, full) = fill(&seats, &identity("client/two"), Alpn::Client);
        assert_eq!((two.len(), full), (2, Full::Everybody { connections: 6 }));
        let (operator, _) = fill(&seats, &identity("operator/o"), Alpn::Client);
        assert_eq!(operator.len(), OPERATOR_SEATS_MAX);
        let (other, _) = fill(&seats, &identity("operator/p"), Alpn::Client);
        assert!(!other.is_empty(), "another operator gets in beside the first");
        for alpn in [Alpn::Peer, Alpn::Forward] {
            let (node, _) = fill(&seats, &identity("node/1"), alpn);
            assert_eq!(node.len(), NODE_SEATS_MAX);
            assert!(seats.seat(&identity("node/2"), alpn).is_ok());
        }
    }

    #[test]
    fn a_place_that_is_left_is_free_and_nothing_is_remembered() {
        let seats = Seats::new(LIMITS);
        for _ in 0..3 {
            let (taken, _) = fill(&seats, &identity("reader/one"), Alpn::Client);
            assert_eq!(taken.len(), 4);
        }
        let guests = seats.shared.lock();
        assert_eq!((guests.known.len(), guests.taken.get(&Table::Common)), (0, Some(&0)));
    }

    #[tokio::test]
    async fn who_comes_again_finds_the_room_taken_that_it_filled_before_it_went() {
        let seats = Seats::new(LIMITS);
        let (who, bytes) = (identity("reader/one"), INTAKE_BYTES_MAX);
        let seat = || seats.seat(&who, Alpn::Client).expect("a place");
        let mut kept = Vec::new();
        for _ in 0..IDENTITY_INTAKE_BYTES_MAX / bytes {
            kept.push(seat().intake.hold(bytes).await);
        }
        assert!(seats.by_kind().is_empty(), "it has no connection any more");
        let again = seat();
        let room = timeout(Duration::from_millis(20), again.intake.hold(1));
        assert!(room.await.is_err(), "it has room beside all that it may have");
        drop(kept);
        drop(again.intake.hold(1).await);
        // An answer that nobody has read is counted just so.
        let answer = again.outlet.take(1_000).expect("there is room");
        drop(again);
        assert_eq!(seats.shared.lock().known.len(), 1);
        drop(answer);
        let other = seats.seat(&identity("reader/two"), Alpn::Client).expect("a place");
        assert_eq!(seats.shared.lock().known.len(), 1, "the first one is forgotten");
        drop(other);
    }

    #[test]
    fn the_reason_names_who_and_the_key() {
        let seats = Seats::new(LIMITS);
        let (_taken, full) = fill(&seats, &identity("reader/one"), Alpn::Client);
        let why = full.to_string();
        assert!(why.contains("reader") && why.contains("4 connections"), "{why}");
        assert!(why.contains("limits.connections_per_identity_max"), "{why}");
    }

    #[test]
    fn what_answers_take_is_told_by_kind_until_they_are_read() {
        let seats = Seats::new(LIMITS);
        let seat = seats.seat(&identity("operator/o"), Alpn::Client).expect("a place");
        let answer = seat.outlet.take(1_000).expect("there is room");
        assert_eq!(seats.kept(), [("user", 0, 0), ("operator", 0, 1_000), ("node", 0, 0)]);
        drop(answer);
        assert!(seats.kept().iter().all(|(_, came, answers)| (*came, *answers) == (0, 0)));
    }

    #[test]
    fn connections_are_counted_by_kind() {
        let seats = Seats::new(LIMITS);
        let guests = [
            ("reader/one", Alpn::Client),
            ("operator/o", Alpn::Client),
            ("operator/p", Alpn::Client),
            ("node/2", Alpn::Peer),
            ("node/2", Alpn::Forward),
        ];
        let taken = guests.map(|(who, alpn)| seats.seat(&identity(who), alpn).expect("a place"));
        let kinds = [("forwarder", 1), ("operator", 2), ("peer", 1), ("reader", 1)];
        let wanted = kinds.map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(seats.by_kind(), BTreeMap::from(wanted));
        drop(taken);
        assert!(seats.by_kind().is_empty());
    }
}
