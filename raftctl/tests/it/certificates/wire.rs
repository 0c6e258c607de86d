//! Certificates of nodes, renewed over the wire: without a restart, and without a key that travels.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fixtures::wait_for;
use serde_json::Value;

use super::{NAMES, certificate_of, now};
use crate::kit::{CLUSTER, PATIENCE, World, free};

/// The file in which a node keeps what it got.
fn kept(world: &World, name: &str) -> std::path::PathBuf {
    world.home().join(format!("data-{name}/identity.pem"))
}

fn key_in(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let (key, _) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    key.trim().to_owned()
}

/// All that is in the files below a directory.
fn all_in(directory: &Path) -> String {
    let mut found = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push_str(&all_in(&path));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push_str(&text);
        }
    }
    found
}

fn ends(status: &Value) -> Vec<i64> {
    let nodes = status["nodes"].as_array().unwrap().iter();
    let end = |node: &Value| node["status"]["certificateNotAfterUnixS"].as_i64().unwrap_or(0);
    nodes.map(end).collect()
}

#[test]
fn nodes_make_their_keys_themselves_and_use_what_is_signed_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("kv put greeting hello");

    let said = world.ok("cert renew --all --lifetime 20h -o json");
    let visits = said.data()["overTheWire"].as_array().unwrap().clone();
    assert_eq!(visits.len(), 3, "{said:?}");
    assert!(visits.iter().all(|visit| visit["error"].is_null()), "{said:?}");
    assert_eq!(said.data()["carry"], serde_json::json!([]), "{said:?}");
    let soon = now() + 20 * 3_600;
    let lasts = |end: &i64| (soon - 120..=soon + 120).contains(end);
    let status = world.ok("status -o json").data();
    assert!(ends(&status).iter().all(lasts), "{status:#}");

    // The keys are new, nobody else may read them, and they are nowhere else.
    let elsewhere = all_in(&world.home().join("raftctl"));
    let mut keys = Vec::new();
    for name in NAMES {
        let file = kept(&world, name);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = key_in(&file);
        assert!(key.contains("PRIVATE KEY") && !elsewhere.contains(&key), "{name}");
        keys.push(key);
    }

    // A second time: other keys. One alone, by its name. Restarts change nothing.
    world.ok("cert renew n2 --lifetime 21h");
    assert_eq!(key_in(&kept(&world, "n1")), keys[0]);
    assert_ne!(key_in(&kept(&world, "n2")), keys[1]);
    let before = ends(&world.ok("status -o json").data());
    for (name, address) in NAMES.iter().zip(&addresses) {
        world.kill(name);
        world.start(name, address);
    }
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(ends(&status), before);
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");

    // The authority's own certificate goes along, and nobody is asked for who is no member.
    world.ok("cert renew --authority --all");
    for name in NAMES {
        let text = std::fs::read_to_string(kept(&world, name)).unwrap();
        let ca = std::fs::read_to_string(world.directory().join("ca/ca.crt")).unwrap();
        assert!(text.contains(ca.trim()), "{name} trusts the renewed authority");
    }
    // Somebody else's new key was written, and only the stranger was told of.
    let key = || std::fs::read(certificate_of(&world, "operator").with_extension("key")).unwrap();
    let before = key();
    let said = world.run("cert renew operator nobody --new-key -o json");
    assert_eq!(said.error()["code"], "R0008", "{said:?}");
    assert_eq!(key(), before);
}

#[test]
fn short_certificates_are_renewed_again_and_again_while_the_cluster_serves() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("kv put greeting hello");
    let mut renew = world.command("cert renew --all --lifetime 12s --every 3s");
    let mut renew = renew.stdout(std::process::Stdio::null()).spawn().unwrap();
    // Three lifetimes and a half. Each command is a new process, and makes new handshakes.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(42) {
        assert_eq!(world.ok("kv get greeting").stdout, "hello\n");
        let status = world.ok("status -o json").data();
        let ends = ends(&status);
        assert!(ends.iter().all(|end| *end > now()), "{status:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
    renew.kill().unwrap();
    renew.wait().unwrap();
    let last = ends(&world.ok("status -o json").data());
    assert!(last.iter().all(|end| (now()..=now() + 12).contains(end)), "{last:?}");
    // Before they end, it is said.
    let began = Instant::now();
    let remark = loop {
        let said = world.run("status");
        if said.stdout.contains("the certificate ends in") || said.code != 0 {
            break said;
        }
        assert!(began.elapsed() < PATIENCE, "{said:?}");
    };
    assert!(remark.stdout.contains("raftctl cert renew --all"), "{remark:?}");
}

