//! Putting a node together: what was found on the disk, the replica, the lanes and the loop.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consensus::{Chain, Entry, LogIndex, Raft, Restored};
use protocol::Hello;
use protocol::limits::ENTRIES_PER_FRAME_MAX;
use replica::{FeedLimits, Input, Keep, Limits, Replica};
use state_machine::Host;
use storage::{
    EntryReader, PersistentLog, Presence, RestoredLog, SnapshotFile, StateStore, StorageError,
};
use tokio::sync::mpsc;
use transport::{Endpoint, Mesh};

use crate::alive::Alive;
use crate::clock::Clock;
use crate::config::Config;
use crate::exit::{Exit, Failure, log_failure};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::lanes::apply::{Apply, Flushing};
use crate::lanes::disk::Disk;
use crate::lanes::network::{FRAME_BYTES_MAX, Network, ReadLog};
use crate::lanes::presence;
use crate::lanes::query::Queries;
use crate::lanes::scrub;
use crate::lanes::snapshot::{About, SnapshotLane};
use crate::lanes::syncs;
use crate::lanes::{REPORTS_MAX, Reports};
use crate::node::remember::Keeper;
use crate::node::{Node, Parts};
use crate::opening::Opened;
use crate::pending::OPERATOR_REQUESTS_MAX;
use crate::program::Machine;
use crate::room::measured;
use crate::services::Services;
use crate::turn::Turn;

/// News of peers that wait for the loop; beyond it their connections are held back.
const PEER_EVENTS_MAX: usize = 1_024;

/// At most so many bytes of entries are applied and not flushed.
const UNFLUSHED_BYTES_MAX: u64 = 64 << 20;

/// What small disks set limits to: what is applied and not flushed, what is proposed and not
/// applied, and what stays of the log take at most such a part of the disk.
const UNFLUSHED_PART: u64 = 32;
const PROPOSED_PART: u64 = 32;
const KEPT_PART: u64 = 8;

/// But never less than so many bytes.
const SHARE_BYTES_MIN: u64 = 2 << 20;

/// Starts the lanes, and puts a node together that is ready to run.
///
/// # Errors
/// If what is on the disk makes no sense, or the system starts no thread.
pub(crate) fn assemble(
    config: &Config,
    identity: &Identity,
    opened: Opened,
    endpoint: &Endpoint,
    gauges: Arc<Gauges>,
    (services, alive): (Services, &Alive),
) -> Result<Turn, Failure> {
    let Opened { log, restored, mut host, snapshots, files, promises, peers, presence } = opened;
    let clock = services.clock;
    let replica = replica((config, &gauges), identity, (restored, &files), &mut host, clock)?;
    let reader = log.reader();
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let (events, heard) = mpsc::channel(PEER_EVENTS_MAX);
    let hello = Hello { promises, ..services.inbound.hello.borrow().clone() };
    let mesh = Mesh::new(endpoint.clone(), hello, events);
    let read = read_log(DiskReader { reader: Arc::clone(&reader), _alive: alive.clone() });
    let thread = |error: std::io::Error| Failure::from_error(Exit::Io, "a thread", &error);
    let measured = Arc::clone(&gauges);
    let mut log = DiskLog { log, _alive: alive.clone() };
    let write = move |writes: &[consensus::Write]| {
        // Here and now: between two looks at the clock, the disk could fill up, and before, too.
        measured.measure();
        let written = log.write(writes);
        measured.measure();
        written
    };
    gauges.set_state_bytes(host.with_store(|store| store.bytes()).unwrap_or(0));
    let snapshot_log = DiskReader { reader: Arc::clone(&reader), _alive: alive.clone() };
    let snapshot_log: Arc<dyn EntryReader> = Arc::new(snapshot_log);
    gauges.watch_snapshots(snapshots.clone());
    let interval = Duration::from_secs(config.limits.state_scrub_interval_s);
    let found = (reports.clone(), Arc::clone(&gauges));
    start_looking((presence, &snapshot_log), interval, found, alive).map_err(thread)?;
    let counted = DiskReader { reader, _alive: alive.clone() };
    let watch = gauges.watch(move || counted.bytes());
    let (view, owners) = (host.view(), host.owners());
    let flushing = flushing(config, &gauges);
    let generation = identity.generation.expect("a node with a log has a generation");
    let about = About {
        cluster: identity.cluster,
        generation,
        machine: services.program.machine.name().to_owned(),
        machine_version: services.program.machine.version(),
    };
    let machine = Arc::clone(&services.program.machine);
    let snapshots = SnapshotLane::new(
        (snapshots, snapshot_log),
        files,
        about,
        config.limits.snapshot_bytes_per_s_max,
        (Arc::clone(&gauges), alive.clone(), reports.clone()),
    );
    let troubles = gauges.troubles().clone();
    let (memory, forwarder) = (mesh.memory(), services.inbound.forwarder.clone());
    let parts = Parts {
        snapshots,
        replica,
        identity: identity.clone(),
        disk: Disk::start(write, reports.clone()).map_err(thread)?,
        apply: start_apply(host, &read, flushing, (&reports, alive, mesh.removed()))
            .map_err(thread)?,
        queries: start_queries(&read, &machine, clock, (&reports, alive)).map_err(thread)?,
        machine,
        owners,
        network: Network::new((mesh, forwarder), (read, generation), reports),
        gauges,
        watch,
        view,
        requests_max: config.limits.requests_max,
        lease_clock_error_ppm: config.raft.lease_clock_error_ppm,
        pace_ms: (config.raft.heartbeat_ms, *config.raft.election_timeout_ms.start()),
        listen: endpoint.local_addrs(),
        elsewhere: services.reload.elsewhere(),
        keeper: Keeper::new(memory, peers, troubles),
        board: services.control.board().clone(),
    };
    Ok(Turn::new(Node::new(parts), services, reported, heard))
}

