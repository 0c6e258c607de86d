//! Keys, values, voters and clients: each size on a new cluster, which is loaded for some seconds.

use std::time::Duration;

use crate::figures::Figures;
use crate::growth::curve::{Column, Curve, Part, Point, bytes, count};
use crate::growth::options::Options;
use crate::interrupt;
use crate::loading::{Extent, fill, measure};
use crate::systems::{Cluster, NODES, System};
use crate::usage::Usage;
use crate::work::{Kind, Work};

/// What is not growing has this size.
const CLIENTS: u32 = 64;
const SIZE: u32 = 256;
const KEYS: u64 = 10_000;

/// What is measured at each size.
const COLUMNS: [Column; 11] = [
    Column::drawn("OPS/S", "perSecond", 0, "operations a second"),
    Column::told("MB/S", "mbPerSecond", 1),
    Column::drawn("P50 ms", "p50Ms", 2, "latency in ms: p50, p99 dashed"),
    Column::drawn("P99 ms", "p99Ms", 2, "latency in ms: p50, p99 dashed"),
    Column::drawn("CPU us/op", "nodesCpuUs", 1, "processor time of all nodes, us/op"),
    Column::told("us/KiB", "nodesCpuUsPerKib", 1),
    Column::drawn("MEMORY MB", "largestNodeMb", 0, "memory of the largest node, MB"),
    Column::drawn("WRITTEN", "writtenPerByte", 1, "bytes written a byte of values"),
    Column::told("SYNCS/op", "syncsPerOperation", 3),
    Column::told("GENERATOR", "generatorCpuUs", 1),
    Column::told("FAILED", "failed", 0),
];

/// The same where values grow: what counts there is a byte, and not an operation.
const COLUMNS_OF_BYTES: [Column; 11] = {
    let mut columns = COLUMNS;
    columns[0].panel = None;
    columns[1].panel = Some("values written, MB/s");
    columns[4].panel = None;
    columns[5].panel = Some("processor time of all nodes, us/KiB");
    columns
};

const LEGEND: &str = "\
MB/S: of values. CPU, us/KiB: of all nodes together, an operation and a KiB of values. MEMORY: of
the largest node. WRITTEN: bytes that a node wrote to its disk for a byte of values. SYNCS: of all
nodes' logs. GENERATOR: of what loads them, in us/op.
";

/// Where keys grow, it is loaded for so many times as long: a large state is merged when some
/// memtables have been written out, which takes ten seconds of puts or more, and some of that is to
/// be in what is measured.
const KEYS_TIMES: u64 = 3;

/// A cluster counts as idle when its nodes use less than this of a processor.
const IDLE_PROCESSORS: f64 = 0.1;

/// How often that is looked at, and how long it may take.
const IDLE_LOOK: Duration = Duration::from_millis(500);
const IDLE_LOOKS_MAX: u32 = 40;

/// One size: a cluster, what is there before, and what it is loaded with.
struct Setup {
    size: u64,
    label: String,
    nodes: usize,
    keys: u64,
    is_filled: bool,
    works: Vec<Work>,
}

/// A curve, and how many processors others used at each point.
pub(crate) type Measured = Result<(Curve, Vec<f64>), String>;

/// Lets the keys grow that are there before.
///
/// # Errors
/// If a cluster does not start or cannot be loaded.
pub(crate) fn keys(system: &System, options: &Options) -> Measured {
    let options = &Options { seconds: options.seconds * KEYS_TIMES, ..options.clone() };
    let setup = |keys: &u64| Setup { keys: *keys, ..usual(*keys, count(*keys)) };
    let title = "there before; puts of 256 B to any of them, 64 clients, three nodes";
    curve((Part::Keys, title), system, options, options.keys.iter().map(setup))
}

/// Lets values grow.
///
/// # Errors
/// As [`keys`].
pub(crate) fn value(system: &System, options: &Options) -> Measured {
    let setup = |size: &u32| {
        let works = vec![put(CLIENTS, *size)];
        Setup { works, is_filled: false, ..usual((*size).into(), bytes((*size).into())) }
    };
    let title = "puts by 64 clients, three nodes";
    curve((Part::Value, title), system, options, options.sizes.iter().map(setup))
}

/// Lets the cluster grow.
///
/// # Errors
/// As [`keys`].
pub(crate) fn voters(system: &System, options: &Options) -> Measured {
    let setup = |nodes: &usize| Setup { nodes: *nodes, ..usual(*nodes as u64, nodes.to_string()) };
    let title = "puts of 256 B, 64 clients, 10,000 keys";
    curve((Part::Voters, title), system, options, options.voters.iter().map(setup))
}

