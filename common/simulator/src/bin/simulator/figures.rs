//! What the simulator must reach, measured: a line for each figure, for `cargo xtask figures`.

use clap::Args;
use simulator::{Clocks, Kind, Met, Report, Settings, demanded, history, run, search};

use crate::report::{Timed, says_enough, tell};
use crate::{say, threads};

/// Seeds that are run twice.
const TWICE: u64 = 200;

/// The most seeds in which clocks that run too far must break a lease.
const CLOCK_SEEDS: u64 = 2_000;

/// How often real time must be exceeded, and events in a second; a core.
const RATIO_MIN: f64 = 300.0;
const EVENTS_MIN: f64 = 200_000.0;

/// Faults in a seed, their kinds, and per cent of the seeds in which four of five classes overlap.
const FAULTS_MIN: f64 = 25.0;
const KINDS_MIN: f64 = 6.0;
const OVERLAPS_MIN: f64 = 30.0;

/// What a healed core may take, in milliseconds.
const LEADS_MS_MAX: u64 = 3_000;
const SERVES_MS_MAX: u64 = 60_000;

/// Virtual hours of all runs that count, before 1.0.
const HOURS_MIN: u64 = 8_760;

#[derive(Debug, Args)]
pub(crate) struct Figures {
    /// How many seeds to run
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Threads; all cores unless told otherwise
    #[arg(long)]
    threads: Option<usize>,
}

/// A line of the table.
struct Figure {
    name: &'static str,
    gate: String,
    measured: String,
    command: String,
    reached: bool,
}

/// Measures all; says whether everything is reached but the hours, which need many runs.
pub(crate) fn figures(args: &Figures) -> bool {
    let threads = threads(args.threads);
    let run = || search(args.first, args.seeds, Settings::default(), threads, |_| {});
    let timed = Timed::run(threads, run);
    say(&timed.summary());
    let mut all = of_seeds(&timed, args, threads);
    let report = timed.report;
    let enough = says_enough(&report);
    if let Some(found) = &report.found {
        tell(found, Settings::default());
    }
    all.push(determinism(args.first));
    all.push(clocks(args.first));
    let reached = enough && report.found.is_none() && all.iter().all(|figure| figure.reached);
    all.extend(hours());
    say("| figure | gate | measured | reached | command |\n|---|---|---|---|---|");
    for Figure { name, gate, measured, command, reached } in all {
        let reached = if reached { "yes" } else { "no" };
        say(&format!("| {name} | {gate} | {measured} | {reached} | `{command}` |"));
    }
    reached
}

fn of_seeds(timed: &Timed, args: &Figures, threads: usize) -> Vec<Figure> {
    let report = &timed.report;
    let Report { seeds, coverage, .. } = report;
    let command = || format!("cargo xtask sim --first {} --seeds {}", args.first, args.seeds);
    let whole = report.found.is_none();
    let row = |name, gate: String, measured: String, reached| Figure {
        name,
        gate,
        measured,
        command: command(),
        reached,
    };
    let (ratio, rate) = timed.speed();
    let each = |count: u64| count as f64 / *seeds as f64;
    let (faults, kinds) = (each(coverage.faults()), each(coverage.classes));
    let overlaps = 100.0 * each(coverage.overlaps);
    let situations = || Met::ALL.iter().filter(|met| met.kind() == Kind::Situation);
    let rarest = situations().min_by_key(|met| coverage.count(**met)).expect("there are some");
    let rarest = (coverage.count(*rarest), rarest.text());
    let demanded = demanded(*seeds);
    let (leads, serves) = coverage.recovery_ms_max;
    let broken = u64::from(!whole);
    vec![
        row(
            "speed of a core, all checks on",
            format!("at least {RATIO_MIN}x real time, {EVENTS_MIN} events/s"),
            format!("{ratio:.0}x, {rate:.0} events/s"),
            ratio >= RATIO_MIN && rate >= EVENTS_MIN,
        ),
        row(
            "seeds of 30 virtual s in a run",
            "20000".to_owned(),
            format!("{seeds} in {:.0} s on {threads} threads", report.took.as_secs_f64()),
            whole && *seeds >= 20_000,
        ),
        row(
            "violations in them: real ones or false alarms",
            "0 in at least 5000 seeds".to_owned(),
            format!("{broken} in {seeds} seeds"),
            whole && *seeds >= 5_000,
        ),
        row(
            "faults in a seed, and their kinds",
            format!("at least {FAULTS_MIN} of {KINDS_MIN}"),
            format!("{faults:.0} of {kinds:.1}"),
            faults >= FAULTS_MIN && kinds >= KINDS_MIN,
        ),
        row(
            "seeds in which four of five classes of faults overlap",
            format!("at least {OVERLAPS_MIN} %"),
            format!("{overlaps:.0} %"),
            overlaps >= OVERLAPS_MIN,
        ),
        row(
            "named situations, each met so often",
            format!("about 60, each {demanded} times"),
            format!("{}; the rarest {} times: {}", situations().count(), rarest.0, rarest.1),
            situations().count() >= 60 && rarest.0 >= demanded,
        ),
        row(
            "a healed core leads, and serves and agrees, beside what it must be fed",
            format!("in every seed, within {LEADS_MS_MAX} and {SERVES_MS_MAX} ms"),
            format!("in every seed, within {leads} and {serves} ms"),
            whole && leads <= LEADS_MS_MAX && serves <= SERVES_MS_MAX,
        ),
    ]
}

/// Runs seeds twice: the number over all their events must be the same.
fn determinism(first: u64) -> Figure {
    let differ = (first..first + TWICE).filter(|seed| {
        let once = || run(*seed, Settings::default());
        once() != once()
    });
    let differ = differ.count();
    Figure {
        name: "seeds that differ when they are run twice",
        gate: format!("0 of {TWICE}"),
        measured: format!("{differ} of {TWICE}"),
        command: "cargo xtask figures".to_owned(),
        reached: differ == 0,
    }
}

/// Lets clocks run further than leases are told: a stale read must be found.
fn clocks(first: u64) -> Figure {
    let settings = Settings { clocks: Clocks::FurtherThanTold, ..Settings::default() };
    let stale = |seed: &u64| {
        let violation = run(*seed, settings).violation;
        violation.is_some_and(|violation| violation.invariant.contains("stale"))
    };
    let found = (first..first + CLOCK_SEEDS).find(stale);
    Figure {
        name: "stale read with clocks beyond their bound",
        gate: format!("found within {CLOCK_SEEDS} seeds, none within the bound"),
        measured: match found {
            Some(seed) => format!("found in seed {seed}, none within the bound"),
            None => "not found".to_owned(),
        },
        command: "cargo xtask figures".to_owned(),
        reached: found.is_some(),
    }
}

/// Adds up the history; nothing where it cannot be read.
fn hours() -> Option<Figure> {
    let text = std::fs::read_to_string(crate::sim::HISTORY).ok()?;
    let runs = history::parse(&text).ok()?;
    let hours: u64 = runs.iter().map(|run| run.hours).sum();
    let failures: u64 = runs.iter().map(|run| run.failures).sum();
    Some(Figure {
        name: "virtual hours of all runs that count",
        gate: format!("{HOURS_MIN} before 1.0"),
        measured: format!("{hours} in {} runs, {failures} of them with a failure", runs.len()),
        command: "cargo xtask sim --seeds 20000 --record".to_owned(),
        reached: hours >= HOURS_MIN,
    })
}
