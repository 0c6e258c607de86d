//! A node's life on a thread of its own: started in order, stopped in reverse.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::Credentials;
use consensus::NodeId;
use protocol::{Hello, LeaseTerms, PROTOCOL_VERSION, Promises};
use storage::DataDirectory;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use transport::Endpoint;

use crate::alive::Alive;
use crate::assemble::assemble;
use crate::bootstrap::{Waited, wait_for_bootstrap};
use crate::clock::Clock;
use crate::config::{Config, listed};
use crate::control::{Control, control};
use crate::desk::{AskedOwner, Desk};
use crate::exit::{Exit, Failure, chain, storage_failure};
use crate::gauges::Gauges;
use crate::identity::{CertificateEnd, Identity, forgetful, node_of};
use crate::inbound::Inbound;
use crate::listening;
use crate::observe::http;
use crate::opening::{Found, open, open_again, set_aside};
use crate::program::Program;
use crate::rebuild::{opened_aside, rebuild};
use crate::reload::{Updates, credentials, follow};
use crate::repair::{Repaired, repair};
use crate::running::{About, Ended, Running};
use crate::services::Services;
use crate::troubles::Troubles;

/// How long the last writes may take when a node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long tasks and threads that read for others may keep a stopped node.
const TASKS_TIMEOUT: Duration = Duration::from_millis(100);
const READERS_TIMEOUT: Duration = Duration::from_millis(500);

/// How a node is started, besides its configuration.
pub(crate) struct Start {
    /// What messages call the place where the configuration is written.
    pub(crate) file: PathBuf,
    /// A socket that is bound already, instead of one at `listen`.
    pub(crate) socket: Option<UdpSocket>,
    /// How often the owner wants to hear that the loop is alive.
    pub(crate) heartbeat: Duration,
    /// Where the owner is asked about the configuration, if he answers.
    pub(crate) desk: Option<mpsc::Sender<AskedOwner>>,
}

/// Starts a node; waits until it listens.
///
/// # Errors
/// Whatever keeps it from that.
pub(crate) async fn start(
    program: Program,
    config: Config,
    how: Start,
) -> Result<Running, Failure> {
    config.check()?;
    program.check()?;
    let credentials = credentials(&config)?;
    let node = node_of(&credentials)?;
    let (owner, control) = control(how.heartbeat);
    let (ready, started) = oneshot::channel();
    let (end, ended) = watch::channel(None);
    let thread = std::thread::Builder::new().name(format!("node {node}"));
    let Start { file, socket, heartbeat: _, desk } = how;
    let birth = Birth { program, config, credentials, file, socket, desk, control, ready };
    let thread = thread
        .spawn(move || {
            let result = run(birth).map_err(Failure::log);
            end.send_replace(Some(result));
        })
        .map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))?;
    let ended = Ended::new(ended, thread);
    match started.await {
        Ok((about, updates)) => Ok(Running::new(about, owner, updates, ended)),
        Err(_) => {
            ended.result().await?;
            Err(Failure::new(Exit::Internal, "the node ended before it listened"))
        }
    }
}

/// What a node's thread begins with.
struct Birth {
    program: Program,
    config: Config,
    credentials: Credentials,
    file: PathBuf,
    socket: Option<UdpSocket>,
    desk: Option<mpsc::Sender<AskedOwner>>,
    control: Control,
    ready: oneshot::Sender<(About, Updates)>,
}

/// Runs a node to its end. A panic of its loop is a failure of this node only.
fn run(birth: Birth) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Io, "the runtime", &error))?;
    let mut directory = None;
    let (alive, gone) = Alive::new();
    let serving = AssertUnwindSafe(|| runtime.block_on(serve(birth, &mut directory, &alive)));
    let served = catch_unwind(serving);
    drop(alive);
    runtime.shutdown_timeout(TASKS_TIMEOUT);
    // A loop that has panicked did not wait for its lanes.
    let within = if served.is_ok() { READERS_TIMEOUT } else { STOP_TIMEOUT };
    if gone.wait(within) {
        // From here on, the directory may be opened again.
        drop(directory);
    } else {
        tracing::debug!("a thread still reads from the data directory of a stopped node");
        // It says so itself as long as that is so: the lock is held. Where no thread can be had, it
        // is given up now, and the databases refuse to be opened twice.
        let hold = move || {
            gone.wait(Duration::MAX);
            drop(directory);
        };
        let _ = std::thread::Builder::new().name("stopped".to_owned()).spawn(hold);
    }
    served.unwrap_or_else(|panic| Err(Failure::panicked("the node's loop", &*panic)))
}

