//! All systems in turns: starts a cluster, loads it, looks what it used, and goes on to the next.

use crate::drawing;
use crate::figures::Figures;
use crate::interrupt;
use crate::loading::{Extent, measure};
use crate::options::Options;
use crate::output;
use crate::results::Results;
use crate::systems::{NAMES, System};
use crate::table;
use crate::work::Kind;

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
                interrupt::check()?;
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
        let (keys, seconds) = (options.keys, options.seconds);
        let fill = if fill { 0..keys } else { 0..0 };
        let figures = measure(&cluster, *work, &Extent { keys, seconds, fill })?;
        rounds[place].push(figures);
    }
    Ok(())
}

/// Says when, where and how it was measured.
fn setting(options: &Options) -> String {
    let (seconds, rounds, keys) = (options.seconds, options.rounds, options.keys);
    format!(
        "{} for three nodes and the generator, TLS and synced writes everywhere, {keys} keys, \
         {seconds} s each, medians of {rounds}",
        output::place()
    )
}

fn write(results: &Results, options: &Options) -> Result<(), String> {
    let json = serde_json::to_string_pretty(&results.json()).map_err(|error| error.to_string())?;
    let files = [("bench.json", json + "\n"), ("latencies.svg", drawing::svg(results))];
    output::write(&files, options.out.as_deref())
}
