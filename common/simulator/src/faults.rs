//! Which faults and freedoms a seed has: about half of them, so that every mix comes up (swarm
//! testing).

use consensus::Freedom;
use replica::{FeedLimits, Keep};

use crate::crash_points::{self, Odds};
use crate::rng::Rng;

pub(crate) const MS: u64 = 1_000_000;

/// The kinds of faults that are injected from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// One node loses its power and comes back.
    Crash,
    /// The leader loses its power, perhaps with entries that few have.
    CrashLeader,
    /// Figure 3.7, step by step.
    Figure37,
    /// All nodes lose their power at once.
    CrashAll,
    /// A node stands still while the others go on.
    Pause,
    /// The nodes fall into two groups.
    Partition,
    /// A leader is cut off.
    IsolateLeader,
    /// One node is heard no longer, or hears no longer.
    OneWay,
    /// The leader and one other node hear each other no longer; both reach the rest.
    CutLink,
    /// All partitions end.
    Heal,
    /// A disk takes long.
    Stall,
    /// A node's clock jumps ahead.
    ClockJump,
    /// A node's data directory is lost: it starts with an empty one, under the same id.
    Wipe,
    /// An old copy takes the place of a node's data directory.
    RollBack,
    /// Entries at the end of a log are lost, though they were durable.
    LoseEnd,
    /// An entry rots where it lies.
    Rot,
    /// An entry is written to the place of another one.
    Misdirect,
}

impl Fault {
    pub(crate) const ALL: [Self; 17] = [
        Self::Crash,
        Self::Figure37,
        Self::CrashLeader,
        Self::CrashAll,
        Self::Pause,
        Self::Partition,
        Self::IsolateLeader,
        Self::OneWay,
        Self::CutLink,
        Self::Heal,
        Self::Stall,
        Self::ClockJump,
        Self::Wipe,
        Self::RollBack,
        Self::LoseEnd,
        Self::Rot,
        Self::Misdirect,
    ];
}

/// The mix of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) voters: u64,
    pub(crate) learners: u64,
    /// Nodes that belong to no cluster at first.
    pub(crate) spares: u64,
    /// Of a thousand requests, so many change the members, or hand leadership over.
    pub(crate) changes: u64,
    pub(crate) transfers: u64,
    pub(crate) faults: Vec<Fault>,
    /// Mean time between faults.
    pub(crate) fault_ns: u64,
    /// Of a thousand messages, so many are lost, doubled, or late.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    /// The longest delay of a late message.
    pub(crate) late_ns: u64,
    /// How long a batch takes on the disk, at most.
    pub(crate) disk_ns: u64,
    /// How long a batch takes in the state machine, at most.
    pub(crate) apply_ns: u64,
    /// After what a node dies, and how often.
    pub(crate) odds: Odds,
    /// Of a thousand steps of a leader in its first 20 ms, so many end in a crash: it may have sent
    /// some entries, and not its no-op (figure 3.7).
    pub(crate) crash_young_leader: u64,
    /// Of a thousand applied batches, so many make the state durable.
    pub(crate) flushes: u64,
    /// What stays of the log behind a durable state.
    pub(crate) keep: Keep,
    /// Bytes of entries kept in memory, and how followers are fed that lack what is not.
    pub(crate) cache_bytes: usize,
    pub(crate) feed: FeedLimits,
    /// How long a snapshot travels, at most; and of a thousand, how many break on the way.
    pub(crate) snapshot_ns: u64,
    pub(crate) stream_breaks: u64,
    /// Of a thousand messages with entries, so many find the lane full.
    pub(crate) full_lanes: u64,
    /// How long a crashed node is down, at most.
    pub(crate) down_ns: u64,
    /// Clocks run faster or slower by at most so many millionths.
    pub(crate) drift_ppm: u64,
    /// Mean time between requests of clients.
    pub(crate) request_ns: u64,
    /// What leases are told of the clocks' error, in millionths; `None` is without leases.
    pub(crate) lease_ppm: Option<u32>,
    /// Of a thousand clock jumps, so many are hours.
    pub(crate) hours: u64,
    /// Of a thousand requests, so many are commands of sessions.
    pub(crate) sessions: u64,
    /// Of a thousand requests, so many are reads.
    pub(crate) reads: u64,
    /// Of a thousand leaders that hand over, so many hear nobody from then on.
    pub(crate) deaf_after_handover: u64,
    /// How many entries behind a member may become a voter.
    pub(crate) catch_up: u64,
    /// Of a thousand ranges of entries, so many are sent in pieces.
    pub(crate) split: u64,
    pub(crate) freedom: Freedom,
}

