//! What a run met: a run in which nothing happens shows nothing, and a situation that never comes
//! up is not tested by however many seeds.

use consensus::Timestamp;

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Between nodes.
    Network,
    /// A node's process, or all of them.
    Process,
    /// What a node keeps.
    Disk,
    /// A node's time.
    Clock,
    /// The members and who leads them, at an operator's word.
    Operator,
}

/// How many classes there are.
const CLASSES: usize = 5;

/// Faults of so many classes at a time are an overlap.
const OVERLAP: usize = 4;

/// For so long a fault counts as going on, in nanoseconds.
const FAULT_LASTS_NS: u64 = 1_000_000_000;

/// A run of so many seeds is a whole one, in which each situation is met so often.
const WHOLE_SEEDS: u64 = 20_000;
const WHOLE_TIMES: u64 = 50;

/// Chance spreads what is met in less than a whole run: half of its share is demanded there.
const SLICE_DIVISOR: u64 = 2;

/// What kind of thing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A fault of the network, of processes, disks or clocks.
    Fault(Class),
    /// Something that a correct replica does, or that becomes of a request.
    Event,
    /// A conjunction in which bugs were found elsewhere.
    Situation,
}

/// Faults of single messages, which are too many to be counted as faults.
const SINGLE: [Met; 6] = [
    Met::MessageLost,
    Met::MessageDoubled,
    Met::MessageLate,
    Met::LaneFull,
    Met::NarrowWay,
    Met::CopyDropped,
];

macro_rules! met {
    ($($kind:ident $(($class:ident))? { $($name:ident: $text:literal,)* })*) => {
        /// Something that a run may meet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Met { $($(#[doc = $text] $name,)*)* }

        impl Met {
            /// All of them.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];

            /// Returns what it is, in words.
            pub const fn text(self) -> &'static str {
                match self { $($(Self::$name => $text,)*)* }
            }

            /// Returns what kind of thing it is.
            pub const fn kind(self) -> Kind {
                match self { $($(Self::$name)|* => Kind::$kind $((Class::$class))?,)* }
            }
        }
    };
}

