//! Gauges of the disk: room, sizes, what is being written, and what reading everything has shown.

use protocol::ReadThrough;

use crate::observe::board::Report;
use crate::observe::catalogue::{Catalogue, Reading, seconds_of};

pub(super) struct DiskGauges {
    running: Reading<f64>,
    reading: Reading<f64>,
    total: Reading<u64>,
    free: Reading<u64>,
    needed: Reading<u64>,
    reserve: Reading<u64>,
    inodes: Reading<u64>,
    no_room: Reading<u64>,
    shortage: Reading<u64>,
    log: Reading<u64>,
    state: Reading<u64>,
    scrub_interval: Reading<u64>,
    log_read: Reading<f64>,
    log_read_bytes: Reading<u64>,
    state_read: Reading<f64>,
    state_read_bytes: Reading<u64>,
    mended: Reading<u64>,
    snapshot_damaged: Reading<u64>,
}

impl DiskGauges {
    pub(super) fn new(all: &mut Catalogue) -> Self {
        Self {
            running: all.seconds(RUNNING),
            reading: all.seconds(READING),
            total: all.number("bytes", TOTAL),
            free: all.number("bytes", FREE),
            needed: all.number("bytes", NEEDED),
            reserve: all.number("bytes", RESERVE),
            inodes: all.number("inodes", INODES),
            no_room: all.flag(NO_ROOM),
            shortage: all.flag(SHORTAGE),
            log: all.number("bytes", ("raftd_log_bytes", "What the log takes on the disk")),
            state: all.number("bytes", ("raftd_state_bytes", "What the state takes on the disk")),
            scrub_interval: all.number("seconds", SCRUB_INTERVAL),
            log_read: all.seconds(LOG_READ),
            log_read_bytes: all.number("bytes", LOG_READ_BYTES),
            state_read: all.seconds(STATE_READ),
            state_read_bytes: all.number("bytes", STATE_READ_BYTES),
            mended: all.flag(MENDED),
            snapshot_damaged: all.flag(SNAPSHOT_DAMAGED),
        }
    }

    pub(super) fn show(&self, report: &Report, since_s: f64) {
        let Report { status, load, .. } = report;
        let running = status.disk_waits_ms.map(|ms| seconds_of(ms) + since_s);
        self.running.set(running.unwrap_or(0.0));
        let reading = status.reads_wait_ms.map(|ms| seconds_of(ms) + since_s);
        self.reading.set(reading.unwrap_or(0.0));
        self.total.set(status.disk_total_bytes);
        self.free.set(status.disk_free_bytes);
        self.needed.set(status.disk_needed_bytes);
        self.reserve.set(status.disk_reserve_bytes);
        self.inodes.set(load.free_inodes);
        self.no_room.set(u64::from(!status.no_room.is_empty()));
        self.shortage.set(u64::from(!status.shortage.is_empty()));
        self.log.set(status.log_bytes);
        self.state.set(load.state_bytes);
        let age = |read: &ReadThrough| seconds_of(read.ago_ms) + since_s;
        self.scrub_interval.set(load.scrub_interval_s);
        self.log_read.set(status.log_read.as_ref().map(age));
        self.log_read_bytes.set(status.log_read.map(|read| read.bytes));
        self.state_read.set(status.state_read.as_ref().map(age));
        self.state_read_bytes.set(status.state_read.map(|read| read.bytes));
        self.mended.set(u64::from(!status.mended.is_empty()));
        self.snapshot_damaged.set(u64::from(!status.snapshot_damaged.is_empty()));
    }
}

const RUNNING: (&str, &str) = (
    "raftd_log_sync_running_seconds",
    "For how long the oldest write to the log has been under way; 0 if there is none. A disk that \
     hangs shows here, as it finishes nothing that the histogram could count",
);
const READING: (&str, &str) = (
    "raftd_state_read_running_seconds",
    "For how long the question that is being answered has taken so far; 0 if there is none. A disk \
     that hangs on reads shows here, and a question that is slow: others wait behind it",
);
const TOTAL: (&str, &str) =
    ("raftd_disk_size_bytes", "The size of the file system with the data directory");
const FREE: (&str, &str) = ("raftd_disk_free_bytes", "What is free there, the reserve with it");
const NEEDED: (&str, &str) = (
    "raftd_disk_needed_bytes",
    "What must be free there so that all that was taken can be flushed and compacted: with less, \
     nothing is taken that adds data",
);
const RESERVE: (&str, &str) =
    ("raftd_disk_reserve_bytes", "What the node holds in reserve for a full disk; 0 if it is used");
const INODES: (&str, &str) = (
    "raftd_disk_free_inodes",
    "Free inodes there; left out where the file system has no fixed number",
);
const NO_ROOM: (&str, &str) =
    ("raftd_no_room", "Whether this node refuses what adds data, as its disk has no room");
const SHORTAGE: (&str, &str) = (
    "raftd_room_shortage",
    "Whether this leader refuses what adds data, as the voters with room are no majority",
);
const SCRUB_INTERVAL: (&str, &str) = (
    "raftd_scrub_interval_seconds",
    "How often all of the log and the state is to be read (limits.state_scrub_interval_s)",
);
const LOG_READ: (&str, &str) = (
    "raftd_log_scrub_age_seconds",
    "How long ago all of the log was last read and found whole; left out before the first time",
);
const LOG_READ_BYTES: (&str, &str) = ("raftd_log_scrubbed_bytes", "How much that was");
const STATE_READ: (&str, &str) = (
    "raftd_state_scrub_age_seconds",
    "How long ago all of the state was last read and found whole; left out before the first time",
);
const STATE_READ_BYTES: (&str, &str) = ("raftd_state_scrubbed_bytes", "How much that was");
const MENDED: (&str, &str) = (
    "raftd_damage_mended",
    "Whether something on the disk was damaged and has been mended since the node started: the \
     disk goes bad",
);
const SNAPSHOT_DAMAGED: (&str, &str) = (
    "raftd_snapshot_damaged",
    "Whether a snapshot lies there that was not as it was written, and was set aside",
);
