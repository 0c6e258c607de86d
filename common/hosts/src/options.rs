//! The command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;
use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::call::Clock;
use crate::failure::{Failure, Result, file};
use crate::image;
use crate::leftovers;
use crate::report::Report;
use crate::steps::{self, STEPS};
use crate::world::World;

/// Three machines with a systemd of their own, in containers, and what an operator does on them.
///
/// Takes root, systemd-nspawn and mmdebstrap. Exits with 1 if something was not as it should be, 2
/// for a wrong command line, 3 if the machine lacks something, 130 after Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask hosts", max_term_width = 100)]
struct Options {
    /// The package; `cargo xtask hosts` builds it
    #[arg(long, value_name = "FILE", hide = true)]
    deb: PathBuf,

    /// The operator's raftctl; `cargo xtask hosts` builds it
    #[arg(long, value_name = "FILE", hide = true)]
    raftctl: PathBuf,

    /// Only this step, and those that it takes; may be given several times
    #[arg(long, value_name = "STEP", value_parser = steps::named)]
    only: Vec<&'static str>,

    /// After how many minutes the run is given up, beside those of --certificates-for
    #[arg(long, value_name = "N", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,

    /// For how long short certificates are renewed, as 4m or 1h; each counts for a sixth of it
    #[arg(long, value_name = "DURATION", default_value = "4m", value_parser = duration)]
    certificates_for: Duration,

    /// Where image and disks lie while it runs; nothing of it stays behind
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/raftd-hosts")]
    directory: PathBuf,

    /// Leaves the image there, which takes most of a minute to make
    #[arg(long)]
    keep_image: bool,

    /// Lists the steps, and ends
    #[arg(long)]
    list: bool,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for step in &STEPS {
            println!("{:<14}{}", step.name, step.what);
        }
        return ExitCode::SUCCESS;
    }
    match hosts(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(match failure {
                Failure::Interrupted => 130,
                Failure::Wrong(_) | Failure::Late => 1,
                Failure::Machine(_)
                | Failure::Lacking(_)
                | Failure::Command { .. }
                | Failure::File { .. } => 3,
            })
        }
    }
}

/// Makes a run, and removes afterwards whatever it has made.
fn hosts(options: &Options) -> Result<bool> {
    image::check_machine()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&stop));
        registered.map_err(|error| Failure::Machine(error.to_string()))?;
    }
    let lasts = Duration::from_secs(60 * options.minutes) + options.certificates_for;
    let clock = Clock::new(stop, lasts);
    let lock = options.directory.with_extension("lock");
    let held = fs::File::options().create(true).truncate(false).write(true).open(&lock);
    let held = held.map_err(file("cannot open", &lock))?;
    if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Failure::Machine("another run is under way".to_owned()));
    }
    let image = options.directory.join("image");
    let kept = options.keep_image.then_some(image.as_path());
    leftovers::clean(&clock, &options.directory, Some(&image))?;
    let end = Cleaned { directory: &options.directory, kept, lock: &lock };
    let mut report = Report::default();
    let ran = run(options, &clock, &image, &mut report);
    drop(end);
    print!("\n{}", report.table());
    ran?;
    Ok(report.is_well())
}

fn run(options: &Options, clock: &Clock, image: &Path, report: &mut Report) -> Result<()> {
    fs::create_dir_all(&options.directory).map_err(file("cannot make", &options.directory))?;
    println!("image         {} (made by mmdebstrap if it is not there)", image.display());
    image::make(clock, image)?;
    let files = (options.deb.as_path(), options.raftctl.as_path());
    let mut world = World::make(clock, &options.directory, image, files)?;
    world.certificates_for = options.certificates_for;
    steps::run(&mut world, &options.only, report)
}

/// Reads minutes or hours: 4m, 1h.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let wanted = || "from 1m to 24h, as 4m or 1h".to_owned();
    let unit_s = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3_600,
        Some(_) | None => return Err(wanted()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wanted())?;
    let seconds = number.checked_mul(unit_s).filter(|seconds| (60..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(wanted)
}

/// What a run has made, which goes however the run ends, short of SIGKILL.
struct Cleaned<'a> {
    directory: &'a Path,
    kept: Option<&'a Path>,
    lock: &'a Path,
}

impl Drop for Cleaned<'_> {
    fn drop(&mut self) {
        if let Err(failure) = leftovers::clean(&Clock::for_the_end(), self.directory, self.kept) {
            eprintln!("warning: something is left: {failure}");
        }
        // Another run makes it anew.
        let _ = fs::remove_file(self.lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_minutes_or_hours_within_a_day() {
        assert_eq!(duration("4m"), Ok(Duration::from_secs(240)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        for bad in ["", "h", "4", "0m", "25h", "-1m", "4s", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
