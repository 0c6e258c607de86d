//! The table of the museum is complete, and names nothing that does not exist.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use consensus::Mutation;
use simulator::{MUSEUM, Shown, UNSHOWN};

/// All rows of the museum: votes (A), replication (B), members (C), liveness (D), transfers (E),
/// reads (F), snapshots (G), storage (H), memory (I), clients (J). Numbers that are missing are
/// none's.
const ROWS: &str = "A1 A2 A4 A5 A7 A8 A9 A10 A11 A13 A14 A16 A17 A19 A20 A22 A23 B1 B2 B3 B4 \
    B5 B7 B8 B10 B11 B13 B14 B16 B17 B19 B20 B22 B23 B25 B26 B28 B29 B31 C1 C3 \
    C4 C6 C7 C9 C10 C12 C13 C15 C16 C18 C19 C21 C22 C24 C25 D1 D2 D4 D5 D7 D8 \
    D10 D11 D13 D14 E1 E2 E4 E5 E7 E8 E10 F1 F3 F4 F6 F7 F9 F10 F12 F13 G2 G3 \
    G5 G6 G8 G9 G11 G12 G14 G15 G17 G18 G20 G21 H2 H3 H5 H6 H8 H9 H11 H12 H14 \
    H15 I2 I3 I5 I6 I8 I9 I11 J1 J3 J4 J6 J7 J9 J10 J12 J13";

#[test]
fn every_row_is_shown_once() {
    let rows: Vec<&str> = MUSEUM.iter().map(|(row, _)| *row).collect();
    let once: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(once.len(), rows.len(), "a row is there twice");
    let all: BTreeSet<&str> = ROWS.split_whitespace().collect();
    let unshown: BTreeSet<&str> = UNSHOWN.iter().map(|(row, _)| *row).collect();
    assert!(once.is_disjoint(&unshown), "shown after all");
    assert_eq!(once.union(&unshown).copied().collect::<BTreeSet<&str>>(), all);
}

#[test]
fn every_bug_is_of_a_row_or_of_none() {
    for mutation in Mutation::ALL {
        let shown = MUSEUM.iter().any(|(_, shown)| match shown {
            Shown::Found(mutations) => mutations.contains(mutation),
            Shown::Tested(..) => false,
        });
        // Numbered 0 are those that no other implementation is known to have had.
        let ours = mutation.name()[1..].starts_with('0');
        assert!(shown || ours, "{} is of no row", mutation.name());
    }
}

#[test]
fn every_test_that_is_named_exists_and_names_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().parent().unwrap();
    let mut sources = String::new();
    read(root, &mut sources);
    for (row, shown) in MUSEUM {
        match shown {
            Shown::Tested(test, reason) => {
                assert!(sources.contains(&format!("fn {test}(")), "{row}: there is no {test}");
                let named = test.split_once("_museum_").map_or("", |(_, rows)| rows);
                let named = named.split('_').any(|name| name == row.to_lowercase());
                assert!(named, "{row}: {test} does not name it");
                assert!(!reason.is_empty(), "{row}: why not built in?");
            }
            Shown::Found(mutations) => assert!(!mutations.is_empty(), "{row}: by nothing"),
        }
    }
}

/// Appends all Rust sources below a directory.
fn read(path: &Path, sources: &mut String) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            read(&path, sources);
        } else if name.ends_with(".rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
