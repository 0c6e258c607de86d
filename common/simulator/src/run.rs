//! One seed: faults for a while, then none, and the cluster must serve again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use consensus::Timestamp;

use crate::broken::Broken;
use crate::coverage::{Coverage, Met};
use crate::faults::MS;
use crate::rng::Rng;
use crate::settings::{Clocks, Settings};
use crate::shrink::{key, shorten};
use crate::world::{Happening, Taken, World};

/// Of a thousand seeds, so many end with the scenario of figure 3.7.
const FIGURE_3_7_AT_THE_END: u64 = 300;

/// The numbers of the two moments behind the faults that draw something, among the events.
const FAULTS_OVER: u64 = u64::MAX;
const HEALED: u64 = u64::MAX - 1;

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

/// What passes at most between the last of the repeated events and the end of the faults.
const GAP_NS: u64 = MS;

/// How many histories of a seed are tried to make a failure short.
const HISTORIES: u64 = 1_000;

/// What a run costs besides its events, in events.
const START_EVENTS: u64 = 100;

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

/// A failure with few events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// What breaks, and after how many events.
    pub violation: Violation,
    /// In which of the seed's histories.
    pub history: u64,
    /// Which of its events are needed.
    pub events: Vec<u64>,
}

/// Runs one seed.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let mut world = World::new(seed, settings);
    let violation = attempt(&mut world, |world| live(world, settings));
    world.coverage.set(Met::Commit, world.oracle.committed() as u64);
    world.coverage.set(Met::Write, world.clients.writes_done);
    world.coverage.set(Met::Read, world.clients.reads_done);
    world.coverage.close();
    let virtual_ns = world.now.since(World::START);
    Outcome { violation, digest: world.digest, virtual_ns, coverage: world.coverage }
}

/// Makes a failure short. Other histories of the seed, with the same cluster and the same mix of
/// faults, may break the same, as `is_same` has it, much sooner; of the shortest one all events are
/// left out without which it breaks as well. `None` if the seed does not break, or not again when
/// its events are repeated. After `events_max` events in all it is content with what it has.
pub fn shorten_failure(
    seed: u64,
    settings: Settings,
    events_max: u64,
    is_same: impl Fn(&Violation) -> bool,
) -> Option<Short> {
    let quiet = Settings { trace: false, ..settings };
    let mut spent = 0;
    let (history, most) = soonest(seed, quiet, events_max / 3, &is_same, &mut spent)?;
    let quiet = Settings { history, events_max: most, ..quiet };
    let mut world = World::new(seed, quiet);
    world.tape = Some(Vec::new());
    attempt(&mut world, |world| live(world, quiet)).filter(&is_same)?;
    let (mut tape, end) = (world.tape.take()?, world.healed);
    let mut fails = |taken: &[Taken]| {
        if spent >= events_max {
            return None;
        }
        let (violation, events) = again(seed, quiet, taken, end);
        spent += events + START_EVENTS;
        Some(violation.is_some_and(|violation| is_same(&violation)))
    };
    if fails(&tape) == Some(true) {
        // Whole kinds first: clients, or faults, may have nothing to do with it.
        for kind in [Happening::Fault, Happening::Request] {
            let is_other = |taken: &&Taken| key(&taken.happening) != key(&kind);
            let others: Vec<Taken> = tape.iter().filter(is_other).cloned().collect();
            if fails(&others) == Some(true) {
                tape = others;
            }
        }
        tape = shorten(tape, fails);
    }
    let last = Settings { trace: settings.trace, ..quiet };
    let violation = again(seed, last, &tape, end).0.filter(is_same)?;
    let events = tape.iter().map(|taken| taken.event).collect();
    Some(Short { violation, history, events })
}

