//! Where things are: the names at the top, the crates, what each `lib.rs` and the README tell.

use crate::{File, Violation};

/// The names at the top of the repository; dot-files are free.
pub const TOP: [&str; 11] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "certs",
    "common",
    "examples",
    "man",
    "raftctl",
    "raftd",
];

/// Finds names at the top that do not belong there, and names that are missing.
pub fn check_top(names: &[String]) -> Vec<Violation> {
    let unknown = names
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .map(|name| Violation::at(name, "is not one of the top-level names"));
    let missing = TOP
        .iter()
        .filter(|name| !names.iter().any(|present| present == *name))
        .map(|name| Violation::at(*name, "is missing at the top"));
    unknown.chain(missing).collect()
}

/// The heading that ends the head of each library.
const HEADING: &str = "//! # Architecture invariants";

/// Finds libraries whose head does not end with what is deliberately absent.
pub fn check_invariants(file: &File) -> Vec<Violation> {
    if !file.path.ends_with("src/lib.rs") {
        return Vec::new();
    }
    let head = file.text.lines().take_while(|line| line.starts_with("//!"));
    let mut behind = head.skip_while(|line| *line != HEADING).skip(1).peekable();
    if behind.peek().is_none() {
        return vec![Violation::at(&file.path, "the head has no \"# Architecture invariants\"")];
    }
    let text: Vec<&str> = behind.collect();
    if text.iter().any(|line| line.starts_with("//! # ")) {
        return vec![Violation::at(&file.path, "the head ends with another section")];
    }
    if text.iter().all(|line| line.trim() == "//!") {
        return vec![Violation::at(&file.path, "\"# Architecture invariants\" says nothing")];
    }
    Vec::new()
}

/// Finds crates below `common/` that no row of a table in the README names as `common/<name>`.
pub fn check_readme(readme: &str, crates: &[String]) -> Vec<Violation> {
    let rows: Vec<&str> =
        readme.lines().filter(|line| line.trim_start().starts_with('|')).collect();
    crates
        .iter()
        .filter(|name| {
            let path = format!("common/{name}");
            !rows.iter().any(|row| names_path(row, &path))
        })
        .map(|name| Violation::at("README.md", format!("no table row names common/{name}")))
        .collect()
}

/// Tells whether a row names the path and not a longer one that starts alike.
fn names_path(row: &str, path: &str) -> bool {
    row.match_indices(path).any(|(at, _)| {
        !row[at + path.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_top_holds_exactly_the_agreed_names() {
        let mut top = names(&TOP);
        top.push(".gitignore".to_owned());
        assert!(check_top(&top).is_empty());
        top.push("scripts".to_owned());
        top.retain(|name| name != "LICENSE");
        let found: Vec<String> = check_top(&top).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["scripts: is not one of the top-level names", "LICENSE: is missing at the top"]
        );
    }

    #[test]
    fn a_library_ends_its_head_with_its_invariants() {
        let check = |text: &str| check_invariants(&File::new("raftd/src/lib.rs", text)).len();
        assert_eq!(check("//! A.\n//!\n//! # Architecture invariants\n//!\n//! - No b.\n"), 0);
        assert_eq!(check("//! A.\n"), 1);
        assert_eq!(check("//! # Architecture invariants\n//!\nmod a;\n//! later\n"), 1);
        assert_eq!(check("//! # Architecture invariants\n//! - No b.\n//! # More\n//! - c\n"), 1);
        assert_eq!(check("mod a;\n//! # Architecture invariants\n//! - No b.\n"), 1);
    }

    #[test]
    fn files_other_than_libraries_need_no_invariants() {
        assert!(check_invariants(&File::new("raftd/src/main.rs", "fn main() {}\n")).is_empty());
    }

    #[test]
    fn the_readme_names_every_crate_in_a_table() {
        let readme = "common/tidy\n| `common/storage` | log |\n| common/transport-x | no |\n";
        assert!(check_readme(readme, &names(&["storage"])).is_empty());
        assert_eq!(check_readme(readme, &names(&["tidy"])).len(), 1, "prose is no row");
        assert_eq!(check_readme(readme, &names(&["transport"])).len(), 1, "another crate's row");
    }
}
