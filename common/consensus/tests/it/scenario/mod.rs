//! Protocol scenarios as text: `common/consensus/tests/scenarios/*.txt`, a file a sentence.
//!
//! A scenario begins with comments: the section of the dissertation, and what must be so. Then
//! events stand alternately with what the nodes want done because of them:
//!
//! - A line at the margin is an **event** ([`stage`]) such as `propose n1 r1 x`, or what is
//!   **expected** of the state ([`expect`]) such as `expect n1: commit 2`. People write these.
//! - An indented line is an **action** that was recorded: `    n1 -> n2: t4 vote granted`. These
//!   are written anew by `SCENARIOS=write cargo test -p consensus --test it scenario`, and the
//!   difference is to be reviewed like code.
//!
//! Recording never touches an expectation, and a file in which an expectation fails is not
//! written: a bug cannot be recorded as the right answer to a question that was asked.

mod expect;
mod notation;
mod stage;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use stage::Stage;

/// Why a line of a scenario does not make sense, or does not hold.
#[derive(Debug)]
pub struct Refused(String);

impl From<String> for Refused {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Refused {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What belongs to the recorded actions begins so.
const INDENT: &str = "    ";

/// A scenario that was played.
struct Played {
    /// The file as it would be with the actions of today.
    text: String,
    /// Lines that make no sense, and expectations that do not hold.
    refused: Vec<String>,
    /// Events after which other actions follow than the recorded ones.
    differs: Vec<String>,
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let write = std::env::var("SCENARIOS").is_ok_and(|wish| wish == "write");
    let mut complaints = Vec::new();
    let files = files();
    assert!(files.len() >= 90, "{} scenarios", files.len());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        complaints.extend(lacks(&name, &text));
        let played = play(&name, &text);
        if write && played.refused.is_empty() {
            fs::write(&file, &played.text).unwrap();
        } else {
            complaints.extend(played.refused);
            complaints.extend(played.differs);
        }
    }
    assert!(
        complaints.is_empty(),
        "\n{}\nWhere the actions (indented) are right as they are now, record them with\n    \
         SCENARIOS=write cargo test -p consensus --test it scenario\nand review the difference.",
        complaints.join("\n")
    );
}

/// Says what a scenario lacks: a section of the dissertation, the rows of its name, expectations.
fn lacks(name: &str, text: &str) -> Vec<String> {
    let head: String = text.lines().map_while(|line| line.strip_prefix('#')).collect();
    let mut missing = Vec::new();
    if !head.contains('§') {
        missing.push(format!("{name}: the head names no section of the dissertation"));
    }
    for (letter, number) in museum_rows(name.trim_end_matches(".txt")) {
        let row = format!("museum {letter}{number}");
        if !head.contains(&row) {
            missing.push(format!("{name}: the head does not cite {row}"));
        }
    }
    if !text.lines().any(|line| line.starts_with("expect ")) {
        missing.push(format!("{name}: nothing is expected"));
    }
    missing
}

/// The rows of the museum in a file's name: `.._museum_a8_a9` has two.
fn museum_rows(name: &str) -> Vec<(char, String)> {
    let Some((_, rows)) = name.split_once("_museum_") else {
        return Vec::new();
    };
    let row = |row: &str| {
        let mut letters = row.chars();
        let letter = letters.next().unwrap().to_ascii_uppercase();
        (letter, letters.collect())
    };
    rows.split('_').map(row).collect()
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.collect();
    files.sort();
    assert!(files.iter().all(|file| file.extension().is_some_and(|end| end == "txt")));
    files
}

fn play(name: &str, text: &str) -> Played {
    let mut stage = Stage::default();
    let mut played = Played { text: String::new(), refused: Vec::new(), differs: Vec::new() };
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let place = format!("{name}:{}", at + 1);
        let mut recorded = Vec::new();
        while let Some((_, action)) = lines.next_if(|(_, next)| next.starts_with(INDENT)) {
            recorded.push(action.trim_start().to_owned());
        }
        played.text += &format!("{line}\n");
        let (said, why) = line.split_once(" # ").unwrap_or((line, ""));
        let said = said.trim();
        match happens(&mut stage, said) {
            Ok(actions) => {
                for action in &actions {
                    played.text += &format!("{INDENT}{action}\n");
                }
                if actions != recorded {
                    let difference = difference(&recorded, &actions);
                    played.differs.push(format!("{place}: {said}\n{difference}"));
                }
            }
            Err(Refused(found)) => {
                let why = if why.is_empty() { String::new() } else { format!("  ({why})") };
                played.refused.push(format!("{place}: {said}{why}\n    {found}"));
            }
        }
    }
    played
}

/// Plays a line: an event gives actions. A check of the core that fails is told with the line.
fn happens(stage: &mut Stage, said: &str) -> Result<Vec<String>, Refused> {
    if said.is_empty() || said.starts_with('#') {
        return Ok(Vec::new());
    }
    let play = || match said.strip_prefix("expect ") {
        Some(expected) => stage.expect(expected).map(|()| Vec::new()),
        None => stage.event(said),
    };
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a check of the core failed: {}", text.unwrap_or("a panic")).into())
    })
}

/// Actions as they are recorded and as they are, with what is in common around the difference.
fn difference(recorded: &[String], actions: &[String]) -> String {
    let same = recorded.iter().zip(actions).take_while(|(a, b)| a == b).count();
    let (was, is) = (&recorded[same..], &actions[same..]);
    let end = was.iter().rev().zip(is.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut lines = Vec::new();
    let around = |sign: &str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| format!("  {sign} {line}")).collect()
    };
    lines.extend(around(" ", &recorded[..same]));
    lines.extend(around("-", &was[..was.len() - end]));
    lines.extend(around("+", &is[..is.len() - end]));
    lines.extend(around(" ", &was[was.len() - end..]));
    lines.join("\n")
}
