//! One seed: faults for a while, then none, and the cluster must serve again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::broken::Broken;
use crate::coverage::{Coverage, Met};
use crate::faults::MS;
use crate::world::World;

/// Of a thousand seeds, so many end with the scenario of figure 3.7.
const FIGURE_3_7_AT_THE_END: u64 = 300;

/// How a seed is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Virtual seconds with faults.
    pub seconds: u64,
    /// Whether every event is printed to stderr.
    pub trace: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seconds: 30, trace: false }
    }
}

/// What broke, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: String,
    /// What was seen.
    pub why: String,
    /// Events until then.
    pub step: u64,
    /// Virtual time, in nanoseconds since the start.
    pub at_ns: u64,
}

/// How a seed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What broke, if anything did.
    pub violation: Option<Violation>,
    /// What was met.
    pub coverage: Coverage,
    /// A number over all events: two runs of a seed must have the same.
    pub digest: u64,
    /// Virtual time, in nanoseconds.
    pub virtual_ns: u64,
}

/// Runs one seed.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let mut world = World::new(seed, settings.trace);
    let began = world.now;
    let ended = catch_unwind(AssertUnwindSafe(|| live(&mut world, settings.seconds)));
    let broken = match ended {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some((broken.invariant.to_owned(), broken.why)),
        Err(panic) => Some(("the core's own checks".to_owned(), words(&*panic))),
    };
    world.coverage.set(Met::Commit, world.oracle.committed() as u64);
    world.coverage.set(Met::Write, world.clients.writes_done);
    world.coverage.set(Met::Read, world.clients.reads_done);
    world.coverage.close();
    let violation = broken.map(|(invariant, why)| Violation {
        invariant,
        why,
        step: world.coverage.events,
        at_ns: world.now.since(began),
    });
    Outcome {
        violation,
        coverage: world.coverage,
        digest: world.digest(),
        virtual_ns: world.now.since(began),
    }
}

fn live(world: &mut World, seconds: u64) -> Result<(), Broken> {
    world.start_all()?;
    let end = world.now.after(seconds * 1_000 * MS);
    while world.turn(end)? {}
    if world.rng.permille(FIGURE_3_7_AT_THE_END) {
        // A leader with entries of its own, and another one elected without it.
        world.begin_figure_3_7()?;
        let played = world.now.after(600 * MS);
        while world.turn(played)? {}
    }
    if world.heal_a_core()? { world.recover() } else { Ok(()) }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
