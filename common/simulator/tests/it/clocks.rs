//! Clocks that run further than leases are told: the check for stale reads looks, and what it finds
//! is made short.

use simulator::{Clocks, Settings, Violation, run, shorten_failure};

/// Without a limit.
const APART: Settings = Settings {
    seconds: 30,
    trace: false,
    clocks: Clocks::FurtherThanTold,
    history: 0,
    events_max: u64::MAX,
};

/// The events before a break that is early.
const EARLY: u64 = 8_000;

fn is_stale(violation: &Violation) -> bool {
    violation.invariant.starts_with("reads are not stale")
}

#[test]
fn a_stale_read_is_found_and_made_short_where_clocks_run_further_than_told() {
    let stale = |seed: u64| Some((seed, run(seed, APART).violation.filter(is_stale)?));
    let shorten = |seed| shorten_failure(seed, APART, 500_000, is_stale);
    let mut lengths = Vec::new();
    // One in which much has to come together stays long.
    let is_short = |(seed, violation): &(u64, Violation)| {
        let short = shorten(*seed).expect("it breaks again");
        let (all, few) = (violation.step, short.violation.step);
        let happen = short.events.len() as u64;
        lengths.push((happen, few, all));
        // What is left happens, but for a few that come behind the break.
        few * 4 <= all && happen * 10 <= few * 11
    };
    // Those that break late take long to be made short, and seldom become it.
    let is_early = |(_, violation): &(u64, Violation)| violation.step <= EARLY;
    let mut found = (15_000..18_000).filter_map(stale).filter(is_early).take(12);
    let first = found.find(is_short).map(|(seed, _)| seed);
    let seed = first.unwrap_or_else(|| panic!("{lengths:?} events are left"));
    assert_eq!(shorten(seed), shorten(seed), "who asks again gets the same");
}
