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

fn is_stale(violation: &Violation) -> bool {
    violation.invariant.starts_with("reads are not stale")
}

#[test]
fn a_stale_read_is_found_and_made_short_where_clocks_run_further_than_told() {
    let stale = |seed: u64| Some((seed, run(seed, APART).violation.filter(is_stale)?));
    let found: Vec<_> = (1..=2_000).filter_map(stale).take(2).collect();
    assert_eq!(found.len(), 2, "leases fail with such clocks");
    let shorten = |seed| shorten_failure(seed, APART, 3_000_000, is_stale);
    let mut lengths = Vec::new();
    let mut is_short = false;
    for (seed, violation) in &found {
        let short = shorten(*seed).expect("it breaks again");
        let (all, few) = (violation.step, short.violation.step);
        lengths.push((few, all));
        if few * 4 <= all {
            assert_eq!(short.events.len() as u64, few, "each of them happens");
            is_short = true;
        }
    }
    // One in which much has to come together stays long.
    assert!(is_short, "{lengths:?} events are left");
    let (seed, _) = found[0];
    assert_eq!(shorten(seed), shorten(seed), "who asks again gets the same");
}
