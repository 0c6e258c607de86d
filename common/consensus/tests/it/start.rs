//! What a replica finds on its disk must fit together, and its settings must make sense.

use crate::kit::{MS, at, configuration, id, incarnation};
use consensus::*;

/// A setting, what it is refused for, and a word of the sentence.
type Wrong = (fn(&mut Config), ConfigError, &'static str);

/// A log from behind 3@t2 to 8@t5, with a configuration at 6; applied up to 5.
fn disk() -> Restored {
    let run = |term, first| TermRun { term: Term::new(term), first: LogIndex::new(first) };
    let log = LogView::restore(at(2, 3), vec![run(2, 4), run(5, 6)], LogIndex::new(8));
    let below = (LogIndex::new(3), configuration(&[1], &[]));
    let membership = Membership::restore(below, vec![(LogIndex::new(6), configuration(&[1], &[]))]);
    Restored {
        incarnation: incarnation(1),
        hard_state: HardState { term: Term::new(5), vote: None },
        log: log.unwrap(),
        membership: membership.unwrap(),
        applied: LogIndex::new(5),
        stamp: ClusterTime::ZERO,
    }
}

fn start(config: Config, disk: Restored) -> Result<Raft, ConfigError> {
    Raft::restore(id(1), config, disk, Timestamp::new(MS))
}

#[test]
fn a_node_is_what_its_disk_says() {
    let raft = start(Config::new(1), disk()).unwrap();
    assert_eq!((raft.id(), raft.incarnation()), (id(1), incarnation(1)));
    assert_eq!((raft.base(), raft.first(), raft.last()), (at(2, 3), LogIndex::new(4), at(5, 8)));
    assert_eq!(raft.durable(), LogIndex::new(8));
    assert_eq!((raft.applied(), raft.commit()), (LogIndex::new(5), LogIndex::new(5)));
    let terms = [2, 3, 5, 6, 8, 9].map(|index| raft.term_at(LogIndex::new(index)));
    let known = [2, 2, 5, 5].map(|term| Some(Term::new(term)));
    assert_eq!(terms, [&[None][..], &known, &[None]].concat()[..]);
    assert!(raft.was_member() && !raft.leads() && !raft.has_failed() && !raft.is_transferring());
    assert_eq!((raft.leading_since(), raft.writing_since()), (None, None));
}

#[test]
fn applied_is_within_the_log_s5_1() {
    let with = |applied| {
        let disk = Restored { applied: LogIndex::new(applied), ..disk() };
        start(Config::new(1), disk).map(|raft| raft.applied().get())
    };
    assert_eq!((with(3), with(8)), (Ok(3), Ok(8)));
    let refused = Err(ConfigError::AppliedOutsideLog);
    assert_eq!((with(2), with(9)), (refused, refused));
}

#[test]
fn a_configuration_and_every_term_are_within_log_and_hard_state_s3_8() {
    let with = |place| {
        let in_log = vec![(LogIndex::new(place), configuration(&[1], &[]))];
        let below = (LogIndex::new(3), configuration(&[1], &[]));
        let membership = Membership::restore(below, in_log).unwrap();
        start(Config::new(1), Restored { membership, ..disk() }).map(|_| ())
    };
    assert_eq!((with(8), with(9)), (Ok(()), Err(ConfigError::ConfigurationOutsideLog)));
    let with = |term| {
        let hard_state = HardState { term: Term::new(term), vote: None };
        start(Config::new(1), Restored { hard_state, ..disk() }).map(|_| ())
    };
    assert_eq!((with(5), with(4)), (Ok(()), Err(ConfigError::TermBehindLog)));
}

#[test]
fn settings_are_refused_at_their_bounds_with_a_sentence() {
    let with = |change: fn(&mut Config)| {
        let mut config = Config::new(1);
        change(&mut config);
        start(config, disk()).map(|_| ())
    };
    let fine: [fn(&mut Config); 4] = [
        |config| config.heartbeat_ns = 75 * MS,
        |config| config.election_timeout_ns = 150 * MS..150 * MS + 1,
        |config| (config.inflight_max, config.entries_max) = (1, 1),
        |config| config.lease_clock_error_ppm = Some(500_000),
    ];
    for change in fine {
        assert_eq!(with(change), Ok(()));
    }
    let wrong: [Wrong; 8] = [
        (|config| config.heartbeat_ns = 0, ConfigError::Heartbeat, "heartbeat"),
        (|config| config.heartbeat_ns = 75 * MS + 1, ConfigError::Heartbeat, "half"),
        (
            |config| config.election_timeout_ns = 150 * MS..150 * MS,
            ConfigError::ElectionTimeout,
            "empty",
        ),
        (|config| config.inflight_max = 0, ConfigError::Limit, "limit"),
        (|config| config.entries_max = 0, ConfigError::Limit, "limit"),
        (|config| config.uncommitted_max = 0, ConfigError::Limit, "limit"),
        (|config| config.reads_max = 0, ConfigError::Limit, "limit"),
        (|config| config.lease_clock_error_ppm = Some(500_001), ConfigError::ClockError, "ppm"),
    ];
    for (change, error, word) in wrong {
        assert_eq!(with(change), Err(error));
        assert!(error.to_string().contains(word), "{error}");
    }
}
