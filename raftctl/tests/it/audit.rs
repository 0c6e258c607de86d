//! The audit: administrative acts in the log, on every node alike, whatever happens in between.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::{World, free};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

fn acts(world: &World, line: &str) -> Vec<Value> {
    world.ok(&format!("{line} -o json")).data()["acts"].as_array().unwrap().clone()
}

/// What was done and how it ended, without what nobody waits for.
fn told(acts: &[Value]) -> Vec<String> {
    let text = |act: &Value, field: &str| act[field].as_str().unwrap().to_owned();
    acts.iter().map(|act| format!("{}: {}", text(act, "act"), text(act, "outcome"))).collect()
}

fn await_acts(world: &World, line: &str, wanted: &[&str]) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let found = acts(world, line);
        let said = told(&found);
        if wanted.iter().all(|one| said.iter().any(|act| act.contains(one))) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "wanted {wanted:?}: {said:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn acts_are_noted_with_who_and_from_where_on_every_node_through_crashes_and_snapshots() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    let led = |status: &Value| status["leader"]["name"].is_string();
    let next = if world.await_status(led)["leader"]["name"] == "n2" { "n1" } else { "n2" };
    world.ok(&format!("leader transfer {next}"));
    let transfer = format!("leader transfer {next}: done");
    world.ok("snapshot create --node n2");
    assert_eq!(world.run("member remove n1 n2 n3 --yes").code, 5, "nobody would vote");
    world.ok("member demote n3 --yes");
    let wanted =
        ["cluster bootstrap: done", &transfer, "snapshot create: done", "member demote n3: done"];
    let found = await_acts(&world, "audit", &wanted);
    let founding = found.iter().filter(|act| act["act"] == "cluster bootstrap");
    assert_eq!(founding.count(), 1, "once for all three: {found:?}");
    for act in &found {
        assert_eq!(act["who"], "operator operator", "{act}");
        assert!(act["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{act}");
        assert!(act["time"].as_str().unwrap().starts_with("20"), "{act}");
    }
    let snapshot = found.iter().find(|act| act["act"] == "snapshot create").unwrap();
    assert_eq!(snapshot["node"], "2", "the node that did it: {snapshot}");

    // `member history` names who asked for it, and nobody for what founded the cluster.
    let history = world.ok("member history -o json").data();
    let by: Vec<&Value> =
        history["configurations"].as_array().unwrap().iter().map(|one| &one["by"]).collect();
    assert_eq!(by[0], &Value::Null, "{history}");
    assert!(by[1..].iter().all(|by| *by == "operator operator"), "{history}");
    let table = world.ok("member history").stdout;
    assert!(table.lines().next().unwrap().ends_with("BY"), "{table}");

    // A newcomer that gets all of it in a snapshot, and nodes that were killed, have the same.
    for name in ["n1", "n2", "n3"] {
        world.kill(name);
    }
    for (name, address) in ["n1", "n2", "n3"].into_iter().zip(&addresses) {
        world.start(name, address);
    }
    world.await_status(led);
    let lines: String = (0..30_000).map(|number| format!("k{number}\tv\n")).collect();
    let file = world.home().join("data.tsv");
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    let add = format!("member add n4={} --learner", addresses[3]);
    world.ok(&format!("{add} --prepare-only"));
    world.start("n4", &addresses[3]);
    world.ok(&add);
    let wanted = ["member reserve n4: done", "member join node 4: done", "member add n4 (node 4)"];
    let found = await_acts(&world, "audit", &wanted);
    for (name, address) in ["n1", "n2", "n3", "n4"].into_iter().zip(&addresses) {
        let here = await_acts(&world, &format!("audit --stale -e {address}"), &wanted);
        assert_eq!(here[..found.len()], found, "{name}");
    }
    let last = acts(&world, "audit -n 1");
    assert_eq!(last[0], *found.last().unwrap());
    // The load ended a session of its own, which is no act: it would push out those that are.
    assert!(told(&found).iter().all(|act| !act.contains("session close")), "{found:?}");
}

#[test]
fn the_audit_is_followed_as_it_grows_and_is_no_clients_business() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    await_acts(&world, "audit", &["cluster bootstrap: done"]);
    let mut follow = world
        .command("audit -f -n 0 -o json")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    // Acts that come before it has begun are shown by none of its lines: so until one is.
    world.ok("snapshot create");
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || sender.send(lines.next().unwrap().unwrap()));
    let began = Instant::now();
    let line = loop {
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => break line,
            Err(_) => drop(world.ok("snapshot create")),
        }
        assert!(began.elapsed() < PATIENCE, "nothing is followed");
    };
    reader.join().unwrap().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&follow),
        rustix::process::Signal::INT,
    )
    .unwrap();
    follow.wait().unwrap();
    let act: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(act["kind"], "AuditedAct", "{act}");
    assert_eq!(
        (&act["data"]["act"], &act["data"]["outcome"]),
        (&Value::from("snapshot create"), &Value::from("done"))
    );
}
