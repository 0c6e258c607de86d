//! Configurations of running nodes: shown with where each value comes from, checked by raftd
//! itself, and read again over the wire.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kit::{World, free};

fn file(world: &World, name: &str) -> PathBuf {
    world.directory().join(format!("live-{name}/raftd.toml"))
}

/// Writes settings before and behind those that `init` made.
fn edit(world: &World, name: &str, (before, behind): (&str, &str)) {
    let made = world.home().join(format!("made-{name}"));
    if !made.exists() {
        std::fs::copy(file(world, name), &made).unwrap();
    }
    let text = std::fs::read_to_string(made).unwrap();
    std::fs::write(file(world, name), format!("{before}\n{text}\n{behind}\n")).unwrap();
}

fn node<'a>(data: &'a Value, name: &str) -> &'a Value {
    let nodes = data["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("{name}: {data:#}"))
}

fn setting<'a>(node: &'a Value, key: &str) -> &'a Value {
    let settings = node["settings"].as_array().unwrap();
    settings.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}: {node:#}"))
}

#[test]
fn values_are_shown_with_their_sources_and_read_again_over_the_wire() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);

    let data = world.ok("config show -o json").data();
    let n2 = node(&data, "n2");
    let place = file(&world, "n2").display().to_string();
    assert_eq!(n2["file"], place);
    let listen = setting(n2, "listen");
    assert_eq!((&listen["value"], &listen["takenOn"]), (&json!(addresses[1]), &json!("restart")));
    assert_eq!(listen["source"], json!({ "kind": "flag", "place": "--listen" }));
    let ca = &setting(n2, "identity.ca")["source"];
    let line = 1 + std::fs::read_to_string(&place)
        .unwrap()
        .lines()
        .position(|line| line.starts_with("ca ="))
        .unwrap();
    assert_eq!(ca, &json!({ "kind": "file", "place": format!("{place}:{line}") }));
    let heartbeat = setting(n2, "raft.heartbeat_ms");
    assert_eq!(heartbeat["source"], json!({ "kind": "default", "place": null }));
    assert_eq!((&heartbeat["value"], &heartbeat["next"]), (&json!(100), &Value::Null));
    let said = world.ok("config show n3 --set");
    assert!(said.stdout.contains("--listen") && !said.stdout.contains("default"), "{said:?}");
    assert!(!said.stdout.contains("n2"), "{said:?}");

    // What would change is told first, and nothing is taken.
    edit(
        &world,
        "n1",
        ("log_level = \"debug\"", "[raft]\nheartbeat_ms = 90\n[peers]\nn9 = \"h:1\""),
    );
    let dry = world.ok("config reload --all --dry-run -o json").data();
    let n1 = node(&dry, "n1");
    let level = json!({ "key": "log_level", "before": "info", "after": "debug" });
    let peer = json!({ "key": "peers.n9", "before": null, "after": "h:1" });
    let beat = json!({ "key": "raft.heartbeat_ms", "before": 100, "after": 90 });
    assert_eq!((&n1["changed"], &n1["needsRestart"]), (&json!([level, peer]), &json!([beat])));
    assert_eq!(n1["certificates"]["result"], "unchanged");
    assert_eq!(node(&dry, "n2")["changed"], json!([]));
    let shown = world.ok("config show n1 -o json").data();
    assert_eq!(setting(node(&shown, "n1"), "log_level")["value"], "info");

    // Then it is taken, as far as a running node does, and what waits is shown.
    let said = world.ok("config reload n1");
    assert!(said.stdout.contains("n1    changed  log_level"), "{said:?}");
    assert!(said.stdout.contains("n1    restart  raft.heartbeat_ms  100"), "{said:?}");
    assert!(said.stderr.contains("systemctl restart raftd"), "{said:?}");
    let said = world.ok("config show n1 -o json");
    let data = said.data();
    let n1 = node(&data, "n1");
    assert_eq!(setting(n1, "log_level")["value"], "debug");
    assert_eq!(setting(n1, "peers.n9")["value"], "h:1");
    let beat = setting(n1, "raft.heartbeat_ms");
    assert_eq!((&beat["value"], &beat["next"]["value"]), (&json!(100), &json!(90)));
    world.logged("n1", "configuration read again");
    let said = world.ok("config show n1");
    assert!(said.stderr.contains("raft.heartbeat_ms = 90"), "{said:?}");
    assert!(said.stderr.contains("waits for a restart"), "{said:?}");

    // Who did so stands in the audit; looking does not.
    let acts = reloads(&world, |acts| acts.iter().all(|act| act["outcome"] != "asked"));
    assert_eq!(acts.len(), 1, "{acts:?}");
    assert_eq!((&acts[0]["who"], &acts[0]["node"]), (&json!("operator operator"), &json!("1")));
    assert_eq!(acts[0]["outcome"], "done");
}

