//! Adds up what the runners say: `cargo test` one `test result:` line for each test binary, `cargo
//! nextest` one `Summary` line for all.

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
        let plain = without_colour(line);
        let Some(found) = of_cargo_test(&plain).or_else(|| of_nextest(&plain)) else {
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
/// ..`. Nextest shows the same line, indented, in the output of a test that failed: it counts once.
fn of_cargo_test(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim_end().strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split(';').find_map(|part| match part.trim().split_once(' ') {
            Some((number, label)) if label == name => number.parse::<u64>().ok(),
            _ => None,
        })
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

/// Parses `Summary [  12.3s] 15 tests run: 12 passed (1 slow), 2 failed, 1 timed out, 3 skipped`:
/// what has not passed has failed. `12/15 tests run` says that the run was stopped.
fn of_nextest(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim().strip_prefix("Summary [")?.split_once(" run: ")?;
    let mut tally = Tally::default();
    // `(1 slow, 2 leaky)` says more of those that passed.
    let plain: String =
        counts.split('(').map(|part| part.split(')').next_back().unwrap_or(part)).collect();
    for part in plain.split(',') {
        let mut words = part.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        match words.next()? {
            "passed" => tally.passed += number,
            "skipped" => tally.ignored += number,
            _ => tally.failed += number,
        }
    }
    Some(tally)
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
        assert!(!tally.add(&format!("    {BAD}")), "what a failed test has printed");
        assert_eq!(tally, Tally { passed: 16, failed: 2, ignored: 3 });
    }

    #[test]
    fn the_one_summary_of_nextest_counts_as_many() {
        let check = |line: &str, expected: Tally| {
            let mut tally = Tally::default();
            assert!(tally.add(line), "{line}");
            assert_eq!(tally, expected, "{line}");
        };
        check(
            "     Summary [   1.234s] 15 tests run: 15 passed (1 slow), 0 skipped",
            Tally { passed: 15, failed: 0, ignored: 0 },
        );
        check(
            "Summary [ 61.0s] 14/15 tests run: 10 passed (1 slow, 2 leaky), 3 failed, \
             1 timed out, 4 skipped",
            Tally { passed: 10, failed: 4, ignored: 4 },
        );
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
            "     Summary [   0.0s] no tests",
            "said: test result: ok. 1 passed; 0 failed; 0 ignored",
        ] {
            assert!(!tally.add(line), "{line}");
        }
        assert_eq!(tally, Tally::default());
    }
}
