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
    let mut open = vec![("raftctl".to_owned(), raftctl::command())];
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

/// The commands that sources name: in backquotes, or as what is to be typed next.
fn named_in(source: &str) -> Vec<(bool, String)> {
    let mut named = Vec::new();
    for (at, _) in source.match_indices("raftctl ") {
        let line_start = source[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = &source[line_start..at];
        let is_verb = source.as_bytes().get(at + 8).is_some_and(u8::is_ascii_lowercase);
        if before.trim_start().starts_with("//") || !is_verb {
            continue;
        }
        let (to_type, end) = match before.chars().last() {
            Some('`') => (false, "`"),
            Some('"') if before.contains("help(") || before.contains("format!(") => (true, "\""),
            _ => continue,
        };
        let rest = &source[at..];
        let text = &rest[..rest.find(end).expect("what begins has an end")];
        let text = text.replace("\\\n", " ").replace('\n', " ");
        let command = if to_type { text.split("  ").next().unwrap_or_default() } else { &text };
        named.push((to_type, command.trim().to_owned()));
    }
    named
}

/// Puts something in the place of what only the moment knows, and of what people put in.
fn filled_in(command: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = command;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        let end = at + rest[at..].find('}').expect("what opens is closed") + 1;
        let known = match text.rsplit(' ').next() {
            Some(word) if word.ends_with('=') => "h:1",
            Some("") if text.ends_with("--address ") => "h:1",
            Some("") if text.ends_with("--from-line ") || text.ends_with("--nodes ") => "1",
            _ if at == 0 && !text.is_empty() => "",
            _ => "x",
        };
        text.push_str(known);
        rest = &rest[end..];
    }
    text.push_str(rest);
    let text = text.replace("HOST:PORT", "h:1").replace(" > PIPE", "").replace(" ..", "");
    let lower = |word: &str| match word.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.to_lowercase()),
        None if word.chars().all(|c| c.is_ascii_uppercase()) => word.to_lowercase(),
        None => word.to_owned(),
    };
    text.split_whitespace().map(lower).collect()
}

fn sources(directory: &std::path::Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it may be listed").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn every_command_that_is_named_can_be_typed() {
    use clap::error::ErrorKind;
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "../raftd/src", "../common/client/src", "../certs/src"] {
        sources(&here.join(directory), &mut files);
    }
    let (mut bad, mut count) = (Vec::new(), 0);
    for file in files {
        let source = std::fs::read_to_string(&file).expect("it is text");
        for (to_type, command) in named_in(&source) {
            let words = filled_in(&command);
            // In a sentence a verb may stand for itself; what is to be typed is whole.
            let parsed = raftctl::command().try_get_matches_from(&words);
            let fits = parsed.as_ref().map_or_else(
                |error| match error.kind() {
                    ErrorKind::DisplayHelp => true,
                    ErrorKind::MissingRequiredArgument
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !to_type,
                    _ => false,
                },
                |_| true,
            );
            count += 1;
            if !fits {
                bad.push(format!("{}: {command}", file.display()));
            }
        }
    }
    assert!(count > 50, "{count} commands were found");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
