//! Data directories that are not what the node last ran with: copied, put back, wiped. Nothing that
//! was acknowledged is lost, `status` says what is the matter, and the node comes back.

use std::fs;

use serde_json::Value;

use crate::kit::directories::{
    back_up, back_up_as, data, disguise, is_healthy, must, put_back, remarks, several, three,
};
use crate::kit::{World, free};

/// The write is on n1 and n2 only; then n1 is gone, n3 back, and n2 has an old copy.
#[test]
fn an_old_copy_of_a_directory_loses_nothing_and_its_node_comes_back_by_itself() {
    let (mut world, addresses) = three();
    world.kill("n3");
    world.ok("kv put kept 1 --timeout 30s");
    world.kill("n1");
    world.kill("n2");
    put_back(&world, "n2");
    world.start("n2", &addresses[1]);
    world.start("n3", &addresses[2]);
    let log = world.logged("n2", "its data directory is a copy");
    assert!(log.contains("raftctl adopt "), "{log}");
    let status = world.await_status(|status| remarks(status, "R0432"));
    assert_eq!(status["health"], "NO_QUORUM", "{status:#}");
    assert_ne!(world.run("status --check").code, 0);
    assert_ne!(world.run("kv put lost 1 --timeout 3s").code, 0, "n2 does not count");
    world.start("n1", &addresses[0]);
    assert_eq!(world.ok("kv get kept --timeout 30s").stdout.trim(), "1");
    world.await_status(is_healthy);
    world.kill("n3");
    world.ok("kv put counts 1 --timeout 30s");
}

/// Restored file by file over what is there, as rsync --inplace does.
#[test]
fn old_files_over_new_ones_are_noticed_and_a_renamed_directory_is_no_copy() {
    let (mut world, addresses) = three();
    world.kill("n2");
    let (place, away) = (data(&world, "n2"), world.home().join("away"));
    fs::rename(&place, &away).unwrap();
    fs::rename(&away, &place).unwrap();
    world.start("n2", &addresses[1]);
    world.await_status(is_healthy);
    world.kill("n2");
    let copy = world.home().join("old-n2/.");
    must("cp", &["-a", copy.to_str().unwrap(), place.to_str().unwrap()]);
    world.start("n2", &addresses[1]);
    world.logged("n2", "its data directory is a copy");
    world.await_status(is_healthy);
}

#[test]
fn a_disk_that_was_put_back_as_a_whole_is_noticed_by_the_peers() {
    let (mut world, addresses) = three();
    world.ok("kv put more 1");
    world.kill("n2");
    world.start("n2", &addresses[1]);
    world.await_status(is_healthy);
    world.kill("n2");
    put_back(&world, "n2");
    disguise(&data(&world, "n2"));
    world.start("n2", &addresses[1]);
    assert_eq!(world.ended("n2"), Some(75), "it is told, and ends");
    world.start("n2", &addresses[1]);
    world.logged("n2", "has promised more than it remembers");
    world.await_status(is_healthy);
    world.kill("n3");
    world.ok("kv put counts 1 --timeout 30s");
}

#[test]
fn of_two_processes_with_one_directory_neither_counts() {
    let (mut world, addresses) = three();
    world.kill("n2");
    back_up_as(&world, "n2", "data-clone");
    disguise(&world.home().join("data-clone"));
    world.start("n2", &addresses[1]);
    world.await_status(is_healthy);
    let elsewhere = free(1);
    world.start_with("n2", "clone", &elsewhere[0]);
    // Whoever is told first ends; the other one may then be alone again, and counts.
    assert_eq!(world.ended("clone"), Some(75));
    world.kill("n2");
    world.start("n2", &addresses[1]);
    world.await_status(is_healthy);
}

