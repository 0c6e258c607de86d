//! A cluster loses every node and comes back from a saved snapshot, by raftctl alone; before that
//! its members change, as the manual says.

use crate::kit::{PATIENCE, Said, World, free};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn a_cluster_that_is_lost_comes_back_from_what_was_saved() {
    let mut world = World::new();
    let addresses = world.in_place_of(27531, 5);
    world.found(&addresses[..3]);
    world.ok("leader transfer n1");
    let newcomers = format!("n4={} n5={}", addresses[3], addresses[4]);
    world.ok(&format!("member add {newcomers} --prepare-only"));
    world.start("n4", &addresses[3]);
    world.start("n5", &addresses[4]);
    world.transcript("changed");
    assert_eq!(world.ended("n4"), Some(77));
    assert_eq!(world.ended("n3"), Some(77));

    let file = world.home().join("data.tsv");
    let lines: String = (0..3_000).map(|number| format!("k{number}\t{number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    world.ok(&format!("snapshot save {}/saved.snap", world.home().display()));
    world.ok("kv put late behind");
    for name in ["n1", "n2", "n5"] {
        world.kill(name);
    }
    for name in ["n1", "n2"] {
        std::fs::remove_dir_all(world.home().join(format!("data-{name}"))).unwrap();
    }

    let home = world.home().display().to_string();
    world.transcript_with("restored", &[("<HOME>", &home)]);
    world.start("n1", &addresses[0]);
    world.await_status(|status| status["leader"]["name"] == "n1");
    world.transcript("rejoined");
    assert_eq!(world.ok("kv get k7").stdout.trim(), "7");
    assert_eq!(world.run("kv get late").code, 3, "it is later than what was saved");

    // With the data of the old generation, it stays out.
    world.start("n5", &addresses[4]);
    world.start("n2", &addresses[1]);
    world.ok(&format!("member add n2={}", addresses[1]));
    world.ok("kv put new generation");
    let (began, read) = (Instant::now(), format!("-e {} kv list --stale --limit 0", addresses[1]));
    while world.run(&format!("{read} -o name")).stdout.lines().count() != 3_001 {
        assert!(began.elapsed() < PATIENCE, "{:?}", world.run(&read));
        std::thread::sleep(Duration::from_millis(50));
    }
    // Whoever knows no history and dials n5 would be served by it, had it a majority. Where it is
    // was forgotten when `init` was run again.
    world.ok("init live --prepare-only");
    let status = world.await_status(|status| status["nodes"].as_array().unwrap().len() == 3);
    assert!(status["health"] == "DEGRADED" && status["nodes"][2]["name"] == "n5", "{status}");
    world.kill("n5");
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2, "{status}");

    world.transcript("left");
    assert_eq!(world.ended("n2"), Some(77));
    let open = open_to_others(world.home());
    assert!(open.is_empty(), "others can read {open:?}");
}

/// A name may be given again. The one that was removed has another id, and nobody takes it in.
#[test]
fn a_name_that_was_given_again_is_restored_to_who_has_it_now() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses[..1]);
    let add = format!("member add two={}", addresses[1]);
    for process in ["two", "again"] {
        world.ok(&format!("{add} --prepare-only"));
        world.start_with("two", process, &addresses[1]);
        world.ok(&add);
        if process == "two" {
            world.ok("member remove two --yes");
            assert_eq!(world.ended(process), Some(77));
        }
    }
    let saved = world.home().join("saved.snap");
    world.ok(&format!("snapshot save {}", saved.display()));
    world.kill("again");
    world.kill("n1");
    let place = world.home().join("data-restored");
    let (saved, place) = (saved.display(), place.display());
    let restore = format!("snapshot restore {saved} --data-dir {place} --node two --yes -o json");
    world.ok(&restore);
    world.start_with("two", "restored", &addresses[1]);
    world.await_status(|status| status["leader"]["name"] == "two");
    let nobody = restore.replace("--node two", "--node nobody").replace("restored", "other");
    let said = world.run(&nobody);
    assert!(said.error()["message"].as_str().unwrap().ends_with("there are n1 two"), "{said:?}");
    // On a second node the same history would go on beside this one.
    world.kill("restored");
    let second = restore.replace("--node two", "--node n1").replace("restored", "second");
    let said = world.run(&second);
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0463".into()), "{said:?}");
    assert!(!world.home().join("data-second").exists());
    world.ok(&format!("{second} --while-serving"));
    // Both are known: what was restored on the other node may serve still.
    let third = second.replace("second", "third");
    let said = world.run(&third);
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0463".into()), "{said:?}");
    assert!(said.error()["message"].as_str().unwrap().contains(", on two"), "{said:?}");
}

