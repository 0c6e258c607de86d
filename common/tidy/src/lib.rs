//! Tests that keep the house in order.
//!
//! Each module holds one checker: a pure function from text or from plain values to the places that
//! break a rule. `tests/house.rs` reads the workspace and asks them all; a checker's own tests show
//! both what it lets pass and what it stops, since a check that cannot fail is a defect.
//!
//! | module | rule |
//! |---|---|
//! | [`layers`] | which crate may use which, and which crate alone names a library |
//! | [`layout`] | the names at the top, invariants in each `lib.rs`, the README's table |
//! | [`manifests`] | versions only in the root, lints inherited, folder = package |
//! | [`size`] | lines of a file, of a function and of a line |
//! | [`circles`] | no circle of files inside a crate |
//! | [`exports`] | no re-export and no public module that nothing outside of its crate uses |
//! | [`links`] | what a Markdown page links to or names is there |
//! | [`mod@matches`] | matches on our own enums are exhaustive |
//! | [`calls`] | clocks, threads, files and hash maps outside the pure crates; no `unwrap` |
//! | [`words`] | what the repository does not say; the newline at a file's end |
//! | [`builds`] | no selection of packages compiles RocksDB a second time |
//!
//! # Architecture invariants
//!
//! - No list of exceptions: a rule that needs one is changed here, for everybody, or the code is.
//! - Checkers do no I/O; only `tests/house.rs` reads files and runs cargo.
//! - Rust is read with a small scanner, not parsed: it knows comments, strings, braces and paths,
//!   and nothing about types, so it stays right when the language grows.
//! - Nothing of ours is used, so that a broken crate cannot keep the checks from running.

pub mod builds;
pub mod calls;
pub mod circles;
pub mod exports;
pub mod layers;
pub mod layout;
pub mod links;
pub mod manifests;
pub mod matches;
mod paths;
pub mod scanner;
pub mod size;
pub mod words;

use std::fmt;

/// A file of the workspace.
#[derive(Clone, Debug)]
pub struct File {
    /// Path below the workspace's root, with `/` between its parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl File {
    /// Makes a file from its path below the root and its text.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> File {
        File { path: path.into(), text: text.into() }
    }

    /// Tells whether the file is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    place: String,
    rule: String,
}

impl Violation {
    /// Names a whole file, crate or table, and the rule that it breaks.
    pub fn at(place: impl Into<String>, rule: impl Into<String>) -> Violation {
        Violation { place: place.into(), rule: rule.into() }
    }

    /// Names a line of a file, counted from 1, and the rule that it breaks.
    pub fn at_line(file: &File, line: usize, rule: impl Into<String>) -> Violation {
        Violation::at(format!("{}:{line}", file.path), rule)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}
