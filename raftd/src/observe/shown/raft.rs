//! Gauges of the algorithm: term, role, indexes, members.

use consensus::RoleKind;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use protocol::NodeStatus;

use crate::observe::catalogue::{Catalogue, Reading, seconds_of};

/// The roles, as the label spells them.
const ROLES: [(RoleKind, &str); 4] = [
    (RoleKind::Follower, "follower"),
    (RoleKind::PreCandidate, "pre_candidate"),
    (RoleKind::Candidate, "candidate"),
    (RoleKind::Leader, "leader"),
];

pub(super) struct RaftGauges {
    term: Reading<u64>,
    role: Family<[(&'static str, &'static str); 1], Gauge>,
    has_leader: Reading<u64>,
    leader: Reading<u64>,
    heard: Reading<f64>,
    voter: Reading<u64>,
    voters: Reading<u64>,
    learners: Reading<u64>,
    joint: Reading<u64>,
    first: Reading<u64>,
    last: Reading<u64>,
    durable: Reading<u64>,
    commit: Reading<u64>,
    applied: Reading<u64>,
    commit_stalled: Reading<f64>,
    apply_stalled: Reading<f64>,
    lease: Reading<f64>,
}

impl RaftGauges {
    pub(super) fn new(all: &mut Catalogue) -> Self {
        Self {
            term: all.number("terms", ("raftd_term", "The current term")),
            role: all.add(
                ("1 for the role that it has, else 0", &["role"]),
                ROLE,
                Family::default(),
            ),
            has_leader: all.flag(("raftd_has_leader", "Whether this node knows who leads")),
            leader: all.number("a node's id", LEADER),
            heard: all.seconds(HEARD),
            voter: all.flag(("raftd_voter", "Whether this node votes")),
            voters: all.number("nodes", VOTERS),
            learners: all.number("nodes", ("raftd_learners", "Members that do not vote")),
            joint: all.flag(JOINT),
            first: all.number("log index", ("raftd_log_first_index", "The first entry of the log")),
            last: all.number("log index", ("raftd_log_last_index", "The last entry of the log")),
            durable: all.number("log index", DURABLE),
            commit: all.number("log index", COMMIT),
            applied: all.number("log index", APPLIED),
            commit_stalled: all.seconds(COMMIT_STALLED),
            apply_stalled: all.seconds(APPLY_STALLED),
            lease: all.seconds(LEASE),
        }
    }

    pub(super) fn show(&self, status: &NodeStatus, since_s: f64) {
        self.term.set(status.term);
        for (role, label) in ROLES {
            let is_it = i64::from(role == status.role);
            self.role.get_or_create(&[("role", label)]).set(is_it);
        }
        self.has_leader.set(u64::from(status.leader.is_some()));
        self.leader.set(status.leader.map_or(0, consensus::NodeId::get));
        let lasted = |ms: Option<u64>| ms.map(|ms| seconds_of(ms) + since_s);
        self.heard.set(lasted(status.heard_ms));
        let voters = status.configuration.voters();
        self.voter.set(u64::from(voters.contains(status.node)));
        self.voters.set(voters.iter().count() as u64);
        self.learners.set(status.configuration.learners().len() as u64);
        self.joint.set(u64::from(voters.is_joint()));
        self.first.set(status.first);
        self.last.set(status.last);
        self.durable.set(status.durable);
        self.commit.set(status.commit);
        self.applied.set(status.applied);
        let stalled = |ms: Option<u64>| lasted(ms).unwrap_or(0.0);
        self.commit_stalled.set(stalled(status.commit_stalled_ms));
        self.apply_stalled.set(stalled(status.applied_stalled_ms));
        let left = status.lease.and_then(|lease| lease.left_ms);
        self.lease.set(left.map(|ms| (seconds_of(ms) - since_s).max(0.0)));
    }
}

const ROLE: (&str, &str) =
    ("raftd_role", "The role of this node: follower, pre_candidate, candidate or leader");
const LEADER: (&str, &str) =
    ("raftd_leader_id", "Who leads, as far as this node knows; 0 if nobody");
const HEARD: (&str, &str) = (
    "raftd_leader_contact_age_seconds",
    "How long ago this follower heard from its leader; left out at a leader and without one",
);
const VOTERS: (&str, &str) =
    ("raftd_voters", "Members that vote; of a joint configuration, all of both halves");
const JOINT: (&str, &str) =
    ("raftd_joint_configuration", "Whether a change of members is half done (joint consensus)");
const DURABLE: (&str, &str) =
    ("raftd_log_durable_index", "The last entry that is on this node's disk");
const COMMIT: (&str, &str) = ("raftd_commit_index", "The last entry that is known to be committed");
const APPLIED: (&str, &str) =
    ("raftd_applied_index", "The last entry that the state machine has applied");
const COMMIT_STALLED: (&str, &str) = (
    "raftd_commit_stalled_seconds",
    "For how long the commit index has stood still though there are entries behind it; 0 if it \
     moves, or all is committed",
);
const APPLY_STALLED: (&str, &str) = (
    "raftd_apply_stalled_seconds",
    "For how long nothing was applied though it is committed; 0 if it moves, or all is applied",
);
const LEASE: (&str, &str) = (
    "raftd_lease_left_seconds",
    "How long the lease stands by which this leader serves reads; left out where there is none",
);
