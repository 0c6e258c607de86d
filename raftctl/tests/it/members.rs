//! The verbs for members and leaders, executed on a real cluster: the manual, with its failures.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::kit;
use crate::kit::{CLUSTER, Said, World, free, nodes};
use rustix::process::Signal;

#[test]
fn members_are_listed_added_replaced_and_refused_as_the_manual_says() {
    let mut world = World::new();
    let addresses = world.in_place_of(27511, 5);
    world.found(&addresses[..3]);
    world.ok("leader transfer n1");
    world.transcript("planned");

    world.start("n4", &addresses[3]);
    world.transcript("added");

    world.kill("n3");
    world.await_status(|status| status["toleratesFailures"] == 0);
    world.transcript("replaced");

    world.start("n5", &addresses[4]);
    world.ok(&format!("member add n5={} --learner", addresses[4]));
    world.signal("n5", Signal::STOP);
    let file = world.home().join("data.tsv");
    let lines: String = (0..3_000).map(|number| format!("k{number}\tv\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    world.transcript("behind");
    world.signal("n5", Signal::CONT);

    world.kill("n2");
    world.kill("n4");
    world.await_status(kit::nobody_leads);
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

/// It said who is about to lead, and what is joint, and then that it may not.
#[test]
fn what_a_certificate_does_not_allow_is_not_announced() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("leader transfer n1");
    world.ok("cert issue web --role client");
    let place = world.directory().join("issued/client-web");
    let at = |file: &str| place.join(file).display().to_string();
    let files = [at("ca.crt"), at("web.crt"), at("web.key")];
    let files = format!("--ca {} --cert {} --key {}", files[0], files[1], files[2]);
    for line in ["demote n1", "demote n1 --dry-run", "remove n1"] {
        let said = world.run(&format!("member {line} {files} -o json"));
        // Nothing else is said on stderr.
        assert_eq!((said.code, &said.error()["code"]), (4, &"R0105".into()), "{line}: {said:?}");
        let message = "the certificate of client web does not allow to change the members";
        assert_eq!(said.error()["message"], message, "{line}");
    }
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

/// Starts a node with an empty data directory, as if its disk had been lost.
fn wipe(world: &mut World, name: &str, address: &str) {
    world.kill(name);
    std::fs::remove_dir_all(world.home().join(format!("data-{name}"))).unwrap();
    world.start(name, address);
}

fn uninitialised(world: &World, address: &str) -> bool {
    let status = world.run(&format!("status -o json -e {address}")).data();
    status["health"] == "UNINITIALISED"
}

#[test]
fn a_wiped_member_is_refused_before_it_is_joined_and_the_named_command_mends_it() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    let add = format!("member add n4={}", addresses[3]);
    world.ok(&format!("{add} --prepare-only"));
    world.start("n4", &addresses[3]);
    world.ok(&add);

    wipe(&mut world, "n4", &addresses[3]);
    while !uninitialised(&world, &addresses[3]) {}
    let bundles = || std::fs::read_dir(world.directory()).unwrap().count();
    let before = (bundles(), world.ok("member history").stdout);
    let heal = "raftctl member heal n4".to_owned();
    let replace =
        format!("raftctl member replace n4 n5={}    (any name that is free)", addresses[3]);
    for (command, code, named) in [
        (add.clone(), "R0306", &heal),
        (format!("{add} --dry-run"), "R0306", &heal),
        (format!("member replace n4 n4={}", addresses[3]), "R0314", &replace),
        (format!("{add} --replace n4"), "R0314", &replace),
    ] {
        let refused = world.run(&format!("{command} -o json"));
        assert_eq!(refused.code, 5, "{command}: {refused:?}");
        let error = refused.error();
        assert_eq!((&error["code"], &error["help"][0]), (&code.into(), &named.as_str().into()));
    }
    assert_eq!((bundles(), world.ok("member history").stdout), before, "nothing was prepared");
    assert!(uninitialised(&world, &addresses[3]), "nothing was joined");
    // Who asks the wiped node is told the same.
    let lost = world.run(&format!("kv get a --stale -e {}", addresses[3]));
    assert_eq!(lost.code, 5, "{lost:?}");
    assert!(lost.stderr.contains("R0461"), "{lost:?}");
    // The command that was named takes it in again.
    world.ok("member heal n4");
    world.await_status(|status| status["health"] == "HEALTHY");
    assert!(!uninitialised(&world, &addresses[3]));

    // The other one waits until the new bundle has taken the old one's place.
    let line = format!("member replace n4 n5={} --bundle", addresses[3]);
    let mut command = world.command(&line);
    let mut replace = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(replace.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("the node that leaves answers there") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    world.kill("n4");
    world.start("n5", &addresses[3]);
    stderr.read_to_string(&mut said).unwrap();
    let done = replace.wait_with_output().unwrap();
    assert!(done.status.success(), "{said}");
    world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(world.ok("member list -o name").stdout, "n1\nn2\nn3\nn5\n");
}

/// Who waits for a silent node waits so long, or a moment less.
const WAITED: Duration = Duration::from_millis(1_900);

#[test]
fn a_member_that_is_silent_costs_no_time() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    world.ok("leader transfer n1");
    let replace = format!("member replace n3 n4={}", addresses[3]);
    world.ok(&format!("member add n4={} --prepare-only", addresses[3]));
    world.start("n4", &addresses[3]);
    // It lives, and says nothing any more: who dials it waits as long as one waits.
    world.signal("n3", Signal::STOP);
    world.await_status(|status| status["toleratesFailures"] == 0);
    for command in ["leader transfer n2", "member list", "member history", "snapshot create"] {
        // A busy machine may take longer once, but not each time.
        let took = (0..5).map(|_| {
            let began = Instant::now();
            world.ok(command);
            began.elapsed()
        });
        let took: Vec<Duration> = took.take_while(|took| *took >= WAITED).collect();
        assert!(took.len() < 5, "{command}: {took:?}");
    }
    let data = world.ok(&format!("{replace} -o json")).data();
    let took_ms = data["tookMs"].as_u64().unwrap();
    // Each look at the silent one took 2 s, and there were five of them.
    assert!(took_ms < 8_000, "{took_ms} ms");
}

#[test]
fn what_is_asked_of_members_that_adding_does_not_do_is_refused_at_once() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..1]);
    world.ok("kv put a 1");
    let n1 = &addresses[0];
    // The leader is sent nothing, and was waited for as if it had to catch up.
    let again = world.ok(&format!("member add n1={n1} --wait 5s"));
    assert!(again.stdout.contains("nothing to change"), "{again:?}");

    let elsewhere = format!("member add n1={}", addresses[1]);
    let twice = format!("member add n2={} n2={}", addresses[1], addresses[2]);
    let learner = format!("member add n1={n1} --learner");
    let update = format!("raftctl member update n1 --address {}    (it has moved)", addresses[1]);
    let demote = "raftctl member demote n1    (a learner from then on)";
    for (command, code, help) in [
        (elsewhere, "R0301", update.as_str()),
        (twice, "R0002", "NAME=HOST:PORT    (each node has a name of its own)"),
        (learner, "R0315", demote),
    ] {
        for dry_run in ["", " --dry-run"] {
            let error = world.run(&format!("{command}{dry_run} -o json")).error();
            assert_eq!((&error["code"], &error["help"][0]), (&code.into(), &help.into()));
        }
    }
    let bundle = world.directory().join(format!("{}-n2", kit::CLUSTER));
    assert!(!bundle.exists(), "nothing was prepared");
}

