//! Leases (§6.4.1, museum E10, F7, F9): what they rest on, and what ends them.

use crate::kit::{self, Cluster, MS, configuration, hard_state, id};
use consensus::*;

/// The shortest election timeout.
const TIMEOUT_MS: u64 = 150;

fn with_leases(ppm: u32) -> Config {
    Config { lease_clock_error_ppm: Some(ppm), ..Config::new(1) }
}

/// Three voters and two learners; node 1 leads, and its first heartbeat was answered just now.
fn led(ppm: u32) -> Cluster {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[4, 5]), with_leases(ppm));
    cluster.campaign(1);
    cluster
}

#[test]
fn the_error_of_both_clocks_shortens_the_lease_s6_4_1() {
    let cluster = led(100_000);
    // 150 ms * 0.9 / 1.1
    let until = cluster.now.after(122_727_272);
    assert_eq!(cluster.status(1).lease_until, Some(until));
    let config = with_leases(CLOCK_ERROR_PPM_MAX + 1);
    let disk = Restored {
        incarnation: Incarnation::new(1),
        hard_state: HardState::default(),
        log: LogView::default(),
        membership: Membership::default(),
        applied: LogIndex::ZERO,
        stamp: ClusterTime::ZERO,
    };
    let refused = Raft::restore(id(1), config, disk, Timestamp::ZERO);
    assert_eq!(refused, Err(ConfigError::ClockError));
}

#[test]
fn the_slowest_leaders_lease_ends_before_the_fastest_voters_patience_s6_4_1() {
    for ppm in [0, 1, 200, 5_000, 100_000, 333_333, CLOCK_ERROR_PPM_MAX] {
        let cluster = led(ppm);
        let lease_ns = cluster.status(1).lease_until.unwrap().since(cluster.now);
        let (slow, fast) = (1_000_000 - u128::from(ppm), 1_000_000 + u128::from(ppm));
        // In true time the lease lasts lease_ns / slow, the patience the timeout / fast.
        let patience = u128::from(TIMEOUT_MS * MS) * slow;
        assert!(u128::from(lease_ns) * fast <= patience, "{ppm} ppm: too long");
        assert!(u128::from(lease_ns + 1) * fast > patience, "{ppm} ppm: shorter than it need be");
    }
}

#[test]
fn an_answer_leaves_only_while_the_lease_runs_s6_4_1() {
    let until = Timestamp::new(5);
    assert!(Basis::Lease { until }.holds(Timestamp::new(4)));
    assert!(!Basis::Lease { until }.holds(until));
    assert!(Basis::Round.holds(until), "what a quorum has confirmed stays so");
}

#[test]
fn heartbeats_renew_the_lease() {
    let mut cluster = led(0);
    for _ in 0..20 {
        cluster.run(25);
        assert!(cluster.status(1).lease_until > Some(cluster.now));
    }
}

#[test]
fn in_a_joint_configuration_both_halves_extend_a_lease_s4_3() {
    let mut cluster = led(0);
    let target = configuration(&[1, 4, 5], &[2, 3]);
    cluster.cut.extend([(id(4), id(1)), (id(5), id(1))]);
    let until = cluster.status(1).lease_until;
    cluster.step(1, Input::Reconfigure { request: RequestId::new(kit::CHANGE), target });
    cluster.run(60);
    assert!(cluster.status(1).configuration.voters().is_joint());
    assert!(cluster.status(1).lease_until <= until, "no majority of the incoming ones answers");
}

#[test]
fn how_long_ago_a_node_heard_from_a_leader_is_told() {
    let mut cluster = led(0);
    assert_eq!(cluster.status(1).contact, None, "it leads");
    let heard = cluster.status(2).contact;
    assert_eq!(heard, Some(cluster.now));
    cluster.say(
        3,
        2,
        7,
        Body::Vote { candidate: kit::incarnation(2), verdict: Verdict::StaleTerm },
    );
    cluster.pass(10);
    assert_eq!(cluster.status(2).contact, heard, "a newer term is no news of a leader");
    cluster.start(3, &[2], hard_state(2, None));
    assert_eq!(cluster.status(3).contact, None, "not since it started");
    cluster.isolate(1);
    let last = cluster.now.after(0);
    cluster.run(1_000);
    assert_ne!(cluster.role(1), RoleKind::Leader);
    assert!(cluster.status(1).contact.unwrap() <= last, "when a quorum last answered it");
}