impl Profile {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut faults: Vec<Fault> = Fault::ALL.into_iter().filter(|_| rng.permille(500)).collect();
        let cuts = [Fault::Partition, Fault::IsolateLeader, Fault::OneWay, Fault::CutLink];
        if cuts.iter().any(|cut| faults.contains(cut)) && !faults.contains(&Fault::Heal) {
            faults.push(Fault::Heal);
        }
        let (cache_bytes, feed) = draw_feeding(rng);
        let (odds, quick) = (crash_points::draw(rng), rng.permille(250));
        let mut some = |permille, low, high| {
            if rng.permille(permille) { rng.between(low, high) } else { 0 }
        };
        // Some seeds change leaders as fast as they can be elected (figure 3.7 needs four).
        let fault_ms =
            if some(300, 1, 1) == 1 { some(1_000, 40, 200) } else { some(1_000, 200, 1_500) };
        let changes = some(500, 5, 200);
        // A clock that jumps has more than any error; the daemon's clock does not jump.
        let jumps = faults.contains(&Fault::ClockJump);
        let leases = !jumps && some(600, 1, 1) == 1;
        let mut profile = Self {
            voters: [3, 3, 3, 5, 5, 2, 4, 1][usize::try_from(some(1_000, 0, 7)).unwrap_or(0)],
            learners: some(300, 1, 2),
            spares: if changes > 0 { some(800, 1, 3) } else { 0 },
            changes,
            transfers: some(400, 2, 60),
            fault_ns: fault_ms * MS,
            loss: some(500, 5, 200),
            duplicates: some(500, 5, 150),
            late: some(500, 5, 150),
            late_ns: some(1_000, 5, 800) * MS,
            disk_ns: some(1_000, 1, 20) * MS / 2,
            apply_ns: some(500, 1, 20) * MS / 2 + 1,
            odds,
            crash_young_leader: some(250, 10, 250),
            flushes: [0, 20, 100, 500][usize::try_from(some(1_000, 0, 3)).unwrap_or(0)],
            keep: Keep {
                entries: [0, 1, 3, 10, 40, 200, 1_000_000]
                    [usize::try_from(some(1_000, 0, 6)).unwrap_or(0)],
                bytes_min: [64, 1_000, 20_000, 1 << 30]
                    [usize::try_from(some(1_000, 0, 3)).unwrap_or(0)],
                bytes_max: 1 << 30,
            },
            cache_bytes,
            feed,
            snapshot_ns: some(1_000, 2, 100) * some(500, 2, 10).max(1) * MS,
            stream_breaks: some(500, 20, 500),
            full_lanes: some(300, 5, 100),
            down_ns: if quick { 60 } else { some(1_000, 1, 1_200) } * MS,
            drift_ppm: some(500, 10, 50_000),
            request_ns: some(1_000, 2, 40) * MS,
            lease_ppm: leases.then_some(100_000),
            hours: some(300, 100, 600),
            sessions: some(600, 50, 700),
            reads: some(800, 100, 700),
            deaf_after_handover: if faults.contains(&Fault::Heal) { 300 } else { 0 },
            catch_up: [1, 20, 1_000][usize::try_from(some(1_000, 0, 2)).unwrap_or(0)],
            split: some(500, 50, 500),
            freedom: Freedom {
                short_batches: some(500, 1, 1) == 1,
                backs_off_further: some(500, 1, 1) == 1,
                probes_at_random: some(300, 1, 1) == 1,
                extreme_timers: some(300, 1, 1) == 1,
            },
            faults,
        };
        // Beside all others, so that seeds stay what they were: in some of them, the log outgrows
        // snapshots on their way.
        let mut beside = rng.clone();
        let small = [2_000, 20_000, 1 << 30, 1 << 30, 1 << 30, 1 << 30];
        let bytes_max = small[usize::try_from(beside.between(0, 5)).unwrap_or(0)];
        profile.keep.bytes_max = profile.keep.bytes_min.max(bytes_max);
        profile
    }

    /// Lets clocks run much further from true time than leases are told, and many clients read.
    pub(crate) fn run_clocks_apart(&mut self) {
        (self.lease_ppm, self.drift_ppm) = (Some(100_000), 450_000);
        (self.reads, self.request_ns) = (600, 4 * MS);
    }
}

/// Draws a cache, small in some seeds, and how followers are fed; by a generator of its own, so
/// that the rest of a seed is as if it were not there.
fn draw_feeding(rng: &Rng) -> (usize, FeedLimits) {
    let mut rng = Rng::new(rng.clone().next() ^ 0xfeed);
    let cache_bytes = if rng.permille(400) { rng.between(150, 1_500) } else { 4_096 };
    let feed = FeedLimits {
        bytes_per_s_max: rng.between(50, 5_000) * 1_000,
        piece_bytes_max: usize::try_from(rng.between(100, 3_000)).expect("it is small"),
        piece_entries_max: rng.between(1, 64),
    };
    (usize::try_from(cache_bytes).expect("it is small"), feed)
}