met! {
    Fault(Network) {
        MessageLost: "messages lost",
        MessageDoubled: "messages that arrive twice",
        MessageLate: "messages that are late and overtaken",
        LaneFull: "messages dropped by a full lane, and told",
        NarrowWay: "messages with entries on a way that carries less than is sent",
        CopyDropped: "copies of entries that were on their way already",
        Partition: "partitions",
        LeaderIsolated: "leaders cut off",
        LinkCut: "links between two nodes that are cut",
        OneWay: "nodes that are heard no longer, or hear no longer",
        StreamBroken: "snapshots whose transfer breaks",
        StreamDoubled: "snapshots that arrive twice",
        PieceLost: "pieces of old entries that could not be read or sent",
    }
    Fault(Process) {
        Crash: "nodes that lose their power",
        CrashAll: "all nodes lose their power at once",
        QuickRestart: "restarts within less than an election timeout",
        Pause: "nodes that stand still",
        ApplyFailed: "state machines that fail, and end their process",
        Stop: "processes that are told to stop",
        Silence: "silences of all nodes, of hours or days",
    }
    Fault(Disk) {
        Stall: "disks that take long",
        SlowTask: "tasks for which state machines take long",
        Wipe: "data directories that are lost, and made anew",
        RolledBack: "data directories that old copies take the place of",
        EndLost: "logs that lose their end, though it was durable",
        Rotten: "entries that rot where they lie",
        VoteRotten: "records of term and vote that rot, where a copy stands beside the log",
        Misdirected: "entries written to the place of others",
        WritesTorn: "writes under way of which a crash leaves damaged records",
        DiskFull: "disks that fill up",
        DisksFull: "disks that all fill up at once",
        SnapshotFailed: "snapshots that could not be made",
        ReceiptFailed: "snapshots that could not be kept by their receiver",
        WriteFailed: "writes that fail, and end their process",
        InstallFailed: "snapshots that cannot be installed, and end their process",
    }
    Fault(Clock) {
        ClockJump: "clocks that jump ahead",
        ClockOff: "clocks that are off by up to an hour from the start",
    }
    Fault(Operator) {
        Change: "changes of members asked for",
        Transfer: "transfers of leadership asked for",
        Flood: "floods of requests",
    }
    Event {
        Message: "messages sent",
        Election: "elections won",
        Truncation: "logs cut",
        Commit: "entries committed",
        Write: "writes acknowledged",
        Read: "linearizable reads served",
        Batch: "commands that come together",
        BatchCut: "commands refused, though what came before them in one message was taken",
        SessionRetry: "commands of sessions sent once more",
        SessionRepeated: "commands of sessions answered without being applied again",
        SessionExpired: "commands of sessions that have expired",
        SessionClosed: "sessions closed, with commands under way or without",
        BeyondWindow: "commands of sessions that are too far ahead",
        Forgotten: "commands of sessions whose answer the client has",
        AnswerNotKept: "commands of sessions applied before, whose answer was too long to keep",
        IdReserved: "node ids reserved",
        NameTaken: "node ids refused, since a member has that name",
        LeaseRead: "reads served by a lease",
        StaleRead: "reads that may be stale",
        LeaseLapsed: "answers thrown away because their lease has run out",
        WriteRefused: "writes refused since too many wait",
        QuestionRefused: "questions refused since too many wait",
        TooMuchUnwritten: "turns in which entries are not taken since too many wait",
        Ended: "processes that end by themselves",
        WritesHeld: "turns with writes that are held while leadership is handed over",
        TurnOfSome: "turns with several inputs",
        TurnOfMany: "turns with 64 inputs and more",
        FollowerRead: "reads served by a node that does not lead",
        Refused: "requests refused",
        Gone: "nodes that learn of the end of another one's process",
        Superseded: "writes that gave way to another leader's",
        Unknown: "writes whose outcome nobody knows",
        NoRoom: "commands refused for want of room on the disk",
        Freed: "commands that free space, taken without room for others",
        RoomAgain: "disks that have room again",
        EntriesDropped: "messages with entries that find no room",
        FlushedForRoom: "states made durable to make room",
        AlarmRaised: "alarms of full disks that leaders raise",
        AlarmCleared: "alarms that leaders clear",
        NoRoomElsewhere: "commands refused for want of room on the disks of others",
        Changed: "changes of members committed",
        NewcomerMet: "nodes that a leader meets before it brings them in or moves them",
        NewcomerSilent: "changes refused because a node did not answer",
        NewcomerOther: "changes refused because a node has another data directory",
        ChangeStale: "changes refused to who had not seen the latest one",
        IdUsed: "changes refused because they use a removed member's id",
        Demoted: "members that forgot and vote no longer, as their leader sees to it",
        Renewed: "learners that are recorded with the data directory that they have now",
        Promoted: "learners that vote again, as their leader sees to it",
        TakenIn: "members that forgot and vote again",
        Removed: "nodes that end because they were removed",
        ToldRemoved: "nodes that are told that they were removed",
        FarewellOver: "messages to nodes that are not talked to any more",
        Transferred: "leadership handed over on request",
        PieceSent: "pieces of old entries sent to followers that are far behind",
        FeedingEnded: "followers that were fed, and keep up",
        Compacted: "logs compacted",
        Flushed: "states made durable",
        SnapshotMade: "snapshots made",
        SnapshotSent: "snapshots sent",
        SnapshotDeleted: "snapshots deleted for newer ones",
        TransferGivenUp: "snapshots on their way given up, since the log outgrew them",
        SnapshotReceived: "snapshots received and durable",
        Installed: "snapshots installed",
    }
    Situation {
        DiskEvaded: "leader that hands over because its disk hangs",
        ChangeNeedsDisk: "change that is refused because a disk hangs",
        BatchOfMany: "batch of 64 commands and more",
        QuestionOvertaken: "question answered when more is applied than its view was made of",
        MixedTurn: "turn with writes, reads and an operator's request",
        CutUnwritten: "entries that are taken and cut in one turn",
        SleepsWithLease: "leader that stands still behind its look at the clock, with a lease",
        ClockReadBefore: "turn that goes by the clock as it was before the process stood still",
        LeadsAgain: "leadership given back at once to whom it came from",
        AnsweredTooLate: "answer to a leader's entries that comes when it leads a later term",
        LeaseRunOut: "election while another leader's lease has just run out",
        LostInOneTurn: "leader that is deposed in the turn of its election",
        Greeted: "processes that meet for the first time",
        CopyRecognised: "old copy, or lost end, that a peer would have recognised",
        CrashWriting: "crash with entries sent that are being written here",
        CrashWritten: "crash with entries written, before anybody hears of it",
        CrashCommitted: "crash with entries committed, before anybody hears of it",
        LongPause: "node that stands still for many seconds",
        DirectoryChanged: "voter that an operator records with another data directory",
        CrashVoteSent: "crash just after a vote was sent",
        CrashAckSent: "crash just after an acknowledgement was sent",
        CrashElected: "crash just after an election, before anything is sent",
        CrashYoungLeader: "crash of a leader within 20 ms of its election",
        CrashConfigurationAppended: "crash just after a configuration was appended",
        CrashSnapshotReceived: "crash with a snapshot received, before the log begins behind it",
        CrashBaseWritten: "crash with the log behind a snapshot, before the state is replaced",
        CrashInstalled: "crash just after the state was replaced",
        CrashCompacted: "crash just after the log was compacted",
        CrashBeforeCut: "crash with a write under way that cuts the log",
        TornEndDropped: "restart that drops damaged records which nobody was told of",
        CopyNoticed: "restart that finds its directory to be a copy",
        LostEndNoticed: "restart that finds the end of its log gone",
        EntryMended: "damaged entry that a peer gives back",
        EntryAwaited: "damaged entry that nobody in reach can give back yet",
        EntryGone: "damaged entry that a quorum does not have any more",
        WritesLost: "writes under way that a crash loses",
        WritesSurvived: "writes that survive a crash though nobody was told",
        RestartInstalls: "restart that installs the snapshot beside its log",
        RestartDropsSnapshot: "restart that finds a snapshot which no log waits for",
        ElectedInJoint: "election in a joint configuration",
        JointLeftByAnother: "joint configuration left by another leader than began it",
        LeaderRemoved: "leader removes itself",
        LastVoterAsked: "leader that becomes the only voter while reads wait",
        LearnerPromoted: "learner that becomes a voter",
        PromotedUnknowingly: "vote of a voter that knows itself for a learner",
        ConfigurationCut: "configuration that is cut off the log",
        MeetingTwice: "change that comes while the nodes of another are asked",
        MetTooLate: "nodes that are met when their leader has lost its term",
        MetAfterChange: "nodes that are met after another change",
        ChangeTooEarly: "newcomer that comes before the last removal is applied",
        ElectedByTransfer: "election that a leader asked for",
        OrderOvertaken: "order to campaign that arrives when another node campaigns",
        AloneWithLease: "leader with a lease that is cut off while those who gave it restart",
        HandOverDelayed: "leader that hands over, and receives the answers late",
        DeafHandOver: "leader that hears nobody while it hands over",
        TransferAborted: "transfer that is given up",
        OldTermsCommitted: "entries of earlier terms committed with one of the leader's own",
        SnapshotInJoint: "snapshot whose configuration is joint",
        SnapshotOfOldLeader: "snapshot that arrives after its sender's term ended",
        SnapshotDeclined: "snapshot that is refused while another one arrives",
        SnapshotUnwanted: "snapshot that a node does not need any more",
        SnapshotKeepsLog: "snapshot behind which the log stays",
        SnapshotDropsLog: "snapshot that discards another history",
        SenderDied: "crash of a snapshot's sender while it is under way",
        ReceiverDied: "crash of a snapshot's receiver while it is under way",
        ApplyOvertaken: "entries to be applied that a snapshot overtakes",
        PieceUnwanted: "piece of old entries that is not wanted any more when it is read",
        LeaderInstalls: "election of a node whose state is still to be replaced",
        ForgetsAgain: "member that forgets once more after it was taken in",
        CoreTakesIn: "healed core that takes in a node that forgot",
        CoreIsMinimal: "healed core that is a bare quorum",
        CoreOfStrangers: "healed core that needs a voter which knows a lost directory",
        CoreDisturbed: "healed core that an outsider can talk to, but not hear",
        CoreInJoint: "healed core that finds a joint configuration",
        ElectedWithoutRoom: "election of a node whose disk is full to its end",
        CoreWithoutRoom: "healed core that serves reads and deletions without room",
        CoreAlarmed: "healed core that refuses data for the disks of others",
        CoreNeedsSnapshot: "healed core with a node that only a snapshot can help",
    }
}

