//! The museum is complete: every citation leads to a label, every label to a diff or a test that
//! exists, and every diff has a head that says all there is to say.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use simulator::museum::Bug;

/// All rows of the museum: votes (A), replication (B), members (C), liveness (D), transfers (E),
/// reads (F), snapshots (G), storage (H), memory (I), clients (J). Numbers that are missing are
/// nobody's.
const ROWS: &str = "A1 A2 A4 A5 A7 A8 A9 A10 A11 A13 A14 A16 A17 A19 A20 A22 A23 B1 B2 B3 B4 \
    B5 B7 B8 B10 B11 B13 B14 B16 B17 B19 B20 B22 B23 B25 B26 B28 B29 B31 C1 C3 \
    C4 C6 C7 C9 C10 C12 C13 C15 C16 C18 C19 C21 C22 C24 C25 D1 D2 D4 D5 D7 D8 \
    D10 D11 D13 D14 E1 E2 E4 E5 E7 E8 E10 F1 F3 F4 F6 F7 F9 F10 F12 F13 G2 G3 \
    G5 G6 G8 G9 G11 G12 G14 G15 G17 G18 G20 G21 H2 H3 H5 H6 H8 H9 H11 H12 H14 \
    H15 I2 I3 I5 I6 I8 I9 I11 J1 J3 J4 J6 J7 J9 J10 J12 J13";

/// Rows that nothing shows; their labels say why.
const UNSHOWN: [&str; 1] = ["H2"];

/// The fewest letters of a label.
const LABEL_MIN: usize = 150;

/// How a row is shown, as its label says.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// By these diffs, named without their extension.
    Diffs(Vec<String>),
    /// By this test.
    Test(String),
    /// By nothing.
    Nothing,
}

#[test]
fn each_row_has_one_label() {
    let all: BTreeSet<&str> = ROWS.split_whitespace().collect();
    let labelled = labels();
    let rows: BTreeSet<&str> = labelled.keys().map(String::as_str).collect();
    assert_eq!(rows, all);
    let unshown = labelled.iter().filter(|(_, shown)| **shown == Shown::Nothing);
    assert_eq!(unshown.map(|(row, _)| row.as_str()).collect::<Vec<_>>(), UNSHOWN);
}

#[test]
fn each_diff_has_a_complete_head_and_stands_in_the_table() {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let readme = fs::read_to_string(museum().join("README.md")).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(museum()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "diff") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bug = Bug::parse(&fs::read_to_string(&path).unwrap());
        let bug = bug.unwrap_or_else(|error| panic!("{name}: {error}"));
        let listed = match bug.rows.is_empty() {
            true => "none".to_owned(),
            false => bug.rows.join(", "),
        };
        let line = format!("| {listed} | [{name}]({name}.diff) |");
        assert!(readme.lines().any(|other| other == line), "the table lacks {line}");
        let row = name.split('-').next().unwrap();
        let named = bug.rows.is_empty() || bug.rows.iter().any(|own| own == row);
        assert!(named, "{name} is not named after a row of its own");
        found += 1;
        for row in bug.rows {
            rows.entry(row).or_default().push(name.clone());
        }
    }
    assert_eq!(readme.matches(".diff) |").count(), found, "the table names what is not there");
    for (row, mut names) in rows {
        names.sort();
        assert_eq!(labels().get(&row), Some(&Shown::Diffs(names)), "{row}");
    }
}

#[test]
fn each_test_of_a_label_exists_and_names_its_row() {
    let sources = sources();
    for (row, shown) in labels() {
        let Shown::Test(test) = shown else {
            continue;
        };
        let (function, scenario) = (format!("fn {test}("), format!("scenarios/{test}.txt"));
        let exists = |(path, text): &(PathBuf, String)| {
            text.contains(&function) || path.to_string_lossy().ends_with(&scenario)
        };
        assert!(sources.iter().any(exists), "{row}: there is no test or scenario {test}");
        let (_, rows) = test.split_once("_museum_").unwrap_or_default();
        assert!(rows.split('_').any(|name| name == row.to_lowercase()), "{row}: {test}");
    }
}

