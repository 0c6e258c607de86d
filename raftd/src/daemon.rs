//! The daemon's life: started in order, stopped in reverse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certs::Credentials;
use consensus::{Raft, Restored};
use protocol::{Hello, LeaseTerms, PROTOCOL_VERSION};
use replica::{Keep, Limits, Replica};
use state_machine::{Host, StoredMachine};
use storage::{
    DataDirectory, EntryReader, LogProvider, PersistentLog, RestoredLog, SnapshotFile, Snapshots,
    StateStore, reconcile,
};
use tokio::sync::mpsc;
use transport::{Endpoint, Mesh};

use crate::bootstrap::{failure, host_failure, is_machine};
use crate::cli::Cli;
use crate::clock::Clock;
use crate::config::Config;
use crate::door::Door;
use crate::exit::{Exit, Failure, chain};
use crate::gauges::Gauges;
use crate::identity::{CertificateEnd, Identity, node_of};
use crate::lanes::apply::{Apply, Flushing};
use crate::lanes::disk::Disk;
use crate::lanes::network::{Network, ReadLog};
use crate::lanes::query::Queries;
use crate::lanes::snapshot::{About, SnapshotLane};
use crate::lanes::{REPORTS_MAX, Reports};
use crate::listening;
use crate::logging::Logging;
use crate::node::{Node, Parts};
use crate::reload::{Settings, credentials};
use crate::shutdown::{Signals, abort_on_panic, hold_reload};
use crate::systemd::Systemd;
use crate::turn::{Ended, Surroundings, Turn};

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

/// How long the last writes may take when the daemon stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Checks configuration and credentials without touching anything, and says what is in force.
///
/// # Errors
/// Exit 78 with the first thing that is wrong.
pub fn check(cli: &Cli) -> Result<String, Failure> {
    let config = Config::load(&cli.config, &cli.overrides)?;
    let credentials = credentials(&config.identity)?;
    node_of(&credentials)?;
    let who = credentials.identity();
    let (data, listen) = (config.data_dir.display(), config.listen);
    Ok(format!("{}: valid; {who}, data in {data}, listens on {listen}", config.file.display()))
}

/// Runs a node with this program's machine and log until it is asked to stop.
pub(crate) fn run(cli: &Cli, program: Program) -> Result<(), Failure> {
    let config = Config::load(&cli.config, &cli.overrides)?;
    let logging = Logging::start(config.log_level);
    abort_on_panic();
    // What is kept in the data directory is nobody else's business, whoever starts the daemon.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let credentials = credentials(&config.identity)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Io, "the runtime", &error))?;
    let settings = Settings { file: cli.config.clone(), overrides: cli.overrides.clone(), logging };
    let ended = runtime.block_on(serve(&config, credentials, settings, program));
    // What reads for others must not keep a stopped node alive.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// What is replicated, shared by the threads that apply and that answer.
pub(crate) type Machine = Arc<dyn StoredMachine>;

/// What a program is made of.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) machine: Machine,
    pub(crate) logs: Arc<dyn LogProvider>,
}

async fn serve(
    config: &Config,
    credentials: Credentials,
    settings: Settings,
    program: Program,
) -> Result<(), Failure> {
    let clock = Clock::start();
    let signal = |error| Failure::from_error(Exit::Io, "signal handlers", &error);
    let held = hold_reload().map_err(signal)?;
    let node = node_of(&credentials)?;
    let cluster = credentials.cluster().to_bytes();
    let mut directory = DataDirectory::open_or_create(&config.data_dir, cluster, node)
        .map_err(|error| failure(&error))?;
    let mut identity = Identity {
        node,
        cluster,
        incarnation: directory.incarnation(),
        generation: directory.generation(),
        boot: clock.epoch_ns() ^ u64::from(std::process::id()).rotate_left(32),
        certificate_end: CertificateEnd::of(&credentials),
    };
    let opened = match identity.generation {
        Some(_) => Some(open(&directory, &program)?),
        None => None,
    };
    let reset_key = directory.reset_key().map_err(|error| {
        tracing::warn!("{}; peers will notice restarts later", chain(&error));
    });
    let reset_key = reset_key.as_ref().ok();
    let listen = || Endpoint::server_with(config.listen, &credentials, reset_key);
    let endpoint = listening::patiently(listen, config.listen, &config.file).await?;
    let signals = Signals::install(held).map_err(signal)?;
    let hello = hello(&identity, &config.raft);
    let door = Door::open(endpoint.clone(), hello, config.limits.connections_max);
    let systemd = Systemd::from_environment()
        .map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))?;
    systemd.ready();
    tracing::info!(
        %node,
        incarnation = %identity.incarnation,
        listen = %endpoint.local_addr().unwrap_or(config.listen),
        data = %config.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    let founding = program.clone();
    let end = identity.certificate_end.clone();
    let reload = settings.follow(config.clone(), endpoint.clone(), end);
    let mut surroundings = Surroundings { clock, door, signals, systemd, reload, founding };
    let gauges = Arc::new(Gauges::at(&config.data_dir));
    let opened = match opened {
        Some(opened) => Some(opened),
        None => {
            let waited = surroundings.uninitialised(&mut identity, &gauges, &mut directory).await?;
            if waited == Ended::Stopped { None } else { Some(open(&directory, &program)?) }
        }
    };
    let ended = match opened {
        Some(opened) => {
            let turn = assemble(config, &identity, opened, &endpoint, gauges, surroundings)?;
            turn.run(STOP_TIMEOUT).await
        }
        None => Ok(()),
    };
    let why = if ended.is_ok() { "the node stops" } else { "the node fails" };
    endpoint.close(why).await;
    drop(directory);
    ended
}