/// A removed node's machine may be somebody else's by now, and the command that carries files there
/// would have put its certificate over that node's.
#[test]
fn nobody_is_told_to_carry_files_to_a_node_that_was_removed() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("member remove n3 --yes");
    let kept = world.directory().join("removed.toml");
    let listed = || world.ok("cert list").stdout;
    let before = std::fs::read(certificate_of(&world, "n3")).unwrap();
    assert!(listed().contains("n2") && !listed().contains("n3"), "{}", listed());
    for line in ["cert renew --all --offline", "cert renew --all"] {
        let said = world.ok(line);
        assert!(!said.stdout.contains("n3") && !said.stderr.contains("n3"), "{line}: {said:?}");
        assert_eq!(std::fs::read(certificate_of(&world, "n3")).unwrap(), before, "{line}");
    }
    // Whoever made the change had no directory to note it in: the cluster tells of it.
    std::fs::remove_file(&kept).unwrap();
    let said = world.ok("cert renew --all");
    assert!(
        said.stderr.contains("n3: was removed; its certificate is renewed no more"),
        "{said:?}"
    );
    assert!(!said.stdout.contains("n3") && !said.stderr.contains("scp"), "{said:?}");
    assert!(!listed().contains("n3"), "{}", listed());
    // `init` makes nothing anew for who is gone, and the name may be given again.
    std::fs::remove_dir_all(certificate_of(&world, "n3").parent().unwrap()).unwrap();
    world.ok(&format!("init {CLUSTER}"));
    assert!(!certificate_of(&world, "n3").exists());
    world.ok(&format!("member add n3={} --bundle --prepare-only", free(1)[0]));
    assert!(listed().contains("n3"), "{}", listed());
}

/// A lock was held as long as a node was waited for that is added, and one bundle that cannot be
/// used kept all others from being renewed, round after round: everything ended.
#[test]
fn certificates_are_renewed_while_a_node_is_waited_for_and_where_one_bundle_is_broken() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    let mut add = world.command(&format!("member add n4={} --wait 5m", addresses[3]));
    let mut add = add.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let token = world.directory().join(format!("{CLUSTER}-n4.token"));
    wait_for("the token of n4", || token.exists().then_some(()));
    let said = world.ok("cert renew --all");
    assert!(said.stderr.contains("n4: has no bundle here"), "{said:?}");
    let key = world.directory().join(format!("{CLUSTER}-n4/node.key"));
    assert!(!key.exists(), "its host makes it");
    world.ok("cert issue web --role client");
    let said = world.run("cert rotate begin -o json");
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0012".into()), "{said:?}");
    add.kill().unwrap();
    add.wait().unwrap();

    let (broken, other) = (certificate_of(&world, "n2"), certificate_of(&world, "n3"));
    std::fs::write(&broken, "nonsense").unwrap();
    let before = std::fs::read(&other).unwrap();
    let said = world.run("cert renew --all -o json");
    assert_eq!(said.error()["code"], "R0007", "once, everything is signed or nothing: {said:?}");
    assert_eq!(std::fs::read(&other).unwrap(), before);
    let said = world.interrupted("cert renew --all --every 1h", "n2 is not renewed: ");
    wait_for("the others", || (std::fs::read(&other).unwrap() != before).then_some(()));
    assert_eq!(said.code, 130, "{said:?}");
}

/// What came over the wire ends while its node is off, and while all nodes run.
#[test]
fn nodes_whose_certificates_ended_come_back_by_the_files() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("kv put greeting hello");
    world.ok("cert renew --all --lifetime 15s");
    world.kill("n3");
    let until_ended = |world: &World| {
        let began = Instant::now();
        loop {
            let listed = world.ok("cert list -o json").data();
            let all = listed["certificates"].as_array().unwrap().clone();
            if all.iter().filter(|one| one["expired"] == true).count() == 4 {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{listed:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    until_ended(&world);
    // What went over the wire may have been signed a second behind what is listed.
    std::thread::sleep(Duration::from_secs(2));
    // It was off: its own certificate has ended, wherever it is.
    world.start("n3", &addresses[2]);
    assert_eq!(world.ended("n3"), Some(74));
    // All have: nobody answers, so the files are renewed, which the nodes here read where they are.
    let said = world.run("cert renew --all");
    assert!(said.code == 12 && said.stderr.contains("n1: not renewed over the wire"), "{said:?}");
    world.start("n3", &addresses[2]);
    world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");
    // And from here on over the wire.
    let said = world.ok("cert renew --all");
    assert!(!said.stderr.contains("not renewed over the wire"), "{said:?}");
}

/// Its peers' connections outlive its certificate, so it is heard, and nobody else campaigns.
#[test]
fn a_leader_whose_certificate_ends_hands_over_and_is_not_counted() {
    let mut world = World::new();
    world.found(&free(3));
    let leader = world.ok("leader show -o name").stdout.trim().to_owned();
    world.ok(&format!("cert renew {leader} --lifetime 3s"));
    world.logged(&leader, "nobody can connect to it, so leadership is handed over");
    // Each command is a new process, and makes new connections.
    let status = world.await_status(|status| {
        let other = status["leader"]["name"].as_str().is_some_and(|name| name != leader);
        other && status["health"] == "DEGRADED"
    });
    assert_eq!(status["toleratesFailures"], 0, "{status:#}");
    world.ok("kv put greeting hello");
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");
    // It is not reached, but finds its file where it was.
    assert_eq!(world.run("cert renew --all").code, 12);
    world.await_status(|status| status["health"] == "HEALTHY");
}
