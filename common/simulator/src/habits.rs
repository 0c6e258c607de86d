//! What a seed has beside the faults of its [`Profile`]: how busy the nodes are, how long slow
//! things take, which of the daemon's own work fails, and how small the limits are.
//!
//! It is drawn by a generator of its own, so that the rest of a seed is as if it were not there.

use consensus::Config;
use replica::Limits;

use crate::faults::{MS, Profile};
use crate::machine::COMMAND_BYTES_MAX;
use crate::rng::Rng;

/// The habits of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) rng: Rng,
    /// How long a node's loop is busy with a turn, at most.
    pub(crate) turn_ns: u64,
    /// How long the state takes to be replaced by a snapshot, at most.
    pub(crate) install_ns: u64,
    /// Of a thousand questions, so many are answered late.
    pub(crate) slow_answers: u64,
    /// Of a thousand batches of writes, and of a thousand tasks of the state machine, so many fail.
    pub(crate) failing_writes: u64,
    pub(crate) failing_tasks: u64,
    /// Of a thousand tasks of the state machine, so many take up to so long.
    pub(crate) machines: Rng,
    pub(crate) slow_tasks: u64,
    pub(crate) slow_task_ns: u64,
    /// Of a thousand requests, so many bring hundreds with them.
    pub(crate) floods: u64,
    /// Of a thousand leaders, so many give leadership back at once to whom they have it from.
    pub(crate) gives_back: u64,
    /// Mean time between troubles, and of a thousand of them, how many are a process that is told
    /// to stop, and how many a silence of all nodes, of up to so long.
    pub(crate) trouble_ns: u64,
    pub(crate) stops: u64,
    pub(crate) silences: u64,
    pub(crate) silence_ns_max: u64,
    pub(crate) limits: Shrunk,
    /// Of a thousand writes with entries, after so many a node dies: while the disk is at it, when
    /// it is done, and when a leader knows that it is committed.
    pub(crate) crash_writing: u64,
    pub(crate) crash_written: u64,
    pub(crate) crash_committed: u64,
    /// Of a thousand pauses, so many last for up to ten seconds.
    pub(crate) long_pauses: u64,
    /// How far ahead a clock is from the start, at most.
    pub(crate) offset_ns: u64,
    /// Whether each clock is as wrong as any may be.
    extreme_clocks: bool,
}

/// Limits that a seed has smaller than the daemon has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shrunk {
    pub(crate) proposals_max: usize,
    pub(crate) proposal_bytes_max: usize,
    pub(crate) questions_max: usize,
    pub(crate) uncommitted_max: u64,
    pub(crate) reads_max: u32,
    unwritten_bytes_max: usize,
    inflight_max: u32,
    entries_max: u32,
}