fn hello(identity: &Identity, raft: &crate::config::Raft) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: identity.cluster,
        generation: identity.generation,
        node: Some(identity.node),
        incarnation: identity.incarnation,
        boot: identity.boot,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        lease: raft.lease_clock_error_ppm.map(|clock_error_ppm| LeaseTerms {
            clock_error_ppm,
            stands_ms: u32::try_from(*raft.election_timeout_ms.start()).unwrap_or(u32::MAX),
        }),
    }
}

/// What was found on the disk.
struct Opened {
    log: Box<dyn PersistentLog>,
    restored: RestoredLog,
    host: Host<StateStore>,
    snapshots: Snapshots,
    newest: Option<SnapshotFile>,
}

fn open(directory: &DataDirectory, program: &Program) -> Result<Opened, Failure> {
    let machine = &program.machine;
    let record = directory.bootstrap().map_err(|error| failure(&error))?;
    if let Some(record) = record {
        is_machine(machine, &record).map_err(|why| {
            Failure::new(Exit::Data, why).hint("start the program that this cluster was made for")
        })?;
    }
    let (log, restored) = program.logs.open(directory).map_err(|error| failure(&error))?;
    let mut state = StateStore::open(directory.path()).map_err(|error| failure(&error))?;
    let snapshots = Snapshots::open(directory).map_err(|error| failure(&error))?;
    let installed =
        reconcile(&restored, &mut state, &snapshots).map_err(|error| failure(&error))?;
    if let Some(file) = installed {
        let last = file.header.meta.last;
        tracing::info!(%last, "a snapshot was received before the last stop; it is installed");
    }
    let host = Host::open(state, Arc::clone(machine))
        .map_err(|error| host_failure("the state", &error))?;
    let (files, _) = snapshots.list().map_err(|error| failure(&error))?;
    Ok(Opened { log, restored, host, snapshots, newest: files.into_iter().next() })
}

fn assemble(
    config: &Config,
    identity: &Identity,
    opened: Opened,
    endpoint: &Endpoint,
    gauges: Arc<Gauges>,
    surroundings: Surroundings,
) -> Result<Turn, Failure> {
    let Opened { mut log, restored, mut host, snapshots, newest } = opened;
    let clock = surroundings.clock;
    let replica = replica((config, &gauges), identity, restored, &host, clock)?;
    let reader = log.reader();
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let (events, heard) = mpsc::channel(PEER_EVENTS_MAX);
    let mesh = Mesh::new(endpoint.clone(), surroundings.door.hello.borrow().clone(), events);
    let read = read_log(Arc::clone(&reader));
    let thread = |error: std::io::Error| Failure::from_error(Exit::Io, "a thread", &error);
    let measured = Arc::clone(&gauges);
    let write = move |writes: &[consensus::Write]| {
        let written = log.write(writes).map(|_| ()).map_err(|error| failure(&error));
        // Here and now: between two looks at the clock, the disk could fill up.
        measured.measure();
        written
    };
    gauges.set_state_bytes(host.with_store(|store| store.bytes()).unwrap_or(0));
    gauges.watch(move || reader.bytes());
    let view = host.view();
    let flushing = flushing(config, &gauges);
    let generation = identity.generation.expect("a node with a log has a generation");
    let about = About {
        cluster: identity.cluster,
        generation,
        machine: surroundings.founding.machine.name().to_owned(),
        machine_version: surroundings.founding.machine.version(),
    };
    let machine = Arc::clone(&surroundings.founding.machine);
    let rate = config.limits.snapshot_bytes_per_s_max;
    let snapshots =
        SnapshotLane::new(snapshots, newest, about, rate, (Arc::clone(&gauges), reports.clone()));
    let parts = Parts {
        snapshots,
        replica,
        identity: identity.clone(),
        disk: Disk::start(write, reports.clone()).map_err(thread)?,
        apply: start_apply(host, &read, flushing, (&reports, mesh.removed())).map_err(thread)?,
        queries: Queries::start(Arc::clone(&read), Arc::clone(&machine), clock).map_err(thread)?,
        machine,
        network: Network::new(mesh, (read, generation), rate, reports),
        gauges,
        view,
        requests_max: config.limits.requests_max,
        cache_bytes_max: bytes(config.limits.log_cache_bytes_max),
        lease_clock_error_ppm: config.raft.lease_clock_error_ppm,
        pace_ms: (config.raft.heartbeat_ms, *config.raft.election_timeout_ms.start()),
        listen: config.listen,
        elsewhere: surroundings.reload.elsewhere(),
    };
    Ok(Turn::new(Node::new(parts), surroundings, reported, heard))
}

