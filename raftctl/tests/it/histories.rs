//! A snapshot is restored while nodes of the old history still run and serve: no operator gets an
//! answer of theirs any more.

use crate::kit::{Said, World};

/// Runs a command with other contexts: somebody else's.
fn elsewhere(world: &World, contexts: &str, line: &str) -> Said {
    Said::of(world.command(line).env("RAFTCTL_CONFIG_DIR", contexts).output().unwrap())
}

fn copy(from: &std::path::Path, to: &str) {
    let mut command = std::process::Command::new("cp");
    assert!(command.arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn after_a_restore_nothing_is_acknowledged_in_the_dead_history() {
    let mut world = World::new();
    let addresses = world.in_place_of(27_541, 3);
    world.found(&addresses);
    world.ok("kv put before restored");
    let home = world.home().display().to_string();
    world.ok(&format!("snapshot save {home}/saved.snap"));
    world.ok("kv put late lost");
    let old = world.ok("context show -o json").data()["generation"].as_str().map(str::to_owned);
    assert!(old.is_some(), "init has recorded it");
    world.kill("n1");
    std::fs::remove_dir_all(world.home().join("data-n1")).unwrap();
    // n2 and n3 go on, elect a leader and serve each other.
    let dead = format!("-e {} -e {}", addresses[1], addresses[2]);
    world.ok(&format!("{dead} kv put still served"));
    let restore = format!("snapshot restore {home}/saved.snap --data-dir {home}/data-n1 --node n1");
    for how in ["--yes", "--dry-run"] {
        let refused = world.run(&format!("{restore} {how}"));
        assert_eq!(refused.code, 5, "{refused:?}");
        assert!(refused.stderr.contains("the cluster serves: n"), "{refused:?}");
    }
    // Whoever has no context of his own, as under sudo, has the directory: its nodes are asked.
    std::fs::create_dir(format!("{home}/root")).unwrap();
    let root = format!("{restore} --dir {} --yes", world.directory().display());
    let refused = elsewhere(&world, &format!("{home}/root"), &root);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("the cluster serves: n"), "{refused:?}");
    assert!(!std::path::Path::new(&format!("{home}/data-n1")).exists(), "nothing was done");
    copy(&world.directory(), &format!("{home}/copied"));
    world.ok(&format!("{restore} --while-serving --yes"));
    let new = world.ok("context show -o json").data()["generation"].as_str().map(str::to_owned);
    assert!(new.is_some() && new != old, "{old:?} {new:?}");
    // Nobody leads yet in the new history, and the old one gives no answer.
    let everybody = addresses.iter().map(|address| format!("-e {address} ")).collect::<String>();
    for command in ["kv put a 1", "kv get before", "kv get before --stale", "leader transfer n2"] {
        let refused = world.run(&format!("{dead} {command}"));
        assert_eq!(refused.code, 5, "{command}: {refused:?}");
        assert!(refused.stderr.contains("R0461"), "{refused:?}");
        assert!(refused.stderr.contains("raftctl explain R0461"), "{refused:?}");
    }
    world.start("n1", &addresses[0]);
    world.await_status(|status| status["leader"]["name"] == "n1");
    for number in 0..6 {
        world.ok(&format!("{everybody} kv put key{number} new"));
        assert_eq!(world.ok(&format!("kv get key{number}")).stdout.trim(), "new");
    }
    assert_eq!(world.run(&format!("{everybody} kv get still")).code, 3, "that history is dead");
    // They are named, with what to do.
    let status = world.run(&format!("{everybody} status"));
    for said in ["R0461", "n1", "another history", "one of the two is dead"] {
        assert!(status.stdout.contains(said), "{said}: {status:?}");
    }
    // Also from the restored context, which knows where they were.
    let status = world.run("status --check");
    assert_eq!(status.code, 11, "{status:?}");
    for said in ["n2", "n3", "another history", "R0461", "left behind by a restore", "member add"] {
        assert!(status.stdout.contains(said), "{said}: {status:?}");
    }
    // Without a context, it is the context of the same cluster that knows.
    let context = world.ok("context show -o json").data();
    let file = |name: &str| context[name].as_str().unwrap().to_owned();
    let files = format!("--ca {} --cert {} --key {}", file("ca"), file("cert"), file("key"));
    let refused = world.run(&format!("{dead} {files} kv put a 1"));
    assert!(refused.code == 5 && refused.stderr.contains("R0461"), "{refused:?}");
    // One that knows none takes the first that it meets, and keeps it.
    world.ok(&format!("-e {} {files} context add young", addresses[0]));
    world.ok("kv get before");
    let learnt = world.ok("context show young -o json").data()["generation"].clone();
    assert_eq!(learnt.as_str(), new.as_deref());
    // A context from before the restore: nobody is told to empty what lives.
    let (old, former) = (old.unwrap(), format!("{home}/former"));
    std::fs::create_dir(&former).unwrap();
    let contexts = std::fs::read_to_string(format!("{home}/contexts.toml")).unwrap();
    let contexts = contexts.replace(&new.clone().unwrap(), &old);
    std::fs::write(format!("{former}/contexts.toml"), contexts).unwrap();
    let said = elsewhere(&world, &former, &format!("{everybody} status"));
    assert!(said.stdout.contains("one of the two is dead"), "{said:?}");
    assert!(!said.stdout.contains("move its data directory away"), "{said:?}");
    // Who is stopped is not spoken of.
    world.ok("context use -");
    world.kill("n2");
    world.kill("n3");
    let status = world.run("status --check");
    assert!(status.code == 0 && !status.stdout.contains("another history"), "{status:?}");
    // An older copy of the directory knows nothing of the restore: n1 does.
    let again = format!(
        "snapshot restore {home}/saved.snap --data-dir {home}/data-n9 --node n2 \
         --dir {home}/copied --yes"
    );
    let refused = elsewhere(&world, &former, &again);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("of which nothing is known in"), "{refused:?}");
    // Somebody else restores once more: who was left behind by the first restore lives now.
    world.kill("n1");
    let restored = elsewhere(&world, &former, &format!("{again} --while-serving"));
    assert_eq!(restored.code, 0, "{restored:?}");
    world.start_with("n2", "n9", &addresses[1]);
    world.logged("n9", "leader");
    let status = world.run("status");
    assert!(status.stdout.contains("one of the two is dead"), "{status:?}");
    assert!(!status.stdout.contains("move its data directory away"), "{status:?}");
}