async fn serve(
    birth: Birth,
    slot: &mut Option<DataDirectory>,
    alive: &Alive,
) -> Result<(), Failure> {
    let Birth { program, config, credentials, file, socket, desk, control, ready } = birth;
    let clock = Clock::start();
    // Before anything that may take long, and until all else has ended.
    let troubles = Troubles::default();
    let _port = http::open(&config.http, control.board(), &troubles)?;
    let node = node_of(&credentials)?;
    let cluster = credentials.cluster().to_bytes();
    let opened = DataDirectory::open_or_create(&config.data_dir, cluster, node);
    let directory = slot.insert(opened.map_err(|error| storage_failure(&error))?);
    let gauges = Arc::new(Gauges::at(&config.data_dir, troubles.clone()));
    gauges.scrubs().every(config.limits.state_scrub_interval_s);
    gauges.keep_reserve().map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))?;
    let has_history = directory.generation().is_some() || directory.half_joined().is_some();
    let opened = has_history.then(|| open(directory, &program)).transpose()?;
    let (desk, asked) = Desk::new(desk);
    let mut identity = identity(node, directory, &credentials, (desk, config.advertise.clone()));
    if let Some(former) = identity.former {
        tracing::error!(name: "forgotten", "{}", forgetful(directory.path(), former));
    }
    let reset_key = directory.reset_key().map_err(|error| {
        tracing::warn!(name: "reset-key", "{}; peers will notice restarts later", chain(&error));
    });
    let reset_key = reset_key.as_ref().ok();
    let endpoint = listen((&config, &file), socket, (&credentials, reset_key)).await?;
    let address = endpoint.local_addr().unwrap_or(config.listen);
    let hello = hello(&identity, &config.raft);
    let telling = (control.board().clone(), troubles.clone());
    let inbound = Inbound::accept(endpoint.clone(), hello, &config, telling);
    tracing::info!(
        name: "ready",
        %node,
        incarnation = %identity.incarnation,
        listen = %listed(&endpoint.local_addrs()),
        data = %config.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    let (updates, reload) =
        follow(&config, endpoint.clone(), (identity.certificate_end.clone(), troubles), asked);
    let machine = (program.machine.name().to_owned(), program.machine.version());
    let about = About { node, cluster, incarnation: identity.incarnation, machine, address };
    // An owner who is gone has asked the node to stop.
    let _ = ready.send((about, updates));
    let mut services = Services { clock, inbound, control, reload, program, founded: Vec::new() };
    let found = match opened {
        Some(found) => Some(found),
        None => match wait_for_bootstrap(&mut services, &mut identity, &gauges, directory).await? {
            Waited::Stopped => None,
            Waited::Bootstrapped => Some(open(directory, &services.program)?),
        },
    };
    let ended = match found {
        Some(found) => {
            let who = (&config, &identity, &endpoint, &gauges);
            live(who, services, (slot, alive), found).await
        }
        None => Ok(()),
    };
    if let Err(Failure { forgotten: Some(why), .. }) = &ended {
        let directory = slot.as_mut().expect("a thread is left behind only where one is to stop");
        directory.forget(*why).map_err(|error| storage_failure(&error))?;
    }
    let why = if ended.is_ok() { "the node stops" } else { "the node fails" };
    endpoint.close(why).await;
    ended
}