/// Waits until the audit has all reloads as wanted, and returns them.
fn reloads(world: &World, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    fixtures::wait_for("what came of a reload", || {
        let acts = world.ok("audit -o json").data();
        let mut acts = acts["acts"].as_array().unwrap().clone();
        acts.retain(|act| act["act"] == "config reload");
        is_so(&acts).then_some(acts)
    })
}

#[test]
fn a_bad_file_is_refused_with_line_and_key_and_nobody_else_is_held_up() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    edit(&world, "n1", ("log_level = \"warn\"", "[raft]\nheartbeat_ms = 1"));
    let bad = std::fs::read_to_string(file(&world, "n1")).unwrap();
    let line = 1 + bad.lines().position(|line| line.starts_with("heartbeat_ms")).unwrap();
    let wanted =
        format!("{}:{line}: raft.heartbeat_ms = 1 is out of bounds", file(&world, "n1").display());

    let said = world.run("config reload n1 -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (5, Some("R0560")), "{said:?}");
    assert!(said.error()["message"].as_str().unwrap().contains(&wanted), "{said:?}");
    let n1 = node(&said.data(), "n1").clone();
    assert!(n1["refused"].as_str().unwrap().contains(&wanted), "{n1:#}");
    assert_eq!(n1["certificates"]["result"], "unchanged");
    // However often it is looked at: each look gives back its turn.
    for _ in 0..6 {
        let said = world.run("config reload n1 --dry-run -o json");
        assert!(said.stdout.contains("heartbeat_ms"), "{said:?}");
    }
    let acts = reloads(&world, |acts| acts.iter().any(|act| act["outcome"] == "refused"));
    assert!(acts[0]["reason"].as_str().is_some_and(|why| why.contains("heartbeat_ms")), "{acts:?}");
    // All of the old one is in force, and it is told that the file is bad.
    let said = world.ok("config show n1 -o json");
    let n1 = node(&said.data(), "n1").clone();
    assert_eq!(setting(&n1, "log_level")["value"], "info");
    assert!(n1["refused"].as_str().unwrap().contains(&wanted), "{n1:#}");

    // Others take theirs; one that is down is a row with the reason.
    edit(&world, "n2", ("log_level = \"warn\"", ""));
    world.kill("n3");
    let said = world.run("config reload --all");
    assert_eq!(said.code, 12, "{said:?}");
    for row in ["n1    refused", "n2    changed    log_level", "n3    silent"] {
        let words: Vec<&str> = row.split_whitespace().collect();
        let has = |line: &str| line.split_whitespace().take(words.len()).eq(words.iter().copied());
        assert!(said.stdout.lines().any(has), "{row}: {said:?}");
    }
    let said = world.run("config show -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (12, Some("R0561")), "{said:?}");

    // raftd itself says the same of the file, and ends the same.
    let path = file(&world, "n1").display().to_string();
    let said = world.run(&format!("config validate {path} -o json"));
    assert_eq!((said.code, said.error()["code"].as_str()), (78, Some("R0562")), "{said:?}");
    assert!(said.error()["message"].as_str().unwrap().contains(&wanted), "{said:?}");
    assert_eq!(said.error()["exitCode"], 78);

    // Mended, it is taken.
    edit(&world, "n1", ("log_level = \"warn\"", ""));
    world.ok("config reload n1");
    let data = world.run("config show n1 -o json").data();
    assert_eq!(node(&data, "n1")["refused"], Value::Null);
    assert_eq!(world.run("config reload nobody").code, 3);
    assert_eq!(world.run("config reload").code, 2);
}

/// Nothing of a configuration is taken that names certificates which cannot be used, and who only
/// looks hears of it beforehand.
#[test]
fn certificates_that_cannot_be_used_are_refused_with_all_that_comes_with_them() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    let path = file(&world, "n1");
    let made = std::fs::read_to_string(&path).unwrap();
    let key = made.lines().find(|line| line.starts_with("key =")).unwrap();
    let other = made.replace(key, "key = \"/nowhere/node.key\"");
    std::fs::write(&path, format!("log_level = \"debug\"\n{other}")).unwrap();
    for how in [" --dry-run", ""] {
        let said = world.run(&format!("config reload n1{how} -o json"));
        assert_eq!((said.code, said.error()["code"].as_str()), (5, Some("R0560")), "{said:?}");
        let refused = node(&said.data(), "n1")["refused"].clone();
        assert!(refused.as_str().is_some_and(|why| why.contains("/nowhere/node.key")), "{said:?}");
    }
    let n1 = node(&world.ok("config show n1 -o json").data(), "n1").clone();
    assert_eq!(setting(&n1, "log_level")["value"], "info");
    assert_ne!(setting(&n1, "identity.key")["value"], "/nowhere/node.key");
    let acts = reloads(&world, |acts| acts.iter().all(|act| act["outcome"] == "refused"));
    assert_eq!(acts.len(), 1, "{acts:?}");

    // Where the same files hold something else, the rest is taken, and that is told.
    std::fs::write(&path, format!("log_level = \"debug\"\n{made}")).unwrap();
    let certificate = path.with_file_name("node.crt");
    let whole = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "none").unwrap();
    for (how, level) in [(" --dry-run", "info"), ("", "debug")] {
        let said = world.run(&format!("config reload n1{how} -o json"));
        assert_eq!(said.code, 5, "{said:?}");
        assert_eq!(node(&said.data(), "n1")["certificates"]["result"], "refused", "{said:?}");
        let n1 = node(&world.ok("config show n1 -o json").data(), "n1").clone();
        assert_eq!(setting(&n1, "log_level")["value"], level);
    }
    std::fs::write(&certificate, whole).unwrap();
    let said = world.ok("config reload n1 -o json");
    assert_eq!(node(&said.data(), "n1")["certificates"]["result"], "unchanged", "{said:?}");
}

