//! The whole cluster: restarts and upgrades under load, machines that go away, and members.

use std::fs;
use std::time::{Duration, Instant};

use crate::failure::{Result, file, must};
use crate::load::Load;
use crate::network;
use crate::package::successor;
use crate::report;
use crate::steps::founding::meanwhile;
use crate::world::{CLUSTER, NAMES, World};

/// What a narrow path lets through: the least that IPv6 has, and QUIC needs.
const NARROW_BYTES: u16 = 1_280;

/// What it let through before.
const WIDE_BYTES: u16 = 1_500;

/// How long is written before and after something happens.
const LOAD_ALONE: Duration = Duration::from_secs(2);

pub(super) fn rolling(world: &mut World) -> Result<String> {
    let load = Load::begin(&world.operator)?;
    std::thread::sleep(LOAD_ALONE);
    for host in NAMES {
        world.on(host, "systemctl restart raftd")?;
        world.healthy()?;
    }
    std::thread::sleep(LOAD_ALONE);
    let writes = load.end(&world.clock)?;
    must(writes.failed + writes.unknown == 0, || format!("writes failed: {writes:?}"))?;
    all_vote(world)?;
    Ok(format!("{} writes, none failed, the slowest {} ms", writes.done, writes.slowest_ms))
}

/// No restart in good order may cost a member its vote.
fn all_vote(world: &mut World) -> Result<()> {
    let said = world.raftctl("status")?;
    must(said.contains(" 3 voters "), || format!("not all vote: {said}"))
}

pub(super) fn upgrade(world: &mut World) -> Result<String> {
    let (clock, lent, package) = (world.clock.clone(), world.lent.clone(), world.package.clone());
    successor(&clock, &package, &lent)?;
    let load = Load::begin(&world.operator)?;
    for host in NAMES {
        let pid = world.unit(host, "MainPID")?;
        let said = world.on(host, "dpkg --install /mnt/lent/successor.deb")?;
        let same = world.unit(host, "MainPID")?;
        must(same == pid, || format!("{host}: the upgrade restarted raftd: {pid}, now {same}"))?;
        must(said.contains("systemctl restart raftd.service"), || format!("no word: {said}"))?;
        let version = world.on(host, "dpkg-query --show raftd")?;
        must(version.contains("+next"), || version.clone())?;
    }
    for host in NAMES {
        world.on(host, "systemctl restart raftd.service")?;
        world.healthy()?;
    }
    let writes = load.end(&clock)?;
    must(writes.failed + writes.unknown == 0, || format!("writes failed: {writes:?}"))?;
    all_vote(world)?;
    Ok(format!("nothing restarted by itself; {} writes, none failed", writes.done))
}

pub(super) fn mtu(world: &mut World) -> Result<String> {
    let clock = world.clock.clone();
    let load = Load::begin(&world.operator)?;
    std::thread::sleep(LOAD_ALONE);
    println!(
        "(from now on packets of more than {NARROW_BYTES} bytes vanish on the way to and from n2)"
    );
    network::narrow(&clock, 2, NARROW_BYTES)?;
    std::thread::sleep(2 * LOAD_ALONE);
    world.healthy()?;
    network::narrow(&clock, 2, WIDE_BYTES)?;
    std::thread::sleep(LOAD_ALONE);
    world.healthy()?;
    let writes = load.end(&clock)?;
    must(writes.failed + writes.unknown == 0, || format!("writes failed: {writes:?}"))?;
    Ok(format!("{} writes, none failed, the slowest {} ms", writes.done, writes.slowest_ms))
}

/// Waits until the cluster is there again without hands, with what it had acknowledged.
fn comes_back(world: &mut World, began: Instant, value: &str) -> Result<String> {
    world.healthy()?;
    let took = began.elapsed();
    let found = world.raftctl("kv get greeting")?;
    must(found.trim() == value, || format!("greeting is {found:?}"))?;
    Ok(format!("healthy {:.1} s later, with all that was acknowledged", took.as_secs_f64()))
}

