//! What indexes tell of a history.

use chaos::audit::audit;
use chaos::history::Operation;

fn read(lines: &[&str]) -> Vec<Operation> {
    let parse = |line: &&str| Operation::parse(&line.replace(' ', "\t").replace('_', " "));
    lines.iter().map(|line| parse(line).expect("an operation")).collect()
}

#[test]
fn commands_behind_each_other_are_behind_each_other_in_the_log() {
    let fine = ["1 k 0 5 put_a done 3", "2 l 6 9 put_b done 4", "1 k 7 9 get value_a 3"];
    assert_eq!(audit(&read(&fine)), Vec::<String>::new());
    let overlapping = ["1 k 0 8 put_a done 4", "2 l 6 9 put_b done 3"];
    assert_eq!(audit(&read(&overlapping)), Vec::<String>::new());
    let backward = ["1 k 0 5 put_a done 4", "2 l 6 9 put_b done 3"];
    let told = audit(&read(&backward));
    assert!(told[0].contains("index 3 was given after index 4"), "{told:?}");
}

#[test]
fn two_commands_at_one_index_are_two_histories() {
    let both = ["1 k 0 9 put_a done 207", "2 l 0 9 put_b done 207"];
    let told = audit(&read(&both));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("two commands were acknowledged at index 207"), "{told:?}");
}