impl Habits {
    /// Draws the habits of a seed, and adapts its profile where they need that.
    pub(crate) fn draw(seed: u64, profile: &mut Profile) -> Self {
        let mut rng = Rng::new(seed ^ 0x0068_6162_6974_7321);
        let mut machines = Rng::new(seed ^ 0x6d61_6368_696e_6573);
        let slow_tasks = if machines.permille(300) { machines.between(1, 40) } else { 0 };
        let slow_task_ns = machines.between(20, 3_000) * MS;
        let leases = profile.lease_ppm.is_some();
        let extreme_clocks = leases && rng.permille(500);
        if leases {
            let ppm = [1_000, 100_000, 100_000, 300_000][rng.index(4)];
            profile.lease_ppm = Some(ppm);
            profile.drift_ppm = profile.drift_ppm.min(u64::from(ppm));
            if extreme_clocks {
                profile.drift_ppm = u64::from(ppm);
            }
        }
        if profile.spares > 0 && rng.permille(150) {
            prefer_joint_snapshots(&mut rng, profile);
        }
        let limits = Shrunk::draw(&mut rng);
        let mut some = |permille, low, high| {
            if rng.permille(permille) { rng.between(low, high) } else { 0 }
        };
        let turn_ns = some(500, 1, 1) * some(1_000, 1, 20) * some(500, 1, 10).max(1) * MS / 10;
        let install_ms = some(600, 10, 800) * some(300, 2, 25).max(1);
        let (day, hour) = (86_400_000 * MS, 3_600_000 * MS);
        Self {
            turn_ns,
            install_ns: install_ms * MS,
            slow_answers: some(500, 5, 200),
            failing_writes: some(300, 1, 8),
            failing_tasks: some(200, 1, 8),
            machines,
            slow_tasks,
            slow_task_ns,
            floods: some(300, 1, 10),
            gives_back: some(250, 100, 900),
            trouble_ns: some(1_000, 500, 6_000) * MS,
            stops: some(300, 50, 400),
            silences: some(250, 20, 200),
            silence_ns_max: if some(500, 1, 1) == 1 { 60 * day } else { 3 * hour },
            limits,
            crash_writing: some(250, 1, 30),
            crash_written: some(250, 1, 30),
            crash_committed: some(250, 1, 30),
            long_pauses: some(500, 20, 300),
            offset_ns: some(400, 1, 3_600) * 1_000 * MS,
            extreme_clocks,
            rng,
        }
    }

    /// Returns how wrong a clock is that would otherwise be so by `drawn - ppm` millionths.
    pub(crate) fn drift(&mut self, drawn: u64, ppm: u64) -> i64 {
        let drawn = match self.extreme_clocks {
            true => 2 * ppm * self.rng.between(0, 1),
            false => drawn,
        };
        i64::try_from(drawn).expect("small") - i64::try_from(ppm).expect("small")
    }
}

/// Changes of members, snapshots and short logs at once: a joint configuration that some node knows
/// from a snapshot only, and needs.
fn prefer_joint_snapshots(rng: &mut Rng, profile: &mut Profile) {
    profile.changes = profile.changes.max(rng.between(60, 250));
    profile.keep.entries = rng.between(0, 2);
    (profile.keep.bytes_min, profile.flushes) = (64, 500);
    profile.catch_up = 1_000;
}

impl Shrunk {
    fn draw(rng: &mut Rng) -> Self {
        let (default, config) = (Limits::default(), Config::new(0));
        let mut some = |permille, low: u64, high: u64, else_: u64| {
            if rng.permille(permille) { rng.between(low, high) } else { else_ }
        };
        let size = |number: u64| usize::try_from(number).expect("it is small");
        Self {
            proposals_max: size(some(250, 1, 40, default.proposals_max as u64)),
            proposal_bytes_max: size(some(
                200,
                COMMAND_BYTES_MAX,
                2_000,
                default.proposal_bytes_max as u64,
            )),
            questions_max: size(some(250, 1, 20, default.questions_max as u64)),
            uncommitted_max: some(200, 4, 100, config.uncommitted_max),
            reads_max: u32::try_from(some(200, 1, 20, config.reads_max.into())).expect("small"),
            unwritten_bytes_max: size(some(200, 50, 3_000, default.unwritten_bytes_max as u64)),
            inflight_max: u32::try_from(some(400, 1, 8, 8)).expect("small"),
            entries_max: u32::try_from(some(400, 1, 64, 64)).expect("small"),
        }
    }

    /// Returns the settings of a core.
    pub(crate) fn config(&self, seed: u64) -> Config {
        Config {
            entries_max: self.entries_max,
            inflight_max: self.inflight_max,
            uncommitted_max: self.uncommitted_max,
            reads_max: self.reads_max,
            ..Config::new(seed)
        }
    }

    /// Returns the limits of a replica.
    pub(crate) fn replica(&self) -> Limits {
        Limits {
            proposals_max: self.proposals_max,
            proposal_bytes_max: self.proposal_bytes_max,
            questions_max: self.questions_max,
            unwritten_bytes_max: self.unwritten_bytes_max,
            ..Limits::default()
        }
    }
}
