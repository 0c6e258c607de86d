//! Machines that are not as they should be, or that are set up in another way.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::{Failure, Result, file, must};
use crate::steps::founding::meanwhile;
use crate::world::{UNIT_PATIENCE, World};

/// A second cluster, of one node.
const SECOND: &str = "second";

/// The buffers that raftd wants, as the kernel counts them: twice.
const BUFFER_BYTES: u64 = 2 * (8 << 20);

pub(super) fn clock(world: &mut World) -> Result<String> {
    let Some(library) = faketime() else {
        let why = "a container has its machine's clock, and libfaketime, which lies to one \
                   process, is not there: apt-get install libfaketime";
        return Err(Failure::Lacking(why.to_owned()));
    };
    let lent = world.lent.join("libfaketime.so");
    fs::copy(&library, &lent).map_err(file("cannot copy", &library))?;
    let text = "[Service]\nEnvironment=LD_PRELOAD=/mnt/lent/libfaketime.so FAKETIME=-1000d\n";
    world.drop_in("n3", "clock", text)?;
    world.try_on("n3", "systemctl restart --no-block raftd")?;
    let clock = world.clock.clone();
    let said = clock.wait(
        UNIT_PATIENCE,
        || "a word of the clock".to_owned(),
        || {
            let said = world.journal("n3", 30)?;
            Ok(said.contains("is not valid").then_some(said))
        },
    )?;
    must(said.contains("timedatectl"), || format!("no remedy: {said}"))?;
    world.on("n3", "journalctl --no-pager -o cat -u raftd -n 4")?;
    // It is tried again, since the clock may be set meanwhile.
    let tries = |world: &mut World| -> Result<u32> {
        Ok(world.unit("n3", "NRestarts")?.parse().unwrap_or_default())
    };
    let before = tries(world)?;
    clock.wait(
        UNIT_PATIENCE,
        || "another try".to_owned(),
        || Ok((tries(world)? > before).then_some(())),
    )?;
    world.drop_in("n3", "clock", "")?;
    let back = world.wait_unit("n3", "active")?;
    world.healthy()?;
    Ok(format!(
        "exit 74 names the certificate and the clock, tries again, and is there {:.1} s after the \
         clock is right (one process was lied to, by libfaketime)",
        back.as_secs_f64()
    ))
}

/// Where libfaketime is on this machine.
fn faketime() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.exists())
}

pub(super) fn owner(world: &mut World) -> Result<String> {
    world.on("n3", "systemctl stop raftd && chown -R root:root /var/lib/raftd/*")?;
    let said = world.try_on("n3", "systemctl start raftd")?;
    must(!said.is_well(), || "it started on files that it may not write".to_owned())?;
    world.stays_down("n3", "78")?;
    let why = world.journal("n3", 20)?;
    must(why.contains("chown -R raftd:raftd"), || format!("no remedy: {why}"))?;
    world.on("n3", "journalctl --no-pager -o cat -u raftd -n 6")?;
    world.on("n3", "chown -R raftd:raftd /var/lib/raftd && systemctl restart raftd")?;
    world.healthy()?;
    // A directory that is root's as a whole is mended by systemd itself: StateDirectory=.
    world.on("n3", "systemctl stop raftd && chown -R root:root /var/lib/raftd")?;
    world.on("n3", "systemctl start raftd && stat --format '%U:%G %n' /var/lib/raftd/*")?;
    world.healthy()?;
    Ok("exit 78 names the owner and the remedy; the whole directory is mended by systemd"
        .to_owned())
}

pub(super) fn credential(world: &mut World) -> Result<String> {
    let text = world.on("n2", "cat /usr/share/doc/raftd/examples/credential.conf")?;
    world.drop_in("n2", "credential", &text)?;
    world.on("n2", "chown root:root /etc/raftd/node.key && chmod 0600 /etc/raftd/node.key")?;
    world.on("n2", "systemctl restart raftd")?;
    let pid = world.unit("n2", "MainPID")?;
    let line = format!("tr '\\0' '\\n' < /proc/{pid}/environ | grep RAFTD_KEY");
    let environment = world.on("n2", &line)?;
    must(environment.contains("/run/credentials/"), || environment.clone())?;
    world.on("n2", "systemctl reload raftd")?;
    world.healthy()?;
    world.drop_in("n2", "credential", "")?;
    world.on("n2", "systemd-tmpfiles --create raftd.conf && systemctl restart raftd")?;
    world.healthy()?;
    Ok("root's key of 0600 is handed over by systemd".to_owned())
}

pub(super) fn socket(world: &mut World) -> Result<String> {
    let before = buffer(world)?;
    world.on("n2", "systemctl enable raftd.socket && systemctl restart raftd.service")?;
    world.healthy()?;
    let after = buffer(world)?;
    must(after >= BUFFER_BYTES, || format!("buffers of {after} bytes"))?;
    // Peers knock all the while, and must not wake what was stopped.
    world.on("n2", "systemctl stop raftd.service")?;
    let clock = world.clock.clone();
    clock.stays(Duration::from_secs(5), || {
        let state = world.unit("n2", "ActiveState")?;
        must(state == "inactive", || format!("raftd is {state} after it was stopped"))
    })?;
    world.on("n2", "systemctl start raftd.service")?;
    world.healthy()?;
    world.on("n2", "systemctl disable raftd.socket && systemctl restart raftd.service")?;
    world.on("n2", "systemctl stop raftd.socket; systemctl restart raftd.service")?;
    world.healthy()?;
    Ok(format!("buffers of {before} bytes become {after}; a stopped node is not woken"))
}

/// Returns how large the receive buffer is of the socket at raftd's port.
fn buffer(world: &mut World) -> Result<u64> {
    let line = "ss --udp --listening --memory --numeric 'sport = :7400' | grep -o 'rb[0-9]*'";
    let said = world.on("n2", line)?;
    let figure = said.trim().trim_start_matches("rb");
    figure.parse().map_err(|_| Failure::Wrong(format!("ss says {said:?}")))
}

pub(super) fn instance(world: &mut World) -> Result<String> {
    let address = world.host("n1").address.clone();
    let arguments = format!("init {SECOND} --node s1={address}:7500 --wait 60s");
    let bundle = world.operator.bundles(SECOND).join(format!("{SECOND}-s1"));
    meanwhile(world, &arguments, &bundle.join("raftd.toml"), |world| {
        world.install_bundle((SECOND, "s1"), ("n1", "/etc/raftd/second"))?;
        let own = "listen = \"[::]:7500\"\n";
        world.host("n1").write("etc/raftd/second/raftd.d/50-own.toml", own)?;
        world
            .on("n1", "systemd-tmpfiles --create raftd.conf && systemctl enable --now raftd@second")
            .map(drop)
    })?;
    world.raftctl(&format!("--context {SECOND} status --wait healthy --timeout 30s"))?;
    world.raftctl(&format!("--context {SECOND} kv put greeting second"))?;
    world.raftctl("context use prod")?;
    let first = world.raftctl("kv get greeting")?;
    must(first.trim() == "hello", || format!("the first cluster has {first:?}"))?;
    world.on("n1", "systemctl list-units --no-pager --plain --no-legend 'raftd*'")?;
    world.on("n1", "systemctl disable --now raftd@second")?;
    world.healthy()?;
    Ok("raftd.service and raftd@second.service, each with its cluster".to_owned())
}
