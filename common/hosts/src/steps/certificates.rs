//! Certificates that count for a short time, renewed by one command of the operator's that goes on,
//! while the cluster serves and its nodes are restarted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Running, start};
use crate::failure::{Failure, Result, must};
use crate::load::Load;
use crate::report;
use crate::world::{NAMES, UNIT_PATIENCE, World};

/// How many lifetimes there are in the time that the step is given.
const LIFETIMES: u32 = 6;

/// How often certificates are renewed in a lifetime.
const RENEWALS: u32 = 4;

/// How often a new process asks something, which makes new handshakes.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long raftctl takes to end after Ctrl-C.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Default)]
struct Seen {
    commands: u64,
    restarts: usize,
}

pub(super) fn certificates(world: &mut World) -> Result<String> {
    let lifetime = world.certificates_for / LIFETIMES;
    let every = (lifetime / RENEWALS).as_secs().max(1);
    let before = renewals(world)?;
    let load = Load::begin(&world.operator)?;
    let line = format!("cert renew --all --lifetime {}s --every {every}s", lifetime.as_secs());
    report::command("operator", &format!("raftctl {line} &"));
    let renewing = start(&mut world.operator.command(&line))?;
    let went = goes_on(world, lifetime);
    let (writes, ended) = (load.end(&world.clock), end(world, renewing));
    // However it went: the other steps take longer than these certificates last.
    world.raftctl("cert renew --all")?;
    let (seen, writes) = (went?, writes?);
    ended?;
    must(writes.failed + writes.unknown == 0, || format!("writes failed: {writes:?}"))?;
    let renewed = renewals(world)? - before;
    // Each node, all the time; those that were just restarted may have missed a round.
    let due = (NAMES.len() as u64) * u64::from(LIFETIMES * RENEWALS) / 2;
    must(renewed >= due, || format!("{renewed} renewals, at least {due} were due"))?;
    world.healthy()?;
    Ok(format!(
        "{LIFETIMES} lifetimes of {} s: {renewed} renewals, {} restarts, {} commands and {} \
         writes, none failed; the slowest write {} ms",
        lifetime.as_secs(),
        seen.restarts,
        seen.commands,
        writes.done,
        writes.slowest_ms
    ))
}

/// Asks again and again, restarts a node in each lifetime, and looks at the certificates.
fn goes_on(world: &mut World, lifetime: Duration) -> Result<Seen> {
    let clock = world.clock.clone();
    let short = || "certificates of a short lifetime at all nodes".to_owned();
    clock.wait(UNIT_PATIENCE, short, || {
        let ends = ends(world)?;
        Ok(ends.iter().all(|left| *left <= lifetime).then_some(()))
    })?;
    let (began, mut seen) = (Instant::now(), Seen::default());
    while began.elapsed() < lifetime * LIFETIMES {
        clock.check()?;
        let said = world.operator.run(&clock, "kv get greeting")?;
        must(said.is_well() && said.out.trim() == "hello", || {
            format!("after {:.0?}: {}", began.elapsed(), said.all().trim())
        })?;
        seen.commands += 1;
        let lifetimes = u32::try_from(seen.restarts + 1).unwrap_or(u32::MAX);
        if began.elapsed() >= lifetime * lifetimes {
            let host = NAMES[seen.restarts % NAMES.len()];
            world.on(host, "systemctl restart raftd")?;
            world.healthy()?;
            seen.restarts += 1;
        }
        let ends = ends(world)?;
        must(ends.iter().all(|left| !left.is_zero() && *left <= lifetime), || {
            format!("after {:.0?} certificates last for {ends:?}", began.elapsed())
        })?;
        std::thread::sleep(ASK_EVERY);
    }
    Ok(seen)
}

/// Returns for how long the certificate of each node that answers counts.
fn ends(world: &mut World) -> Result<Vec<Duration>> {
    let clock = world.clock.clone();
    let said = world.operator.run(&clock, "status -o json")?;
    let wrong = || Failure::Wrong(format!("status: {}", said.all().trim()));
    let status: serde_json::Value = serde_json::from_str(&said.out).map_err(|_| wrong())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nodes = status["data"]["nodes"].as_array().ok_or_else(wrong)?;
    let left = |node: &serde_json::Value| {
        let end = node["status"]["certificateNotAfterUnixS"].as_u64()?;
        Some(Duration::from_secs(end).saturating_sub(now))
    };
    nodes.iter().map(left).collect::<Option<Vec<_>>>().ok_or_else(wrong)
}

/// Returns how often nodes have renewed their certificates, as their journals say.
fn renewals(world: &mut World) -> Result<u64> {
    let line = "journalctl --no-pager -o cat -u raftd RAFTD_EVENT=certificates-renewed | wc -l";
    let counts = NAMES.map(|host| world.ask(host, line));
    let mut all = 0;
    for count in counts {
        let count = count?;
        all += count
            .parse::<u64>()
            .map_err(|_| Failure::Wrong(format!("the journal counts {count:?}")))?;
    }
    Ok(all)
}

/// Ends the command that renews, by Ctrl-C.
fn end(world: &World, renewing: Running) -> Result<()> {
    if let Some(pid) = Pid::from_raw(renewing.id().cast_signed()) {
        // If it has ended already, it says why.
        let _ = kill_process(pid, Signal::INT);
    }
    let said = renewing.end(&world.clock, END_PATIENCE)?;
    must(said.code == Some(130), || format!("raftctl cert renew: {}", said.all().trim()))
}
