//! The verbs for log, snapshots and sessions, executed on a real cluster: the manual, with its
//! failures.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::World;

#[test]
fn log_snapshots_and_sessions_are_shown_as_the_manual_says() {
    let mut world = World::new();
    // The manual names addresses, so these are fixed.
    let addresses: Vec<String> = (27521..27524).map(|port| format!("127.0.0.1:{port}")).collect();
    world.found(&addresses);
    world.ok("leader transfer n1");
    world.ok("kv put colour green");

    leave_a_session_open(&world);
    world.transcript("data");
    world.transcript("told");

    let id = world.ok("session list -o name").stdout;
    let id = id.trim();
    world.transcript_with("session", &[("<ID>", id)]);
    let data = world.ok(&format!("session show {id} -o json")).data();
    assert_eq!(data["id"], id, "{data}");
    let highest = data["highest"].as_u64().unwrap();
    assert!(highest > 1 && data["lowWater"].as_u64().unwrap() <= highest + 1, "{data}");

    // Two are closed, one is left.
    leave_a_session_open(&world);
    leave_a_session_open(&world);
    let open = world.ok("session list -o name").stdout;
    let other = open.lines().nth(1).unwrap();
    world.transcript_with("closed", &[("<ID>", id), ("<OTHER>", other)]);

    world.transcript("handed");
    assert_ne!(world.ok("leader show -o json").data()["name"], "n2");
    world.ok("leader transfer n1");

    // Standard output takes the file and nothing else.
    let piped = world.home().join("piped.snap");
    let mut save = world.command("snapshot save - --node n2");
    let save = save.stdout(std::fs::File::create(&piped).unwrap()).output().unwrap();
    assert_eq!((save.status.code(), save.stderr), (Some(0), Vec::new()));
    let verified = world.ok(&format!("snapshot verify {} -o json", piped.display())).data();
    assert_eq!(verified["verified"], true, "{verified}");

    // What a node holds can be saved without a quorum.
    let saved = world.home().join("lost.snap");
    world.kill("n2");
    world.kill("n3");
    world.await_status(|status| status["health"] == "NO_QUORUM");
    world.transcript("lost");
    world.ok(&format!("snapshot save --node n1 {}", saved.display()));
    world.ok(&format!("snapshot verify {}", saved.display()));
}

/// Kills a client in the middle of its work.
fn leave_a_session_open(world: &World) {
    let file = world.home().join("data.tsv");
    let lines: String = (0..60_000).map(|number| format!("k{number}\tv\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let commit = |status: &serde_json::Value| {
        status["commit"].as_str().map_or(0, |commit| commit.parse::<u64>().unwrap())
    };
    let before = commit(&world.await_status(|status| commit(status) > 0));
    let mut load = world.command(&format!("kv load {} --in-flight 2", file.display()));
    let mut load = load.stderr(std::process::Stdio::null()).spawn().unwrap();
    world.await_status(|status| commit(status) > before + 100);
    load.kill().unwrap();
    load.wait().unwrap();
}
