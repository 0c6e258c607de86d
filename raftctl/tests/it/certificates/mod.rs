//! Certificates that end: what raftctl and raftd say, and the way back in, typed as they name it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use certs::{Authority, Validity, read_certificate, replace_certificate};
use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{CLUSTER, PATIENCE, Said, World, free, nodes};

mod clocks;
mod revoked;
mod rotated;
mod wire;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

fn authority(world: &World) -> Authority {
    Authority::load(&world.directory().join("ca")).unwrap()
}

fn certificate_of(world: &World, name: &str) -> PathBuf {
    match name {
        "operator" => world.directory().join("operator/operator.crt"),
        node => world.directory().join(format!("{CLUSTER}-{node}/node.crt")),
    }
}

/// Lets a certificate count for so long from now on.
fn shorten(world: &World, name: &str, validity: Duration) {
    let file = certificate_of(world, name);
    let present = read_certificate(&file).unwrap();
    let renewed = authority(world).renew_certificate(&present, validity, name).unwrap();
    replace_certificate(&file, &renewed.certificate_pem).unwrap();
}

/// A window that began a year ago, and ends so long from now.
fn ending(left: Duration) -> Validity {
    let window = Validity::from_now(left).unwrap();
    Validity { not_before: window.not_before - 365 * 86_400, ..window }
}

/// Lets a certificate be a year old, and count for so long yet.
fn age(world: &World, name: &str, left: Duration) {
    let file = certificate_of(world, name);
    let present = read_certificate(&file).unwrap();
    let renewed = authority(world).renew_certificate_within(&present, ending(left), name).unwrap();
    replace_certificate(&file, &renewed.certificate_pem).unwrap();
}

