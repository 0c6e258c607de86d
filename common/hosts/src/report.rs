//! What is said: a transcript while it goes on, and a table at the end.

use std::time::Duration;

use crate::call::Said;

/// Lines of one command's output that are shown.
const LINES_MAX: usize = 14;

/// What came of a step.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All was as it should be; what was measured or seen.
    Passed(String),
    /// Something was not.
    Failed(String),
    /// The machine lacks what it takes.
    NotRun(String),
}

/// All steps so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    /// Opens a step.
    pub(crate) fn begin(&self, name: &str, what: &str) {
        println!("\n== {name}: {what}");
    }

    /// Closes it.
    pub(crate) fn end(&mut self, name: &'static str, outcome: Outcome, took: Duration) {
        match &outcome {
            Outcome::Passed(seen) => println!("-- passed: {seen}"),
            Outcome::Failed(why) => println!("-- FAILED: {why}"),
            Outcome::NotRun(why) => println!("-- not run: {why}"),
        }
        self.rows.push((name, outcome, took));
    }

    /// Says whether nothing failed.
    pub(crate) fn is_well(&self) -> bool {
        let bad = |(_, outcome, _): &&(_, Outcome, _)| matches!(outcome, Outcome::Failed(_));
        !self.rows.iter().any(|row| bad(&row))
    }

    /// Returns the table.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:<14}{:<9}{:>7}  {}\n", "STEP", "RESULT", "TIME", "SEEN");
        for (name, outcome, took) in &self.rows {
            let (result, seen) = match outcome {
                Outcome::Passed(seen) => ("passed", seen),
                Outcome::Failed(why) => ("FAILED", why),
                Outcome::NotRun(why) => ("not run", why),
            };
            let seconds = format!("{:.1} s", took.as_secs_f64());
            let seen = seen.lines().next().unwrap_or_default();
            text.push_str(&format!("{name:<14}{result:<9}{seconds:>7}  {seen}\n"));
        }
        text
    }
}

/// Shows a command before it runs.
pub(crate) fn command(whose: &str, line: &str) {
    let mark = if whose == "operator" { '$' } else { '#' };
    println!("{whose}{mark} {line}");
}

/// Shows what it said.
pub(crate) fn output(said: &Said) {
    let text = said.all();
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(LINES_MAX);
    if hidden > 0 {
        println!("    .. {hidden} lines more");
    }
    for line in &lines[hidden..] {
        println!("    {line}");
    }
    match said.code {
        Some(0) => {}
        Some(code) => println!("    (exit code {code})"),
        None => println!("    (ended by a signal)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_not_run_is_no_failure_and_is_told() {
        let mut report = Report::default();
        report.end("boot", Outcome::Passed("3 hosts".into()), Duration::from_millis(1_200));
        report.end("clock", Outcome::NotRun("no libfaketime".into()), Duration::ZERO);
        assert!(report.is_well());
        report.end("crash", Outcome::Failed("a\nb".into()), Duration::from_secs(61));
        assert!(!report.is_well());
        let expected = "\
STEP          RESULT      TIME  SEEN
boot          passed     1.2 s  3 hosts
clock         not run    0.0 s  no libfaketime
crash         FAILED    61.0 s  a
";
        assert_eq!(report.table(), expected);
    }
}