/// Which history the context follows is all that tells the restored node from those of before.
#[test]
fn what_is_refused_takes_no_history_from_the_context() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("kv put before 1");
    let saved = world.home().join("saved.snap");
    world.ok(&format!("snapshot save {}", saved.display()));
    let bundles = world.directory();
    let copy = world.home().join("copy");
    let copied = Command::new("cp").arg("-a").args([&bundles, &copy]).status().unwrap();
    assert!(copied.success());
    world.kill("n1");
    let place = world.home().join("data-restored");
    let (saved, place) = (saved.display(), place.display());
    let restore = format!("snapshot restore {saved} --data-dir {place} --node n1 --while-serving");
    world.ok(&format!("{restore} --yes"));
    world.start_with("n1", "restored", &addresses[0]);
    world.await_status(|status| status["leader"]["name"] == "n1");
    world.ok("kv put after 1");
    let followed = world.ok("context show -o json").data();
    // n2 and n3 have the history of before, and serve it.
    let record = bundles.join("bootstrap.record");
    std::fs::rename(&record, world.home().join("record")).unwrap();
    let said = world.run("init live --wait 2s");
    assert!(said.stderr.contains("error[R0307]"), "{said:?}");
    assert_eq!(world.ok("context show -o json").data(), followed, "the record is missing");
    std::fs::rename(&bundles, world.home().join("newer")).unwrap();
    std::fs::rename(&copy, &bundles).unwrap();
    let said = world.run("init live --wait 2s");
    assert!(said.code == 5 && said.stderr.contains("an older copy"), "{said:?}");
    assert_eq!(world.ok("context show -o json").data(), followed, "the record is older");
    assert_eq!(world.ok("kv get after").stdout.trim(), "1");
}

/// The backup does not know of a node that was added behind it: its certificate counted for whoever
/// came next.
#[test]
fn the_id_of_a_node_that_was_added_behind_the_backup_is_not_given_again() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses[..1]);
    let saved = world.home().join("saved.snap");
    world.ok(&format!("snapshot save {}", saved.display()));
    let prepares = |world: &World, node: &str| -> u64 {
        let said = world.ok(&format!("member add {node} --prepare-only -o json")).data();
        said["nodes"][0]["id"].as_str().unwrap().parse().unwrap()
    };
    let node = format!("n2={}", addresses[1]);
    let gone = prepares(&world, &node);
    world.start("n2", &addresses[1]);
    world.ok(&format!("member add {node}"));
    world.ok("member remove n2 --yes");
    assert_eq!(world.ended("n2"), Some(77));
    world.kill("n1");
    let place = world.home().join("data-restored");
    let (saved, place) = (saved.display(), place.display());
    world.ok(&format!("snapshot restore {saved} --data-dir {place} --node n1 --yes"));
    world.start_with("n1", "restored", &addresses[0]);
    world.await_status(|status| status["leader"]["name"] == "n1");
    let next = prepares(&world, &format!("n3={}", addresses[2]));
    assert!(next > gone, "{next} is given again, {gone} was that of n2");
    world.ok("cert revoke n2 --yes");
}

/// What was acknowledged last may be on one disk alone, and no snapshot has it.
#[test]
fn what_a_survivor_does_not_know_committed_is_named_when_it_is_saved_and_restored() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("kv put before 1");
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    let leader = status["leader"]["name"].as_str().unwrap().to_owned();
    let others: Vec<&str> = ["n1", "n2", "n3"].into_iter().filter(|it| *it != leader).collect();
    for other in &others {
        world.signal(other, Signal::STOP);
    }
    assert_eq!(world.run("kv put open 1 --timeout 1s").code, 6);
    for other in &others {
        world.kill(other);
    }
    let saved = world.home().join("saved.snap").display().to_string();
    let save = format!("snapshot save {saved} --node {leader} --force");
    let (began, named) = (Instant::now(), format!("the log of {leader} goes on to entry"));
    let mut said = world.ok(&save);
    while !said.stderr.contains(&named) {
        assert!(began.elapsed() < PATIENCE, "{said:?}");
        said = world.ok(&save);
    }
    let place = world.home().join("data-restored").display().to_string();
    let restore = format!("snapshot restore {saved} --data-dir {place} --node {} --yes", others[0]);
    let said = world.ok(&restore);
    assert!(said.stderr.contains(&named), "{said:?}");
}

/// Returns the files below a directory that others may read, if they may enter it: none of those
/// that the two programs make but the ones that hold nothing secret.
fn open_to_others(directory: &Path) -> Vec<PathBuf> {
    let mut open = Vec::new();
    for child in directory.read_dir().unwrap() {
        let path = child.unwrap().path();
        let found = path.symlink_metadata().unwrap();
        let mode = found.permissions().mode();
        if found.is_dir() && mode & 0o001 != 0 {
            open.extend(open_to_others(&path));
        } else if found.is_file() && mode & 0o004 != 0 {
            open.push(path);
        }
    }
    // What the test itself writes: the data to load, and what the nodes say on stderr.
    open.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        !name.ends_with(".tsv") && !name.ends_with(".trycmd") && name != "log"
    });
    open
}

