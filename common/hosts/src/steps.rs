//! The steps, in their order. A step that fails is told, the cluster is put in order again, and the
//! next one goes on.

use std::time::Instant;

use crate::failure::{Failure, Result};
use crate::report::{Outcome, Report};
use crate::world::World;

mod certificates;
mod cluster;
mod founding;
mod machine;
mod names;
mod service;

/// A step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// All others stand on it: if it fails, the run ends.
    is_ground: bool,
    run: fn(&mut World) -> Result<String>,
}

const fn ground(
    name: &'static str,
    what: &'static str,
    run: fn(&mut World) -> Result<String>,
) -> Step {
    Step { name, what, is_ground: true, run }
}

const fn step(
    name: &'static str,
    what: &'static str,
    run: fn(&mut World) -> Result<String>,
) -> Step {
    Step { name, what, is_ground: false, run }
}

/// All steps.
pub(crate) const STEPS: [Step; 27] = [
    ground(
        "boot",
        "three machines start, each with a systemd as its first process",
        founding::boot,
    ),
    ground("install", "the package is installed: what is there, what runs", founding::install),
    step("exposure", "what systemd-analyze security says of the units", founding::exposure),
    step(
        "unprepared",
        "without a bundle raftd says what it lacks, and stays down",
        founding::unprepared,
    ),
    ground(
        "alone",
        "one node is READY without the others, and waits to be founded",
        founding::alone,
    ),
    ground("found", "raftctl init founds the cluster", founding::found),
    step("quorumless", "READY without a quorum: two of three are off", founding::quorumless),
    step("stop", "SIGTERM hands leadership over, under load", service::stop),
    step("crash", "kill -9 of the leader: systemd starts it again", service::crash),
    step("hang", "SIGSTOP: the watchdog acts", service::hang),
    step("reload", "a good file is taken", service::reload),
    step("refused", "a bad file is refused, and the old one kept", service::refused),
    step("rolling", "systemctl restart, one after another, under load", cluster::rolling),
    step("upgrade", "a new version of the package, under load: nothing restarts", cluster::upgrade),
    step("mtu", "the path to one machine becomes narrow, under load", cluster::mtu),
    step(
        "names",
        "names with a dead address before the good one, IPv6, and a machine without it",
        names::names,
    ),
    step(
        "certificates",
        "certificates that last for minutes renew themselves again and again, under load",
        certificates::certificates,
    ),
    step("clock", "a clock that is years behind at the start", machine::clock),
    step("owner", "files of root's in the data directory", machine::owner),
    step("credential", "the key as a credential, readable for root alone", machine::credential),
    step("socket", "a port that systemd opens, with large buffers", machine::socket),
    step("instance", "a node of another cluster beside it: raftd@.service", machine::instance),
    step("reboot", "all three machines reboot at once", cluster::reboot),
    step("power", "all three machines lose power at once", cluster::power),
    step("remove", "a removed node ends with 77 and stays down", cluster::remove),
    step("add", "its machine comes back as another node", cluster::add),
    step("purge", "the package is removed, and purged", cluster::purge),
];

/// Knows a step by its name.
///
/// # Errors
/// The names that there are.
pub(crate) fn named(name: &str) -> std::result::Result<&'static str, String> {
    let names = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
    STEPS.iter().find(|step| step.name == name).map(|step| step.name).ok_or_else(names)
}

/// Runs all steps, or the named ones and those that they stand on.
///
/// # Errors
/// If the run cannot go on.
pub(crate) fn run(world: &mut World, only: &[&str], report: &mut Report) -> Result<()> {
    let chosen = |step: &&Step| only.is_empty() || step.is_ground || only.contains(&step.name);
    for step in STEPS.iter().filter(chosen) {
        report.begin(step.name, step.what);
        let began = Instant::now();
        let (outcome, ends) = match (step.run)(world) {
            Ok(seen) => (Outcome::Passed(seen), None),
            Err(Failure::Lacking(what)) => (Outcome::NotRun(what), None),
            Err(failure @ (Failure::Interrupted | Failure::Late)) => {
                (Outcome::Failed(failure.to_string()), Some(failure))
            }
            Err(failure) if step.is_ground => (Outcome::Failed(failure.to_string()), Some(failure)),
            Err(failure) => (Outcome::Failed(failure.to_string()), None),
        };
        let failed = matches!(outcome, Outcome::Failed(_));
        report.end(step.name, outcome, began.elapsed());
        if let Some(failure) = ends {
            return Err(failure);
        }
        if failed {
            println!("-- putting the cluster in order");
            world.mend()?;
        }
    }
    Ok(())
}
