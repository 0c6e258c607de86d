//! The state: one node whose state outgrows its memory, and what its operator waits for then: a
//! snapshot, a restart, a new member that gets the snapshot.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::growth::curve::{Column, Curve, Part, Point, bytes};
use crate::growth::group::Group;
use crate::growth::node::{Node, Site};
use crate::growth::options::Options;
use crate::interrupt;
use crate::systems::{System, free_ports};

/// The size of values.
const SIZE: u32 = 4 << 10;

/// The log keeps little, so that a new member must get a snapshot.
const SETTINGS: &str = "[limits]\nlog_keep_entries_max = 1000\nlog_keep_bytes_max = 16777216\n";

/// Part of the state that is left over on the disk at most: the state, as much again while it is
/// compacted, a snapshot; and the snapshot and the state of the new member.
const DISK_STATES: u64 = 5;

/// How long a new member may take.
const PATIENCE: &str = "30m";

/// How long a removed one may take to notice.
const LEAVING: Duration = Duration::from_secs(20);

/// Metrics are posted once a second.
const POSTED: Duration = Duration::from_millis(1_500);

const COLUMNS: [Column; 9] = [
    Column::told("STATE MB", "stateMb", 0),
    Column::drawn("LOADED MB/S", "loadedMbPerSecond", 1, "values loaded, MB/s"),
    Column::told("WRITTEN", "writtenPerByte", 1),
    Column::drawn("SNAPSHOT s", "snapshotS", 2, "a snapshot, s"),
    Column::drawn(
        "RESTART ms",
        "restartServesMs",
        0,
        "until it serves, ms: restart, killed dashed",
    ),
    Column::drawn("KILLED ms", "killedServesMs", 0, "until it serves, ms: restart, killed dashed"),
    Column::drawn("CATCH-UP s", "catchUpS", 2, "a new member until it votes, s"),
    Column::drawn("MOST MB", "peakMb", 0, "most memory, MB: node, new dashed"),
    Column::drawn("NEW MB", "newPeakMb", 0, "most memory, MB: node, new dashed"),
];

const LEGEND: &str = "\
STATE: on the disk. LOADED: values a second, many in a message. WRITTEN: bytes that went to the disk
meanwhile for a byte of them. SNAPSHOT: `raftctl snapshot`. RESTART: from the start of the process
until a linearizable read is answered; KILLED: behind kill -9. CATCH-UP: `raftctl member add`, until
the new member votes. MOST, NEW: the most memory that the node and the new member had, without the
page cache, which counts against the bound as well.
";

/// Lets the state of a node grow beyond its memory; nothing is measured on a machine that cannot
/// bound memory, and why is said.
///
/// # Errors
/// If the disk is too small, or a node does not start or do what it is told.
pub(crate) fn run(system: &System, options: &Options) -> Result<Option<Curve>, String> {
    let memory = options.memory_bytes;
    let group = match Group::make("n1", memory) {
        Ok(group) => group,
        Err(why) => {
            eprintln!("state: not measured, for memory cannot be bounded here: {why}");
            return Ok(None);
        }
    };
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    check_disk(directory.path(), options.state_bytes)?;
    let (site, mut node) = Site::found(system, directory.path())?;
    node.place.configure(SETTINGS)?;
    node.bound(group);
    site.start(&mut node)?;
    let mut points = Vec::new();
    let mut there = 0;
    for (number, state) in (2..).zip(sizes(options.state_bytes)) {
        eprintln!("state {}", bytes(state));
        points.push(point(&site, &mut node, (there, state), (number, memory))?);
        there = state;
    }
    Ok(Some(Curve {
        part: Part::State,
        title: format!("of one node within {} of memory, values of 4 KiB", bytes(memory)),
        columns: &COLUMNS,
        points,
        legend: LEGEND,
    }))
}

/// Returns a sixteenth, a fourth, and all: with the defaults, less than the memory, as much, and
/// more.
fn sizes(state: u64) -> [u64; 3] {
    [state / 16, state / 4, state]
}

fn check_disk(directory: &Path, state: u64) -> Result<(), String> {
    let found = rustix::fs::statvfs(directory).map_err(|error| error.to_string())?;
    let (free, needed) = (found.f_bavail * found.f_frsize, DISK_STATES * state);
    if free >= needed {
        return Ok(());
    }
    let (free, needed, place) = (free >> 20, needed >> 20, directory.display());
    Err(format!(
        "{needed} MiB are needed at {place}, {free} MiB are free; say TMPDIR=.. or --state-mib N"
    ))
}

fn point(
    site: &Site,
    node: &mut Node,
    (there, state): (u64, u64),
    (number, memory): (usize, u64),
) -> Result<Point, String> {
    node.forget_peak();
    let size = u64::from(SIZE);
    let (keys, written) = (state / size, node.written_bytes());
    let loaded = site.fill(node, SIZE, (keys, there / size..keys))? * size as f64 / 1e6;
    let written = (node.written_bytes() - written) as f64 / (state - there) as f64;
    eprintln!("  loaded at {loaded:.0} MB a second");
    let snapshot_s = site.raftctl(&["snapshot", "create"])?;
    eprintln!("  snapshot in {snapshot_s:.1} s");
    node.end(Signal::KILL)?;
    let killed = site.start(node)?;
    node.end(Signal::TERM)?;
    let restart = site.start(node)?;
    eprintln!("  serves {:.0} ms after its start", restart.serves_ms);
    let (catch_up_s, new_peak) = add_member(site, node, number, memory)?;
    eprintln!("  a new member votes after {catch_up_s:.1} s");
    interrupt::pause(POSTED)?;
    let figures = vec![
        Some(node.metric("raftd_state_bytes")? / 1e6),
        Some(loaded),
        Some(written),
        Some(snapshot_s),
        Some(restart.serves_ms),
        Some(killed.serves_ms),
        Some(catch_up_s),
        Some(node.peak_bytes() as f64 / 1e6),
        Some(new_peak as f64 / 1e6),
    ];
    Ok(Point { size: state as f64, label: bytes(state), line: "", figures })
}

/// Adds a member, and removes it again; returns how many seconds it took until it voted, and the
/// most memory that it had.
fn add_member(site: &Site, node: &Node, number: usize, memory: u64) -> Result<(f64, u64), String> {
    let name = format!("n{number}");
    let ports = free_ports(1)?;
    let place = node.place.beside(&name, ports[0]);
    let (data, endpoint) = (place.data.display().to_string(), place.endpoint.clone());
    let member = format!("{name}={endpoint}");
    site.raftctl(&["member", "add", &member, "--bundle", "--prepare-only"])?;
    let mut new = site.node(place, Some(Group::make(&name, memory)?));
    site.start_new(&mut new, &["--data-dir", &data, "--listen", &endpoint])?;
    let took = site.raftctl(&["member", "add", &member, "--bundle", "--wait", PATIENCE])?;
    let peak = new.peak_bytes();
    site.raftctl(&["member", "remove", &name, "--yes"])?;
    new.join(LEAVING);
    std::fs::remove_dir_all(&data).map_err(|error| format!("{data}: {error}"))?;
    Ok((took, peak))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_named_with_a_way_out() {
        let here = std::env::temp_dir();
        assert_eq!(check_disk(&here, 0), Ok(()));
        let why = check_disk(&here, 1 << 55).expect_err("no disk is that large");
        assert!(why.contains("MiB are free") && why.ends_with("--state-mib N"), "{why}");
    }
}
