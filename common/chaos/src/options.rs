//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cluster::Programs;
use crate::failure::{Failure, Result, file};
use crate::fault::{FAULTS, Fault};
use crate::machine::command::check_machine;
use crate::machine::leftovers::Slot;
use crate::run::{Plan, run};
use crate::workload;

/// Faults on real raftd processes in network namespaces, and a check of what clients were told.
///
/// Takes root, iproute2, nftables, iptables and a C compiler. Exits with 1 if something was wrong,
/// 2 for a wrong command line, 3 if the machine lacks something, 130 after Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    inner: Option<Inner>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// The clients' process
    #[command(hide = true)]
    Clients(workload::Options),
}

#[derive(Debug, Args)]
struct Options {
    /// How long faults are injected
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,

    /// What the schedule follows from; a new one if not said
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// How many nodes are founded
    #[arg(long, default_value_t = 3, value_parser = nodes)]
    nodes: usize,

    /// Only this fault, again and again
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    only: Option<Fault>,

    /// Not this fault; may be given several times
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    except: Vec<Fault>,

    /// Writes what `raftctl status` said during each fault, as a table
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,

    /// Where raftd and raftctl are, if not beside this program
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,

    /// Where disks and artefacts go; the file system must be ext4, or what you want to test on
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/raftd-chaos")]
    directory: PathBuf,

    /// Keeps history, logs and schedule also if all was well
    #[arg(long)]
    keep: bool,

    /// Lists the faults, and ends
    #[arg(long)]
    list: bool,
}

fn nodes(text: &str) -> std::result::Result<usize, String> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("3 or 5".to_owned()),
    }
}

fn fault(text: &str) -> std::result::Result<Fault, String> {
    let names = || FAULTS.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    Fault::named(text).ok_or_else(|| format!("one of {}", names()))
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.inner {
        Some(Inner::Clients(options)) => workload::run(&options).map(|()| true),
        None => chaos(&cli.options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(match failure {
                Failure::Usage(_) => 2,
                Failure::Machine(_) | Failure::Command { .. } | Failure::File { .. } => 3,
                Failure::Cluster(_) => 1,
                Failure::Interrupted => 130,
            })
        }
    }
}

/// Makes a run, and removes afterwards whatever it has made.
fn chaos(options: &Options) -> Result<bool> {
    if options.list {
        FAULTS.iter().for_each(|fault| println!("{}", fault.name()));
        return Ok(true);
    }
    check_machine()?;
    let programs = programs(options)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&stop));
        registered.map_err(|error| Failure::Machine(error.to_string()))?;
    }
    let slot = Cleaned(Slot::take(&options.directory)?);
    let seed = options.seed.unwrap_or_else(|| workload::now_ns() % 1_000_000);
    let directory = options.directory.join(format!("run-{seed}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(file("cannot make", &directory))?;
    eprintln!("seed {seed}, artefacts in {}", directory.display());
    let plan = Plan {
        lasts: Duration::from_secs(options.seconds),
        seed,
        nodes: options.nodes,
        only: options.only,
        except: options.except.clone(),
        programs,
        directory: directory.clone(),
        stop,
    };
    let report = run(plan, &slot.0)?;
    drop(slot);
    let is_well = report.conclude(options.table.as_deref())?;
    if is_well && !options.keep {
        std::fs::remove_dir_all(&directory).map_err(file("cannot remove", &directory))?;
    }
    if !is_well {
        let (nodes, seconds) = (options.nodes, options.seconds);
        let only = options.only.map_or_else(String::new, |only| format!(" --only {}", only.name()));
        let except: String =
            options.except.iter().map(|fault| format!(" --except {}", fault.name())).collect();
        let same = format!("--seconds {seconds} --nodes {nodes}{only}{except}");
        println!("again        cargo xtask chaos --seed {seed} {same}");
    }
    Ok(is_well)
}

/// A slot that is cleaned however a run ends, short of SIGKILL.
struct Cleaned(Slot);

impl Drop for Cleaned {
    fn drop(&mut self) {
        if let Err(failure) = self.0.clean() {
            eprintln!("warning: something is left: {failure}");
        }
    }
}

fn programs(options: &Options) -> Result<Programs> {
    let beside = || std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
    let directory = options.programs.clone().or_else(beside).unwrap_or_default();
    let (raftd, raftctl) = (directory.join("raftd"), directory.join("raftctl"));
    for program in [&raftd, &raftctl] {
        if !program.exists() {
            let missing = program.display();
            return Err(Failure::Usage(format!(
                "there is no {missing}: cargo xtask chaos builds it"
            )));
        }
    }
    Ok(Programs { raftd, raftctl })
}
