//! What people read of a run.

use std::fmt::Write as _;
use std::process::Command;

use simulator::{Coverage, Found, Kind, Met, Report, Settings, demanded, shorten_failure};

use crate::say;

/// Events that are repeated to make a failure short: some ten seconds.
const SHORTEN_EVENTS: u64 = 4_000_000;

/// The most events of a short failure that are shown.
const SHOWN_MAX: usize = 120;

/// Ticks in a second of the times that the kernel tells of processes: the same on every Linux that
/// Rust runs on.
const TICKS: f64 = 100.0;

/// A run and the time that it took: of the cores, since others may use them as well.
pub(crate) struct Timed {
    pub(crate) report: Report,
    threads: usize,
    cores_s: f64,
}

impl Timed {
    pub(crate) fn run(threads: usize, run: impl FnOnce() -> Report) -> Self {
        let before = cores_s();
        let report = run();
        let all = report.took.as_secs_f64() * threads as f64;
        let cores_s = before.zip(cores_s()).map_or(all, |(before, after)| after - before);
        Self { report, threads, cores_s: cores_s.max(0.01) }
    }

    /// Returns how many virtual seconds, and how many events, a core runs in a second.
    pub(crate) fn speed(&self) -> (f64, f64) {
        let virtual_s = self.report.virtual_ns as f64 / 1e9;
        (virtual_s / self.cores_s, self.report.coverage.events as f64 / self.cores_s)
    }

    pub(crate) fn summary(&self) -> String {
        let Report { seeds, coverage, virtual_ns, took, .. } = &self.report;
        let (ratio, rate) = self.speed();
        format!(
            "{seeds} seeds, {:.1} virtual hours in {:.1} s on {} threads: {ratio:.0}x real time \
             and {rate:.0} events/s a core\n{}",
            *virtual_ns as f64 / 3.6e12,
            took.as_secs_f64(),
            self.threads,
            met(coverage, *seeds)
        )
    }
}

/// Returns how long the cores have worked for this process, in seconds (proc(5), utime and stime).
fn cores_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(") ")?.1;
    let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / TICKS)
}

/// A line for each thing that may be met.
pub(crate) fn met(coverage: &Coverage, seeds: u64) -> String {
    let mut text = String::new();
    let is_fault = |kind: Kind| matches!(kind, Kind::Fault(_));
    let kinds: [(&dyn Fn(Kind) -> bool, &str); 3] = [
        (&is_fault, "faults"),
        (&|kind| kind == Kind::Event, "what happened"),
        (&|kind| kind == Kind::Situation, "situations"),
    ];
    for (is_kind, title) in kinds {
        writeln!(text, "{title}:").expect("a string takes everything");
        for met in Met::ALL.iter().filter(|met| is_kind(met.kind())) {
            let count = coverage.count(*met);
            writeln!(text, "{count:>10}  {}", met.text()).expect("a string takes everything");
        }
    }
    let (elect, serve) = coverage.recovery_ms_max;
    let each = |count: u64| count as f64 / seeds as f64;
    text + &format!(
        "a seed has {:.0} faults of {:.1} kinds, those of single messages not counted as faults;\n\
         in {:.0} % of the seeds faults of four classes of five (network, process, disk, clock, \
         operators) went on at a time\n\
         a healed core led after {elect} ms and agreed after {serve} ms, at the latest",
        each(coverage.faults()),
        each(coverage.classes),
        100.0 * each(coverage.overlaps),
    )
}

/// A run in which some situation came up too seldom does not count as passed.
pub(crate) fn says_enough(report: &Report) -> bool {
    let missing: Vec<&str> = report.coverage.missing(report.seeds).map(Met::text).collect();
    if missing.is_empty() {
        return true;
    }
    let (times, seeds) = (demanded(report.seeds), report.seeds);
    say(&format!("met less than {times} times in {seeds} seeds: {}", missing.join("; ")));
    false
}

/// Tells what broke, how it is replayed, and with which few events it breaks as well.
pub(crate) fn tell(found: &Found, settings: Settings) {
    let Found { seed, violation } = found;
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    say(&format!(
        "VIOLATION in seed {seed} after {} events, at {:.6} virtual s\n  invariant: {}\n  \
         seen:      {}\n  commit:    {commit}\n  \
         replay:    cargo xtask sim {seed} --seconds {} --trace",
        violation.step,
        violation.at_ns as f64 / 1e9,
        violation.invariant,
        violation.why,
        settings.seconds
    ));
    let short =
        shorten_failure(*seed, Settings { trace: false, ..settings }, SHORTEN_EVENTS, |v| {
            v.invariant == violation.invariant
        });
    let Some(short) = short else {
        say("  it does not break again when its events are repeated");
        return;
    };
    say(&format!(
        "  shortened: {} events instead of {}, in history {} of the seed ({})\n  \
         replay:    cargo xtask sim {seed} --seconds {} --short --trace",
        short.violation.step, violation.step, short.history, short.violation.why, settings.seconds
    ));
    if settings.trace && short.events.len() <= SHOWN_MAX {
        say(&format!("  events:    {:?}", short.events));
    }
}

/// Returns the commit of the sources that lie here; with a plus if they differ from it.
pub(crate) fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed { commit + "+" } else { commit })
}
