//! Schedules follow from their seed, and leave nothing out.

use std::collections::BTreeSet;

use chaos::fault::{Course, FAULTS, Fault};
use chaos::schedule::Schedule;

fn written(seed: u64, only: Option<Fault>) -> String {
    let mut schedule = Schedule::new(seed, only, &[]);
    (0..60).map(|_| format!("{:?}\n", schedule.next_phase())).collect()
}

#[test]
fn a_seed_gives_one_schedule_and_another_seed_another() {
    assert_eq!(written(7, None), written(7, None));
    assert_ne!(written(7, None), written(8, None));
}

#[test]
fn each_fault_is_seen_by_itself_before_the_first_storm() {
    let mut schedule = Schedule::new(3, None, &[]);
    let mut seen = BTreeSet::new();
    for _ in FAULTS {
        let phase = schedule.next_phase();
        assert!(phase.is_single);
        seen.extend(phase.injections.iter().map(|injection| injection.fault));
    }
    assert_eq!(seen.len(), FAULTS.len());
    assert!(!schedule.next_phase().is_single);
}

#[test]
fn what_takes_memory_from_a_node_is_never_part_of_a_storm() {
    let mut schedule = Schedule::new(11, None, &[]);
    let mut storms = 0;
    for _ in 0..200 {
        let phase = schedule.next_phase();
        if !phase.is_single {
            storms += 1;
            let alone = |one: &chaos::schedule::Injection| one.fault.course() == Course::Alone;
            assert!(!phase.injections.iter().any(alone), "{phase:?}");
        }
    }
    assert!(storms > 50, "{storms}");
}

#[test]
fn one_fault_alone_is_repeated() {
    let mut schedule = Schedule::new(1, Some(Fault::Pause), &[]);
    for _ in 0..5 {
        assert_eq!(schedule.next_phase().injections[0].fault, Fault::Pause);
    }
}

#[test]
fn every_fault_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.name()).collect();
    assert_eq!(names.len(), FAULTS.len());
    for fault in FAULTS {
        assert_eq!(Fault::named(fault.name()), Some(fault));
    }
    assert_eq!(Fault::named("rain"), None);
}

#[test]
fn what_is_left_out_is_never_done() {
    let mut schedule = Schedule::new(5, None, &[Fault::CutLog, Fault::Kill]);
    for _ in 0..100 {
        for injection in schedule.next_phase().injections {
            assert!(!matches!(injection.fault, Fault::CutLog | Fault::Kill), "{injection:?}");
        }
    }
}