/// Lets a running node read its files, and waits until it has said so once more.
fn reload(world: &World, name: &str, said: &str) {
    let log = world.directory().join(format!("{CLUSTER}-{name}/log"));
    let count = || std::fs::read_to_string(&log).unwrap().matches(said).count();
    let (before, began) = (count(), Instant::now());
    world.signal(name, Signal::HUP);
    while count() == before {
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(began.elapsed() < PATIENCE, "{name} does not say \"{said}\"\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The first command that an error names, as it is typed; `raftctl` itself is left out.
fn named(error: &Value) -> String {
    let help = error["help"][0].as_str().unwrap();
    let command = help.split("    (").next().unwrap();
    command.strip_prefix("raftctl ").unwrap_or_else(|| panic!("no command: {error}")).to_owned()
}

fn files(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in ["operator", "n1", "n2", "n3"] {
        let certificate = certificate_of(world, name);
        for file in [certificate.with_extension("key"), certificate] {
            found.push((file.clone(), std::fs::read(&file).unwrap()));
        }
    }
    found
}

fn keys(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let is_key = |(path, _): &(PathBuf, Vec<u8>)| path.extension().unwrap() == "key";
    files(world).into_iter().filter(is_key).collect()
}

/// What `cert renew` says is to be brought to the nodes' machines.
fn files_are_named(world: &World, addresses: &[String], said: &Said) {
    for (name, address) in NAMES.iter().zip(addresses) {
        let host = address.split(':').next().unwrap();
        let file = certificate_of(world, name);
        let reload = format!("ssh {host} systemctl reload-or-restart raftd");
        let (ca, file) = (file.with_file_name("ca.crt"), file.display());
        let files = format!("{} {file}", ca.display());
        let line = format!("  {name:<10}  scp {files} {host}:/etc/raftd/ && {reload}");
        assert!(said.stderr.contains(&line), "{line}\n{said:?}");
    }
}

#[test]
fn a_cluster_whose_certificates_have_all_ended_is_walked_back_in() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("kv put greeting hello");
    let keys_before = keys(&world);

    // They end soon: the operator is warned once, and the nodes' ends are seen.
    age(&world, "operator", Duration::from_secs(15 * 86_400 + 3_600));
    let said = world.ok("status");
    let warning = "warning: your own certificate ends in 15 days";
    assert_eq!(said.stderr.matches(warning).count(), 1, "{said:?}");
    assert!(said.stderr.contains("raftctl cert renew --all"), "{said:?}");
    for line in ["kv get greeting -o json", "kv list -o json"] {
        let envelope: Value = serde_json::from_str(&world.ok(line).stdout).unwrap();
        let warning = envelope["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains("ends in 15 days"), "{line}: {envelope}");
    }

    // They end, while the nodes run.
    for name in NAMES {
        shorten(&world, name, Duration::from_secs(10));
        reload(&world, name, "certificates replaced for new connections");
    }
    shorten(&world, "operator", Duration::from_secs(1));
    let began = Instant::now();
    let expired = loop {
        let listed = world.ok("cert list -o json").data();
        let all = listed["certificates"].as_array().unwrap().clone();
        if all.iter().filter(|one| one["expired"] == true).count() == 4 {
            break listed;
        }
        assert!(began.elapsed() < PATIENCE, "{listed:#}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(expired["certificates"][0]["expired"], false, "the authority counts: {expired:#}");

    let said = world.run("status -o json");
    let error = said.error();
    assert_eq!((said.code, &error["code"]), (4, &"R0007".into()), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("operator.crt (operator operator) expired at 2"), "{message}");
    assert!(message.contains(" ago by a clock that says 2"), "{message}");
    let renew = named(&error);
    assert_eq!(renew, "cert renew --all");

    // `init` is no circle: it names the same command.
    let said = world.run(&format!("init {CLUSTER} --wait 1s -o json"));
    let error = said.error();
    assert_eq!((said.code, &error["code"]), (4, &"R0115".into()), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(NAMES.iter().all(|name| message.contains(&format!("{name} (ended "))), "{message}");
    assert_eq!(named(&error), renew);

    // A node that starts now says the same.
    world.kill("n3");
    world.start("n3", &addresses[2]);
    assert_eq!(world.ended("n3"), Some(74));
    let log = std::fs::read_to_string(world.directory().join("live-n3/log")).unwrap();
    assert!(log.contains("node.crt (node 3) expired at 2"), "{log}");
    assert!(log.contains("`raftctl cert renew --all`"), "{log}");

    // A look changes nothing; then it is done.
    let (before, lock) = (files(&world), world.directory().join(".certs.lock"));
    assert!(!lock.exists(), "nothing was added or renewed yet");
    world.ok(&format!("{renew} --dry-run"));
    assert_eq!(files(&world), before);
    assert!(!lock.exists(), "a look needs no right to write");
    let said = world.run(&renew);
    assert_eq!(said.code, 12, "no node has got its own: {said:?}");
    files_are_named(&world, &addresses, &said);
    assert_eq!(keys(&world), keys_before, "keys stay: nothing secret has to be carried");

    // Before the nodes have read it, it is said whose certificate fails.
    let said = world.run(&format!("kv get greeting -o json -e {}", addresses[0]));
    let error = said.error();
    assert_eq!((said.code, &error["code"]), (4, &"R0102".into()), "{error}");
    let why = error["causes"].to_string();
    assert!(why.contains("the certificate of node 1 expired at 2"), "{why}");
    assert!(why.contains("Z (raftctl cert renew --all)"), "{why}");

    for name in ["n1", "n2"] {
        reload(&world, name, "certificates replaced for new connections");
    }
    world.start("n3", &addresses[2]);
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    let year = i64::try_from(certs::DEFAULT_LEAF_VALIDITY.as_secs()).unwrap();
    for node in status["nodes"].as_array().unwrap() {
        let end = node["status"]["certificateNotAfterUnixS"].as_i64().unwrap();
        assert!(end > now() + year - 3_600, "{node}");
    }
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");

    // Run again, `init` reports the cluster, and renews nothing.
    let before = files(&world);
    let again = world.ok(&format!("init {CLUSTER} --wait 60s -o json"));
    assert_eq!(again.data()["alreadyBootstrapped"], true, "{again:?}");
    assert_eq!(files(&world), before);
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Lets the authority's certificate, and all copies of it, count for so long.
fn shorten_authority(world: &World, validity: Duration) {
    let renewed = authority(world).renew_within(ending(validity)).unwrap();
    let copies = ["ca", "operator", "live-n1", "live-n2", "live-n3"];
    for directory in copies {
        renewed.refresh(&world.directory().join(directory).join("ca.crt")).unwrap();
    }
}

#[test]
fn an_authority_that_ends_is_renewed_and_nodes_follow_one_by_one() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("kv put greeting hello");
    shorten_authority(&world, Duration::from_secs(5 * 86_400 + 60));
    for name in NAMES {
        reload(&world, name, "certificates replaced for new connections");
    }
    // What the authority has signed ends with it, and everybody says so.
    let said = world.ok("status");
    assert!(
        said.stderr.contains("warning: the authority's certificate ends in 5 days"),
        "{said:?}"
    );
    let said = world.run("cert renew --all -o json");
    let error = said.error();
    assert_eq!((said.code, &error["code"]), (4, &"R0116".into()), "{error}");
    assert!(error["message"].as_str().unwrap().contains("ca.crt (the authority's certificate)"));
    let renew = named(&error);
    assert_eq!(renew, "cert renew --authority --all");
    // A shorter time than the authority has is no matter.
    world.ok("cert renew operator --days 3");

    let said = world.ok(&format!("{renew} --offline"));
    assert!(said.stderr.contains("ca.crt"), "{said:?}");
    assert!(
        said.stderr.contains("programs that hold a copy of ca.crt need the new one"),
        "{said:?}"
    );
    assert!(!world.ok("status").stderr.contains("warning"), "the operator's copy is renewed");
    // In whatever order: one reads it, one is started with it, one has still the old one.
    reload(&world, "n1", "certificates replaced for new connections");
    world.kill("n2");
    world.start("n2", &addresses[1]);
    world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");
    reload(&world, "n3", "certificates replaced for new connections");
    let shown = world.ok("cert show authority -o json").data();
    assert!(shown["notAfterUnixS"].as_i64().unwrap() > now() + 3_000 * 86_400, "{shown}");
}

#[test]
fn a_local_cluster_renews_by_itself_what_has_ended() {
    let world = World::new();
    let port = free(1)[0].rsplit_once(':').unwrap().1.to_owned();
    let dev = format!("dev --nodes 1 --name {CLUSTER}");
    world.interrupted(&format!("{dev} --port {port}"), "Ctrl-C stops it");
    let end = |name: &str| {
        let certificate = read_certificate(&certificate_of(&world, name)).unwrap();
        i64::try_from(certs::describe(&certificate).unwrap().validity.not_after).unwrap()
    };
    for name in ["operator", "n1"] {
        shorten(&world, name, Duration::from_secs(1));
    }
    while end("n1").max(end("operator")) >= now() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = world.interrupted(&dev, "Ctrl-C stops it");
    assert!(said.stderr.contains("n1: certificate renewed until 2"), "{said:?}");
    assert!(end("n1").min(end("operator")) > now() + 300 * 86_400);
}

#[test]
fn only_what_is_named_and_belongs_to_the_authority_is_renewed() {
    let world = World::new();
    world.ok(&format!("init {CLUSTER} {} --prepare-only", nodes(&free(3))));
    let code = |said: Said| said.error()["code"].as_str().unwrap().to_owned();
    let copy = world.home().join("copy of n2.crt");
    std::fs::copy(certificate_of(&world, "n2"), &copy).unwrap();

    let before = files(&world);
    let said = world.ok("cert renew 1 n2 --days 40 -o name");
    assert_eq!(said.stdout, "n1\nn2\n");
    let after = files(&world);
    let changed: Vec<&Path> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .map(|(before, _)| before.0.as_path())
        .collect();
    assert_eq!(changed, [certificate_of(&world, "n1"), certificate_of(&world, "n2")]);

    // A new key, where it is asked for; both belong together.
    world.ok("cert renew n3 --new-key");
    let check = |name: &str| world.ok(&format!("cert show {name} -o json")).data()["check"].clone();
    assert!(check("n3").as_str().unwrap().starts_with("can be used"), "{}", check("n3"));
    assert_ne!(files(&world)[6], before[6]);
    // A pair that does not belong together is told, and mended by the command that is named.
    std::fs::copy(certificate_of(&world, "n1"), certificate_of(&world, "n2")).unwrap();
    assert_eq!(code(world.run("cert renew --all -o json")), "R0304");
    std::fs::copy(&copy, certificate_of(&world, "n2")).unwrap();
    let (one, two) = (certificate_of(&world, "n1"), certificate_of(&world, "n2"));
    std::fs::copy(one.with_extension("key"), two.with_extension("key")).unwrap();
    let said = world.run("cert renew --all -o json");
    assert_eq!(code(said.clone()), "R0007", "{said:?}");
    assert_eq!(named(&said.error()), "cert renew n2 --new-key");
    world.ok("cert renew n2 --new-key");
    world.ok("cert renew --all");

    // A file of any name is renewed in place; one of a stranger is not, and neither is a text.
    let mut command = world.command("cert renew");
    command.arg(&copy);
    let said = Said::of(command.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let foreign = World::new();
    foreign.ok(&format!("init {CLUSTER} {} --prepare-only", nodes(&free(1))));
    let stranger = certificate_of(&foreign, "n1").display().to_string();
    let said = world.run(&format!("cert renew {stranger} -o json"));
    assert_eq!((said.code, code(said.clone())), (5, "R0117".to_owned()));
    assert!(said.error()["message"].as_str().unwrap().contains("belongs to cluster"), "{said:?}");
    assert_eq!(code(world.run("cert renew nobody -o json")), "R0008");
    assert_eq!(world.run("cert renew").code, 2);
    assert_eq!(world.run("cert renew /dev/null").code, 2, "it is not replaced by a file");
    assert_eq!(world.run("cert renew authority").code, 2);

    // Without the authority's key nothing is renewed, and it is said where to go.
    let key = world.directory().join("ca/ca.key");
    std::fs::rename(&key, world.home().join("offline.key")).unwrap();
    let said = world.run("cert renew --all -o json");
    assert_eq!((said.code, code(said)), (3, "R0118".to_owned()));
    assert_eq!(world.ok("cert list -o name").stdout, "authority\noperator\nn1\nn2\nn3\n");
}