/// One node is left, and has more than what was saved: nobody said so.
#[test]
fn what_a_node_that_is_left_has_and_the_snapshot_has_not_is_said_in_numbers() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    let saved = world.home().join("saved.snap");
    world.ok(&format!("snapshot save {}", saved.display()));
    for number in 0..5 {
        world.ok(&format!("kv put late{number} behind"));
    }
    world.ok("status --wait caught-up --timeout 60s");
    for name in ["n1", "n2"] {
        world.kill(name);
        std::fs::remove_dir_all(world.home().join(format!("data-{name}"))).unwrap();
    }
    let restore = |name: &str, flags: &str| {
        let data = world.home().join(format!("data-{name}"));
        let (file, data) = (saved.display(), data.display());
        world.run(&format!("snapshot restore {file} --data-dir {data} --node {name} {flags}"))
    };
    let in_use = restore("n3", "--dry-run -o json");
    assert_eq!((in_use.code, &in_use.error()["code"]), (5, &"R0504".into()), "{in_use:?}");
    for flags in ["--dry-run", "--yes"] {
        let said = restore("n1", flags);
        assert_eq!(said.code, 0, "{said:?}");
        let lost = ["n3 answers, and knows ", " are behind this snapshot, and are not restored"];
        assert!(lost.iter().all(|words| said.stderr.contains(words)), "{said:?}");
    }
}

/// Runs a command that may make no file larger than 64 KiB: to write more is an error, or it kills.
fn cramped(world: &World, line: &str, kills: bool) -> Said {
    let made = world.command(line);
    let ignores = if kills { "" } else { "trap '' XFSZ;" };
    let script = format!("{ignores} ulimit -c 0; ulimit -f 128; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(made.get_program()).args(made.get_args());
    command.envs(made.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Said::of(command.output().unwrap())
}

/// The record of a history that was nowhere stayed in the place of the one that nodes had, and was
/// sent to whoever joined them.
#[test]
fn a_restore_that_comes_to_nothing_leaves_the_record_from_before_or_is_named() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    let (file, saved) = (world.home().join("data.tsv"), world.home().join("saved.snap"));
    let lines: String = (0..5_000).map(|key| format!("k{key}\t{key:0>200}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    world.ok(&format!("snapshot save {}", saved.display()));
    for name in ["n1", "n2", "n3"] {
        world.kill(name);
    }
    let data = world.home().join("data-n1");
    std::fs::remove_dir_all(&data).unwrap();
    let names = || -> Vec<String> {
        let all = world.directory().read_dir().unwrap();
        let all = all.map(|child| child.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<String> = all.filter(|name| name.starts_with("bootstrap")).collect();
        all.sort();
        all
    };
    let place = world.directory().join("bootstrap.record");
    let before = std::fs::read(&place).unwrap();
    let restore = format!("snapshot restore {} --data-dir {}", saved.display(), data.display());
    let said = cramped(&world, &format!("{restore} --node n1 --yes"), false);
    assert!(said.code > 0 && said.stderr.contains("is the one from before"), "{said:?}");
    assert!(said.stderr.contains("run the same command again"), "{said:?}");
    assert_eq!((std::fs::read(&place).unwrap(), names().len()), (before.clone(), 1));

    // Who is killed puts nothing back, and leaves a mark.
    let said = cramped(&world, &format!("{restore} --node n1 --yes"), true);
    assert_eq!(said.code, -1, "{said:?}");
    assert_eq!((std::fs::read(&place).unwrap() == before, names().len()), (false, 3));
    let other = restore.replace("data-n1", "data-other");
    let said = world.run(&format!("{other} --node n2 --yes -o json"));
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0463".into()), "{said:?}");
    let message = said.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("was begun already, on n1 (node 1)"), "{message}");
    assert!(!message.contains("goes on there as"), "{message}");

    // The majority comes back: nobody gets the record of a history that it does not have.
    std::fs::remove_dir_all(&data).unwrap();
    for (name, address) in ["n1", "n2", "n3"].iter().zip(&addresses) {
        world.start(name, address);
    }
    world.await_status(|status| !status["leader"].is_null());
    let mut helps = Vec::new();
    for line in [&format!("member add n4={}", addresses[3]), "member heal n1 --wait 20s"] {
        let said = world.run(&format!("{line} -o json"));
        assert_eq!((said.code, &said.error()["code"]), (5, &"R0464".into()), "{line}: {said:?}");
        let message = said.error()["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with("for a restore that has not ended"), "{message}");
        helps.push(said.error()["help"][0].as_str().unwrap().to_owned());
    }
    assert_eq!(helps[0], helps[1]);
    world.ok("cert renew n2 operator");
    // It is given up as the help says.
    let (command, _) = helps[0].split_once("    (").unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    assert_eq!(std::fs::read(&place).unwrap(), before);
    world.ok("member heal n1 --wait 60s");
    world.await_status(|status| status["health"] == "HEALTHY");
}
