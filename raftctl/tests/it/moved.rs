//! Members move to other addresses: one while the cluster is written to, and all of them at once;
//! a leader to which clients have no way.

use std::process::Stdio;

use crate::kit;
use crate::kit::{CLUSTER, Said, World, free};
use fixtures::Relay;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The row of a node in a status.
fn row<'a>(status: &'a Value, name: &str) -> Vec<&'a Value> {
    let rows = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter(|row| row["name"] == name).collect()
}

#[test]
fn a_member_moves_to_another_address_and_catches_up_there() {
    let mut world = World::new();
    let mut addresses = free(4);
    let new = addresses.pop().unwrap();
    let (second, old) = (addresses[1].clone(), addresses[2].clone());
    world.found(&addresses);
    world.ok("leader transfer n1");
    let file = world.home().join("data.tsv");
    let lines: String = (0..200_000).map(|number| format!("k{number}\t{number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let mut load = world.command(&format!("kv load {} --in-flight 2", file.display()));
    let load = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    let contexts = world.home().join("contexts.toml");
    let before = std::fs::read(&contexts).unwrap();
    world.signal("n3", Signal::TERM);
    assert_eq!(world.ended("n3"), Some(0));
    let refused = |line: &str| {
        let said = world.run(&format!("member update {line} -o json"));
        let error = said.error();
        let word = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (said.code, word("code"), word("message"))
    };
    let (code, name, why) = refused(&format!("n9 --address {new}"));
    assert_eq!((code, name.as_str(), why.as_str()), (3, "R0108", "no member \"n9\""));
    let (code, name, why) = refused(&format!("n3 --address {new}"));
    assert_eq!((code, name.as_str()), (5, "R0313"), "{why}");
    let wanted =
        format!("the leader did not meet n3 (node 3) at {new}: connection refused at {new}");
    assert!(why.starts_with(&wanted), "{why}");
    let (code, name, why) = refused(&format!("n3 --address {second}"));
    assert_eq!((code, name.as_str()), (5, "R0319"), "{why}");
    assert!(why.ends_with(&format!("are one place: {second}")), "{why}");
    let same = world.ok(&format!("member update n3 --address {old}"));
    assert!(same.stdout.contains("nothing to change"), "{same:?}");
    let plan = world.ok(&format!("member update n3 --address {new} --dry-run")).stdout;
    assert!(plan.contains(&format!("address    n3  {old}  ->  {new}\n")), "{plan}");

    world.start("n3", &new);
    // It is answered by nobody there, for nobody knows where it is: it may not be up yet.
    let commit = || {
        let status = world.await_status(|status| status["commit"].is_string());
        status["commit"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let (began, written) = (std::time::Instant::now(), commit());
    let moved = loop {
        let said = world.run(&format!("member update n3 --address {new} -o json"));
        if said.code == 0 {
            break said.data();
        }
        assert_eq!(said.error()["code"], "R0313", "{said:?}");
        assert!(began.elapsed() < kit::PATIENCE, "{said:?}");
    };
    assert_eq!(moved["changed"][0], "n3", "{moved}");
    assert_eq!(moved["joint"], false);
    assert!(commit() > written + 1, "it was written to meanwhile, not only the change");

    let healthy = world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(row(&healthy, "n3")[0]["address"], new.as_str(), "{healthy}");
    kill_process(Pid::from_child(&load), Signal::INT).unwrap();
    let load = Said::of(load.wait_with_output().unwrap());
    assert_eq!(load.code, 130, "{load:?}");
    let next = load.stderr.split("--from-line ").nth(1).unwrap();
    let next: u64 = next.split_whitespace().next().unwrap().parse().unwrap();
    let caught_up = world.await_status(|status| {
        let [row] = row(status, "n3")[..] else { return false };
        row["status"]["applied"] == status["commit"]
    });
    assert_eq!(caught_up["health"], "HEALTHY", "{caught_up}");
    let last = next - 2;
    let found = world.ok(&format!("kv get k{last} --stale -e {new}"));
    assert_eq!(found.stdout.trim(), last.to_string(), "what was acknowledged last is there");

    // The context has followed; an older one that has not still leads there.
    let context = world.ok("context show -o json").stdout;
    assert!(context.contains(&new) && !context.contains(&old), "{context}");
    std::fs::write(&contexts, before).unwrap();
    let status = world.run("status -o json").data();
    let [found] = row(&status, "n3")[..] else { panic!("n3 has one row: {status}") };
    assert_eq!(found["address"], new.as_str(), "{status}");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3, "{status}");
}

/// The status of nodes at these addresses, when it is as wanted.
fn status_at(world: &World, at: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = std::time::Instant::now();
    loop {
        let status = world.run(&format!("status {at} -o json")).data();
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < kit::PATIENCE, "{status:#}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn all_nodes_move_at_once_and_keep_every_write_and_member() {
    let mut world = World::new();
    let addresses = free(6);
    let (old, new) = addresses.split_at(3);
    world.found(old);
    let file = world.home().join("data.tsv");
    let lines: String = (0..2_000).map(|number| format!("k{number}\t{number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    let names = ["n1", "n2", "n3"];
    for name in names {
        world.signal(name, Signal::TERM);
        assert_eq!(world.ended(name), Some(0));
    }
    for (name, address) in names.iter().zip(new) {
        world.start(name, address);
    }

    // Nobody finds anybody; the status says where the nodes look, and what to do.
    let at: String = new.iter().map(|address| format!(" -e {address}")).collect();
    let lost = |status: &Value| {
        let remarks = status["remarks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let moved = remarks.iter().filter(|remark| remark["code"] == "R0408").count();
        status["health"] == "NO_LEADER" && moved == 3
    };
    status_at(&world, &at, lost);
    let told = "the others dial this node at another address than it listens on";
    let log = world.logged("n1", told);
    assert_eq!(log.matches(told).count(), 1, "{log}");
    let text = world.run(&format!("status {at}")).stdout;
    for address in &addresses {
        assert!(text.contains(address.as_str()), "{text}");
    }
    assert!(text.contains("raft(7), MOVING NODES") && text.contains("explain R0408"), "{text}");

    let said = world.run(&format!("member update n1 --address {} {at}", new[0]));
    assert!(said.code == 7 && said.stderr.contains("explain R0408"), "{said:?}");

    // The table in raftd.toml lets them find each other without a restart.
    let bundle = |name: &str| world.directory().join(format!("{CLUSTER}-{name}/raftd.toml"));
    let before: Vec<String> =
        names.iter().map(|name| std::fs::read_to_string(bundle(name)).unwrap()).collect();
    let lines = names.iter().zip(new).map(|(name, address)| format!("{name} = \"{address}\"\n"));
    let table = format!("\n[peers]\n{}", lines.collect::<String>());
    for (name, text) in names.iter().zip(&before) {
        std::fs::write(bundle(name), format!("{text}{table}")).unwrap();
        world.signal(name, Signal::HUP);
    }
    status_at(&world, &at, |status| status["health"] == "HEALTHY");
    assert_eq!(world.ok(&format!("kv get k1999 {at}")).stdout.trim(), "1999");
    world.ok(&format!("kv put moved yes {at}"));

    // Then the log says it, too, and the table can go; the context has followed.
    for (name, address) in names.iter().zip(new) {
        let said = world.ok(&format!("member update {name} --address {address} {at}"));
        assert!(said.stdout.contains("updated"), "{said:?}");
    }
    for (name, text) in names.iter().zip(&before) {
        std::fs::write(bundle(name), text).unwrap();
        world.signal(name, Signal::HUP);
    }
    for name in names {
        world.signal(name, Signal::TERM);
        assert_eq!(world.ended(name), Some(0));
    }
    for (name, address) in names.iter().zip(new) {
        world.start(name, address);
    }
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    let rows = status["nodes"].as_array().unwrap();
    let found: Vec<&str> = rows.iter().filter_map(|row| row["address"].as_str()).collect();
    assert_eq!(found, new, "{status}");
    let keys = world.ok("kv list --limit 0 -o name").stdout;
    assert_eq!(keys.lines().count(), 2_001, "every write is there");
}

#[test]
fn a_leader_that_clients_do_not_reach_is_asked_through_who_does() {
    let mut world = World::new();
    let real = free(3);
    let relays: Vec<Relay> = real.iter().map(|address| Relay::to(address)).collect();
    let shown: Vec<String> = relays.iter().map(|relay| relay.address.clone()).collect();
    world.ok(&format!("init {} {} --prepare-only", kit::CLUSTER, kit::nodes(&shown)));
    for (number, address) in (1..).zip(&real) {
        world.start(&format!("n{number}"), address);
    }
    world.ok(&format!("init {} --wait 60s", kit::CLUSTER));
    world.ok("leader transfer n1");
    world.await_status(|status| status["leader"]["name"] == "n1");

    // From here on only the other nodes have a way to the leader.
    relays[0].admit_only(&real);
    let quickly = |line: &str| {
        let began = std::time::Instant::now();
        let said = world.ok(line);
        assert!(began.elapsed() < std::time::Duration::from_secs(2), "{line}: {said:?}");
        said
    };
    quickly("kv put greeting hello");
    assert_eq!(quickly("kv get greeting").stdout.trim(), "hello");
    assert_eq!(quickly("kv cas greeting bye --expect hello").code, 0);
    let file = world.home().join("data.tsv");
    let lines: String = (0..2_000).map(|number| format!("k{number}\t{number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let loaded = world.ok(&format!("kv load {} -o json", file.display())).data();
    assert_eq!((&loaded["puts"], &loaded["repeated"]), (&2_000.into(), &0.into()), "{loaded}");
    assert_eq!(world.ok("kv list k --limit 0 -o name").stdout.lines().count(), 2_000);

    // Nobody is left who reaches both sides.
    let alone = world.run(&format!("kv put greeting again -e {} --timeout 1s -o json", shown[0]));
    assert_eq!((alone.code, &alone.error()["code"]), (7, &"R0101".into()), "{alone:?}");
}

/// Founds a cluster that clients reach through relays, and writes a file that is long to load.
fn behind_relays(world: &mut World) -> (Vec<Relay>, Vec<String>, String) {
    let real = free(3);
    let relays: Vec<Relay> = real.iter().map(|address| Relay::to(address)).collect();
    let shown: Vec<String> = relays.iter().map(|relay| relay.address.clone()).collect();
    world.ok(&format!("init {} {} --prepare-only", kit::CLUSTER, kit::nodes(&shown)));
    for (number, address) in (1..).zip(&real) {
        world.start(&format!("n{number}"), address);
    }
    world.ok(&format!("init {} --wait 60s", kit::CLUSTER));
    let file = world.home().join("data.tsv");
    let lines: String = (0..500_000).map(|number| format!("k{number}\t{number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    (relays, real, file.display().to_string())
}

/// Lets a command that was started work for a while, on a cluster that is well.
fn some_time_passes(world: &World) {
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_millis(1_500) {
        world.await_status(|status| status["health"] == "HEALTHY");
    }
}

#[test]
fn a_load_that_loses_every_node_ends_with_the_reasons() {
    let mut world = World::new();
    let (relays, real, file) = behind_relays(&mut world);
    let shown: Vec<String> = relays.iter().map(|relay| relay.address.clone()).collect();

    // Long enough under way that it has learnt of nodes that it was not told of.
    let flags = "--in-flight 2 --timeout 1s --patience 5s";
    let mut load = world.command(&format!("kv load {file} -e {} {flags}", shown[0]));
    let load = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    some_time_passes(&world);
    for relay in &relays {
        relay.admit_only(&real);
    }
    let cut = std::time::Instant::now();
    let said = Said::of(load.wait_with_output().unwrap());
    assert!(cut.elapsed() < kit::PATIENCE / 3, "{:?}: {said:?}", cut.elapsed());
    assert_eq!(said.code, 12, "{said:?}");
    for address in &shown {
        assert!(said.stderr.contains(&format!("no answer from {address}")), "{address}: {said:?}");
    }
}

#[test]
fn a_load_that_is_cut_off_ends_at_the_timeout_that_was_given_and_at_no_default() {
    let mut world = World::new();
    let (relays, real, file) = behind_relays(&mut world);
    let start = |flags: &str, timeout: &str| {
        let line = format!("kv load {file} -e {} --in-flight 2 {flags}", relays[0].address);
        let mut load = world.command(&line);
        load.env("RAFTCTL_TIMEOUT", timeout).stdout(Stdio::piped()).stderr(Stdio::piped());
        load.spawn().unwrap()
    };
    let ending = [start("--timeout 3s", ""), start("", "3s"), start("--patience 2s", "")];
    let mut patient = [start("--timeout 1s --patience 50s", ""), start("", "")];
    some_time_passes(&world);
    for relay in &relays {
        relay.admit_only(&real);
    }
    let cut = std::time::Instant::now();
    for load in ending {
        let said = Said::of(load.wait_with_output().unwrap());
        assert_eq!(said.code, 12, "{said:?}");
        assert!(
            said.stderr.contains("acknowledged") && said.stderr.contains("goes on"),
            "{said:?}"
        );
    }
    assert!(cut.elapsed() >= std::time::Duration::from_secs(2), "{:?}", cut.elapsed());
    for load in &mut patient {
        assert_eq!(load.try_wait().unwrap(), None, "it has more patience");
        load.kill().unwrap();
        load.wait().unwrap();
    }
}

/// A name that leads to the wrong machine: two answers of one node were one row, and the member
/// that was down had none.
#[test]
fn a_dead_member_whose_address_leads_to_another_is_not_taken_for_alive() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.kill("n3");
    world.signal("n2", Signal::TERM);
    assert_eq!(world.ended("n2"), Some(0));
    world.start("n2", &format!("{},{}", addresses[1], addresses[2]));
    let here = format!("n2 answers at its address, {}", addresses[2]);
    let is_so = |status: &Value| {
        !status["leader"].is_null()
            && status["reason"].as_str().is_some_and(|it| it.contains(&here))
    };
    let status = world.await_status(is_so);
    assert_eq!((&status["health"], &status["toleratesFailures"]), (&"DEGRADED".into(), &0.into()));
    assert_eq!(row(&status, "n3").len(), 1, "{status}");
    assert_eq!(world.run("status --check").code, 11);

    let said = world.run("log list --node n3 -o json");
    assert_eq!(said.code, 7, "{said:?}");
    assert_eq!(said.error()["message"], format!("n3 was not asked: {here}"));
    let said = world.run("cert revoke client/app --yes -o json");
    let revoked = said.data()["nodes"].as_array().unwrap().clone();
    let states: Vec<&str> = revoked.iter().map(|node| node["state"].as_str().unwrap()).collect();
    assert_eq!((said.code, states), (12, vec!["in-force", "in-force", "silent"]), "{said:?}");
    let said = world.run("cert rotate begin -o json");
    assert_eq!((said.code, &said.error()["code"]), (7, &"R0511".into()), "{said:?}");

    // What only reads works without a majority, and says how new it may be.
    world.kill("n2");
    world.await_status(|status| status["leader"].is_null());
    for line in ["cert list --revoked", "alarm list", "session list", "audit", "member history"] {
        let said = world.ok(line);
        assert!(said.stderr.contains("nobody leads"), "{line}: {said:?}");
    }
    assert!(world.ok("cert list --revoked").stdout.contains("client app"));
}
