//! Seeds replay exactly, and break nothing in the replica.

use simulator::{Met, Settings, run, search};

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 1..=20 {
        let settings = Settings { seconds: 10, ..Settings::default() };
        let (first, second) = (run(seed, settings), run(seed, settings));
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn seeds_differ_from_each_other() {
    let settings = Settings { seconds: 2, ..Settings::default() };
    let mut digests: Vec<u64> = (1..=20).map(|seed| run(seed, settings).digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 20);
}

#[test]
fn an_entry_that_is_on_no_disk_yet_is_no_agreement() {
    // The leader had one in memory alone when all disks were alike, and was asked to hand over.
    let settings = Settings { seconds: 30, ..Settings::default() };
    assert_eq!(run(2_161, settings).violation, None);
}

#[test]
fn a_command_is_refused_by_the_clock_that_was_read_before_the_process_stood_still() {
    // It was refused for want of room 3 s before it was looked at whether that was right.
    assert_eq!(run(294, Settings::default()).violation, None);
}

#[test]
fn who_is_brought_in_after_all_agreed_is_fed_before_the_log_is_compacted() {
    assert_eq!(run(138_171, Settings::default()).violation, None);
}

#[test]
fn a_vote_that_arrives_late_is_none_in_the_terms_since() {
    // A vote of term 2 behind an acknowledgement of term 5 was held to be one of term 5.
    assert_eq!(run(91_483, Settings::default()).violation, None);
}

#[test]
fn nobody_asks_a_moment_before_all_must_be_answered() {
    assert_eq!(run(92_983, Settings::default()).violation, None);
}

#[test]
fn a_disk_that_was_full_while_its_node_stood_still_has_room_since_then_only() {
    assert_eq!(run(135_430, Settings::default()).violation, None);
}

#[test]
fn an_answer_about_sessions_says_the_time_of_the_state_that_it_shows() {
    // It said the time at which the view was made, and showed a session that was registered later.
    assert_eq!(run(1_011, Settings::default()).violation, None);
}

#[test]
fn the_replica_as_it_is_breaks_nothing_in_forty_seeds_or_as_many_as_are_asked_for() {
    // `cargo xtask mutants` asks for more.
    let asked = std::env::var("RAFTD_SIMULATOR_SEEDS").map(|seeds| seeds.parse());
    let seeds = asked.unwrap_or(Ok(40)).expect("RAFTD_SIMULATOR_SEEDS is a number");
    let report = search(1, seeds, Settings::default(), 1, |_| {});
    assert_eq!((report.seeds, report.found), (seeds, None));
    for met in [
        Met::Crash,
        Met::Pause,
        Met::Partition,
        Met::Election,
        Met::Truncation,
        Met::Write,
        Met::Read,
        Met::Changed,
        Met::Transferred,
        Met::Compacted,
        Met::Installed,
        Met::LeaseRead,
        Met::FollowerRead,
        Met::SessionRetry,
        Met::SessionRepeated,
    ] {
        let (count, what) = (report.coverage.count(met), met.text());
        assert!(count >= 30, "only {count} {what}: the run shows little");
    }
}

#[test]
fn a_seed_has_many_faults_of_many_kinds() {
    let report = search(1_000, 40, Settings::default(), 1, |_| {});
    assert_eq!(report.found, None);
    let (faults, classes) = (report.coverage.faults(), report.coverage.classes);
    assert!(faults >= 40 * 25, "{faults} faults in 40 seeds");
    assert!(classes >= 40 * 6, "{classes} kinds of faults in 40 seeds");
}