#[test]
fn each_citation_leads_to_a_label() {
    let labels = labels();
    let (mut cited, mut lost) = (0, Vec::new());
    for (path, text) in sources() {
        for row in citations(&text) {
            cited += 1;
            if !labels.contains_key(&row) {
                lost.push(format!("{}: {row}", path.display()));
            }
        }
    }
    assert!(lost.is_empty(), "without a label: {lost:#?}");
    assert!(cited > 150, "only {cited} citations are found");
}

#[test]
fn citations_are_found_in_words_and_in_names() {
    let check = |text: &str, rows: &str| {
        let expected: Vec<&str> = rows.split_whitespace().collect();
        assert_eq!(citations(text), expected, "{text}");
    };
    check("it stays (museum A1, A2). Also museum B10 and C2", "A1 A2 B10");
    check("/// Museum\n    /// J3: so", "J3");
    check("fn a_name_s3_4_museum_c10_c12() {", "C10 C12");
    check("\"reads are bounded (F12)\", later (F1, F6), f(A), (B8+), (§3)", "F12 F1 F6");
    check("the museum of bugs, museum.rs, museum X", "");
}

/// Returns the rows that a text cites: "museum B8, B9", `_museum_b8_b9`, or "(B8, B9)".
fn citations(text: &str) -> Vec<String> {
    let plain = text.replace("///", " ").replace("//!", " ").replace("//", " ").replace("\n#", " ");
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rows = Vec::new();
    for (place, found) in words.match_indices("useum ") {
        rows.extend(leading_rows(&words[place + found.len()..], ", ").0);
    }
    for (place, found) in words.match_indices("_museum_") {
        let name = words[place + found.len()..].to_uppercase();
        rows.extend(leading_rows(&name, "_").0);
    }
    for (place, _) in words.match_indices('(') {
        let (cited, rest) = leading_rows(&words[place + 1..], ", ");
        if rest.starts_with(')') {
            rows.extend(cited);
        }
    }
    rows
}

/// Returns the rows that a text begins with, and what follows.
fn leading_rows<'a>(mut text: &'a str, between: &str) -> (Vec<String>, &'a str) {
    let mut rows = Vec::new();
    loop {
        let digits = text.get(1..).unwrap_or_default();
        let size = digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if size == 0 || !text.starts_with(|first: char| ('A'..='J').contains(&first)) {
            return (rows, text);
        }
        rows.push(text[..=size].to_owned());
        text = &text[size + 1..];
        match text.strip_prefix(between) {
            Some(rest) => text = rest,
            None => return (rows, text),
        }
    }
}

/// Returns how each row is shown, from the table and the sections of the museum's README.
fn labels() -> BTreeMap<String, Shown> {
    let readme = fs::read_to_string(museum().join("README.md")).unwrap();
    let mut diffs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in readme.lines() {
        let Some((rows, link)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ["))
        else {
            continue;
        };
        let (name, _) = link.split_once("](").unwrap();
        for row in rows.split(", ").filter(|row| *row != "none") {
            diffs.entry(row.to_owned()).or_default().push(name.to_owned());
        }
    }
    let mut labels: BTreeMap<String, Shown> = BTreeMap::new();
    for (row, mut names) in diffs {
        names.sort();
        labels.insert(row, Shown::Diffs(names));
    }
    for section in readme.split("\n### ").skip(1) {
        let (row, text) = section.split_once('\n').unwrap();
        assert!(text.chars().count() > LABEL_MIN, "{row}: the label says too little");
        let test = text.split_once("Test: `").and_then(|(_, rest)| rest.split('`').next());
        let shown = test.map_or(Shown::Nothing, |test| Shown::Test(test.to_owned()));
        assert_eq!(labels.insert(row.to_owned(), shown), None, "{row} has two labels");
    }
    labels
}

fn museum() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("museum")
}

/// Returns all texts of the repository that may cite a row: sources, scenarios, and pages.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().parent().unwrap();
    let mut sources = Vec::new();
    for part in ["certs", "common", "examples", "man", "raftctl", "raftd"] {
        read(&root.join(part), &mut sources);
    }
    sources
}

fn read(directory: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let cites = |kind: &std::ffi::OsStr| ["rs", "txt", "md"].iter().any(|known| kind == *known);
        let own = path.ends_with("simulator/tests/it/museum.rs");
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(cites) && !own {
            let text = fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
}