/// Takes the socket that the service manager has opened, or listens at the first address; and
/// listens at all others.
async fn listen(
    (config, file): (&Config, &Path),
    socket: Option<UdpSocket>,
    (credentials, reset_key): (&Credentials, Option<&[u8; 32]>),
) -> Result<Endpoint, Failure> {
    let mut endpoint = match socket {
        Some(socket) => Endpoint::server_on(socket, credentials, reset_key)
            .map_err(|error| Failure::from_error(Exit::Io, "the socket", &error))?,
        None => {
            let listen = || Endpoint::server_with(config.listen, credentials, reset_key);
            listening::patiently(listen, config.listen, file).await?
        }
    };
    for also in &config.also_listen {
        let listen = || endpoint.clone().also_at(*also, reset_key);
        endpoint = listening::patiently(listen, *also, file).await?;
    }
    Ok(endpoint)
}

/// What a node lives with.
type Who<'a> = (&'a Config, &'a Identity, &'a Endpoint, &'a Arc<Gauges>);

/// Runs a node with a history to its end. The directory is back in its place behind it, unless a
/// thread still uses it that was left behind as the node was asked to stop.
async fn live(
    who: Who<'_>,
    services: Services,
    (slot, alive): (&mut Option<DataDirectory>, &Alive),
    found: Found,
) -> Result<(), Failure> {
    let directory = Arc::new(slot.take().expect("it is open"));
    let ended = lives(who, services, (&directory, alive), found).await;
    *slot = Arc::into_inner(directory);
    ended
}

/// Runs a node as long as it can. If its state turns out to be damaged, it goes on with another
/// one: log, term and vote are whole.
async fn lives(
    (config, identity, endpoint, gauges): Who<'_>,
    mut services: Services,
    (directory, alive): (&Arc<DataDirectory>, &Alive),
    mut found: Found,
) -> Result<(), Failure> {
    let about = (identity, &**gauges);
    loop {
        let opened = match found {
            Found::Whole(opened) => *opened,
            Found::Damaged(damaged) => {
                let with = (endpoint, alive);
                if repair(damaged, &mut services, about, with).await? == Repaired::Stopped {
                    return Ok(());
                }
                let why = "its log is repaired, and its state is looked at again";
                let place = (directory, alive);
                match opened_aside(&mut services, about, place, why, open_again).await? {
                    Some(again) => found = again,
                    None => return Ok(()),
                }
                if let Found::Damaged(damaged) = &found {
                    return Err(damaged.again());
                }
                continue;
            }
            Found::NoState(lost) => {
                let who = (identity, endpoint, gauges);
                match rebuild(&mut services, who, (directory, alive), lost).await? {
                    Some(opened) => opened,
                    None => return Ok(()),
                }
            }
        };
        let (life, gone) = alive.part();
        let parts = (services, &life);
        let turn = assemble(config, identity, opened, endpoint, Arc::clone(gauges), parts)?;
        let (back, ended) = turn.run(STOP_TIMEOUT).await;
        services = back;
        drop(life);
        let failure = match ended {
            Err(failure) if failure.is_of_the_state() => failure,
            ended => return ended,
        };
        // Threads and tasks that read may take a moment.
        let began = Instant::now();
        while !gone.wait(Duration::ZERO) {
            if began.elapsed() > STOP_TIMEOUT {
                return Err(Failure::new(Exit::Io, "a thread still reads the damaged state"));
            }
            sleep(Duration::from_millis(1)).await;
        }
        let why = format!("its state is made anew: {failure}");
        let shared = Arc::clone(gauges);
        let anew = move |directory: &DataDirectory, program: &Program| {
            set_aside(directory, &failure)?;
            shared.scrubs().mend(format!("{failure}: the state was made anew"));
            open_again(directory, program)
        };
        match opened_aside(&mut services, about, (directory, alive), &why, anew).await? {
            Some(again) => found = again,
            None => return Ok(()),
        }
    }
}

/// Says who the node is, by its certificate and its directory.
fn identity(
    node: NodeId,
    directory: &DataDirectory,
    credentials: &Credentials,
    (desk, advertise): (Desk, Option<String>),
) -> Identity {
    Identity {
        node,
        cluster: credentials.cluster().to_bytes(),
        incarnation: directory.incarnation(),
        former: directory.former(),
        generation: directory.generation(),
        starts: directory.starts(),
        boot: directory.boot(),
        advertise,
        certificate_end: CertificateEnd::of(credentials),
        desk,
    }
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
        promises: Promises::default(),
    }
}
