//! One service: how it stops, dies, hangs, and reads its configuration again.

use std::time::{Duration, Instant};

use crate::call::Clock;
use crate::failure::{Failure, Result, must};
use crate::load::Load;
use crate::world::{NAMES, UNIT_PATIENCE, World};

/// The longest that nobody may lead when a leader is stopped: below an election timeout, which a
/// leader that hands over need not wait for.
const HAND_OVER_MAX: Duration = Duration::from_millis(1_500);

/// Where own settings stand.
const OWN: &str = "etc/raftd/raftd.d/50-own.toml";

/// Returns who leads.
pub(super) fn leader(world: &mut World) -> Result<&'static str> {
    let clock: Clock = world.clock.clone();
    clock.wait(
        UNIT_PATIENCE,
        || "a leader".to_owned(),
        || {
            for host in NAMES {
                if world.unit(host, "StatusText")?.starts_with("leader") {
                    return Ok(Some(host));
                }
            }
            Ok(None)
        },
    )
}

pub(super) fn stop(world: &mut World) -> Result<String> {
    let led = leader(world)?;
    let load = Load::begin(&world.operator)?;
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    world.on(led, "systemctl stop raftd")?;
    let took = began.elapsed();
    let result = world.unit(led, "Result")?;
    must(result == "success", || format!("it ended with {result}"))?;
    world.on(led, "journalctl --no-pager -o cat -u raftd -n 4")?;
    std::thread::sleep(Duration::from_secs(2));
    let writes = load.end(&world.clock)?;
    world.on(led, "systemctl start raftd")?;
    world.healthy()?;
    must(writes.failed + writes.unknown == 0, || format!("writes failed: {writes:?}"))?;
    must(writes.slowest_ms < HAND_OVER_MAX.as_millis().try_into().unwrap_or(u64::MAX), || {
        format!("a write took {} ms: leadership was not handed over", writes.slowest_ms)
    })?;
    Ok(format!(
        "stopped in {:.1} s; {} writes, none failed, the slowest {} ms",
        took.as_secs_f64(),
        writes.done,
        writes.slowest_ms
    ))
}

pub(super) fn crash(world: &mut World) -> Result<String> {
    let led = leader(world)?;
    let pid = world.unit(led, "MainPID")?;
    let before = restarts(world, led)?;
    world.on(led, &format!("kill -KILL {pid}"))?;
    let began = Instant::now();
    another_pid(world, led, &pid)?;
    let took = began.elapsed();
    let after = restarts(world, led)?;
    must(after == before + 1, || format!("{after} restarts, {before} before"))?;
    world.healthy()?;
    Ok(format!("{led} is READY again {:.1} s later, restart {after}", took.as_secs_f64()))
}

pub(super) fn hang(world: &mut World) -> Result<String> {
    let led = leader(world)?;
    let pid = world.unit(led, "MainPID")?;
    let clock = world.clock.clone();
    world.host(led).signal(&clock, &pid, "STOP")?;
    let began = Instant::now();
    another_pid(world, led, &pid)?;
    let took = began.elapsed();
    let journal =
        world.on(led, "journalctl --no-pager -o cat -u raftd -n 40 | grep -i -A2 watchdog")?;
    must(journal.contains("Watchdog timeout"), || journal.clone())?;
    world.healthy()?;
    Ok(format!("the watchdog acted, and {led} is READY again {:.1} s later", took.as_secs_f64()))
}

fn restarts(world: &mut World, host: &str) -> Result<u32> {
    let count = world.unit(host, "NRestarts")?;
    count.parse().map_err(|_| Failure::Wrong(format!("NRestarts is {count:?}")))
}

/// Waits until raftd is active as another process.
fn another_pid(world: &mut World, host: &str, before: &str) -> Result<()> {
    let clock = world.clock.clone();
    clock.wait(
        UNIT_PATIENCE,
        || format!("another start of {host}"),
        || {
            let (state, pid) = (world.unit(host, "ActiveState")?, world.unit(host, "MainPID")?);
            Ok((state == "active" && pid != before && pid != "0").then_some(()))
        },
    )
}

pub(super) fn reload(world: &mut World) -> Result<String> {
    let pid = world.unit("n2", "MainPID")?;
    world.host("n2").write(OWN, "log_level = \"debug\"\n")?;
    world.on("n2", "systemd-tmpfiles --create raftd.conf && systemctl reload raftd")?;
    let clock = world.clock.clone();
    clock.wait(
        UNIT_PATIENCE,
        || "the new level in the journal".to_owned(),
        || {
            let said = world.ask("n2", "journalctl --no-pager -u raftd -n 60")?;
            let taken = said.contains("configuration read again") && said.contains("debug");
            Ok(taken.then_some(()))
        },
    )?;
    world.on("n2", "journalctl --no-pager -o cat -u raftd | grep 'read again' | tail -n 1")?;
    // Over the wire the same, and where each value comes from.
    let shown = world.raftctl("config show n2 --set")?;
    let level = |line: &str| line.contains("log_level") && line.contains("/50-own.toml:1");
    must(shown.lines().any(level), || shown.clone())?;
    let own = "log_level = \"info\"\n[raft]\nheartbeat_ms = 90\n";
    world.host("n2").write(OWN, own)?;
    world.on("n2", "systemd-tmpfiles --create raftd.conf")?;
    let said = world.raftctl("config reload n2")?;
    let told = |what: &[&str]| {
        let has = |line: &str| what.iter().zip(line.split_whitespace()).all(|(a, b)| *a == b);
        said.lines().any(has)
    };
    let is_told =
        told(&["n2", "changed", "log_level"]) && told(&["n2", "restart", "raft.heartbeat_ms"]);
    must(is_told, || said.clone())?;
    let same = world.unit("n2", "MainPID")?;
    must(same == pid, || format!("it was restarted: pid {same} instead of {pid}"))?;
    Ok("the log's level is another one, the process the same; over the wire likewise".to_owned())
}

pub(super) fn refused(world: &mut World) -> Result<String> {
    let pid = world.unit("n2", "MainPID")?;
    world.host("n2").write(OWN, "log_level = \"info\"\n[raft]\nheartbeat_ms = 1\n")?;
    let said = world.try_on("n2", "systemctl reload raftd")?;
    must(!said.is_well(), || "systemctl reload says that all is well".to_owned())?;
    let why = world.on("n2", "journalctl --no-pager -o cat -u raftd -n 6")?;
    let named = why.contains("50-own.toml:3: raft.heartbeat_ms = 1 is out of bounds");
    must(named, || format!("the journal does not say why: {why}"))?;
    let said = world.try_raftctl("config reload --all")?;
    must(said.code == Some(12), || format!("config reload exits with {:?}", said.code))?;
    let named = said.err.contains("50-own.toml:3: raft.heartbeat_ms = 1 is out of bounds");
    must(named, || said.all())?;
    // Whoever sends the signal without asking first is told by the log and by `systemctl status`.
    world.on("n2", &format!("kill -HUP {pid}"))?;
    let clock = world.clock.clone();
    let status = clock.wait(
        UNIT_PATIENCE,
        || "a word in the unit's status".to_owned(),
        || {
            let status = world.unit("n2", "StatusText")?;
            Ok(status.contains("reload refused").then_some(status))
        },
    )?;
    let same = world.unit("n2", "MainPID")?;
    must(same == pid, || format!("it was restarted: pid {same} instead of {pid}"))?;
    world.ask("n2", &format!("rm /{OWN}"))?;
    world.on("n2", "systemctl reload raftd")?;
    world.healthy()?;
    Ok(format!("systemctl reload fails and says why; after a plain signal, status: {status}"))
}