/// How often a run met each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Events of the world, of all kinds.
    pub events: u64,
    /// Kinds of faults, of messages too, summed over the seeds.
    pub classes: u64,
    /// Seeds in which faults of at least four of the five classes went on at a time.
    pub overlaps: u64,
    /// The longest that a healed core took to elect, and to serve and agree, beside the time that
    /// its own limits leave for feeding old entries; in milliseconds.
    pub recovery_ms_max: (u64, u64),
    /// The time, and since when each class has had no fault.
    now_ns: u64,
    struck_ns: [Option<u64>; CLASSES],
    counts: [u64; Met::ALL.len()],
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            events: 0,
            classes: 0,
            overlaps: 0,
            recovery_ms_max: (0, 0),
            now_ns: 0,
            struck_ns: [None; CLASSES],
            counts: [0; Met::ALL.len()],
        }
    }
}

impl Coverage {
    /// Another event happens, at this time.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        self.events += 1;
        self.now_ns = now.get();
    }

    /// Notes that something was met.
    pub(crate) fn meet(&mut self, met: Met) {
        self.counts[met as usize] += 1;
        if let Kind::Fault(class) = met.kind()
            && !SINGLE.contains(&met)
        {
            self.strike(class);
        }
    }

    /// A fault goes on, or begins.
    pub(crate) fn strike(&mut self, class: Class) {
        self.struck_ns[class as usize] = Some(self.now_ns);
        let goes_on = |struck: &&Option<u64>| {
            struck.is_some_and(|at| self.now_ns.saturating_sub(at) <= FAULT_LASTS_NS)
        };
        if self.struck_ns.iter().filter(goes_on).count() >= OVERLAP {
            self.overlaps = 1;
        }
    }

    pub(crate) fn set(&mut self, met: Met, count: u64) {
        self.counts[met as usize] = count;
    }

    /// Returns how often it was met.
    pub fn count(&self, met: Met) -> u64 {
        self.counts[met as usize]
    }

    /// Returns how many faults there were, but for those of single messages.
    pub fn faults(&self) -> u64 {
        let faults = Met::ALL.iter().filter(|met| matches!(met.kind(), Kind::Fault(_)));
        faults.filter(|met| !SINGLE.contains(met)).map(|met| self.count(*met)).sum()
    }

    /// Returns those that were met less often than a run of so many seeds must meet them.
    pub fn missing(&self, seeds: u64) -> impl Iterator<Item = Met> {
        let demanded = demanded(seeds);
        Met::ALL.iter().copied().filter(move |met| self.count(*met) < demanded)
    }

    /// A seed is over: counts the kinds of faults that it had.
    pub(crate) fn close(&mut self) {
        let had = |met: &&Met| matches!(met.kind(), Kind::Fault(_)) && self.count(**met) > 0;
        self.classes = Met::ALL.iter().filter(had).count() as u64;
    }

    /// Adds another seed's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.classes += other.classes;
        self.overlaps += other.overlaps;
        let (elect, serve) = other.recovery_ms_max;
        self.recovery_ms_max.0 = self.recovery_ms_max.0.max(elect);
        self.recovery_ms_max.1 = self.recovery_ms_max.1.max(serve);
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count += other;
        }
    }
}