#[test]
fn a_file_is_checked_by_raftd_and_compared_with_a_running_node() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    let path = file(&world, "n1").display().to_string();

    // A variable that is meant for a daemon here has no say, and neither have certificates that
    // are elsewhere, if asked so.
    let mut command = world.command(&format!("config validate {path}"));
    let said = crate::kit::Said::of(command.env("RAFTD_HEARTBEAT_MS", "1").output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("valid; node 1 of"), "{said:?}");
    let copy = world.home().join("copied.toml");
    std::fs::copy(&path, &copy).unwrap();
    let copy = copy.display().to_string();
    let said = world.run(&format!("config validate {copy}"));
    assert!(said.code == 78 && said.stderr.contains("ca.crt"), "{said:?}");
    world.ok(&format!("config validate {copy} --without-certificates"));
    for (text, code, wanted) in [
        ("data_dirr = 1", 78, "data_dirr"),
        ("listen = \"here\"", 78, "copied.toml:1: listen = \"here\" is not an IP address"),
        ("", 78, "identity.ca is missing"),
    ] {
        std::fs::write(&copy, text).unwrap();
        let said = world.run(&format!("config validate {copy} --without-certificates"));
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.stderr.contains("error[R0562]") && said.stderr.contains(wanted), "{said:?}");
    }
    assert_eq!(world.run("config validate /nowhere/raftd.toml").code, 78);

    // Only what differs is told: not the paths, which are beside the file as well.
    edit(&world, "n1", ("log_level = \"debug\"", "[raft]\nheartbeat_ms = 90"));
    let said = world.ok(&format!("config validate {path} --against n1 -o json"));
    let listen = json!({ "key": "listen", "takenOn": "restart", "running": addresses[0],
        "file": format!("[::]:{}", addresses[0].rsplit_once(':').unwrap().1) });
    let differences = said.data()["differences"].as_array().unwrap().clone();
    let keys: Vec<&str> = differences.iter().map(|one| one["key"].as_str().unwrap()).collect();
    let wanted =
        ["data_dir", "listen", "log_level", "raft.election_timeout_ms", "raft.heartbeat_ms"];
    assert_eq!(keys, wanted, "{said:?}");
    assert_eq!(differences[1], listen);
    let level =
        json!({ "key": "log_level", "takenOn": "reload", "running": "info", "file": "debug" });
    assert_eq!(differences[2], level);
    let said = world.ok(&format!("config validate {path} --against n1"));
    assert!(said.stdout.contains("raft.heartbeat_ms"), "{said:?}");
}

#[test]
fn what_a_node_advertises_is_told_and_compared_with_where_it_is_dialled() {
    let mut world = World::new();
    let addresses = free(1);
    world.ok(&format!("init live --node n1={} --prepare-only", addresses[0]));
    edit(&world, "n1", ("advertise = \"n1.example:7400\"", ""));
    world.start("n1", &addresses[0]);
    // Before it has a history, it is all that is known.
    let said = world.await_status(|status| status["nodes"][0]["status"].is_object());
    assert_eq!(said["nodes"][0]["status"]["advertises"], "n1.example:7400", "{said:#}");
    world.ok("init live --wait 60s");
    world.logged("n1", "raftctl member update n1 --address n1.example:7400");
    let said = world.ok("status");
    let wanted = format!("advertises n1.example:7400, and the others dial it at {}", addresses[0]);
    assert!(said.stdout.contains(&wanted) && said.stdout.contains("R0563"), "{said:?}");

    // As it is dialled, there is nothing to say.
    edit(&world, "n1", (&format!("advertise = \"{}\"", addresses[0]), ""));
    world.kill("n1");
    world.start("n1", &addresses[0]);
    world.await_status(|status| status["health"] == "HEALTHY");
    let said = world.ok("status");
    assert!(!said.stdout.contains("advertises"), "{said:?}");
    // Places to listen are none to be dialled.
    edit(&world, "n1", ("advertise = \"0.0.0.0:7400\"", ""));
    world.kill("n1");
    world.start("n1", &addresses[0]);
    assert_eq!(world.ended("n1"), Some(78));
    world.logged("n1", "that is for `listen`");
}
