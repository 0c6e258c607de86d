//! One seed: faults for a while, then calm, in which service must return.

use std::panic::{AssertUnwindSafe, catch_unwind};

use consensus::{Mutation, Timestamp};

use crate::faults::MS;
use crate::oracle::Broken;
use crate::world::World;

/// How long a healed quorum may take until it leads, serves and agrees.
const RECOVERY_NS: u64 = 20_000 * MS;

/// How a seed is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Virtual seconds with faults.
    pub seconds: u64,
    /// A known bug to have.
    pub mutation: Option<Mutation>,
    /// Whether every event is printed to stderr.
    pub trace: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seconds: 30, mutation: None, trace: false }
    }
}

/// What a seed met: a run in which nothing happens shows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Events of all kinds.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Messages lost.
    pub lost: u64,
    /// Messages that were late and overtaken.
    pub late: u64,
    /// Faults injected.
    pub faults: u64,
    /// Nodes that lost their power.
    pub crashes: u64,
    /// Those of them directly after a promise.
    pub crashes_after_promises: u64,
    /// Pauses.
    pub pauses: u64,
    /// Partitions.
    pub partitions: u64,
    /// Slow disks.
    pub stalls: u64,
    /// Elections won.
    pub elections: u64,
    /// Logs cut.
    pub truncations: u64,
    /// Entries committed.
    pub commits: u64,
    /// Writes acknowledged.
    pub writes: u64,
    /// Linearizable reads served.
    pub reads: u64,
    /// Requests refused.
    pub refused: u64,
    /// Changes of members that were committed.
    pub changes: u64,
    /// Leadership handed over on request.
    pub transfers: u64,
}

impl Coverage {
    /// Adds another seed's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.messages += other.messages;
        self.lost += other.lost;
        self.late += other.late;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.crashes_after_promises += other.crashes_after_promises;
        self.pauses += other.pauses;
        self.partitions += other.partitions;
        self.stalls += other.stalls;
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.commits += other.commits;
        self.writes += other.writes;
        self.reads += other.reads;
        self.refused += other.refused;
        self.changes += other.changes;
        self.transfers += other.transfers;
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
    let mut world = World::new(seed, settings.mutation, settings.trace);
    let began = world.now;
    let ended = catch_unwind(AssertUnwindSafe(|| live(&mut world, settings.seconds)));
    let broken = match ended {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some((broken.invariant.to_owned(), broken.why)),
        Err(panic) => Some(("the core's own checks".to_owned(), words(&*panic))),
    };
    world.coverage.commits = world.oracle.committed() as u64;
    world.coverage.writes = world.clients.writes_done;
    world.coverage.reads = world.clients.reads_done;
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
    let end = world.now.after(seconds * 1_000 * MS);
    while world.turn(end)? {}
    world.heal_a_quorum()?;
    let deadline = world.now.after(RECOVERY_NS);
    until(world, deadline, "a leader", |world| Ok(world.healed_leader().is_some()))?;
    let (writes, reads) = (world.clients.writes_done, world.clients.reads_done);
    until(world, deadline, "a write and a read", |world| {
        if let Some(leader) = world.healed_leader() {
            world.ask(leader, false)?;
            world.ask(leader, true)?;
        }
        Ok(world.clients.writes_done > writes && world.clients.reads_done > reads)
    })?;
    // From now on nobody asks for anything, so that all can reach the same state.
    world.profile.request_ns = RECOVERY_NS;
    until(world, deadline, "agreement", |world| Ok(world.is_converged()))
}

/// Lets 50 ms pass at a time until something is so.
fn until(
    world: &mut World,
    deadline: Timestamp,
    what: &str,
    mut is_so: impl FnMut(&mut World) -> Result<bool, Broken>,
) -> Result<(), Broken> {
    while !is_so(world)? {
        if world.now >= deadline {
            let long = RECOVERY_NS / MS / 1_000;
            let why = format!("a healed quorum lacks {what} for {long} s{}", world.describe());
            return Err(Broken::new("service returns", why));
        }
        let next = world.now.after(50 * MS);
        while world.turn(next)? {}
    }
    Ok(())
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
