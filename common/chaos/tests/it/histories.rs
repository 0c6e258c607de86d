//! Histories of one key that are right, and histories that are wrong in each way that counts.

use chaos::check::check;
use chaos::history::{Action, Operation, Outcome, Reply};

/// Reads a history: a line an operation, as `client begin..end what = answer`.
fn read(text: &str) -> Vec<Operation> {
    let line = |(place, line): (usize, &str)| {
        let (asked, ended) = line.trim().split_once(" = ").expect("an answer");
        let mut words = asked.split(' ');
        let client: u32 = words.next().and_then(|word| word.parse().ok()).expect("a client");
        let (begin, end) =
            words.next().and_then(|word| word.split_once("..")).expect("begin and end");
        let words: Vec<&str> = words.collect();
        let field = |index: bool| if index { format!("\t{}", place + 1) } else { String::new() };
        let has_index = !matches!(ended, "failed" | "unknown");
        let line = format!(
            "{client}\tk\t{begin}\t{end}\t{}\t{ended}{}",
            words.join(" "),
            field(has_index)
        );
        Operation::parse(&line).unwrap_or_else(|| panic!("{line:?}"))
    };
    text.trim().lines().enumerate().map(line).collect()
}

#[track_caller]
fn right(text: &str) {
    let findings = check(&read(text));
    assert!(findings.violations.is_empty(), "{:?}", findings.violations);
    assert!(findings.undecided.is_empty());
}

#[track_caller]
fn wrong(text: &str) {
    let findings = check(&read(text));
    assert_eq!(findings.violations.len(), 1, "{findings:?}");
}

#[test]
fn operations_that_overlap_may_be_in_any_order() {
    right(
        "1 0..10 put a = done
         2 5..15 put b = done
         3 11..20 get = value a
         3 21..22 get = value a",
    );
    right(
        "1 0..10 put a = done
         2 5..15 put b = done
         3 6..7 get = value b
         3 8..9 get = value a",
    );
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    right(
        "1 0..5 put a = done
         2 6..7 put b = unknown
         1 10..11 get = value a
         1 20..21 get = value b",
    );
    right(
        "1 0..5 put a = done
         2 6..7 put b = unknown
         1 10..11 get = value a",
    );
    right(
        "1 0..5 add 1 = unknown
         1 6..7 add 1 = value 2",
    );
    right(
        "1 0..1 put a = done
         2 2..3 delete = unknown
         2 4..5 put b = unknown
         1 6..7 get = value b
         1 8..9 swap b c = done",
    );
}

#[test]
fn many_unknown_writes_do_not_make_the_search_long() {
    let mut text = String::new();
    for place in 0..200 {
        let at = place * 10;
        text.push_str(&format!("1 {at}..{} put u{place} = unknown\n", at + 1));
        text.push_str(&format!("2 {}..{} put a{place} = done\n", at + 2, at + 3));
        text.push_str(&format!("2 {}..{} get = value a{place}\n", at + 4, at + 5));
    }
    right(&text);
}

#[test]
fn a_lost_write_is_refused() {
    wrong(
        "1 0..5 put a = done
         1 6..7 put b = done
         2 8..9 get = value a",
    );
    wrong(
        "1 0..5 put a = done
         2 8..9 get = missing",
    );
    wrong(
        "1 0..1 put a = done
         1 2..3 delete = done
         2 4..5 get = value a",
    );
}

#[test]
fn a_stale_read_is_refused() {
    wrong(
        "1 0..5 put a = done
         1 6..20 put b = done
         2 7..8 get = value b
         3 9..10 get = value a",
    );
}

#[test]
fn a_command_that_was_applied_twice_is_refused() {
    wrong(
        "1 0..5 add 1 = value 1
         1 6..7 add 1 = value 3",
    );
    wrong(
        "1 0..5 add 1 = unknown
         1 6..7 add 1 = value 3",
    );
    wrong(
        "1 0..1 put a = done
         2 2..3 put b = unknown
         1 4..5 get = value b
         1 6..7 put c = done
         1 8..9 get = value b",
    );
}

#[test]
fn a_command_that_failed_and_was_applied_is_refused() {
    wrong(
        "1 0..5 put a = done
         1 6..7 put b = failed
         1 8..9 get = value b",
    );
    wrong(
        "1 0..5 add 1 = failed
         1 6..7 add 1 = value 2",
    );
}

#[test]
fn an_answer_before_the_question_was_asked_is_refused() {
    wrong(
        "1 0..5 get = value a
         2 6..7 put a = done",
    );
}

#[test]
fn two_leaders_that_both_swap_are_refused() {
    wrong(
        "1 0..5 put a = done
         1 6..9 swap a b = done
         2 6..9 swap a c = done",
    );
    right(
        "1 0..5 put a = done
         1 6..9 swap a b = done
         2 6..9 swap a c = differs b",
    );
}

#[test]
fn a_swap_and_a_delete_are_told_what_was_there() {
    wrong(
        "1 0..1 put a = done
         1 2..3 delete = missing",
    );
    wrong(
        "1 0..1 put a = done
         1 2..3 swap b c = differs d",
    );
    right(
        "1 0..1 swap - a = done
         1 2..3 swap - b = differs a
         1 4..5 delete = done
         1 6..7 delete = missing
         1 8..9 swap a b = missing",
    );
}

#[test]
fn what_is_wrong_is_named() {
    let findings = check(&read(
        "1 0..5 put a = done
         1 6..7 put b = done
         2 8..9 get = value a",
    ));
    let violation = &findings.violations[0];
    assert_eq!((violation.key.as_str(), violation.ordered), ("k", 2));
    let stuck = violation.stuck.as_ref().expect("something has no place");
    assert_eq!((&stuck.action, stuck.client), (&Action::Get, 2));
    assert_eq!(findings.checked, 3);
}

#[test]
fn operations_come_back_from_their_lines() {
    let answered = |reply| Outcome::Answered { reply, index: 7 };
    let text = || Some("x1".to_owned());
    let all = [
        (Action::Get, answered(Reply::Missing)),
        (Action::Get, answered(Reply::Value("v".to_owned()))),
        (Action::Put("v".to_owned()), Outcome::Unknown),
        (Action::Delete, Outcome::Failed),
        (Action::Swap { expected: None, new: text() }, answered(Reply::Done)),
        (Action::Swap { expected: text(), new: None }, answered(Reply::Differs("d".to_owned()))),
        (Action::Add(-3), answered(Reply::Value("-3".to_owned()))),
    ];
    for (action, outcome) in all {
        let key = "k.1".to_owned();
        let one =
            Operation { client: 3, key, action, invoked_ns: 5, returned_ns: u64::MAX, outcome };
        assert_eq!(Operation::parse(&one.line()).as_ref(), Some(&one), "{}", one.line());
    }
    assert_eq!(Operation::parse("1\tk\t0\t1\tget\tnonsense"), None);
}
