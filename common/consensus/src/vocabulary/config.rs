//! What an operator may set, and what a restarted node brings along.

use std::fmt;
use std::ops::Range;

use super::actions::HardState;
use super::freedom::Freedom;
use super::ids::{ClusterTime, Incarnation, LogIndex};
use super::log_view::LogView;
use super::membership::Membership;

/// The largest error of clocks that leases are built on: a half. Beyond it a lease is too short to
/// be of use.
pub const CLOCK_ERROR_PPM_MAX: u32 = 500_000;

/// Settings of one replica. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Election timeouts are drawn from here (§3.4); the lower end is also how long a follower
    /// stands by a leader it has heard from (§4.2.3).
    pub election_timeout_ns: Range<u64>,
    /// A leader sends heartbeats this often; at most half of the shortest election timeout.
    pub heartbeat_ns: u64,
    /// The most unacknowledged `AppendEntries` with entries for one follower.
    pub inflight_max: u32,
    /// The most entries in one range for one follower.
    pub entries_max: u32,
    /// The most entries that a leader's log may hold beyond the commit index.
    pub uncommitted_max: u64,
    /// A member may become a voter when its log is at most so many entries behind (§4.2.1).
    pub catch_up_max: u64,
    /// The most reads that may wait for confirmation.
    pub reads_max: u32,
    /// Lets a leader serve reads by its lease, without a round of heartbeats (§6.4.1): how far a
    /// node's clock may run from true time, in parts per million, at most [`CLOCK_ERROR_PPM_MAX`].
    /// `None` is off. All nodes must agree on whether it is on, and on the lower end of
    /// `election_timeout_ns`: the lease lives on how long voters stand by a leader.
    pub lease_clock_error_ppm: Option<u32>,
    /// Seed of the election timeouts; nodes of a cluster, and a node's runs, should differ.
    pub seed: u64,
    /// Which freedoms that the protocol leaves are used at random; for simulation.
    pub freedom: Freedom,
}

impl Config {
    /// Returns settings for a local network: elections after 150-300 ms, heartbeats each 50 ms.
    pub fn new(seed: u64) -> Self {
        Self {
            election_timeout_ns: 150_000_000..300_000_000,
            heartbeat_ns: 50_000_000,
            inflight_max: 64,
            entries_max: 1_024,
            uncommitted_max: 65_536,
            catch_up_max: 1_000,
            reads_max: 65_536,
            lease_clock_error_ppm: None,
            seed,
            freedom: Freedom::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let election = &self.election_timeout_ns;
        if self.heartbeat_ns == 0 || election.start < self.heartbeat_ns.saturating_mul(2) {
            return Err(ConfigError::Heartbeat);
        }
        if election.is_empty() {
            return Err(ConfigError::ElectionTimeout);
        }
        let limits = [u64::from(self.inflight_max), u64::from(self.entries_max)];
        let limits = limits.into_iter().chain([self.uncommitted_max, u64::from(self.reads_max)]);
        if limits.min() == Some(0) {
            return Err(ConfigError::Limit);
        }
        if self.lease_clock_error_ppm.is_some_and(|ppm| ppm > CLOCK_ERROR_PPM_MAX) {
            return Err(ConfigError::ClockError);
        }
        Ok(())
    }
}

/// What a replica finds on its disk when it starts.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The data directory.
    pub incarnation: Incarnation,
    /// Term and vote.
    pub hard_state: HardState,
    /// The log without its bytes; all of it durable.
    pub log: LogView,
    /// The configurations of the log and of the snapshot below it.
    pub membership: Membership,
    /// What the state machine has applied already.
    pub applied: LogIndex,
    /// The highest stamp in log and state machine.
    pub stamp: ClusterTime,
}

/// Why a replica cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The heartbeat is zero or longer than half of the shortest election timeout.
    Heartbeat,
    /// The range of election timeouts is empty.
    ElectionTimeout,
    /// A limit is zero.
    Limit,
    /// The clocks' error is beyond [`CLOCK_ERROR_PPM_MAX`].
    ClockError,
    /// The log holds a term above the hard state's.
    TermBehindLog,
    /// The state machine has applied what is not in the log, or misses what is compacted.
    AppliedOutsideLog,
    /// A configuration stands outside the log.
    ConfigurationOutsideLog,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heartbeat => "the heartbeat must be above 0 and at most half an election timeout",
            Self::ElectionTimeout => "the range of election timeouts is empty",
            Self::Limit => "a limit is 0",
            Self::ClockError => "leases need clocks with an error of at most 500,000 ppm",
            Self::TermBehindLog => "the log holds a term above the one of the hard state",
            Self::AppliedOutsideLog => "the applied index is not within the log",
            Self::ConfigurationOutsideLog => "a configuration stands outside the log",
        })
    }
}

impl std::error::Error for ConfigError {}
