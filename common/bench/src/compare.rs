//! All systems in turns: starts a cluster, loads it, looks what it used, and goes on to the next.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::drawing;
use crate::figures::Figures;
use crate::generator::{BEGINS, ENDS};
use crate::options::Options;
use crate::results::Results;
use crate::systems::{Cluster, NAMES, System};
use crate::table;
use crate::usage::{Usage, machine_s};
use crate::work::{Kind, Work};

/// Each of so many nodes writes all values.
const NODES: f64 = 3.0;

/// Measures, prints a table, and writes the files.
///
/// # Errors
/// If raftd cannot be measured, or a file cannot be written.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let systems = present(options)?;
    let mut rounds: Vec<Vec<Vec<Figures>>> =
        vec![vec![Vec::new(); systems.len()]; options.works.len()];
    for round in 1..=options.rounds {
        for (place, system) in systems.iter().enumerate() {
            eprintln!("round {round} of {}: {}", options.rounds, system.name);
            if let Err(why) = measure_all(system, options, place, &mut rounds) {
                if system.name == NAMES[0] {
                    return Err(format!("{}: {why}", system.name));
                }
                eprintln!("{}: {why}", system.name);
            }
        }
    }
    let of = |rounds: &Vec<Figures>| (!rounds.is_empty()).then(|| Figures::median(rounds));
    let works = options.works.iter().zip(&rounds);
    let works = works.map(|(work, rounds)| (*work, rounds.iter().map(of).collect())).collect();
    let setting = setting(options);
    let mut results = Results { systems, works, setting };
    results.setting.push_str(&results.disturbance());
    print!("{}", table::text(&results));
    write(&results, options)
}

/// Looks for the systems that are asked for; names those that are not there.
fn present(options: &Options) -> Result<Vec<System>, String> {
    let mut systems = Vec::new();
    for name in NAMES.into_iter().filter(|name| options.wants(name)) {
        match System::find(name) {
            Ok(system) => {
                eprintln!("{name}: {}", system.version);
                systems.push(system);
            }
            Err(why) if name == NAMES[0] => return Err(why),
            Err(why) => eprintln!("{name}: {why}"),
        }
    }
    if systems.is_empty() { Err("none of these systems is there".into()) } else { Ok(systems) }
}

/// Does all works on a new cluster of a system.
fn measure_all(
    system: &System,
    options: &Options,
    place: usize,
    rounds: &mut [Vec<Vec<Figures>>],
) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cluster = system.start(&directory.path().join(system.name))?;
    let mut filled = false;
    for (work, rounds) in options.works.iter().zip(rounds) {
        if work.kind == Kind::Get && system.name == "nats" {
            continue;
        }
        let fill = work.kind == Kind::Get && !std::mem::replace(&mut filled, true);
        let figures = measure(&cluster, *work, options, fill)?;
        let Figures { per_s, p50_us, p99_us, .. } = figures;
        eprintln!(
            "  {}: {per_s:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
            work.title(),
            p50_us / 1e3,
            p99_us / 1e3
        );
        if figures.failed > 0.0 {
            eprintln!("  {} requests failed", figures.failed);
        }
        rounds[place].push(figures);
    }
    Ok(())
}

/// Loads a cluster once, and looks at its nodes when the generator begins to measure and when it
/// ends.
fn measure(
    cluster: &Cluster,
    work: Work,
    options: &Options,
    fill: bool,
) -> Result<Figures, String> {
    let order = json!({
        "target": cluster.target, "kind": work.kind.name(), "clients": work.clients,
        "size": work.size, "keys": options.keys, "seconds": options.seconds, "fill": fill,
    });
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args([crate::LOAD, &order.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut generator = command.spawn().map_err(|error| error.to_string())?;
    let look = || (Usage::of(&cluster.nodes), cluster.syncs(), machine_s());
    let (mut before, mut after, mut report) = (look(), look(), Value::Null);
    for line in BufReader::new(generator.stdout.take().ok_or("no output")?).lines() {
        match line.map_err(|error| error.to_string())?.as_str() {
            BEGINS => before = look(),
            ENDS => after = look(),
            text => report = serde_json::from_str(text).map_err(|error| error.to_string())?,
        }
    }
    if !generator.wait().map_err(|error| error.to_string())?.success() {
        return Err(format!("{}: the generator failed", work.title()));
    }
    figures(&report, work, options.seconds as f64, (before, after))
}

type Look = (Usage, Option<f64>, f64);

fn figures(
    report: &Value,
    work: Work,
    seconds: f64,
    (before, after): (Look, Look),
) -> Result<Figures, String> {
    let number = |name: &str| report[name].as_f64().ok_or_else(|| format!("no {name}: {report}"));
    let count = number("count")?;
    if count == 0.0 {
        return Err(format!("{}: nothing was done: {}", work.title(), report["why"]));
    }
    let values = count * f64::from(work.size) * NODES;
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

/// Says when, where and how it was measured.
fn setting(options: &Options) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let date = said("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default();
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (seconds, rounds, keys) = (options.seconds, options.rounds, options.keys);
    format!(
        "{date}{commit}: {cores} cores for three nodes and the generator, TLS and synced writes \
         everywhere, {keys} keys, {seconds} s each, medians of {rounds}"
    )
}

fn write(results: &Results, options: &Options) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = || own.parent().map(Path::to_path_buf).unwrap_or_default();
    let directory: PathBuf = options.out.clone().unwrap_or_else(beside);
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let json = serde_json::to_string_pretty(&results.json()).map_err(|error| error.to_string())?;
    for (name, text) in [("bench.json", json + "\n"), ("latencies.svg", drawing::svg(results))] {
        let file = directory.join(name);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        eprintln!("written: {}", file.display());
    }
    Ok(())
}
