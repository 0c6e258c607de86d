//! Many seeds, on as many threads as wanted; the report does not depend on their number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::run::{Violation, run};
use crate::settings::Settings;

/// A seed that broke something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What broke.
    pub violation: Violation,
}

/// What many seeds gave.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// The lowest seed that broke something.
    pub found: Option<Found>,
    /// What all of them met.
    pub coverage: Coverage,
    /// Virtual time in all, in nanoseconds.
    pub virtual_ns: u64,
    /// Real time.
    pub took: Duration,
}

/// Runs the seeds from `first` on, `count` of them, until one breaks something. `progress` is
/// called after each seed with how many are done.
pub fn search(
    first: u64,
    count: u64,
    settings: Settings,
    threads: usize,
    progress: impl Fn(u64) + Sync,
) -> Report {
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let report = Mutex::new(Report::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = first + number;
            let outcome = run(seed, settings);
            let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            report.seeds += 1;
            report.coverage.add(&outcome.coverage);
            report.virtual_ns += outcome.virtual_ns;
            if let Some(violation) = outcome.violation {
                // Seeds begin in order, so that all lower ones have been begun and will be heard.
                stop.store(true, Ordering::Relaxed);
                if report.found.as_ref().is_none_or(|found| seed < found.seed) {
                    report.found = Some(Found { seed, violation });
                }
            }
            progress(report.seeds);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.took = began.elapsed();
    report
}