#[test]
fn a_plan_says_who_does_not_answer_where_it_names_them() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    let warning = |line: &str| {
        let said = world.ok(&format!("{line} --dry-run -o json"));
        let envelope: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        envelope["warnings"][0].as_str().unwrap_or_default().to_owned()
    };
    let free = &addresses[3];
    let said = warning(&format!("member update n2 --address {free}"));
    assert!(said.starts_with(&format!("n2 does not answer at {free}, asked from here")), "{said}");
    assert!(said.ends_with("the change is refused (R0313)"), "{said}");
    let said = warning(&format!("member add n4={free}"));
    assert!(said.starts_with(&format!("n4 does not answer at {free} yet")), "{said}");
    let said = warning(&format!("member replace n2 n4={}", addresses[1]));
    assert!(said.starts_with("the node that leaves answers at"), "{said}");
    assert_eq!(warning("member remove n2"), "");
}

/// It told to stop the last voter but one and to empty its directory, and could not go on then.
#[test]
fn nobody_is_told_to_empty_a_voter_without_which_there_is_no_quorum() {
    let mut world = World::new();
    let addresses = free(2);
    world.found(&addresses);
    let replace = format!("member replace n2 n3={}", addresses[1]);
    for line in [format!("{replace} --dry-run"), replace.clone(), format!("{replace} --bundle")] {
        let said = world.run(&format!("{line} -o json"));
        assert_eq!(said.error()["code"], "R0311", "{line}: {said:?}");
        let message = said.error()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("another node can take n2's address only when"), "{message}");
    }
    let bundle = world.directory().join(format!("{CLUSTER}-n3"));
    assert!(!bundle.exists(), "nothing was prepared");
}

