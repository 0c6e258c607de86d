//! What code does not call: the world outside in the pure crates, a panic without a reason
//! anywhere.

use crate::scanner::{code_of, line_of, occurrences, test_lines};
use crate::{File, Violation};

/// Source folders of the crates without I/O, clock, thread or randomness.
const PURE: [&str; 2] = ["common/consensus/src/", "common/replica/src/"];

/// What would make two runs with the same inputs differ.
const IMPURE: [&str; 10] = [
    "Instant::now",
    "SystemTime::now",
    "thread::",
    "std::thread",
    "std::fs",
    "std::net",
    "HashMap",
    "HashSet",
    "rand::",
    "RandomState",
];

/// Marks of unfinished work, in the product and in tests alike.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Finds banned calls in a Rust file; `is_test` marks a file that is test code as a whole.
pub fn check(file: &File, is_test: bool) -> Vec<Violation> {
    let code = code_of(&file.text);
    let mut found = Vec::new();
    let mut ban = |needle: &str, why: &str, allowed: &dyn Fn(usize) -> bool| {
        for at in occurrences(&code, needle) {
            let line = line_of(&code, at);
            if !allowed(line) {
                found.push(Violation::at_line(file, line, format!("{needle} {why}")));
            }
        }
    };
    for needle in UNFINISHED {
        ban(needle, "is unfinished work", &|_| false);
    }
    let in_test = test_lines(&code);
    ban(".unwrap()", "says nothing: expect(\"why it holds\") or an error", &|line| {
        is_test || in_test[line - 1]
    });
    if PURE.iter().any(|folder| file.path.starts_with(folder)) {
        for needle in IMPURE {
            ban(needle, "makes a pure crate depend on the world", &|_| false);
        }
        found.extend(grouped_imports(file, &code));
    }
    found
}

/// Finds impure names that a grouped import spells in parts: `use std::{fs, io}`.
fn grouped_imports(file: &File, code: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for at in occurrences(code, "use") {
        let tree = code[at + 3..].split(';').next().unwrap_or_default();
        if !tree.contains('{') {
            continue; // found as plain text already
        }
        for path in expand(tree) {
            for needle in IMPURE.iter().filter(|needle| !tree.contains(**needle)) {
                let name = needle.trim_end_matches("::");
                if !occurrences(&path, name).is_empty() {
                    let rule = format!("{path} makes a pure crate depend on the world");
                    found.push(Violation::at_line(file, line_of(code, at), rule));
                }
            }
        }
    }
    found
}

/// Expands an import tree to whole paths: `std::{fs, io::{self, Read}}` to three of them.
fn expand(tree: &str) -> Vec<String> {
    let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    split_at_top(inside)
        .into_iter()
        .flat_map(expand)
        .map(|path| format!("{}{path}", prefix.trim_start()))
        .collect()
}

/// Splits at the commas outside of braces; a trailing comma makes no part.
fn split_at_top(list: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    list.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&File::new(path, text), false).len()
    }

    #[test]
    fn the_pure_crates_may_not_reach_the_world() {
        for line in [
            "let now = Instant::now();",
            "let now = std::time::SystemTime::now();",
            "thread::spawn(work);",
            "let text = std::fs::read(path);",
            "let socket = std::net::UdpSocket::bind(a);",
            "let map: HashMap<u8, u8>;",
            "let set = HashSet::new();",
            "let x = rand::random();",
        ] {
            let text = format!("fn f() {{\n    {line}\n}}\n");
            assert_eq!(count("common/consensus/src/a.rs", &text), 1, "{line}");
            assert_eq!(count("common/replica/src/a/b.rs", &text), 1, "{line}");
            assert_eq!(count("common/transport/src/a.rs", &text), 0, "{line}");
        }
    }

    #[test]
    fn a_grouped_import_hides_nothing() {
        for line in [
            "use std::{fmt, fs};",
            "use std::{\n    net::{IpAddr, SocketAddr},\n};",
            "use std::{collections::{BTreeMap, HashMap}};",
            "use std::{self, thread as t};",
        ] {
            assert!(count("common/replica/src/a.rs", line) >= 1, "{line}");
        }
        let fine = "use std::{collections::{BTreeMap, BTreeSet}, fmt::{self, Display}};";
        assert_eq!(count("common/replica/src/a.rs", fine), 0);
    }

    #[test]
    fn names_in_comments_and_strings_are_not_calls() {
        let text = "// HashMap, todo!\nconst A: &str = \"Instant::now dbg! .unwrap()\";\n";
        assert_eq!(count("common/consensus/src/a.rs", text), 0);
        assert_eq!(count("common/consensus/src/a.rs", "let operand::x = HashMapLike;"), 0);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let product = "fn f() { a.unwrap(); }\n";
        assert_eq!(count("raftd/src/a.rs", product), 1);
        assert!(check(&File::new("raftd/tests/a.rs", product), true).is_empty());
        assert_eq!(
            count("raftd/src/a.rs", "#[cfg(test)]\nmod t {\n  fn f() { a.unwrap(); }\n}\n"),
            0
        );
        assert_eq!(count("raftd/src/a.rs", "fn f() { a.unwrap_or(1); a.expect(\"b\"); }\n"), 0);
    }

    #[test]
    fn unfinished_work_is_found_in_tests_too() {
        for line in ["todo!()", "unimplemented!(\"later\")", "dbg!(a)"] {
            let file = File::new("raftd/tests/a.rs", format!("fn f() {{ {line} }}\n"));
            assert_eq!(check(&file, true).len(), 1, "{line}");
        }
    }

    #[test]
    fn import_trees_expand_to_whole_paths() {
        let paths = expand(" std::{fs, io::{self, Read}, }");
        assert_eq!(paths, ["std::fs", " std::io::self", " std::io::Read"].map(|p| p.trim()));
    }
}