/// Returns how often a run of so many seeds must meet each thing.
pub fn demanded(seeds: u64) -> u64 {
    if seeds >= WHOLE_SEEDS {
        return WHOLE_TIMES * seeds / WHOLE_SEEDS;
    }
    seeds * WHOLE_TIMES / WHOLE_SEEDS / SLICE_DIVISOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_run_meets_each_thing_fifty_times_and_a_slice_half_of_its_share() {
        for (seeds, times) in [(300, 0), (800, 1), (4_000, 5), (20_000, 50), (40_000, 100)] {
            assert_eq!(demanded(seeds), times, "{seeds} seeds");
        }
        let mut coverage = Coverage::default();
        assert_eq!(coverage.missing(800).count(), Met::ALL.len());
        coverage.meet(Met::Crash);
        assert!(coverage.missing(800).all(|met| met != Met::Crash));
    }

    #[test]
    fn faults_of_four_classes_within_a_second_overlap() {
        let faults = [Met::Partition, Met::Crash, Met::Stall, Met::Change];
        let strike = |gap_ns: u64| {
            let mut coverage = Coverage::default();
            for (place, met) in (0..).zip(faults) {
                coverage.pass(Timestamp::new(place * gap_ns));
                coverage.meet(met);
            }
            coverage.overlaps
        };
        assert_eq!(strike(FAULT_LASTS_NS / 3), 1);
        assert_eq!(strike(FAULT_LASTS_NS / 2), 0, "the first is over when the last begins");
    }
}
