//! Seeds replay exactly, break nothing in the replica as it is, and find bugs built into it.

use simulator::{Mutation, Settings, run, search};

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
fn the_replica_as_it_is_breaks_nothing_in_forty_seeds() {
    let report = search(1, 40, Settings::default(), 1, |_| {});
    assert_eq!((report.seeds, report.found), (40, None));
    let met = report.coverage;
    for (what, count) in [
        ("crashes", met.crashes),
        ("crashes after promises", met.crashes_after_promises),
        ("pauses", met.pauses),
        ("partitions", met.partitions),
        ("elections", met.elections),
        ("truncations", met.truncations),
        ("writes", met.writes),
        ("reads", met.reads),
    ] {
        assert!(count >= 40, "only {count} {what}: the run shows little");
    }
}

#[test]
fn bugs_are_found_within_a_hundred_seeds() {
    for mutation in [
        Mutation::A1VoteErasedOnStepDown,
        Mutation::A9LogsComparedByIndex,
        Mutation::A11VoteSentBeforeDurable,
        Mutation::B3CommitBeyondVerified,
        Mutation::B4AckBeyondVerified,
        Mutation::B5TruncatesAlways,
        Mutation::B7MatchRegresses,
        Mutation::F1ReadBeforeOwnTerm,
    ] {
        let settings = Settings { mutation: Some(mutation), ..Settings::default() };
        let report = search(1, 100, settings, 1, |_| {});
        assert!(report.found.is_some(), "{} is not found", mutation.name());
    }
}
