//! What nodes cannot do though they serve: each is named by `status` within seconds, and not any
//! more when it is mended.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::directories::{data, is_healthy, remarks};
use crate::kit::{World, free};

/// Three nodes.
fn three() -> (World, Vec<String>) {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.await_status(is_healthy);
    (world, addresses)
}

fn bundle(world: &World, name: &str, file: &str) -> PathBuf {
    world.directory().join(format!("live-{name}/{file}"))
}

/// The remark with this code.
fn remark(status: &Value, code: &str) -> String {
    let all = status["remarks"].as_array().unwrap();
    let found = all.iter().find(|one| one["code"] == code);
    found.unwrap_or_else(|| panic!("{code}: {status:#}"))["text"].as_str().unwrap().to_owned()
}

/// What a node says of its troubles.
fn troubles<'a>(status: &'a Value, name: &str) -> &'a Value {
    let nodes = status["nodes"].as_array().unwrap();
    &nodes.iter().find(|node| node["name"] == name).unwrap()["status"]["troubles"]
}

#[test]
fn a_refused_configuration_and_refused_certificates_are_named_until_they_are_mended() {
    let (world, _) = three();
    let (settings, certificate) =
        (bundle(&world, "n1", "raftd.toml"), bundle(&world, "n2", "node.crt"));
    let (good, own) = (fs::read(&settings).unwrap(), fs::read(&certificate).unwrap());
    fs::write(&settings, "[raft]\nheartbeat_ms = 1\n").unwrap();
    fs::copy(bundle(&world, "n3", "node.crt"), &certificate).unwrap();
    world.signal("n1", Signal::HUP);
    world.signal("n2", Signal::HUP);
    let both = |status: &Value| remarks(status, "R0443") && remarks(status, "R0444");
    let status = world.await_status(both);
    assert_eq!(status["health"], "DEGRADED", "{status:#}");
    let (one, two) = (remark(&status, "R0443"), remark(&status, "R0444"));
    let file = settings.display().to_string();
    assert!(
        one.starts_with("n1: has refused its configuration for ") && one.contains(&file),
        "{one}"
    );
    assert!(two.starts_with("n2: has refused its new certificates for "), "{two}");
    assert_eq!(troubles(&status, "n1")[0]["what"], "settings");
    assert_eq!(troubles(&status, "n2")[0]["what"], "certificates");
    let shown = world.ok("status");
    assert!(shown.stdout.contains("R0443") || shown.stderr.contains("R0443"), "{shown:?}");

    fs::write(&settings, good).unwrap();
    fs::write(&certificate, own).unwrap();
    world.signal("n1", Signal::HUP);
    // The certificate is noticed by itself.
    let none = |status: &Value| !remarks(status, "R0443") && !remarks(status, "R0444");
    let status = world.await_status(none);
    assert_eq!(troubles(&status, "n2"), &serde_json::json!([]));
}

/// Whoever redirects to a disk that fills up has to know what became of the put.
#[test]
fn what_was_done_is_told_also_where_stdout_takes_nothing() {
    let (world, _) = three();
    let file = world.home().join("data.tsv");
    fs::write(&file, "a\t1\n").unwrap();
    let load = format!("kv load {}", file.display());
    for (line, wanted) in [
        ("kv put k v", "it was done all the same: revision "),
        ("kv get k", ""),
        (&load, "it was done all the same: loaded 1 keys"),
        ("config reload --all", "it was done all the same: "),
        ("snapshot create --node n1", "it was done all the same: n1"),
        ("cert issue web --role client", "it was done all the same: "),
        ("member demote n3 --yes", "it was done all the same: "),
        ("context use live", "it was done all the same: context"),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = world.command(line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("error[R0003]: stdout: No space left"), "{line}: {said}");
        assert_eq!(said.contains("it was done"), !wanted.is_empty(), "{line}: {said}");
        assert!(said.contains(wanted), "{line}: {said}");
    }
}

#[test]
fn a_node_that_can_write_no_snapshot_is_named_itself() {
    let (world, _) = three();
    world.ok("kv put k v");
    let place = data(&world, "n3").join("snapshots");
    let aside = place.with_extension("aside");
    fs::rename(&place, &aside).unwrap();
    fs::write(&place, "").unwrap();
    world.ok("leader transfer n3");
    let said = world.run("snapshot create");
    assert_ne!(said.code, 0, "{said:?}");
    let status = world.await_status(|status| remarks(status, "R0445"));
    assert_eq!(status["health"], "DEGRADED", "{status:#}");
    let told = remark(&status, "R0445");
    assert!(told.starts_with("n3: for ") && told.contains("no snapshot can be made"), "{told}");
    fs::remove_file(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    world.ok("snapshot create");
    world.await_status(is_healthy);
}

/// As after `chattr +i`, or an error that makes a file system read-only: nobody writes.
#[test]
fn an_idle_node_that_could_not_write_is_named_before_it_has_to() {
    let (world, _) = three();
    let place = data(&world, "n2").join("log");
    let immutable = |on: bool| {
        let file = fs::File::open(&place).unwrap();
        let mut flags = rustix::fs::ioctl_getflags(&file)?;
        flags.set(rustix::fs::IFlags::IMMUTABLE, on);
        rustix::fs::ioctl_setflags(&file, flags)
    };
    if immutable(true).is_err() {
        eprintln!("NOT SHOWN HERE: making a directory immutable takes root and ext4");
        return;
    }
    let status = world.await_status(|status| remarks(status, "R0452"));
    immutable(false).unwrap();
    assert_eq!(status["health"], "DEGRADED", "{status:#}");
    let told = remark(&status, "R0452");
    assert!(
        told.starts_with("n2: its next write will end it: for ") && told.contains("log"),
        "{told}"
    );
    world.await_status(is_healthy);
}

#[test]
fn a_node_that_cannot_store_what_others_have_promised_is_named() {
    let (mut world, addresses) = three();
    // In the way of the file that takes the place of the one before.
    let way = data(&world, "n1").join("peers.new");
    fs::create_dir(&way).unwrap();
    fs::set_permissions(&way, fs::Permissions::from_mode(0o700)).unwrap();
    world.kill("n3");
    world.start("n3", &addresses[2]);
    let status = world.await_status(|status| remarks(status, "R0446"));
    assert_eq!(status["health"], "DEGRADED", "{status:#}");
    let told = remark(&status, "R0446");
    assert!(told.starts_with("n1: for ") && told.contains("peers"), "{told}");
    fs::remove_dir(&way).unwrap();
    // It is tried again without anything new to be stored.
    world.await_status(is_healthy);
}
