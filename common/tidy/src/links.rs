//! What a Markdown page names is there: relative links lead to files or folders, and paths in
//! `code` are those of files or folders, from the root or, for Rust files, from any folder.

use crate::layout::TOP;
use crate::{File, Violation};
use std::collections::BTreeSet;

/// Finds links and paths of a Markdown page that are not there; `places` are all files and
/// folders, below the workspace's root.
pub fn check(file: &File, places: &BTreeSet<String>) -> Vec<Violation> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let targets = if fenced { Vec::new() } else { targets(line) };
        for target in targets {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            if !joined(folder, path).is_some_and(|place| places.contains(&place)) {
                let rule = format!("the link to {target} leads to nothing");
                found.push(Violation::at_line(file, index + 1, rule));
            }
        }
        let named = if fenced { Vec::new() } else { paths(line) };
        for path in named.into_iter().filter(|path| !ends_one(path, places)) {
            let rule = format!("`{path}` is not there");
            found.push(Violation::at_line(file, index + 1, rule));
        }
    }
    found
}

/// Returns the paths that stand as `code` in a line: those of Rust files, and those that begin at
/// the top. Patterns and placeholders are none.
fn paths(line: &str) -> Vec<&str> {
    let is_path = |code: &&str| {
        let first = code.split('/').next().unwrap_or_default();
        let is_pattern = code.contains(['{', '*', ' ']) || code.contains("NAME");
        let is_named = code.ends_with(".rs") || TOP.contains(&first);
        code.contains('/') && !is_pattern && is_named
    };
    line.split('`').skip(1).step_by(2).filter(is_path).collect()
}

/// Tells whether a path is the end of a place, from one of its folders on.
fn ends_one(path: &str, places: &BTreeSet<String>) -> bool {
    let path = path.trim_end_matches('/');
    let below = format!("/{path}");
    places.contains(path) || places.iter().any(|place| place.ends_with(&below))
}

/// Returns what the links `[text](target)` and the definitions `[name]: target` of a line lead to.
fn targets(line: &str) -> Vec<&str> {
    let mut found: Vec<&str> = line
        .match_indices("](")
        .filter_map(|(at, _)| line[at + 2..].split(')').next()?.split_whitespace().next())
        .collect();
    if line.starts_with('[') {
        let defined = line.split_once("]: ").and_then(|(_, target)| target.split(' ').next());
        found.extend(defined);
    }
    found
}

/// Returns a path below the root; `None` for one that leads out of it.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let places = ["README.md", "man", "man/raft.7", "common/A.md", "common/a/src/b.rs"];
        let places = places.iter().map(|place| (*place).to_owned()).collect();
        check(&File::new(path, text), &places).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_to_what_is_there_pass() {
        for text in ["[a](man/raft.7)", "[a](man/)", "[a](./common/A.md#b)", "[a](#b)"] {
            assert_eq!(found("README.md", text), [""; 0], "{text}");
        }
        assert_eq!(found("common/A.md", "[a](../README.md) and [b](https://c.example/d)"), [""; 0]);
        assert_eq!(found("README.md", "[a]\n\n[a]: man/raft.7\n"), [""; 0]);
    }

    #[test]
    fn links_to_nothing_are_found() {
        let rule = ["common/A.md:2: the link to man/raft.7 leads to nothing"];
        assert_eq!(found("common/A.md", "\n[a](man/raft.7)\n"), rule);
        for text in ["[a](b.md)", "[a](../../b)", "[a](man/raft.7) [b](man/raft.8)", "[a]: b.md"] {
            assert_eq!(found("README.md", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn paths_that_a_page_names_are_there() {
        for text in ["`a/src/b.rs`, `common/a/src/b.rs`", "`b.rs` `{a,c}/b.rs` `a/*`", "a/src/c.rs"]
        {
            assert_eq!(found("README.md", text), [""; 0], "{text}");
        }
        assert_eq!(
            found("README.md", "`man/`, `man`, `a/b`, `common/*/src`, `raftd/NAME`"),
            [""; 0]
        );
        for text in ["`a/src/c.rs`", "`x` and `c/src/b.rs`", "`aa/src/b.rs`", "`raftd/src`"] {
            assert_eq!(found("README.md", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn code_and_other_files_have_no_links() {
        assert_eq!(found("README.md", "```\n[a](b)\n```\n"), [""; 0]);
        assert_eq!(found("a.rs", "// [a](b)\n"), [""; 0]);
    }
}
