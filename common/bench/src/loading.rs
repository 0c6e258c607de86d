//! Loads a cluster by the generator, and looks at its nodes when that begins to measure and when
//! it ends.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};

use serde_json::{Value, json};

use crate::figures::Figures;
use crate::generator::{BEGINS, ENDS};
use crate::interrupt::{self, LOOK, Waited};
use crate::systems::Cluster;
use crate::usage::{Usage, machine_s};
use crate::work::{Kind, Work};

/// Among how many keys, for how long, and what is written before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) keys: u64,
    pub(crate) seconds: u64,
    /// These keys are written once before; nobody measures that.
    pub(crate) fill: Range<u64>,
}

/// Loads a cluster once.
///
/// # Errors
/// If the generator fails, or nothing was done.
pub(crate) fn measure(cluster: &Cluster, work: Work, extent: &Extent) -> Result<Figures, String> {
    let seconds = extent.seconds as f64;
    let look = || (Usage::of(&cluster.nodes), cluster.syncs(), machine_s());
    let (mut before, mut after) = (look(), look());
    let report = generate(&cluster.target, work, extent, |word| match word {
        BEGINS => before = look(),
        _ => after = look(),
    })?;
    let figures = figures(&report, work, (seconds, cluster.nodes.len()), (before, after))?;
    let Figures { per_s, p50_us, p99_us, .. } = figures;
    eprintln!(
        "  {}: {per_s:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        work.title(),
        p50_us / 1e3,
        p99_us / 1e3
    );
    if figures.failed > 0.0 {
        eprintln!("  {} requests failed: {}", figures.failed, report["why"]);
    }
    Ok(figures)
}

/// Writes keys with values of so many bytes, many in a message; key `n` is that of `n % keys`.
/// Returns how many were written a second.
///
/// # Errors
/// If the generator fails.
pub(crate) fn fill(
    target: &Value,
    size: u32,
    (keys, fill): (u64, Range<u64>),
) -> Result<f64, String> {
    let work = Work { kind: Kind::Put, clients: 1, size };
    let report = generate(target, work, &Extent { keys, seconds: 0, fill }, |_| ())?;
    report["filledPerSecond"].as_f64().ok_or_else(|| format!("nothing was written: {report}"))
}

/// Runs the generator, and passes on its word when it begins to measure and when it ends; returns
/// its report.
fn generate(
    target: &Value,
    work: Work,
    extent: &Extent,
    mut passed: impl FnMut(&str),
) -> Result<Value, String> {
    let order = json!({
        "target": target, "kind": work.kind.name(), "clients": work.clients, "size": work.size,
        "keys": extent.keys, "seconds": extent.seconds,
        "fillFrom": extent.fill.start, "fillTo": extent.fill.end,
    });
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args([crate::LOAD, &order.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut generator = Waited(command.spawn().map_err(|error| error.to_string())?);
    let output = generator.0.stdout.take().ok_or("no output")?;
    let (sender, lines) = channel();
    // A thread of its own, so that a signal is heard meanwhile. It ends with the generator.
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut report = Value::Null;
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(word) if word == BEGINS || word == ENDS => passed(&word),
            Ok(text) => report = serde_json::from_str(&text).map_err(|error| error.to_string())?,
            Err(RecvTimeoutError::Timeout) => interrupt::check()?,
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if !generator.0.wait().map_err(|error| error.to_string())?.success() {
        interrupt::check()?;
        return Err(format!("{}: the generator failed", work.title()));
    }
    Ok(report)
}

type Look = (Usage, Option<f64>, f64);

fn figures(
    report: &Value,
    work: Work,
    (seconds, nodes): (f64, usize),
    (before, after): (Look, Look),
) -> Result<Figures, String> {
    let number = |name: &str| report[name].as_f64().ok_or_else(|| format!("no {name}: {report}"));
    let count = number("count")?;
    if count == 0.0 {
        return Err(format!("{}: nothing was done: {}", work.title(), report["why"]));
    }
    // Each node writes all values.
    let values = count * f64::from(work.size) * nodes as f64;
    let writes = work.kind == Kind::Put;
    let written = (after.0.written.saturating_sub(before.0.written)) as f64 / values;
    let syncs = after.1.zip(before.1).map(|(after, before)| (after - before) / count);
    let (nodes_s, generator_s) = (after.0.cpu_s - before.0.cpu_s, number("cpuS")?);
    let foreign_s = after.2 - before.2 - nodes_s - generator_s;
    let point = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_f64()?));
    let curve = report["curve"].as_array().map(|curve| curve.iter().filter_map(point).collect());
    Ok(Figures {
        per_s: number("perSecond")?,
        p50_us: number("p50Us")?,
        p99_us: number("p99Us")?,
        p999_us: number("p999Us")?,
        nodes_us: nodes_s * 1e6 / count,
        generator_us: generator_s * 1e6 / count,
        resident: after.0.resident as f64,
        written: writes.then_some(written),
        syncs: syncs.filter(|_| writes),
        curve: curve.unwrap_or_default(),
        failed: number("failed")?,
        foreign: (foreign_s / seconds).max(0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_divided_by_the_nodes_that_write_it() {
        let report = json!({
            "count": 10, "perSecond": 5.0, "p50Us": 1, "p99Us": 2, "p999Us": 3, "failed": 0,
            "cpuS": 0.5, "curve": [[0.5, 1]],
        });
        let work = Work { kind: Kind::Put, clients: 1, size: 100 };
        let used = |cpu_s, written| Usage { cpu_s, written, ..Usage::default() };
        let looks = ((used(1.0, 0), Some(2.0), 0.0), (used(2.0, 10_000), Some(7.0), 2.5));
        let found = |nodes| figures(&report, work, (2.0, nodes), looks).expect("all is there");
        assert_eq!((found(1).written, found(5).written), (Some(10.0), Some(2.0)));
        assert_eq!((found(5).syncs, found(5).nodes_us), (Some(0.5), 1e5));
        assert!((found(5).foreign - 0.5).abs() < 1e-9);
        let nothing = json!({ "count": 0, "why": "refused" });
        let why = figures(&nothing, work, (2.0, 3), looks).expect_err("nothing was done");
        assert_eq!(why, "put 100 B, 1 client: nothing was done: \"refused\"");
    }
}
