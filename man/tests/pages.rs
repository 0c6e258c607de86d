//! The pages that are committed are those that the definitions give.
#![allow(clippy::unwrap_used)]

use std::fs;

#[test]
fn no_page_is_stale() {
    for (name, page) in man::pages().unwrap() {
        let committed = fs::read_to_string(man::directory().join(name)).unwrap_or_default();
        assert!(committed == page, "{name} is stale: cargo xtask man writes it anew");
    }
}

/// raft(7) names files and tests for each rule; they must exist.
#[test]
fn every_file_that_raft_7_names_exists() {
    let page = fs::read_to_string(man::directory().join("raft.7")).unwrap();
    let root = man::directory().join("..");
    let mut named = 0;
    for word in page.split_whitespace() {
        let word = word.trim_start_matches("\\fI").trim_end_matches("\\fR");
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if word.ends_with(".rs") && word.contains('/') {
            named += 1;
            assert!(root.join(word).exists(), "raft(7) names {word}, which is not there");
        }
    }
    assert!(named >= 20, "{named} files are few for the whole algorithm");
}