/// Lets more clients ask at a time.
///
/// # Errors
/// As [`keys`].
pub(crate) fn clients(system: &System, options: &Options) -> Measured {
    let setup = |clients: &u32| {
        let get = Work { kind: Kind::Get, clients: *clients, size: SIZE };
        let works = vec![put(*clients, SIZE), get];
        Setup { works, ..usual((*clients).into(), count((*clients).into())) }
    };
    let title = "values of 256 B, 10,000 keys, three nodes";
    curve((Part::Clients, title), system, options, options.clients.iter().map(setup))
}

const fn put(clients: u32, size: u32) -> Work {
    Work { kind: Kind::Put, clients, size }
}

fn usual(size: u64, label: String) -> Setup {
    let works = vec![put(CLIENTS, SIZE)];
    Setup { size, label, nodes: NODES, keys: KEYS, is_filled: true, works }
}

fn curve(
    (part, title): (Part, &str),
    system: &System,
    options: &Options,
    setups: impl Iterator<Item = Setup>,
) -> Measured {
    let mut all = Vec::new();
    for setup in setups {
        eprintln!("{} {}", part.name(), setup.label);
        all.extend(point(system, options.seconds, &setup)?);
    }
    let (points, foreign) = all.into_iter().unzip();
    let title = title.to_owned();
    let columns = if part == Part::Value { &COLUMNS_OF_BYTES } else { &COLUMNS };
    Ok((Curve { part, title, columns, points, legend: LEGEND }, foreign))
}

fn point(system: &System, seconds: u64, setup: &Setup) -> Result<Vec<(Point, f64)>, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cluster = system.start_many(directory.path(), setup.nodes)?;
    if setup.is_filled {
        let per_s = fill(&cluster.target, SIZE, (setup.keys, 0..setup.keys))?;
        eprintln!("  {} keys before, {per_s:.0} a second", count(setup.keys));
    }
    let mut measured = Vec::new();
    for work in &setup.works {
        settle(&cluster)?;
        let extent = Extent { keys: setup.keys, seconds, fill: 0..0 };
        let figures = measure(&cluster, *work, &extent)?;
        let line = if setup.works.len() > 1 { work.kind.name() } else { "" };
        let (size, label) = (setup.size as f64, setup.label.clone());
        let foreign = figures.foreign;
        measured.push((Point { size, label, line, figures: row(*work, &figures) }, foreign));
    }
    Ok(measured)
}

/// Waits until the nodes have compacted what was written before.
fn settle(cluster: &Cluster) -> Result<(), String> {
    let mut before = Usage::of(&cluster.nodes).cpu_s;
    for _ in 0..IDLE_LOOKS_MAX {
        interrupt::pause(IDLE_LOOK)?;
        let now = Usage::of(&cluster.nodes).cpu_s;
        let used = (now - before) / IDLE_LOOK.as_secs_f64();
        // Each node has a little to do also when nobody asks.
        if used < IDLE_PROCESSORS {
            return Ok(());
        }
        before = now;
    }
    eprintln!("  the nodes are still busy with what was written before");
    Ok(())
}

fn row(work: Work, figures: &Figures) -> Vec<Option<f64>> {
    let size = f64::from(work.size);
    vec![
        Some(figures.per_s),
        Some(figures.per_s * size / 1e6),
        Some(figures.p50_us / 1e3),
        Some(figures.p99_us / 1e3),
        Some(figures.nodes_us),
        Some(figures.nodes_us * 1024.0 / size),
        Some(figures.resident / 1e6),
        figures.written,
        figures.syncs,
        Some(figures.generator_us),
        Some(figures.failed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_a_figure_of_its_own() {
        let figures = Figures {
            per_s: 1_000.0,
            p50_us: 3e3,
            p99_us: 4e3,
            nodes_us: 5.0,
            resident: 7e6,
            written: Some(8.0),
            syncs: None,
            generator_us: 10.0,
            failed: 11.0,
            ..Figures::default()
        };
        let known = [1_000.0, 2.048, 3.0, 4.0, 5.0, 2.5, 7.0, 8.0].map(Some);
        let expected = [&known[..], &[None, Some(10.0), Some(11.0)]].concat();
        assert_eq!(row(put(1, 2_048), &figures), expected);
        assert_eq!(expected.len(), COLUMNS.len());
    }

    #[test]
    fn where_values_grow_bytes_are_drawn_and_not_operations() {
        let drawn = |columns: &[Column]| -> Vec<&str> {
            columns.iter().filter(|one| one.panel.is_some()).map(|one| one.name).collect()
        };
        let rest = ["largestNodeMb", "writtenPerByte"];
        let latency = ["p50Ms", "p99Ms"];
        let usual = [&["perSecond"], &latency[..], &["nodesCpuUs"], &rest].concat();
        assert_eq!(drawn(&COLUMNS), usual);
        let bytes = [&["mbPerSecond"], &latency[..], &["nodesCpuUsPerKib"], &rest].concat();
        assert_eq!(drawn(&COLUMNS_OF_BYTES), bytes);
    }
}
