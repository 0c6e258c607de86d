//! Clocks that are wrong are told as such.

use fixtures::ClockShim;

use crate::kit::{Said, World, free};

#[test]
fn a_clock_that_is_behind_is_named_by_the_node_itself_and_by_status() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.kill("n3");
    let Some(hours) = ClockShim::compile(world.home(), -3 * 3_600) else {
        eprintln!("no C compiler: a wrong clock cannot be had");
        return;
    };
    // Its certificate was made a moment ago: by its clock, that is to come.
    world.start_behind("n3", "n3", &addresses[2], Some(&hours));
    assert_eq!(world.ended("n3"), Some(74), "it is started again, for the clock may be set");
    let log = world.logged("n3", "is not valid before");
    assert!(log.contains("this clock is 2 hours behind the one that made it, or more"), "{log}");

    // A little behind: certificates still count, and the node serves.
    let minutes = ClockShim::compile(world.home(), -4 * 60).unwrap();
    world.start_behind("n3", "n3", &addresses[2], Some(&minutes));
    let status = world.await_status(|status| {
        let remarks = status["remarks"].as_array().unwrap();
        remarks.iter().any(|one| one["code"] == "R0514")
    });
    let remarks = status["remarks"].to_string();
    assert!(remarks.contains("n3: the clock is 4 minutes behind n"), "{remarks}");
    assert_eq!(remarks.matches("R0514").count(), 1, "{remarks}");
    world.ok("kv put greeting hello");
}

/// Certificates that others made afterwards counted no more, and nobody was told.
#[test]
fn a_revocation_by_a_clock_that_is_ahead_is_asked_about_before_it_is_written() {
    let mut world = World::new();
    world.found(&free(1));
    world.ok("cert issue web --role client");
    let Some(ahead) = ClockShim::compile(world.home(), 10 * 60) else {
        eprintln!("no C compiler: a wrong clock cannot be had");
        return;
    };
    let revoke = |flags: &str| {
        let mut command = world.command(&format!("cert revoke client/web {flags}"));
        ahead.stand_before(&mut command);
        Said::of(command.output().unwrap())
    };
    let wanted = "this machine's clock is 10 minutes ahead of the leader's";
    let plan = revoke("--dry-run");
    assert!(plan.code == 0 && plan.stderr.contains(wanted), "{plan:?}");
    let said = revoke("");
    assert_eq!(said.code, 8, "{said:?}");
    assert_eq!(world.ok("cert list --revoked -o name").stdout, "");
    let said = revoke("--yes");
    assert!(said.code == 0 && said.stderr.contains(wanted), "{said:?}");
}
