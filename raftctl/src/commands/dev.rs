//! `raftctl dev`: a complete local cluster in one command, stopped by Ctrl-C.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use certs::DEFAULT_LEAF_VALIDITY;
use clap::Args;
use client::Client;

use self::left::left_behind;
use self::process::{Incident, Processes};
use crate::bootstrap::{Patience, bootstrap};
use crate::bundle::holdings::{Holding, Terms};
use crate::bundle::{Bundles, NodeSettings, PLAN, PlannedNode, now_unix_s};
use crate::cluster::Health;
use crate::codes;
use crate::commands::init::{may_write_context, write_context};
use crate::commands::status;
use crate::context::lock::{self, Lock};
use crate::context::{self, Contexts, make_private_directory};
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::output::form::Form;
use crate::raftd;
use crate::report::{Report, Result};
use crate::signals::Signals;
use crate::target::Target;
use crate::values::{machine, name};

mod left;
mod process;

/// The port of the first node, where it is free.
const PORT_DEFAULT: u16 = 7400;

/// How far apart the ports of clusters side by side are.
const PORT_STEP: u16 = 20;

/// How often nodes are asked while they start.
const POLL: Duration = Duration::from_millis(20);

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What `dev` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArgs {
    /// How many nodes
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: u16,

    /// Where everything is kept, also data; a later start goes on with it
    /// [default: ~/.local/share/raftctl/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// The UDP port of the first node; the others follow [default: 7400, or the next that are free]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_500))]
    pub(crate) port: Option<u16>,

    /// The daemon's program [default: raftd beside raftctl, else on the PATH]
    #[arg(long, value_name = "FILE", env = "RAFTCTL_RAFTD", hide_env_values = true)]
    pub(crate) raftd: Option<PathBuf>,

    /// What the nodes replicate: the name of the machine in their program, and its version if that
    /// is not 1
    #[arg(
        long,
        value_name = "NAME[:VERSION]",
        default_value = crate::bundle::KV,
        value_parser = machine
    )]
    pub(crate) machine: String,

    /// The name of cluster and context
    #[arg(long, value_name = "NAME", default_value = "dev", value_parser = name)]
    pub(crate) name: String,
}

/// Runs the command.
///
/// # Errors
/// If raftd is missing, a port is taken, or a node ends by itself.
pub(crate) async fn run(invocation: &Invocation, args: DevArgs) -> Result<()> {
    let began = Instant::now();
    let raftd = raftd::find(args.raftd.as_deref(), "dev")?;
    let directory = match &args.dir {
        Some(directory) => absolute(directory)?,
        None => context::data_directory()?.join(&args.name),
    };
    if directory.join(PLAN).exists() {
        renew(invocation, &directory)?;
    }
    may_write_context(&args.name, &directory, true).await?;
    // Two that begin at once would choose the same ports.
    let choosing = match ports_lock() {
        Some(path) => Some(lock::wait(&path, "the ports of local clusters", START_TIMEOUT).await?),
        None => None,
    };
    let bundles = prepare(&args, &directory)?;
    check_ports(&bundles.plan.nodes, &directory)?;
    let before = Contexts::load(&context::file()?)?.current;
    // Caught from here on: whatever is started is stopped again, also if somebody insists.
    let mut signals = Signals::catch_all()?;
    let mut processes = Processes::start(&raftd, &bundles)?;
    let served = tokio::select! {
        served = serve(invocation, &bundles, &mut processes, (began, choosing)) => served,
        stop = signals.stopped() => {
            invocation.output.remark(&format!("stopping {} nodes", bundles.plan.nodes.len()));
            match invocation.output.form {
                // Who reads JSON wants to know; on a terminal Ctrl-C is how it should end.
                Form::Table | Form::Wide => Ok(()),
                Form::Json | Form::Yaml | Form::Name => Err(Report::quiet(stop.exit())),
            }
        }
    };
    let stopped = processes.stop().await;
    restore_context(invocation, &args.name, before).await?;
    served.and(stopped)
}

fn prepare(args: &DevArgs, directory: &Path) -> Result<Bundles> {
    let known = directory.join(PLAN).exists();
    let nodes: Vec<(String, String)> = match (known, args.port) {
        (true, None) => Vec::new(),
        (_, port) => {
            let base = port.map_or_else(|| free_ports(args.nodes), Ok)?;
            let node =
                |number: u16| (format!("n{}", number + 1), format!("127.0.0.1:{}", base + number));
            (0..args.nodes).map(node).collect()
        }
    };
    let settings = |node: &PlannedNode| NodeSettings {
        data_dir: Some(directory.join(format!("data-{}", node.name))),
        listen_host: Some("127.0.0.1".to_owned()),
        lease: None,
    };
    let bundles = Bundles::prepare(directory, &args.name, &nodes, &args.machine, settings)?;
    if bundles.plan.nodes.len() != usize::from(args.nodes) {
        let (there, shown) = (bundles.plan.nodes.len(), directory.display());
        let message = format!("{shown} holds a cluster of {there} nodes, not {}", args.nodes);
        return Err(Report::new(codes::OTHER_PLAN, message)
            .help(format!("raftctl dev --nodes {there}    (goes on with it)"))
            .help("raftctl dev --name NAME    (another cluster, in a directory of its own)"));
    }
    Ok(bundles)
}

