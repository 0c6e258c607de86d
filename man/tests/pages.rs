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

/// What operators make of the sample: every line without its mark.
#[test]
fn the_sample_is_a_configuration_with_the_defaults() {
    let page = man::pages().unwrap().into_iter().find(|(name, _)| name.ends_with(".sample"));
    let (_, sample) = page.unwrap();
    let in_force = |line: &str| {
        let setting = line.strip_prefix('#').unwrap_or(line);
        if setting.starts_with(' ') { String::new() } else { format!("{setting}\n") }
    };
    let text: String = sample.lines().map(in_force).collect();
    let directory = std::env::temp_dir().join(format!("raftd-sample-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("raftd.toml");
    fs::write(&file, &text).unwrap();
    let read = raftd::config::Settings::load(&file, &Default::default());
    fs::remove_dir_all(&directory).unwrap();
    let read = read.unwrap_or_else(|failure| panic!("{failure}: {text}")).node;
    let plain = raftd::Config::new("/x", read.certificates.clone());
    assert_eq!((&read.raft, &read.limits, read.listen), (&plain.raft, &plain.limits, plain.listen));
    assert_eq!(read.peers.len(), 1);
    assert!(
        raftd::config::KEYS.iter().all(|key| text.contains(key.name.split('.').next().unwrap()))
    );
}

#[test]
fn no_page_sends_its_reader_to_one_that_is_not_there() {
    for (file, page) in man::pages().unwrap() {
        for program in ["raftctl", "raftd"] {
            let sent = page.lines().find(|line| line.starts_with(&format!("{program}\\-")));
            assert_eq!(sent, None, "{file}");
        }
    }
}