/// Returns the history of a seed in which the same breaks soonest, and after how many events.
fn soonest(
    seed: u64,
    settings: Settings,
    events_max: u64,
    is_same: &impl Fn(&Violation) -> bool,
    spent: &mut u64,
) -> Option<(u64, u64)> {
    let mut attempt = |history: u64, events_max: u64| {
        let outcome = run(seed, Settings { history, events_max, ..settings });
        *spent += outcome.coverage.events + START_EVENTS;
        (outcome.violation.filter(is_same).map(|violation| violation.step), *spent)
    };
    let first = attempt(settings.history, u64::MAX).0?;
    let mut best = (settings.history, first);
    for history in settings.history + 1..=settings.history + HISTORIES {
        let (step, spent) = attempt(history, best.1 - 1);
        best = step.map_or(best, |step| (history, step));
        if spent > events_max {
            break;
        }
    }
    Some(best)
}

/// Repeats some events of a seed; returns what breaks, and how many events there were.
fn again(
    seed: u64,
    settings: Settings,
    taken: &[Taken],
    end: Option<Timestamp>,
) -> (Option<Violation>, u64) {
    let mut world = World::new(seed, settings);
    world.agenda.wait_for_calls(key);
    let violation = attempt(&mut world, |world| {
        world.start_all()?;
        world.repeat(taken)?;
        let Some(end) = end else {
            return Ok(());
        };
        world.now = world.now.after(GAP_NS).min(end);
        world.go_on();
        recover(world)
    });
    (violation, world.coverage.events)
}

/// Lives, and returns what breaks.
fn attempt(
    world: &mut World,
    live: impl FnOnce(&mut World) -> Result<(), Broken>,
) -> Option<Violation> {
    let ended = catch_unwind(AssertUnwindSafe(|| live(world)));
    let (invariant, why) = match ended {
        Ok(Ok(())) => return None,
        Ok(Err(broken)) => (broken.invariant.to_owned(), broken.why),
        Err(panic) => ("the core's own checks".to_owned(), words(&*panic)),
    };
    let (step, at_ns) = (world.coverage.events, world.now.since(World::START));
    Some(Violation { invariant, why, step, at_ns })
}

fn live(world: &mut World, settings: Settings) -> Result<(), Broken> {
    world.start_all()?;
    let end = world.now.after(settings.seconds * 1_000 * MS);
    while world.turn(end)? {}
    if settings.clocks == Clocks::FurtherThanTold {
        return Ok(());
    }
    world.rng = Rng::of_event(world.seed, FAULTS_OVER);
    if world.rng.permille(FIGURE_3_7_AT_THE_END) {
        // A leader with entries of its own, and another one elected without it.
        world.after(0, Happening::Figure37);
        let played = world.now.after(600 * MS);
        while world.turn(played)? {}
    }
    recover(world)
}

/// The faults are over: a core of the cluster serves again.
fn recover(world: &mut World) -> Result<(), Broken> {
    world.rng = Rng::of_event(world.seed, HEALED);
    world.healed = Some(world.now);
    if world.heal_a_core()? { world.recover() } else { Ok(()) }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_repeated_with_all_of_its_events_is_the_same_run() {
        for seed in 1..=60 {
            let settings = Settings { clocks: Clocks::FurtherThanTold, ..Settings::default() };
            let settings = Settings { seconds: 10, ..settings };
            let mut first = World::new(seed, settings);
            first.tape = Some(Vec::new());
            let broken = attempt(&mut first, |world| live(world, settings));
            let tape = first.tape.take().expect("it was noted");
            let mut second = World::new(seed, settings);
            second.agenda.wait_for_calls(key);
            let again = attempt(&mut second, |world| {
                world.start_all()?;
                world.repeat(&tape)
            });
            assert_eq!(again.map(|again| again.why), broken.map(|broken| broken.why), "{seed}");
            let logs = |world: &World| world.nodes.iter().map(|n| n.memory.last()).collect();
            let (one, other): (Vec<_>, Vec<_>) = (logs(&first), logs(&second));
            assert_eq!(one, other, "seed {seed}");
        }
    }
}