/// Starts what looks after the files: whether they are there, and what they hold.
fn start_looking(
    (presence, log): (Presence, &Arc<dyn EntryReader>),
    interval: Duration,
    (reports, gauges): (Reports, Arc<Gauges>),
    alive: &Alive,
) -> std::io::Result<()> {
    let troubles = gauges.troubles().clone();
    syncs::start(presence.clone(), gauges.syncs().clone(), reports.clone())?;
    presence::start(presence, Arc::clone(log), (&reports, troubles), alive.clone())?;
    scrub::start(Arc::clone(log), interval, (reports, gauges), alive.clone())
}

fn start_apply(
    host: Host<StateStore>,
    read: &ReadLog,
    flushing: Flushing,
    (reports, alive, removed): (&Reports, &Alive, transport::Removed),
) -> std::io::Result<Apply> {
    let read = Arc::clone(read);
    let read = move |range, bytes_max| read(range, bytes_max);
    Apply::start(host, read, flushing, (reports.clone(), alive.clone()), removed)
}

fn start_queries(
    read: &ReadLog,
    machine: &Machine,
    clock: Clock,
    (reports, alive): (&Reports, &Alive),
) -> std::io::Result<Queries> {
    let guard = (reports.clone(), alive.clone());
    Queries::start(Arc::clone(read), Arc::clone(machine), clock, guard)
}

/// What waits to be flushed takes a small part of the disk only, and a flush that would find no
/// room is left out: it would end the node.
fn flushing(config: &Config, gauges: &Arc<Gauges>) -> Flushing {
    let (gauges, room, told) = (Arc::clone(gauges), Arc::clone(gauges), Arc::clone(gauges));
    Flushing {
        interval: Duration::from_secs(config.limits.persist_interval_s),
        bytes_max: bytes(UNFLUSHED_BYTES_MAX.min(share(&gauges, UNFLUSHED_PART))),
        has_room: Box::new(move || gauges.lacks(0).is_none()),
        has_more_room: Arc::new(move || {
            let found = measured(&room);
            found.is_none_or(|space| space.usable_bytes >= space.needed_bytes)
        }),
        scrub_interval: Duration::from_secs(config.limits.state_scrub_interval_s),
        scrubbed: Arc::new(move |bytes| told.scrubs().read_state(bytes)),
    }
}

/// Returns a part of the disk, but enough for some entries of any size.
fn share(gauges: &Gauges, part: u64) -> u64 {
    let total = gauges.space().map_or(u64::MAX, |space| space.total_bytes);
    (total / part).max(SHARE_BYTES_MIN)
}