pub(super) fn reboot(world: &mut World) -> Result<String> {
    world.raftctl("kv put greeting before-the-reboot")?;
    let began = Instant::now();
    world.reboot(&NAMES)?;
    let seen = comes_back(world, began, "before-the-reboot")?;
    world.raftctl("kv put greeting hello")?;
    Ok(seen)
}

pub(super) fn power(world: &mut World) -> Result<String> {
    world.raftctl("kv put greeting before-the-cut")?;
    let clock = world.clock.clone();
    println!("(the power of all three machines is cut: SIGKILL to all that runs there)");
    let began = Instant::now();
    world.hosts.iter_mut().try_for_each(|host| host.cut_power(&clock))?;
    world.boot()?;
    let seen = comes_back(world, began, "before-the-cut")?;
    world.raftctl("kv put greeting hello")?;
    world.raftctl("verify")?;
    Ok(seen)
}

pub(super) fn remove(world: &mut World) -> Result<String> {
    world.raftctl("member remove n3 --yes")?;
    world.stays_down("n3", "77")?;
    let why = world.on("n3", "journalctl --no-pager -o cat -u raftd -n 4")?;
    must(why.contains("removed"), || format!("the journal does not say why: {why}"))?;
    // It is enabled, so the next boot starts it once.
    world.reboot(&["n3"])?;
    world.stays_down("n3", "77")?;
    world.raftctl("status")?;
    Ok("exit 77, is not tried again, also after a reboot".to_owned())
}

pub(super) fn add(world: &mut World) -> Result<String> {
    let address = world.host("n3").address.clone();
    let token = world.operator.bundles(CLUSTER).join(format!("{CLUSTER}-n4.token"));
    let began = Instant::now();
    meanwhile(world, &format!("member add n4={address}:7400 --yes"), &token, |world| {
        world.on("n3", "systemctl stop raftd; rm -rf /var/lib/raftd /etc/raftd/*")?;
        report::command("operator", "scp n4.token root@n3:/root/token");
        let secret = fs::read_to_string(&token).map_err(file("cannot read", &token))?;
        world.host("n3").write("root/token", &secret)?;
        world.on("n3", "chmod 600 /root/token && raftd enroll --token-file /root/token")?;
        world.on("n3", "rm /root/token; systemctl reset-failed raftd; systemctl start raftd")?;
        let key = world.ask("n3", "stat -c '%U:%G %a' /etc/raftd/node.key")?;
        must(key == "root:raftd 640", || format!("the key belongs to {key}"))
    })?;
    world.healthy()?;
    let said = world.raftctl("member list")?;
    must(said.contains("n4"), || "n4 is no member".to_owned())?;
    let took = began.elapsed().as_secs_f64();
    Ok(format!("n4 is a voter {took:.1} s later, by a token; its key was made on its machine"))
}

pub(super) fn purge(world: &mut World) -> Result<String> {
    world.on("n3", "dpkg --remove raftd")?;
    let left = world.ask("n3", "ls -d /etc/raftd/node.key /var/lib/raftd; pgrep -x raftd")?;
    must(left == "/etc/raftd/node.key\n/var/lib/raftd", || format!("after remove: {left}"))?;
    // A removal of the package is no removal of the member: it can come back.
    world
        .on("n3", "dpkg --install /mnt/lent/successor.deb || dpkg --install /mnt/lent/raftd.deb")?;
    world.on("n3", "systemctl enable --now raftd")?;
    world.healthy()?;
    let said = world.on("n3", "dpkg --purge raftd")?;
    must(said.contains("stays in /var/lib/raftd"), || format!("no word of the data: {said}"))?;
    let left = world.ask("n3", "ls -d /etc/raftd /usr/bin/raftd /var/lib/raftd 2>/dev/null")?;
    must(left == "/var/lib/raftd", || format!("after purge: {left}"))?;
    Ok("purged: configuration and keys are gone, the data stays until somebody removes it".into())
}
