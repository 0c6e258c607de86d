//! What raftd costs as work grows: one thing at a time grows by tens, and all else stays as it is.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::growth::curve::{Curve, Part};
use crate::growth::options::Options;
use crate::interrupt;
use crate::output;
use crate::results::disturbance;
use crate::systems::{NAMES, System};

mod curve;
mod drawing;
mod group;
mod load;
mod log;
mod node;
pub(crate) mod options;
mod state;
mod table;

/// Measures part by part, prints a table of each, and writes the files.
///
/// # Errors
/// If a part cannot be measured, when all others are, or a file cannot be written.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let system = System::find(NAMES[0])?;
    eprintln!("{}: {}", system.name, system.version);
    let (mut curves, mut foreign, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for part in &options.parts {
        let began = Instant::now();
        match measure(*part, &system, options, &mut foreign) {
            Ok(Some(curve)) => {
                println!("{}", table::text(&curve));
                curves.push(curve);
            }
            Ok(None) => {}
            Err(why) => {
                interrupt::check()?;
                eprintln!("{}: {why}", part.name());
                failed.push(part.name());
            }
        }
        eprintln!("{} took {:.0} s", part.name(), began.elapsed().as_secs_f64());
    }
    let setting = format!(
        "{} for all nodes and the generator, TLS and synced writes, {} s each{}",
        output::place(),
        options.seconds,
        disturbance(&foreign)
    );
    println!("{setting}");
    write(&system, &setting, &curves, options)?;
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", "))) }
}

fn measure(
    part: Part,
    system: &System,
    options: &Options,
    foreign: &mut Vec<f64>,
) -> Result<Option<Curve>, String> {
    let (curve, others) = match part {
        Part::Keys => load::keys(system, options)?,
        Part::Value => load::value(system, options)?,
        Part::Voters => load::voters(system, options)?,
        Part::Clients => load::clients(system, options)?,
        Part::Log => return log::run(system, options).map(Some),
        Part::State => return state::run(system, options),
    };
    foreign.extend(others);
    Ok(Some(curve))
}

fn write(
    system: &System,
    setting: &str,
    curves: &[Curve],
    options: &Options,
) -> Result<(), String> {
    let mut told = Map::new();
    told.insert("setting".to_owned(), json!(setting));
    told.insert("system".to_owned(), system.json());
    told.insert("parts".to_owned(), curves.iter().map(Curve::json).collect::<Vec<_>>().into());
    let json = serde_json::to_string_pretty(&Value::Object(told));
    let json = json.map_err(|error| error.to_string())?;
    let files = [("growth.json", json + "\n"), ("growth.svg", drawing::svg(setting, curves))];
    output::write(&files, options.out.as_deref())
}
