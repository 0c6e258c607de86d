//! The manual, executed: each file of `tests/cmd` shows commands and what they print.
//!
//! None of them reaches a cluster; those of `members.rs` and `operate.rs` do.

/// Runs a file's commands with a configuration and data of their own.
fn check(file: &str) {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path().display().to_string();
    trycmd::TestCases::new()
        .env("RAFTCTL_CONFIG_DIR", &home)
        .env("XDG_DATA_HOME", &home)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .insert_var("[HOME]", home)
        .expect("the name of the variable is valid")
        .case(format!("tests/cmd/{file}.trycmd"))
        .run();
}

#[test]
fn usage_errors_say_what_is_right() {
    check("usage");
}

#[test]
fn every_error_is_explained() {
    check("explain");
}

#[test]
fn init_prepares_once_and_goes_on() {
    check("init");
}

#[test]
fn a_bad_line_stops_a_load_before_it_begins() {
    check("load");
}

#[test]
fn no_flag_changes_unseen() {
    check("help");
}

#[test]
fn certificates_are_listed_shown_and_renewed() {
    check("cert");
}

#[test]
fn members_are_changed_by_one_command_each() {
    check("member");
}

#[test]
fn snapshots_are_shown_and_verified_without_a_cluster() {
    check("snapshot");
}

#[test]
fn sessions_are_listed_and_shown() {
    check("session");
}

#[test]
fn verbs_tell_what_they_take() {
    check("verbs");
}

#[test]
fn the_help_of_every_verb_is_executed_somewhere() {
    let mut pages = String::new();
    for directory in ["tests/cmd", "tests/live", "tests/offline"] {
        for file in std::fs::read_dir(directory).expect("it is there") {
            let path = file.expect("it is there").path();
            if path.extension().is_some_and(|extension| extension == "trycmd") {
                pages += &std::fs::read_to_string(path).expect("text");
            }
        }
    }
    let mut missing = Vec::new();
    let mut open =
        vec![("raftctl".to_owned(), <raftctl::cli::Cli as clap::CommandFactory>::command())];
    while let Some((line, command)) = open.pop() {
        let shown = |flag: &&str| pages.contains(&format!("$ {line} {flag}\n"));
        if !["-h", "--help"].iter().any(shown) {
            missing.push(line.clone());
        }
        let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
        open.extend(verbs.map(|verb| (format!("{line} {}", verb.get_name()), verb.clone())));
    }
    assert!(missing.is_empty(), "no page executes the help of {missing:?}");
}
