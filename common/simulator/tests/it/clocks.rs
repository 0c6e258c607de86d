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
    let found = (1..=400).find_map(|seed| {
        let violation = run(seed, APART).violation.filter(is_stale)?;
        Some((seed, violation))
    });
    let (seed, violation) = found.expect("leases fail with such clocks");
    let short = shorten_failure(seed, APART, 3_000_000, is_stale).expect("it breaks again");
    let (all, few) = (violation.step, short.violation.step);
    assert!(few * 4 <= all, "{few} of {all} events are left");
    assert_eq!(short.events.len() as u64, few, "each of them happens");
    let again = shorten_failure(seed, APART, 3_000_000, is_stale);
    assert_eq!(again, Some(short), "who asks again gets the same");
}
