//! What `raftctl status` said while a fault was on, and whether that was true.
//!
//! It must never say HEALTHY while nothing is served, and never that a failure is tolerated which
//! is not. What it said is counted for each fault: the table that operators may rely on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::fault::{FAULTS, Fault};

const SECOND: u64 = 1_000_000_000;

/// Without an answer to a command for so long before, and [`SERVED_AFTER_NS`] after, nothing is
/// served: elections included, also on a busy machine.
const SERVED_BEFORE_NS: u64 = 3 * SECOND;

/// Clients need a moment to come back to a cluster that serves again.
const SERVED_AFTER_NS: u64 = 2 * SECOND;

/// How long after the beginning of a fault it must be told that a node is out.
const NOTICED_AFTER_NS: u64 = 5 * SECOND;

/// Who is asked so shortly before the end of a fault may answer behind it.
const ANSWERED_WITHIN_NS: u64 = SECOND;

/// How many different answers the table has for each fault: those that were given most.
const SAID_MAX: usize = 4;

/// The verdict that promises that all is well.
const HEALTHY: &str = "HEALTHY";

/// One answer of `raftctl status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was asked, on the clock of the history.
    pub at_ns: u64,
    /// The verdict, in a word; empty if there was no answer at all.
    pub health: String,
    /// The reason.
    pub reason: String,
    /// How many more failures are tolerated, as it says.
    pub tolerates: Option<u64>,
    /// How many voters there are.
    pub voters: u64,
    /// Who leads, by name.
    pub leader: Option<String>,
}

impl Sample {
    /// Says whether all is well, as it says.
    pub fn is_healthy(&self) -> bool {
        self.health == HEALTHY
    }
}

/// A fault that was on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which.
    pub fault: Fault,
    /// From when.
    pub from_ns: u64,
    /// Until when.
    pub to_ns: u64,
}

/// Returns what was said and was not so, a sentence each. `acknowledged` are times at which
/// commands were answered, in order; nothing is said of samples so late that an answer may still
/// come.
pub fn lies(samples: &[Sample], acknowledged: &[u64], spans: &[Span]) -> Vec<String> {
    let known_until = acknowledged.last().copied().unwrap_or(0);
    let mut lies = Vec::new();
    for sample in samples.iter().filter(|sample| sample.is_healthy()) {
        let (from, to) = (
            sample.at_ns.saturating_sub(SERVED_BEFORE_NS),
            sample.at_ns.saturating_add(SERVED_AFTER_NS),
        );
        let next = acknowledged.partition_point(|at| *at < from);
        let is_served = acknowledged.get(next).is_some_and(|at| *at <= to);
        if to < known_until && !is_served {
            let during = during(sample.at_ns, spans);
            lies.push(format!(
                "status said HEALTHY while no command was answered for {} s{during}",
                (SERVED_BEFORE_NS + SERVED_AFTER_NS) / SECOND
            ));
        }
    }
    for span in spans.iter().filter(|span| span.fault.takes_one_out()) {
        let end_ns = span.to_ns.saturating_sub(ANSWERED_WITHIN_NS);
        let noticed = span.from_ns + NOTICED_AFTER_NS..end_ns;
        for sample in samples.iter().filter(|sample| noticed.contains(&sample.at_ns)) {
            if let Some(wrong) = overstated(sample) {
                let name = span.fault.name();
                lies.push(format!("status said {wrong} while a node was out ({name})"));
            }
        }
    }
    lies.dedup();
    lies
}

fn during(at_ns: u64, spans: &[Span]) -> String {
    let on = spans.iter().find(|span| (span.from_ns..=span.to_ns).contains(&at_ns));
    on.map_or_else(String::new, |span| format!(" ({})", span.fault.name()))
}

/// Says what is too much for a cluster with a node that is out; `None` if nothing is.
fn overstated(sample: &Sample) -> Option<String> {
    if sample.is_healthy() {
        return Some(HEALTHY.to_owned());
    }
    let most = (sample.voters.saturating_sub(1) / 2).saturating_sub(1);
    let tolerates = sample.tolerates.filter(|tolerates| *tolerates > most)?;
    Some(format!("that {tolerates} more failures of {} voters are tolerated", sample.voters))
}

/// Writes the table of what was said during each fault.
pub fn table(samples: &[Sample], spans: &[Span]) -> String {
    let mut text = String::from("| fault | verdict | reason | seen |\n|---|---|---|---|\n");
    for fault in FAULTS {
        let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut all = 0;
        for span in spans.iter().filter(|span| span.fault == fault) {
            let within = |sample: &&Sample| (span.from_ns..=span.to_ns).contains(&sample.at_ns);
            for sample in samples.iter().filter(within) {
                *seen.entry((sample.health.clone(), general(&sample.reason))).or_default() += 1;
                all += 1;
            }
        }
        let mut seen: Vec<_> = seen.into_iter().collect();
        seen.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        for ((verdict, reason), times) in seen.into_iter().take(SAID_MAX) {
            let verdict = if verdict.is_empty() { "no answer" } else { &verdict };
            let name = fault.name();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {name} | {verdict} | {reason} | {times} of {all} |");
        }
    }
    text
}

/// Takes the numbers out of a reason, and what is only said to explain it, so that equal ones are
/// counted together.
fn general(reason: &str) -> String {
    let mut text = String::new();
    let reason = reason.split(';').next().unwrap_or_default();
    let reason = reason.split(" (").next().unwrap_or_default();
    for letter in reason.chars() {
        match (letter.is_ascii_digit(), text.ends_with('#')) {
            (true, true) => {}
            (true, false) => text.push('#'),
            (false, _) if letter == '|' => text.push('/'),
            (false, _) => text.push(letter),
        }
    }
    text
}