#[test]
fn a_wiped_member_is_named_at_once_and_healed_by_the_command_that_is_told() {
    let (mut world, addresses) = three();
    world.kill("n2");
    fs::remove_dir_all(data(&world, "n2")).unwrap();
    world.start("n2", &addresses[1]);
    // It may have led.
    world.await_status(|status| remarks(status, "R0433") && status["health"] == "DEGRADED");
    let status = world.run("status --check");
    assert_eq!(status.code, 11, "{status:?}");
    assert!(status.stdout.contains("raftctl member heal n2"), "{status:?}");
    let plan = world.run("member heal n2 --dry-run");
    assert!(plan.code == 0 && plan.stdout.contains("tolerate"), "{plan:?}");
    let healed = world.ok("member heal n2 --wait 60s");
    assert!(healed.stderr.contains("n2  healed"), "{healed:?}");
    world.await_status(is_healthy);
    world.ok("member heal n2 --wait 60s");
    world.kill("n3");
    // What was on its way to a leader that dies has no known outcome.
    world.await_status(|status| status["leader"]["name"].as_str().is_some_and(|it| it != "n3"));
    world.ok("kv put counts 1 --timeout 30s");
}

#[test]
fn a_node_alone_that_was_moved_is_adopted_by_the_command_that_is_told() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    world.ok("kv put kept 1");
    world.kill("n1");
    back_up(&world, "n1");
    put_back(&world, "n1");
    world.start("n1", &addresses[0]);
    let log = world.logged("n1", "raftctl adopt ");
    let place = data(&world, "n1").display().to_string();
    assert!(log.contains(&format!("raftctl adopt {place}")), "{log}");
    let said = world.run("status").stdout;
    assert!(said.contains("raftctl adopt"), "{said}");
    world.kill("n1");
    for _ in 0..2 {
        let plan = world.ok(&format!("adopt {place} --dry-run"));
        assert!(plan.stdout.contains("would adopt"), "{plan:?}");
    }
    let adopted = world.ok(&format!("adopt {place} --yes"));
    assert!(adopted.stdout.contains("node 1  adopted"), "{adopted:?}");
    let twice = world.run(&format!("adopt {place} --yes"));
    assert_eq!(twice.code, 5, "{twice:?}");
    assert_eq!(world.run(&format!("adopt {place} --dry-run")).code, 5);
    world.start("n1", &addresses[0]);
    assert_eq!(world.ok("kv get kept --timeout 30s").stdout.trim(), "1");
    // A node alone tolerates nothing.
    world.await_status(|status| status["health"] == "HEALTHY");
}

/// The original goes on counting, and keeps its name; the copy is named, and counts nowhere.
#[test]
fn a_copy_at_a_second_address_is_named_and_counts_nowhere() {
    let (mut world, addresses) = three();
    world.kill("n2");
    back_up_as(&world, "n2", "data-copy");
    world.start("n2", &addresses[1]);
    let elsewhere = free(1);
    world.start_with("n2", "copy", &elsewhere[0]);
    world.logged("copy", "its data directory is a copy");
    let status = world.await_status(|status| remarks(status, "R0435"));
    assert_eq!(status["toleratesFailures"], 1, "the original counts: {status:#}");
    let before = incarnation(&world, "n2");
    world.kill("copy");
    world.await_status(is_healthy);
    assert_eq!(
        incarnation(&world, "n2"),
        before,
        "it was not healed, for it had nothing to be healed of"
    );
}

/// n5 is away while n2 is taken in again with a new directory. Later that one has the longest log,
/// and n2, n4 and n5 are the last majority: n5 votes for the directory that it has not heard of.
#[test]
fn who_was_away_while_another_was_taken_in_again_votes_for_it() {
    let (mut world, addresses) = several(5);
    let before = incarnation(&world, "n2");
    world.kill("n5");
    world.kill("n2");
    put_back(&world, "n2");
    world.start("n2", &addresses[1]);
    world.await_status(|_| incarnation(&world, "n2") != before);
    world.await_status(|status| {
        let members = status["nodes"].as_array().unwrap();
        let n2 = members.iter().find(|member| member["name"] == "n2").unwrap();
        n2["role"] == "voter" && !remarks(status, "R0436")
    });
    world.kill("n4");
    world.ok("kv put kept 1 --timeout 30s");
    world.kill("n1");
    world.kill("n3");
    world.start("n4", &addresses[3]);
    world.start("n5", &addresses[4]);
    world.ok("kv put counts 1 --timeout 30s");
    assert_eq!(world.ok("kv get kept --timeout 30s").stdout.trim(), "1");
}

fn incarnation(world: &World, member: &str) -> Value {
    world.ok(&format!("member show {member} -o json")).data()["incarnation"].clone()
}