/// The log, which is closed before it counts as unused.
struct DiskLog {
    log: Box<dyn PersistentLog>,
    _alive: Alive,
}

impl DiskLog {
    fn write(&mut self, writes: &[consensus::Write]) -> Result<(), Failure> {
        self.log.write(writes).map(drop).map_err(|error| log_failure(&error))
    }
}

/// What reads the log, which is closed before it counts as unused.
struct DiskReader {
    reader: Arc<dyn EntryReader>,
    _alive: Alive,
}

impl DiskReader {
    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, Failure> {
        self.reader.read(range, bytes_max).map_err(|error| log_failure(&error))
    }
}

impl EntryReader for DiskReader {
    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        self.reader.read(range, bytes_max)
    }

    fn chain(&self, index: LogIndex) -> Result<Option<Chain>, StorageError> {
        self.reader.chain(index)
    }

    fn read_through(&self, pass: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError> {
        self.reader.read_through(pass)
    }

    fn check_files(&self) -> Result<(), StorageError> {
        self.reader.check_files()
    }

    fn bytes(&self) -> u64 {
        self.reader.bytes()
    }
}

fn read_log(reader: DiskReader) -> ReadLog {
    Arc::new(move |range, bytes_max| reader.read(range, bytes_max))
}

fn replica(
    (config, gauges): (&Config, &Gauges),
    identity: &Identity,
    (restored, files): (RestoredLog, &[SnapshotFile]),
    host: &mut Host<StateStore>,
    clock: Clock,
) -> Result<Replica, Failure> {
    let ns = |ms: u64| ms * 1_000_000;
    let election = &config.raft.election_timeout_ms;
    let seed = clock.epoch_ns() ^ identity.node.get().rotate_left(48);
    let settings = consensus::Config {
        election_timeout_ns: ns(*election.start())..ns(*election.end()),
        heartbeat_ns: ns(config.raft.heartbeat_ms),
        inflight_max: config.raft.inflight_max,
        entries_max: config.raft.entries_max,
        uncommitted_max: config.limits.uncommitted_entries_max,
        reads_max: config.limits.requests_max + OPERATOR_REQUESTS_MAX,
        lease_clock_error_ppm: config.raft.lease_clock_error_ppm,
        ..consensus::Config::new(seed)
    };
    let disk = Restored {
        incarnation: identity.incarnation,
        hard_state: restored.hard_state,
        log: restored.log.clone(),
        membership: restored.membership.clone(),
        applied: host.applied().index,
        stamp: restored.stamp.max(host.time()),
    };
    let now = clock.now();
    let raft = Raft::restore(identity.node, settings, disk, now)
        .map_err(|error| Failure::from_error(Exit::Data, "the data directory", &error))?;
    let kept = config.limits.log_keep_bytes_max.min(share(gauges, KEPT_PART));
    let proposed = config.limits.uncommitted_bytes_max.min(share(gauges, PROPOSED_PART));
    let limits = Limits {
        cache_bytes_max: bytes(config.limits.log_cache_bytes_max),
        proposal_bytes_max: bytes(proposed),
        proposals_max: (config.limits.requests_max + OPERATOR_REQUESTS_MAX) as usize,
        questions_max: (config.limits.requests_max + OPERATOR_REQUESTS_MAX) as usize,
        keep: Keep {
            entries: config.limits.log_keep_entries_max,
            bytes_max: kept,
            bytes_min: Keep::default().bytes_min.min(kept),
        },
        feed: FeedLimits {
            bytes_per_s_max: config.limits.snapshot_bytes_per_s_max,
            piece_bytes_max: FRAME_BYTES_MAX,
            piece_entries_max: ENTRIES_PER_FRAME_MAX as u64,
        },
        ..Limits::default()
    };
    let files = files.iter().map(|file| file.header.meta.last).collect();
    let mut replica = Replica::new(now, raft, limits, files).behind(restored.chain);
    if let Some(raised) = host.take_alarms() {
        replica.step(now, Input::Alarms { raised });
    }
    Ok(replica)
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