/// Gives certificates that have ended or end soon a longer time: all machines are this one, so
/// nobody has to carry a file anywhere.
fn renew(invocation: &Invocation, directory: &Path) -> Result<()> {
    let bundles = Bundles::open(directory)?;
    let mut authority = bundles.authority()?;
    let terms = Terms { validity: DEFAULT_LEAF_VALIDITY, new_key: false };
    if authority.validity().ends_soon(now_unix_s()) {
        authority = bundles.renewed_authority(&authority)?;
        bundles.spread(&authority)?;
    }
    let ending = bundles.ending_soon()?;
    let is_due = |held: &Holding| ending.iter().any(|(name, _)| *name == held.name);
    for holding in bundles.holdings()?.iter().filter(|held| is_due(held)) {
        let prepared = bundles.prepare_renewal(&authority, holding, terms)?;
        bundles.write_renewal(&authority, &prepared)?;
        let until = certs::utc(prepared.after.not_after);
        invocation.output.remark(&format!("{}: certificate renewed until {until}", holding.name));
    }
    Ok(())
}

/// Returns the lock of those who choose ports; nobody else does where there is no such directory.
fn ports_lock() -> Option<PathBuf> {
    let directory = context::data_directory().ok()?;
    make_private_directory(&directory).ok()?;
    Some(directory.join(".ports.lock"))
}

/// Looks for a row of ports that nobody listens on.
fn free_ports(count: u16) -> Result<u16> {
    (0..50)
        .map(|step| PORT_DEFAULT + step * PORT_STEP)
        .find(|base| (*base..base + count).all(is_free))
        .ok_or_else(|| Report::new(codes::PORT_TAKEN, "no row of ports is free from 7400 on"))
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok()
}

fn check_ports(nodes: &[PlannedNode], directory: &Path) -> Result<()> {
    for node in nodes {
        let port = node.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        if let Some(port) = port.filter(|port| !is_free(*port)) {
            let message = format!("UDP port {port} of {} is taken", node.name);
            let pids: Vec<String> = left_behind(directory).iter().map(u32::to_string).collect();
            let help = match pids.as_slice() {
                [] => format!("ss -ulpn sport = :{port}    (who listens there)"),
                pids => format!(
                    "kill {}    (nodes that a killed `raftctl dev` has left)",
                    pids.join(" ")
                ),
            };
            return Err(Report::new(codes::PORT_TAKEN, message).help(help));
        }
    }
    Ok(())
}

/// Founds or finds the cluster, shows its status, and watches over the processes.
async fn serve(
    invocation: &Invocation,
    bundles: &Bundles,
    processes: &mut Processes,
    (began, choosing): (Instant, Option<Lock>),
) -> Result<()> {
    let target = Target::of(bundles)?;
    let client = target.client(invocation.global.timeout)?;
    let pids = processes.pids();
    {
        let starting = start(invocation, bundles, &target, &client, (began, &pids));
        let mut starting = std::pin::pin!(starting);
        loop {
            tokio::select! {
                started = &mut starting => break started?,
                incident = processes.watch() => match incident {
                    // Who was removed before ends again, and the others go on without it.
                    Incident::Removed(why) if !processes.all_given_up() => {
                        invocation.output.remark(&why.message);
                    }
                    Incident::Ended(why) | Incident::Removed(why) => return Err(why),
                    Incident::Restarted(_) => unreachable!("none was restarted yet"),
                },
            }
        }
    }
    drop(choosing);
    client.close().await;
    drop(client);
    loop {
        match processes.watch().await {
            Incident::Ended(why) | Incident::Removed(why) if processes.all_given_up() => {
                return Err(why);
            }
            Incident::Ended(why) | Incident::Removed(why) => {
                invocation.output.remark(why.to_text().trim_end());
            }
            Incident::Restarted(what) => invocation.output.remark(&what),
        }
    }
}

async fn start(
    invocation: &Invocation,
    bundles: &Bundles,
    target: &Target,
    client: &Client,
    (began, pids): (Instant, &str),
) -> Result<()> {
    let output = &invocation.output;
    // Nobody wants to read for each of three local nodes that it is started.
    let silent = crate::output::Output { quiet: true, draws: false, ..output.clone() };
    let patience = Patience { wait: START_TIMEOUT, poll: POLL };
    bootstrap(&silent, bundles, client, &bundles.context().nodes, patience).await?;
    let deadline = Instant::now() + START_TIMEOUT;
    let (survey, verdict) = loop {
        let (survey, verdict) = status::look(target, client).await;
        if verdict.health == Health::Healthy || Instant::now() >= deadline {
            break (survey, verdict);
        }
        tokio::time::sleep(POLL).await;
    };
    let ready = began.elapsed();
    write_context(&bundles.plan.name, bundles, true).await?;
    output.answer(&status::view(invocation, target, &survey, &verdict))?;
    let name = &bundles.plan.name;
    output.remark(&format!(
        "\n{} after {:.2} s; context \"{name}\"",
        verdict.health,
        ready.as_secs_f64()
    ));
    output.remark(&format!("everything is in {}", bundles.directory().display()));
    output.remark(&format!(
        "processes: {pids}   (kill one: the others go on, and it is started again)"
    ));
    output.remark("try, in another terminal: raftctl status · raftctl kv put greeting hello");
    output.remark("Ctrl-C stops it");
    Ok(())
}

/// Goes back to the context that was in use before.
async fn restore_context(
    invocation: &Invocation,
    name: &str,
    before: Option<String>,
) -> Result<()> {
    let Some(before) = before.filter(|before| before != name) else {
        return Ok(());
    };
    let restore = |contexts: &mut Contexts| {
        let is_current = contexts.current.as_deref() == Some(name);
        Ok(is_current && contexts.switch(&before).is_ok())
    };
    if Contexts::change(&context::file()?, restore).await? {
        invocation.output.remark(&format!("context \"{before}\" is current again"));
    }
    Ok(())
}
