//! Adds up what `cargo test` says: one `test result:` line for each test binary.

use std::fmt;

/// Sums over all test binaries of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// Adds a line of output, if it is a summary; returns whether it was.
    pub(crate) fn add(&mut self, line: &str) -> bool {
        let Some(found) = parse(line) else {
            return false;
        };
        self.passed += found.passed;
        self.failed += found.failed;
        self.ignored += found.ignored;
        true
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 {
            write!(f, ", {} skipped", self.ignored)?;
        }
        Ok(())
    }
}

/// Parses `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in
/// ..`.
fn parse(line: &str) -> Option<Tally> {
    let plain = without_colour(line);
    let (_, counts) = plain.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split(';').find_map(|part| match part.trim().split_once(' ') {
            Some((number, label)) if label == name => number.parse::<u64>().ok(),
            _ => None,
        })
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

/// Removes terminal colour sequences (ECMA-48 `ESC [ .. m`), which appear with
/// `CARGO_TERM_COLOR=always`.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, behind)| behind);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; \
                      1 filtered out; finished in 0.51s";
    const BAD: &str = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; \
                       0 filtered out; finished in 1.00s";

    #[test]
    fn summaries_of_all_binaries_add_up() {
        let mut tally = Tally::default();
        assert!(tally.add(OK) && tally.add(BAD));
        assert_eq!(tally, Tally { passed: 16, failed: 2, ignored: 3 });
    }

    #[test]
    fn the_closing_line_is_plain() {
        let tally = Tally { passed: 16, failed: 2, ignored: 0 };
        assert_eq!(tally.to_string(), "16 passed, 2 failed");
        assert_eq!(Tally { ignored: 3, ..tally }.to_string(), "16 passed, 2 failed, 3 skipped");
    }

    #[test]
    fn colour_does_not_hide_a_summary() {
        let coloured = OK.replacen("ok", "\u{1b}[32mok\u{1b}(B\u{1b}[m", 1).replace("\u{1b}(B", "");
        let mut tally = Tally::default();
        assert!(tally.add(&coloured), "{coloured:?}");
        assert_eq!(tally.passed, 12);
    }

    #[test]
    fn other_lines_count_for_nothing() {
        let mut tally = Tally::default();
        for line in [
            "",
            "running 12 tests",
            "test commit::tests::a ... ok",
            "test result: ok.",
            "test result: ok. many passed; 0 failed; 0 ignored",
            "said: test result: ok. 1 passed; 0 failed; 0 ignored",
        ] {
            assert!(!tally.add(line), "{line}");
        }
        assert_eq!(tally, Tally::default());
    }
}
