//! `member add` is stopped on its way, cannot finish, and goes on where it was.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::relay::Relay;
use kit::{World, free};

#[test]
fn an_add_that_is_stopped_or_late_says_what_goes_on_and_the_same_command_ends_it() {
    let mut world = World::new();
    let mut addresses = free(4);
    let fourth = addresses.pop().unwrap();
    world.found(&addresses);
    let relay = Relay::to(&fourth);
    let add = format!("member add n4={} --wait 60s", relay.address);
    let again = format!("help: raftctl member add n4={}    (goes on where it was)", relay.address);
    let members = |world: &World| {
        let list = world.ok("member list -o json").data();
        let one = |member: &serde_json::Value| {
            let word = |key: &str| member[key].as_str().unwrap().to_owned();
            format!("{} {}", word("name"), word("role"))
        };
        list["members"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };

    // Before the node runs.
    let said = world.interrupted(&add, "not yet:");
    assert_eq!(said.code, 130, "{said:?}");
    let wanted = "interrupted while waiting for n4 to answer: it is no member yet; its bundle is \
                  there";
    assert!(said.stderr.contains(wanted) && said.stderr.contains(&again), "{said:?}");
    assert_eq!(members(&world), ["n1 voter", "n2 voter", "n3 voter"]);

    // While it catches up: the members do not reach it, and it misses more than a voter may.
    world.start("n4", &fourth);
    world.ok(&format!("{add} --learner"));
    relay.cut(&addresses);
    let file = world.home().join("data.tsv");
    let lines: String = (0..3_000).map(|number| format!("k{number}\tv\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    // It says how it goes every ten seconds.
    let said = world.interrupted(&add, "n4  learner  : ");
    assert_eq!(said.code, 130, "{said:?}");
    let wanted = "interrupted while waiting for n4 to catch up: it stays a learner, goes on \
                  getting the log, and does no harm";
    assert!(said.stderr.contains(wanted) && said.stderr.contains(&again), "{said:?}");
    let learns = ["n1 voter", "n2 voter", "n3 voter", "n4 learner"];
    assert_eq!(members(&world), learns);

    // Its row says in which round it is; the others vote, and have none.
    let table = world.run("status --no-headers").stdout;
    let rows = |word: &str| table.lines().filter(|line| line.contains(word)).count();
    assert_eq!((rows("  learner  round "), rows("  round ")), (1, 1), "{table}");
    let status = world.run("status -o json").data();
    let rounds: Vec<Option<u64>> = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["seenByLeader"]["catchUp"]["round"].as_u64())
        .collect();
    assert!(matches!(rounds[..], [None, None, None, Some(1..)]), "{status}");
    assert!(world.run("status -o wide").stdout.contains("  LEASE  "));

    // It takes longer than it may.
    let late = world.run(&format!("member add n4={} --wait 8s", relay.address));
    assert_eq!(late.code, 5, "{late:?}");
    let wanted = "error[R0312]: n4 has not caught up: round ";
    assert!(late.stderr.contains(wanted) && late.stderr.contains("   lag 3,"), "{late:?}");
    let help = "help: it stays a learner and does no harm; run this again to go on";
    assert!(late.stderr.contains(help), "{late:?}");
    assert_eq!(members(&world), learns);

    relay.mend();
    let done = world.ok(&add);
    assert!(done.stderr.contains("promoting joint {n1,n2,n3} + {n1,n2,n3,n4}"), "{done:?}");
    assert_eq!(members(&world), ["n1 voter", "n2 voter", "n3 voter", "n4 voter"]);
    let again = world.ok(&add);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
}
