//! The history of runs, as it is committed.

use std::path::Path;

use simulator::history;

#[test]
fn every_line_of_the_history_is_a_run_of_fresh_seeds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("history.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let runs = history::parse(&text).unwrap();
    assert!(runs.iter().all(|run| run.seeds > 0), "a run without seeds shows nothing");
}
