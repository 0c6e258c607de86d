//! When a status is a lie, and how it gets into the table.

use chaos::fault::Fault;
use chaos::truth::{Sample, Span, lies, table};

const S: u64 = 1_000_000_000;

fn sample(at_s: u64, health: &str, tolerates: u64) -> Sample {
    let reason = if health == "HEALTHY" { "" } else { "n2 was not heard from for 11 s" };
    Sample {
        at_ns: at_s * S,
        health: health.to_owned(),
        reason: reason.to_owned(),
        tolerates: Some(tolerates),
        voters: 3,
        leader: None,
    }
}

fn acknowledged(seconds: &[u64]) -> Vec<u64> {
    seconds.iter().map(|at| at * S).collect()
}

#[test]
fn healthy_without_service_is_a_lie() {
    let served = acknowledged(&[8, 9, 10, 20, 21, 22]);
    let told = lies(&[sample(15, "HEALTHY", 1)], &served, &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(lies(&[sample(15, "DEGRADED", 0)], &served, &[]), Vec::<String>::new());
    assert_eq!(lies(&[sample(12, "HEALTHY", 1)], &served, &[]), Vec::<String>::new());
    assert_eq!(lies(&[sample(19, "HEALTHY", 1)], &served, &[]), Vec::<String>::new());
}

#[test]
fn nothing_is_said_of_what_may_still_be_answered() {
    assert_eq!(
        lies(&[sample(25, "HEALTHY", 1)], &acknowledged(&[8, 9]), &[]),
        Vec::<String>::new()
    );
}

#[test]
fn more_tolerance_than_there_is_is_a_lie() {
    let served: Vec<u64> = acknowledged(&(0..30).collect::<Vec<_>>());
    let span = [Span { fault: Fault::HangingSync, from_ns: 10 * S, to_ns: 20 * S }];
    for (said, wrong) in [
        (sample(16, "HEALTHY", 1), 1),
        (sample(16, "DEGRADED", 1), 1),
        (sample(16, "DEGRADED", 0), 0),
        (sample(12, "HEALTHY", 1), 0),
        (sample(21, "HEALTHY", 1), 0),
    ] {
        let told = lies(std::slice::from_ref(&said), &served, &span);
        assert_eq!(told.len(), wrong, "{said:?}: {told:?}");
    }
    let span = [Span { fault: Fault::Loss, ..span[0] }];
    assert_eq!(lies(&[sample(16, "HEALTHY", 1)], &served, &span), Vec::<String>::new());
}

#[test]
fn the_table_counts_what_was_said_during_each_fault() {
    let span = [Span { fault: Fault::Kill, from_ns: 10 * S, to_ns: 20 * S }];
    let mut later = sample(17, "DEGRADED", 0);
    later.reason = "n2 was not heard from for 12 s".to_owned();
    let all = [sample(11, "HEALTHY", 1), sample(16, "DEGRADED", 0), later, sample(30, "JOINT", 1)];
    let text = table(&all, &span);
    assert!(
        text.contains("| kill | DEGRADED | n# was not heard from for # s | 2 of 3 |"),
        "{text}"
    );
    assert!(text.contains("| kill | HEALTHY |  | 1 of 3 |"), "{text}");
    assert!(!text.contains("JOINT"), "{text}");
}