/// The way to it was another one than its own, and it was to be emptied.
#[test]
fn a_member_that_answers_at_another_address_is_not_to_be_emptied() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    let relay = fixtures::Relay::to(&addresses[0]);
    let said = world.run(&format!("member add n2={} --wait 20s", relay.address));
    assert!(said.code == 5 && said.stderr.contains("error[R0305]"), "{said:?}");
    assert!(!said.stderr.contains("empty"), "{said:?}");
}

/// What `init` records of the founders is what they say at one time.
#[test]
fn a_founder_that_is_wiped_while_others_are_waited_for_is_founded_with_what_it_has() {
    let mut world = World::new();
    let addresses = free(2);
    world.ok(&format!("init {} {} --prepare-only", CLUSTER, nodes(&addresses)));
    world.start("n1", &addresses[0]);
    let mut init = world.command(&format!("init {CLUSTER} --wait 60s"));
    let init = init.stderr(Stdio::piped()).spawn().unwrap();
    // Long enough that it has answered once.
    std::thread::sleep(Duration::from_secs(3));
    world.kill("n1");
    std::fs::remove_dir_all(world.home().join("data-n1")).unwrap();
    world.start("n1", &addresses[0]);
    world.start("n2", &addresses[1]);
    let said = Said::of(init.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_learner_is_replaced_by_a_learner() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses[..1]);
    for (name, address) in [("n2", &addresses[1]), ("n3", &addresses[2])] {
        world.ok(&format!("member add {name}={address} --prepare-only"));
        world.start(name, address);
    }
    world.ok(&format!("member add n2={} --learner", addresses[1]));
    let replace = format!("member replace n2 n3={}", addresses[2]);
    let plan = world.ok(&format!("{replace} --dry-run -o json")).data();
    assert_eq!(
        (plan["voters"].to_string(), plan["learners"].to_string()),
        ("[\"1\"]".into(), "[\"3\"]".into())
    );
    let data = world.ok(&format!("{replace} -o json")).data();
    let members = data["members"].as_array().unwrap();
    let roles: Vec<String> =
        members.iter().map(|one| format!("{} {}", one["name"], one["role"])).collect();
    assert_eq!(roles, ["\"n1\" \"voter\"", "\"n3\" \"learner\""]);
    assert_eq!(world.ended("n2"), Some(77));
}

#[test]
fn who_has_just_died_is_not_counted_on() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("leader transfer n1");
    world.kill("n3");
    // The leader has heard from it a moment ago; without it, n2 must not go.
    let error = world.run("member remove n2 --yes -o json").error();
    assert_eq!(error["code"], "R0311", "{error}");
}

/// The directory was looked for by the context's name, and flags alone were asked for what they
/// said.
#[test]
fn the_authority_is_found_whatever_the_context_is_called_and_that_of_others_is_refused() {
    let mut world = World::new();
    let addresses = free(2);
    world.found(&addresses[..1]);
    let directory = world.directory();
    let file = |name: &str| directory.join("operator").join(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("operator.crt"), file("operator.key"));
    let flags = format!("-e {} --ca {ca} --cert {cert} --key {key}", addresses[0]);
    world.ok(&format!("context add production {flags}"));
    let create = format!("token create n2={}", addresses[1]);
    world.ok(&format!("{create} --context production"));
    let dir = directory.display();
    world.ok(&format!("{create} {flags} --dir {dir}"));
    world.ok(&format!("member add n3=127.0.0.1:3 --prepare-only {flags} --dir {dir}"));

    let foreign = World::new();
    foreign.ok(&format!("init {CLUSTER} --node n1=127.0.0.1:1 --prepare-only"));
    let theirs = foreign.directory();
    let said = world.run(&format!("{create} --dir {} -o json", theirs.display()));
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0304".into()), "{said:?}");
    // What only looks makes no plan where there is none.
    std::fs::remove_file(theirs.join("cluster.toml")).unwrap();
    let said = world.run(&format!("token list --dir {} -o json", theirs.display()));
    assert_eq!((said.code, &said.error()["code"]), (2, &"R0004".into()), "{said:?}");
    assert!(!theirs.join("cluster.toml").exists());
}
