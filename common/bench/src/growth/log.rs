//! The log: one node whose log grows, and how fast it starts with it. One is enough: every node
//! opens its own log, and nobody helps it.

use std::time::Duration;

use rustix::process::Signal;

use crate::growth::curve::{Column, Curve, Part, Point, count};
use crate::growth::node::{Node, Site, Started};
use crate::growth::options::Options;
use crate::interrupt;
use crate::systems::System;

/// Entries put values of so many bytes to so many keys in turn: with their keys, 34 bytes.
const SIZE: u32 = 16;
const KEYS: u64 = 10_000;

/// A log is kept as long as it is smaller than the state; for that, an entry counts for less than
/// so many bytes. So the state gets as much in large values, before the log begins to grow.
const ENTRY_BYTES: u64 = 192;
const BALLAST_SIZE: u32 = 512 << 10;

/// While the ballast is written, the log keeps nothing; from then on, it keeps all.
const KEEP_NOTHING: &str = "[limits]\npersist_interval_s = 1\nlog_keep_entries_max = 1\n\
                            log_keep_bytes_max = 1048576\n";
const KEEP_ALL: &str =
    "[limits]\nlog_keep_entries_max = 4294967296\nlog_keep_bytes_max = 1099511627776\n";

/// Starts of each kind; the figures are medians.
const STARTS: usize = 3;

/// The log counts as empty when the ballast is not in it any more, so far as the disk goes. Files
/// go when more is written, so many entries at a time.
const EMPTY_BYTES: f64 = 32e6;
const ROUND: u64 = 50_000;
const ROUNDS_MAX: u32 = 20;

/// Metrics are posted once a second.
const POSTED: Duration = Duration::from_millis(1_500);

const COLUMNS: [Column; 9] = [
    Column::told("KEPT", "entriesKept", 0),
    Column::drawn("LOG MB", "logMb", 1, "log on the disk, MB"),
    Column::drawn("LOADED/S", "loadedPerSecond", 0, "entries a second while it is loaded"),
    Column::drawn("ANSWERS ms", "answersMs", 0, "start in ms: answers, serves dashed"),
    Column::drawn("SERVES ms", "servesMs", 0, "start in ms: answers, serves dashed"),
    Column::drawn("KILLED ms", "killedAnswersMs", 0, "after kill -9, ms: answers, serves dashed"),
    Column::drawn("SERVES ms", "killedServesMs", 0, "after kill -9, ms: answers, serves dashed"),
    Column::drawn("MEMORY MB", "residentMb", 0, "memory, MB: started, most dashed"),
    Column::drawn("MOST MB", "peakMb", 0, "memory, MB: started, most dashed"),
];

const LEGEND: &str = "\
KEPT: entries in the log. LOADED: entries a second, many in a message. ANSWERS: from the start of
the process until `raftctl status` has an answer; SERVES: until a linearizable read has one. KILLED:
the same behind kill -9, right after loading. MEMORY: a second after a start. MOST: while it was
loaded and killed. Medians of three starts.
";

/// Lets the log of a node grow.
///
/// # Errors
/// If the node does not start, or cannot be loaded.
pub(crate) fn run(system: &System, options: &Options) -> Result<Curve, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (site, mut node) = Site::found(system, directory.path())?;
    let ballast = (options.entries * ENTRY_BYTES).div_ceil(BALLAST_SIZE.into());
    eprintln!("log: {ballast} values of 512 KiB before, so that the log is kept");
    node.place.configure(KEEP_NOTHING)?;
    site.start(&mut node)?;
    // Its keys are others than those that entries put.
    site.fill(&mut node, BALLAST_SIZE, (KEYS + ballast, KEYS..KEYS + ballast))?;
    empty_log(&site, &mut node)?;
    node.end(Signal::TERM)?;
    node.place.configure(KEEP_ALL)?;
    site.start(&mut node)?;
    let before = first_and_last(&node)?.1;
    let mut points = Vec::new();
    let mut there = 0;
    for entries in lengths(options.entries) {
        eprintln!("log {}", count(entries));
        points.push(point(&site, &mut node, (there, entries, before))?);
        there = entries;
    }
    Ok(Curve {
        part: Part::Log,
        title: "entries in the log of one node; puts of 16 B to 10,000 keys".to_owned(),
        columns: &COLUMNS,
        points,
        legend: LEGEND,
    })
}

/// Waits until what was written has left the log, also on the disk.
fn empty_log(site: &Site, node: &mut Node) -> Result<(), String> {
    for _ in 0..ROUNDS_MAX {
        site.fill(node, SIZE, (KEYS, 0..ROUND))?;
        // Persisted, compacted, and posted, each once a second.
        interrupt::pause(2 * POSTED)?;
        if node.metric("raftd_log_bytes")? < EMPTY_BYTES {
            return Ok(());
        }
    }
    eprintln!("  the log still has some of the values");
    Ok(())
}

/// Returns nothing, a hundredth, a tenth, and all.
fn lengths(entries: u64) -> Vec<u64> {
    let mut lengths = vec![0, entries / 100, entries / 10, entries];
    lengths.dedup();
    lengths
}

fn point(
    site: &Site,
    node: &mut Node,
    (there, entries, before): (u64, u64, f64),
) -> Result<Point, String> {
    node.forget_peak();
    let is_longer = entries > there;
    let load = || site.fill(node, SIZE, (KEYS, there..entries));
    let loaded = is_longer.then(load).transpose()?;
    if let Some(per_s) = loaded {
        eprintln!("  {per_s:.0} entries a second");
    }
    let killed = starts(site, node, Signal::KILL)?;
    let peak = node.peak_bytes();
    let clean = starts(site, node, Signal::TERM)?;
    let (first, last) = first_and_last(node)?;
    let resident = node.resident_bytes();
    let kept = last - first + 1.0;
    if last - before < entries as f64 || kept < entries as f64 {
        eprintln!("  only {} entries are kept", count(kept as u64));
    }
    let Started { answers_ms, serves_ms } = clean;
    eprintln!("  answers after {answers_ms:.0} ms, serves after {serves_ms:.0} ms");
    let figures = vec![
        Some(kept),
        Some(node.metric("raftd_log_bytes")? / 1e6),
        loaded,
        Some(answers_ms),
        Some(serves_ms),
        Some(killed.answers_ms),
        Some(killed.serves_ms),
        Some(resident as f64 / 1e6),
        Some(peak as f64 / 1e6),
    ];
    Ok(Point { size: entries as f64, label: count(entries), line: "", figures })
}

/// Ends and starts the node some times; returns the medians.
fn starts(site: &Site, node: &mut Node, how: Signal) -> Result<Started, String> {
    let mut all = Vec::new();
    for _ in 0..STARTS {
        node.end(how)?;
        all.push(site.start(node)?);
    }
    let median = |figure: fn(&Started) -> f64| {
        let mut figures: Vec<f64> = all.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[STARTS / 2]
    };
    let answers_ms = median(|started| started.answers_ms);
    Ok(Started { answers_ms, serves_ms: median(|started| started.serves_ms) })
}

fn first_and_last(node: &Node) -> Result<(f64, f64), String> {
    interrupt::pause(POSTED)?;
    Ok((node.metric("raftd_log_first_index")?, node.metric("raftd_log_last_index")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_go_up_to_the_longest_by_tens() {
        assert_eq!(lengths(10_000_000), [0, 100_000, 1_000_000, 10_000_000]);
        assert_eq!(lengths(5), [0, 5]);
    }
}
