//! What came of a run, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit::audit;
use crate::check::{Findings, check};
use crate::failure::{Result, file, write};
use crate::fault::{FAULTS, Fault};
use crate::history::Operation;
use crate::truth::{Sample, Span, table};

/// How many keys without an order are told.
const TOLD_MAX: usize = 5;

/// All that is known at the end.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) lasted: Duration,
    pub(crate) directory: PathBuf,
    pub(crate) history: PathBuf,
    pub(crate) injected: BTreeMap<Fault, usize>,
    pub(crate) recoveries: usize,
    pub(crate) worst: (Duration, String),
    pub(crate) unknown: u64,
    pub(crate) failed: u64,
    /// What each member had in the end: `state ENDPOINT DIGEST KEYS` or `silent ENDPOINT WHY`.
    pub(crate) states: Vec<String>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) spans: Vec<Span>,
    pub(crate) violations: Vec<String>,
}

impl Report {
    /// Judges the history, and writes the summary and the table; says whether all was well.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(crate) fn conclude(mut self, table_at: Option<&Path>) -> Result<bool> {
        let read = std::fs::read_to_string(&self.history);
        let text = read.map_err(file("cannot read", &self.history))?;
        let history: Vec<Operation> = text.lines().filter_map(Operation::parse).collect();
        let findings = check(&history);
        self.violations.extend(audit(&history));
        self.violations.extend(sentences(&findings, &history));
        self.violations.extend(unequal(&self.states));
        let table = table(&self.samples, &self.spans);
        write(&self.directory.join("table.md"), &table)?;
        if let Some(path) = table_at {
            write(path, &table)?;
        }
        let summary = self.summary(findings.checked);
        write(&self.directory.join("summary"), &summary)?;
        print!("{summary}\n{table}");
        Ok(self.violations.is_empty())
    }

    fn summary(&self, checked: usize) -> String {
        let injections: usize = self.injected.values().sum();
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!("seed         {}", self.seed));
        line(format!("lasted       {:.0} s", self.lasted.as_secs_f64()));
        line(format!("injections   {injections}"));
        let counted =
            |fault: &Fault| Some(format!("{} {}", fault.name(), self.injected.get(fault)?));
        line(format!(
            "             {}",
            FAULTS.iter().filter_map(counted).collect::<Vec<_>>().join(", ")
        ));
        line(format!(
            "operations   {checked} checked, {} unknown, {} failed",
            self.unknown, self.failed
        ));
        let (took, behind) = (self.worst.0.as_secs_f64(), &self.worst.1);
        line(format!("recoveries   {}, the longest {took:.1} s ({behind})", self.recoveries));
        line(format!("violations   {}", self.violations.len()));
        for violation in &self.violations {
            line(format!("             {violation}"));
        }
        if !self.violations.is_empty() {
            line(format!("artefacts    {}", self.directory.display()));
        }
        text
    }
}

/// Tells what the search for an order found.
fn sentences(findings: &Findings, history: &[Operation]) -> Vec<String> {
    let mut all = Vec::new();
    let (told, more) = findings.violations.split_at(findings.violations.len().min(TOLD_MAX));
    for violation in told {
        let of = history.iter().filter(|operation| operation.key == violation.key).count();
        let mut text = format!(
            "key {} is not linearizable: {} of {of} operations have an order",
            violation.key, violation.ordered
        );
        if let Some(stuck) = &violation.stuck {
            // Writing to a string cannot fail.
            let _ = write!(text, ", which has no place for: {}", stuck.line());
        }
        all.push(text);
    }
    if !more.is_empty() {
        all.push(format!("{} more keys are not linearizable", more.len()));
    }
    for key in &findings.undecided {
        all.push(format!("key {key} took too many steps: nothing is known of it"));
    }
    all
}

/// Tells which members differ, or did not answer.
fn unequal(states: &[String]) -> Vec<String> {
    let digests: Vec<&str> =
        states.iter().filter_map(|state| state.strip_prefix("state ")?.split(' ').nth(1)).collect();
    let silent = states.iter().any(|state| state.starts_with("silent"));
    let equal = digests.windows(2).all(|pair| pair[0] == pair[1]);
    if equal && !silent {
        return Vec::new();
    }
    vec![format!("the members' states are not equal in the end: {}", states.join("; "))]
}
