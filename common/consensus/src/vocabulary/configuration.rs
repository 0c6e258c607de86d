//! Who belongs to the cluster, as pure sets (§4.3): majorities, joint majorities, learners.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::ids::{Incarnation, NodeId};

/// The most members that a configuration may name.
pub const MEMBERS_MAX: usize = 64;

/// Members, and which of them vote. In force from the moment it stands in a node's log (§4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configuration {
    voters: Voters,
    learners: BTreeSet<NodeId>,
    returning: BTreeSet<NodeId>,
    members: BTreeMap<NodeId, Member>,
}

/// What the cluster knows of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The data directory whose votes and acknowledgements count.
    pub incarnation: Incarnation,
    /// What people call it.
    pub name: String,
    /// Where its peers and clients reach it: `host:port`.
    pub address: String,
}

/// Whose votes decide.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Voters {
    /// One majority decides.
    Stable(Majority),
    /// During a change, both majorities must agree (§4.3).
    Joint {
        /// The voters so far.
        outgoing: Majority,
        /// The voters to be.
        incoming: Majority,
    },
}

/// A set of voters. More than half of them must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Majority(BTreeSet<NodeId>);

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tally {
    /// Enough have agreed.
    Won,
    /// Too many have refused.
    Lost,
    /// The missing votes decide.
    Undecided,
}

/// Why members and roles do not make a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// A set of voters is empty; nobody could ever decide (museum B11).
    NoVoters,
    /// This voter or learner is not described among the members.
    Unknown(NodeId),
    /// This member is neither voter nor learner.
    Idle(NodeId),
    /// This learner votes already, in the configuration to be.
    LearnerVotes(NodeId),
    /// There are more than [`MEMBERS_MAX`] members.
    TooMany,
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVoters => write!(f, "a configuration needs at least one voter"),
            Self::Unknown(id) => write!(f, "node {id} has a role but is not described"),
            Self::Idle(id) => write!(f, "node {id} is neither voter nor learner"),
            Self::LearnerVotes(id) => write!(f, "node {id} is both voter and learner"),
            Self::TooMany => write!(f, "a configuration has at most {MEMBERS_MAX} members"),
        }
    }
}

impl std::error::Error for ConfigurationError {}

impl Configuration {
    /// Makes a configuration from roles and descriptions that agree with each other.
    ///
    /// # Errors
    /// Each way in which they do not is a variant of [`ConfigurationError`].
    pub fn new(
        voters: Voters,
        learners: BTreeSet<NodeId>,
        members: BTreeMap<NodeId, Member>,
    ) -> Result<Self, ConfigurationError> {
        let (outgoing, incoming) = voters.halves();
        if incoming.is_empty() || outgoing.is_some_and(Majority::is_empty) {
            return Err(ConfigurationError::NoVoters);
        }
        if members.len() > MEMBERS_MAX {
            return Err(ConfigurationError::TooMany);
        }
        if let Some(id) = learners.iter().find(|id| incoming.contains(**id)) {
            return Err(ConfigurationError::LearnerVotes(*id));
        }
        let known = |id: &NodeId| members.contains_key(id);
        if let Some(id) = voters.iter().chain(learners.iter().copied()).find(|id| !known(id)) {
            return Err(ConfigurationError::Unknown(id));
        }
        let idle = |id: &&NodeId| !voters.contains(**id) && !learners.contains(*id);
        if let Some(id) = members.keys().find(idle) {
            return Err(ConfigurationError::Idle(*id));
        }
        Ok(Self { voters, learners, returning: BTreeSet::new(), members })
    }

    /// Returns the configuration of a node that has never heard of a cluster: nobody votes, and
    /// nothing can be decided under it.
    pub fn unknown() -> Self {
        Self {
            voters: Voters::Stable(Majority::default()),
            learners: BTreeSet::new(),
            returning: BTreeSet::new(),
            members: BTreeMap::new(),
        }
    }

    /// Marks those of these members that are learners: see [`Self::returning`].
    #[must_use]
    pub fn with_returning(mut self, ids: impl IntoIterator<Item = NodeId>) -> Self {
        self.returning = ids.into_iter().filter(|id| self.learners.contains(id)).collect();
        self
    }

