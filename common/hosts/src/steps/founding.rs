//! From three machines with nothing on them to a cluster.

use std::path::Path;

use crate::call::start;
use crate::failure::{Result, must};
use crate::world::{CLUSTER, NAMES, World};

/// The most that `systemd-analyze security` may say, in tenths.
const EXPOSURE_TENTHS_MAX: u32 = 15;

/// Where a bundle lies on its machine.
pub(super) const BUNDLE: &str = "/etc/raftd";

pub(super) fn boot(world: &mut World) -> Result<String> {
    world.boot()?;
    let version = world.on("n1", "systemctl --version | head -n 1; cat /proc/1/comm")?;
    let addresses: Vec<&str> = world.hosts.iter().map(|host| host.address.as_str()).collect();
    let version = version.lines().next().unwrap_or_default();
    Ok(format!("{version}, at {}", addresses.join(", ")))
}

pub(super) fn install(world: &mut World) -> Result<String> {
    world.on_all("dpkg --install /mnt/lent/raftd.deb")?;
    let user = world.on("n1", "getent passwd raftd")?;
    must(user.contains("/var/lib/raftd:/usr/sbin/nologin"), || format!("the user: {user}"))?;
    let directory = world.on("n1", "stat --format '%A %U:%G %n' /etc/raftd /etc/raftd/*")?;
    must(directory.starts_with("drwxr-x--- root:raftd"), || format!("rights: {directory}"))?;
    must(directory.contains("raftd.toml.sample"), || "there is no sample".to_owned())?;
    let state = world.try_on("n1", "systemctl is-active raftd; systemctl is-enabled raftd")?;
    must(state.out == "inactive\ndisabled\n", || format!("raftd is {}", state.out))?;
    let verified = world.try_on(
        "n1",
        "systemd-analyze verify --man=no raftd.service raftd@n1.service raftd.socket",
    )?;
    // Lines for later systemds are told and ignored, see the unit.
    let bad = |line: &&str| !line.contains("RestartSteps") && !line.contains("RestartMaxDelaySec");
    let said = verified.all();
    let bad: Vec<&str> = said.lines().filter(bad).collect();
    must(verified.is_well() && bad.is_empty(), || format!("units: {}", bad.join(" | ")))?;
    for program in ["raftctl", "raftd"] {
        let script = format!("/usr/share/bash-completion/completions/{program}");
        world.on("n1", &format!("bash -c '. {script}; complete -p {program}'"))?;
    }
    let lowest = world.on("n1", "raftd --version; raftctl --version")?;
    Ok(format!("{}; nothing started", lowest.trim().replace('\n', ", ")))
}

pub(super) fn exposure(world: &mut World) -> Result<String> {
    let mut seen = Vec::new();
    for unit in ["raftd.service", "raftd@n1.service"] {
        let line = format!("systemd-analyze security --no-pager {unit} | tail -n 1");
        let said = world.on("n1", &line)?;
        let figure = exposed(&said);
        must(figure.is_some_and(|tenths| tenths <= EXPOSURE_TENTHS_MAX), || said.clone())?;
        let tenths = figure.unwrap_or_default();
        seen.push(format!("{unit} {}.{}", tenths / 10, tenths % 10));
    }
    Ok(format!("exposure: {}", seen.join(", ")))
}

/// Reads the figure, in tenths.
fn exposed(line: &str) -> Option<u32> {
    let figure = line.split("service: ").nth(1)?.split(' ').next()?;
    let (whole, tenth) = figure.split_once('.')?;
    Some(10 * whole.parse::<u32>().ok()? + tenth.parse::<u32>().ok()?)
}

pub(super) fn unprepared(world: &mut World) -> Result<String> {
    let said = world.try_on("n1", "systemctl start raftd")?;
    must(!said.is_well(), || "it started without a configuration".to_owned())?;
    world.stays_down("n1", "78")?;
    let why = world.journal("n1", 20)?;
    must(why.contains("/etc/raftd/raftd.toml") && why.contains("raftctl init"), || why.clone())?;
    world.on("n1", "systemctl reset-failed raftd")?;
    Ok("exit 78, names file and remedy, is not tried again".to_owned())
}

pub(super) fn alone(world: &mut World) -> Result<String> {
    let nodes =
        world.hosts.iter().map(|host| format!(" --node {}={}:7400", host.name, host.address));
    let nodes: String = nodes.collect();
    world.raftctl(&format!("init {CLUSTER}{nodes} --prepare-only"))?;
    for node in NAMES {
        world.install_bundle((CLUSTER, node), (node, BUNDLE))?;
    }
    let rights = world.on("n1", "stat --format '%A %U:%G %n' /etc/raftd/node.key")?;
    must(rights.starts_with("-rw-r----- root:raftd"), || format!("the key: {rights}"))?;
    world.on("n1", "systemctl enable --now raftd")?;
    let clock = world.clock.clone();
    let status = clock.wait(
        crate::world::UNIT_PATIENCE,
        || "a status".to_owned(),
        || {
            let status = world.unit("n1", "StatusText")?;
            Ok((!status.is_empty()).then_some(status))
        },
    )?;
    world.on("n1", "systemctl status --no-pager raftd | head -n 12")?;
    Ok(format!("active while n2 and n3 are off; status: {status}"))
}

pub(super) fn found(world: &mut World) -> Result<String> {
    world.on("n2", "systemctl enable --now raftd")?;
    world.on("n3", "systemctl enable --now raftd")?;
    world.raftctl(&format!("init {CLUSTER} --wait 60s"))?;
    world.healthy()?;
    world.raftctl("kv put greeting hello")?;
    let buffers = world.journal("n1", 40)?;
    let warned = buffers.contains("the kernel limits UDP buffers");
    let small =
        "UDP buffers are as small as the kernel has them, and raftd says how to enlarge them";
    let large = "UDP buffers are as large as they should be";
    Ok(format!("healthy; {}", if warned { small } else { large }))
}

pub(super) fn quorumless(world: &mut World) -> Result<String> {
    world.on_all("systemctl stop raftd")?;
    let began = std::time::Instant::now();
    world.on("n1", "systemctl start raftd")?;
    let took = began.elapsed();
    let status = world.unit("n1", "StatusText")?;
    let state = world.unit("n1", "ActiveState")?;
    must(state == "active", || format!("raftd is {state}"))?;
    // The verdict of a cluster without a quorum is an exit code of its own.
    let said = world.try_raftctl("status --check --timeout 5s")?;
    must(said.code == Some(10), || format!("--check exits with {:?}", said.code))?;
    world.on("n2", "systemctl start raftd")?;
    world.on("n3", "systemctl start raftd")?;
    world.healthy()?;
    Ok(format!("READY in {:.1} s; status: {status}", took.as_secs_f64()))
}

/// Waits for the last file that a command of the operator's makes, while that command waits for the
/// machine.
pub(super) fn meanwhile(
    world: &mut World,
    arguments: &str,
    whole: &Path,
    act: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    crate::report::command("operator", &format!("raftctl {arguments} &"));
    let waiting = start(&mut world.operator.command(arguments))?;
    let clock = world.clock.clone();
    clock.wait(
        crate::world::UNIT_PATIENCE,
        || format!("{}", whole.display()),
        || Ok(whole.exists().then_some(())),
    )?;
    act(world)?;
    let said = waiting.end(&clock, std::time::Duration::from_secs(120))?;
    crate::report::output(&said);
    must(said.is_well(), || format!("raftctl {arguments}: {}", said.all().trim()))
}