fn start_apply(
    host: Host<StateStore>,
    read: &ReadLog,
    flushing: Flushing,
    (reports, removed): (&Reports, transport::Removed),
) -> std::io::Result<Apply> {
    let read = Arc::clone(read);
    let read = move |range, bytes_max| read(range, bytes_max);
    Apply::start(host, read, flushing, reports.clone(), removed)
}

/// What waits to be flushed takes a small part of the disk only, and a flush that would find no
/// room is left out: it would end the node.
fn flushing(config: &Config, gauges: &Arc<Gauges>) -> Flushing {
    let gauges = Arc::clone(gauges);
    Flushing {
        interval: Duration::from_secs(config.limits.persist_interval_s),
        bytes_max: bytes(UNFLUSHED_BYTES_MAX.min(share(&gauges, UNFLUSHED_PART))),
        has_room: Box::new(move || gauges.lacks(0).is_none()),
    }
}

/// Returns a part of the disk, but enough for some entries of any size.
fn share(gauges: &Gauges, part: u64) -> u64 {
    let total = gauges.space().map_or(u64::MAX, |space| space.total_bytes);
    (total / part).max(SHARE_BYTES_MIN)
}

fn read_log(reader: Arc<dyn EntryReader>) -> ReadLog {
    Arc::new(move |range, bytes_max| reader.read(range, bytes_max).map_err(|error| failure(&error)))
}

fn replica(
    (config, gauges): (&Config, &Gauges),
    identity: &Identity,
    restored: RestoredLog,
    host: &Host<StateStore>,
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
        reads_max: config.limits.requests_max,
        lease_clock_error_ppm: config.raft.lease_clock_error_ppm,
        ..consensus::Config::new(seed)
    };
    let disk = Restored {
        incarnation: identity.incarnation,
        hard_state: restored.hard_state,
        log: restored.log,
        membership: restored.membership,
        applied: host.applied().index,
        stamp: restored.stamp.max(host.time()),
    };
    let raft = Raft::restore(identity.node, settings, disk, clock.now())
        .map_err(|error| Failure::from_error(Exit::Data, "the data directory", &error))?;
    let kept = config.limits.log_keep_bytes_max.min(share(gauges, KEPT_PART));
    let proposed = config.limits.uncommitted_bytes_max.min(share(gauges, PROPOSED_PART));
    let limits = Limits {
        cache_bytes_max: bytes(config.limits.log_cache_bytes_max),
        proposal_bytes_max: bytes(proposed),
        proposals_max: config.limits.requests_max as usize,
        questions_max: config.limits.requests_max as usize,
        keep: Keep {
            entries: config.limits.log_keep_entries_max,
            bytes_max: kept,
            bytes_min: Keep::default().bytes_min.min(kept),
        },
        ..Limits::default()
    };
    Ok(Replica::new(raft, limits))
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Writes a failure for people: what is wrong, and what to do.
pub fn explain(failure: &Failure, config: &Path) -> String {
    let how = if failure.exit.is_wanted() { "stopped" } else { "error" };
    let mut text = format!("{how}: {failure}\n");
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("help: {hint}\n"));
    }
    text.push_str(&format!(
        "(configuration {}; exit code {})",
        config.display(),
        failure.exit.code()
    ));
    text
}