    /// Returns whose votes decide.
    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// Returns the members that receive the log and do not vote. In a joint configuration this is
    /// the target's set, and may name outgoing voters.
    pub fn learners(&self) -> &BTreeSet<NodeId> {
        &self.learners
    }

    /// Returns the learners that voted until their data directory was found to have forgotten what
    /// it promised, and are to vote again when they have caught up with another one. It stands
    /// here, so that whoever leads goes on with it, after whatever restarts.
    pub fn returning(&self) -> &BTreeSet<NodeId> {
        &self.returning
    }

    /// Returns all members, in order of their ids.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// Returns what is known of a member.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Says whether `id` votes, in either half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(id)
    }

    /// Says whether `id` with this data directory is a member: whether its answers count.
    pub fn recognises(&self, id: NodeId, incarnation: Incarnation) -> bool {
        self.member(id).is_some_and(|member| member.incarnation == incarnation)
    }
}

impl Voters {
    /// Counts a vote; both halves of a joint configuration must be won (§4.3).
    pub fn tally(&self, vote: impl Fn(NodeId) -> Option<bool>) -> Tally {
        match self {
            Self::Stable(majority) => majority.tally(&vote),
            Self::Joint { outgoing, incoming } => {
                match (outgoing.tally(&vote), incoming.tally(&vote)) {
                    (Tally::Won, Tally::Won) => Tally::Won,
                    (Tally::Lost, _) | (_, Tally::Lost) => Tally::Lost,
                    (Tally::Won | Tally::Undecided, Tally::Won | Tally::Undecided) => {
                        Tally::Undecided
                    }
                }
            }
        }
    }

    /// Returns the highest value that a quorum has reached, whatever is counted: an index, a round,
    /// a time. In a joint configuration, that is the lower of the two halves'.
    pub fn reached<T: Ord + Copy + Default>(&self, value_of: impl Fn(NodeId) -> T) -> T {
        match self {
            Self::Stable(majority) => majority.reached(&value_of),
            Self::Joint { outgoing, incoming } => {
                outgoing.reached(&value_of).min(incoming.reached(&value_of))
            }
        }
    }

    /// Says whether `id` votes, in either half.
    pub fn contains(&self, id: NodeId) -> bool {
        match self {
            Self::Stable(majority) => majority.contains(id),
            Self::Joint { outgoing, incoming } => outgoing.contains(id) || incoming.contains(id),
        }
    }

    /// Returns all voters of both halves, each once, in order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        let (outgoing, incoming) = self.halves();
        let both: BTreeSet<NodeId> =
            outgoing.into_iter().chain([incoming]).flat_map(Majority::iter).collect();
        both.into_iter()
    }

    /// Says whether a change is under way.
    pub fn is_joint(&self) -> bool {
        match self {
            Self::Stable(_) => false,
            Self::Joint { .. } => true,
        }
    }

    /// Returns the outgoing half, if there is one, and the one that stays.
    pub fn halves(&self) -> (Option<&Majority>, &Majority) {
        match self {
            Self::Stable(majority) => (None, majority),
            Self::Joint { outgoing, incoming } => (Some(outgoing), incoming),
        }
    }
}

impl Majority {
    /// Makes a majority of these voters.
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self(voters.into_iter().collect())
    }

    /// Counts a vote. Without voters nothing is ever won (museum B11).
    pub fn tally(&self, vote: impl Fn(NodeId) -> Option<bool>) -> Tally {
        let votes = |wanted: bool| self.iter().filter(|id| vote(*id) == Some(wanted)).count();
        if self.is_empty() {
            Tally::Lost
        } else if votes(true) >= self.quorum() {
            Tally::Won
        } else if self.len() - votes(false) < self.quorum() {
            Tally::Lost
        } else {
            Tally::Undecided
        }
    }

    /// Returns the highest value that more than half of the voters have reached; the default one
    /// without voters.
    pub fn reached<T: Ord + Copy + Default>(&self, value_of: impl Fn(NodeId) -> T) -> T {
        let mut all: Vec<T> = self.iter().map(value_of).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.get(self.quorum() - 1).copied().unwrap_or_default()
    }

    /// Returns how many make a majority.
    pub fn quorum(&self) -> usize {
        self.len() / 2 + 1
    }

    /// Returns the number of voters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are no voters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether `id` is a voter.
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.contains(&id)
    }

    /// Returns the voters in order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.0.iter().copied()
    }
}
