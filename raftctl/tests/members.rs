//! The verbs for members and leaders, executed on a real cluster: the manual, with its failures.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::{World, free};
use rustix::process::Signal;

fn fixed(first: u16, count: u16) -> Vec<String> {
    (first..first + count).map(|port| format!("127.0.0.1:{port}")).collect()
}

#[test]
fn members_are_listed_added_replaced_and_refused_as_the_manual_says() {
    let mut world = World::new();
    // The manual names addresses, so these are fixed.
    let addresses = fixed(27511, 5);
    world.found(&addresses[..3]);
    world.ok("leader transfer n1");
    world.transcript("planned");

    world.start("n4", &addresses[3]);
    world.transcript("added");

    world.kill("n3");
    world.await_status(|status| status["toleratesFailures"] == 0);
    world.transcript("replaced");

    world.start("n5", &addresses[4]);
    world.ok("member add n5=127.0.0.1:27515 --learner");
    world.signal("n5", Signal::STOP);
    let file = world.home().join("data.tsv");
    let lines: String = (0..3_000).map(|number| format!("k{number}\tv\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    world.transcript("behind");
    world.signal("n5", Signal::CONT);

    world.kill("n2");
    world.kill("n4");
    world.await_status(|status| status["health"] == "NO_QUORUM");
    world.transcript("alone");
}

#[test]
fn a_removed_leader_hands_over_first_and_ends_with_77() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("leader transfer n2");
    let said = world.ok("member remove n2 --yes -o json");
    assert!(said.stderr.contains("is about to lead, in place of who goes"), "{said:?}");
    let data = said.data();
    assert_eq!(data["changed"][0], "n2");
    assert_eq!(data["voters"].as_array().unwrap().len(), 2);
    assert_eq!(world.ended("n2"), Some(77));
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    assert_ne!(status["leader"]["name"], "n2");
    // The context has followed: nobody asks the one who is gone.
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn one_member_becomes_three_in_one_joint_change_and_all_founders_may_go() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses[..1]);
    let add = format!("member add n2={} n3={}", addresses[1], addresses[2]);
    let prepared = world.ok(&format!("{add} --prepare-only -o json")).data();
    assert_eq!(prepared["nodes"][1]["id"], "3", "{prepared}");
    world.start("n2", &addresses[1]);
    world.start("n3", &addresses[2]);
    let said = world.ok(&format!("{add} -o json"));
    assert!(said.stderr.contains("promoting joint {n1} + {n1,n2,n3}"), "{said:?}");
    assert_eq!(said.data()["tolerates"]["after"], 1);
    let entries = world.ok("log list --limit 100 -o json").data();
    let kinds: Vec<String> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["kind"] == "configuration")
        .map(|entry| entry["command"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.contains(&"joint voters n1 n2 n3".to_owned()), "{kinds:?}");
    assert!(!kinds.iter().any(|line| line.ends_with("voters n1 n2")), "never two: {kinds:?}");

    // Once more: it goes on where it was, which is at its end.
    let again = world.ok(&add);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");

    world.ok("member remove n1 --yes");
    assert_eq!(world.ended("n1"), Some(77));
    world.await_status(|status| status["health"] == "HEALTHY");
    // Also for `init` the cluster is what it has become.
    let init = world.ok(&format!("init {} --wait 5s", kit::CLUSTER));
    assert!(init.stdout.contains("is running already: voters n2 n3"), "{init:?}");
    world.await_status(|status| status["nodes"].as_array().is_some_and(|rows| rows.len() == 2));
}
