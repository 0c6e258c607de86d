//! Certificates for programs, and taking them back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fixtures::{ClockShim, SmallDisk};
use rustix::process::Signal;
use serde_json::Value;

use super::{certificate_of, named};
use crate::kit::{CLUSTER, PATIENCE, Said, World, free};

fn by(world: &World, directory: &Path, name: &str, line: &str) -> Said {
    let at = |file: &str| directory.join(file).display().to_string();
    let files = [at("ca.crt"), at(&format!("{name}.crt")), at(&format!("{name}.key"))];
    world.run(&format!("{line} --ca {} --cert {} --key {}", files[0], files[1], files[2]))
}

#[test]
fn a_program_gets_a_certificate_that_is_taken_back_everywhere_at_once() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("kv put greeting hello");

    world.ok("cert issue web --role client");
    world.ok("cert issue grafana --role reader --days 30");
    let out = world.home().join("keeper");
    world.ok(&format!("cert issue keeper --role backup --out {}", out.display()));
    let place = |title: &str| world.directory().join("issued").join(title);
    let (web, grafana) = (place("client-web"), place("reader-grafana"));
    assert_eq!(by(&world, &web, "web", "kv put greeting hi").code, 0);
    assert_eq!(by(&world, &grafana, "grafana", "kv get greeting").stdout, "hi\n");
    let said = by(&world, &grafana, "grafana", "kv put greeting no");
    assert!(said.code == 4 && said.stderr.contains("R0105"), "{said:?}");
    assert_eq!(by(&world, &out, "keeper", "snapshot create").code, 0);
    let said = by(&world, &out, "keeper", "kv get greeting");
    assert!(said.stderr.contains("backup keeper does not allow to read data"), "{said:?}");
    assert!(!place("backup-keeper").join("keeper.key").exists(), "the key is where it was asked");
    let listed = world.ok("cert list -o name").stdout;
    assert!(listed.ends_with("backup/keeper\nclient/web\nreader/grafana\n"), "{listed}");
    let said = world.run("cert issue web --role client -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (5, Some("R0304")), "{said:?}");

    // Who is meant is looked at first; the own certificate is refused.
    let plan = world.ok("cert revoke client/web --dry-run").stdout;
    assert!(plan.contains("by a clock that was ahead, may count still: raftctl cert revoke FILE"));
    assert_eq!(by(&world, &web, "web", "kv get greeting").code, 0);
    let said = world.run("cert revoke nobody -o json");
    assert_eq!(said.error()["code"], "R0008", "{said:?}");
    let own = world.directory().join("operator/operator.crt");
    let said = world.run(&format!("cert revoke {} -o json", own.display()));
    assert_eq!((said.code, said.error()["code"].as_str()), (5, Some("R0510")), "{said:?}");

    let file = web.join("web.crt");
    let mut revoke = world.command("cert revoke -o json --reason");
    revoke.arg("laptop stolen").arg(&file);
    let said = Said::of(revoke.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    for node in said.data()["nodes"].as_array().unwrap() {
        assert!(node["inForceMs"].as_u64().unwrap() < 1_000, "{said:?}");
        assert_eq!(node["state"], "in-force", "{said:?}");
    }
    let said = by(&world, &web, "web", "kv get greeting");
    assert_eq!(said.code, 4, "{said:?}");
    let why = "the certificate of client web was revoked by ";
    assert!(said.stderr.contains(why) && said.stderr.contains(": laptop stolen"), "{said:?}");
    let listed = world.ok("cert list --revoked");
    assert!(listed.stdout.contains("client web") && listed.stdout.contains("operator operator"));

    // Another certificate of the same holder counts; taken back, the old one does again.
    let other = world.home().join("other");
    std::fs::rename(&web, &other).unwrap();
    world.ok("cert issue web --role client");
    let plan = world.ok("cert revoke client/web --undo --dry-run");
    assert_eq!(plan.stdout, "client web: certificates would count again\n");
    assert_eq!(by(&world, &other, "web", "kv get greeting").code, 4, "nothing was changed");
    world.ok("cert revoke client/web --undo");
    assert_eq!(by(&world, &other, "web", "kv get greeting").stdout, "hi\n");
    // What there is no more is not promised either.
    for how in ["--undo --dry-run", "--undo"] {
        let said = world.run(&format!("cert revoke client/web {how} -o json"));
        assert_eq!((said.code, &said.error()["code"]), (5, &"R0109".into()), "{how}: {said:?}");
        assert_eq!(said.error()["message"], "no certificate of client web is revoked");
    }

    // A node that votes is cut off only when that is meant.
    let said = world.run("cert revoke n3");
    assert_eq!(said.code, 8, "{said:?}");
    let why = world.run("log list --limit 3").stdout;
    assert!(why.contains("forget revocation of client web"), "{why}");
}

/// Who issued had another clock than who revokes: every certificate that was made before counts no
/// more, and one that is made afterwards does.
#[test]
fn all_certificates_of_a_holder_are_revoked_whoever_had_the_right_clock() {
    let mut world = World::new();
    world.found(&free(3));
    let at = |off_s: i64, line: &str| {
        let clock = ClockShim::compile(world.home(), off_s)?;
        let mut command = world.command(line);
        clock.stand_before(&mut command);
        let said = Said::of(command.output().unwrap());
        assert_eq!(said.code, 0, "{line}: {said:?}");
        Some(said)
    };
    let place = |name: &str| world.directory().join(format!("issued/client-{name}"));
    for (name, issued_s, revoked_s) in [("ahead", 180, 0), ("behind", 0, -4), ("long", 0, -60)] {
        let issue = format!("cert issue {name} --role client");
        if at(issued_s, &issue).is_none() {
            eprintln!("no C compiler: a wrong clock cannot be had");
            return;
        }
        let put = |name: &str| by(&world, &place(name), name, "kv put greeting hi");
        assert_eq!(put(name).code, 0, "{name}");
        let said = at(revoked_s, &format!("cert revoke client/{name}")).unwrap();
        let refused = put(name);
        assert!(refused.code == 4 && refused.stderr.contains("was revoked by"), "{refused:?}");
        if revoked_s < -30 {
            assert!(said.stderr.contains("behind the leader's: what is made here"), "{said:?}");
            continue;
        }
        std::fs::rename(place(name), world.home().join(name)).unwrap();
        at(revoked_s, &issue).unwrap();
        assert_eq!(put(name).code, 0, "{name}: made afterwards");
    }
}

/// The files below a directory that hold something, which leaves out locks.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for child in directory.read_dir().unwrap() {
        let path = child.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => _ = found.insert(path.clone(), std::fs::read(&path).unwrap()),
        }
    }
    found.retain(|_, contents| !contents.is_empty());
    found
}

/// A name of the one cluster was looked up in the directory of the other, and revoked there.
#[test]
fn a_directory_of_another_cluster_changes_nothing_in_this_one() {
    let mut world = World::new();
    world.found(&free(1));
    let other = world.home().join("other");
    let dir = other.display();
    world.ok(&format!("init other --dir {dir} --node n1=127.0.0.1:1 --prepare-only"));
    world.ok(&format!("context use {CLUSTER}"));
    let made = contents(&other);
    for line in ["cert revoke n1 --yes", "cert revoke n1 --undo"] {
        let said = world.run(&format!("{line} --dir {dir} -o json"));
        assert_eq!((said.code, &said.error()["code"]), (5, &"R0304".into()), "{line}: {said:?}");
    }
    for line in ["cert rotate begin", "cert renew n1", "cert issue web --role client"] {
        let said = world.run(&format!("{line} --context {CLUSTER} --dir {dir} -o json"));
        assert_eq!((said.code, &said.error()["code"]), (5, &"R0304".into()), "{line}: {said:?}");
    }
    assert_eq!(world.ok("cert list --revoked --no-headers").stdout, "");
    assert!(contents(&other) == made, "a file of the other cluster is another one");
}

/// Both were said to give no answer, without a warning and with success.
#[test]
fn a_node_that_has_not_applied_a_revocation_is_told_from_one_that_is_silent() {
    let mut world = World::new();
    let Some(disk) = SmallDisk::mount(&world.home().join("data-n3"), 32) else { return };
    world.found(&free(3));
    world.ok("leader transfer n1");
    let revoke = |name: &str| {
        world.ok(&format!("cert issue {name} --role client"));
        let said = world.run(&format!("cert revoke client/{name} -o json"));
        let nodes = said.data()["nodes"].as_array().unwrap().clone();
        let states: Vec<String> =
            nodes.iter().map(|node| node["state"].as_str().unwrap().to_owned()).collect();
        (said, states)
    };
    // A little goes into files that are there.
    disk.fill_up();
    let (began, file) = (Instant::now(), world.home().join("data.tsv"));
    std::fs::write(&file, noise(40)).unwrap();
    while !world.logged("n3", "").contains("ERROR no room") {
        assert!(began.elapsed() < PATIENCE, "the disk does not fill up");
        world.ok(&format!("kv load {}", file.display()));
    }
    let (said, states) = revoke("full");
    assert_eq!((said.code, states), (12, words(&["in-force", "in-force", "not-applied"])));
    assert!(said.stdout.contains("n3 answers, but has not applied"), "{said:?}");
    let text = world.run("cert revoke client/full");
    assert!(text.stdout.contains("not yet: it answers, but has not applied it"), "{text:?}");
    assert!(text.code == 12 && text.stderr.contains("warning: n3 answers, but"), "{text:?}");
    disk.resize(512);
    world.await_status(|status| status["health"] == "HEALTHY");
    world.signal("n3", Signal::STOP);
    let (said, states) = revoke("stopped");
    assert_eq!((said.code, states), (12, words(&["in-force", "in-force", "silent"])));
    assert!(said.stdout.contains("n3 does not answer, and may not have heard"), "{said:?}");
}

/// So many lines of 50 KB, which do not compress much.
fn noise(lines: u64) -> String {
    let line = |number: u64| {
        let mut word = number + 1;
        let mut next = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            char::from(b'a' + u8::try_from((word >> 33) % 26).unwrap())
        };
        let value: String = std::iter::repeat_with(&mut next).take(50_000).collect();
        format!("large{number}\t{value}\n")
    };
    (0..lines).map(line).collect()
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

/// The second of three was cut off right behind the first, with "tolerated now: 1": nobody led.
#[test]
fn a_voter_without_which_there_is_no_majority_is_not_cut_off_by_the_way() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("leader transfer n3");
    let said = world.run("cert revoke n1 --yes");
    assert!([0, 12].contains(&said.code), "{said:?}");
    for line in ["cert revoke n2 --yes", "cert revoke n2 --dry-run", "cert revoke n3 --yes"] {
        let said = world.run(&format!("{line} -o json"));
        assert_eq!((said.code, &said.error()["code"]), (5, &"R0311".into()), "{line}: {said:?}");
        assert!(said.stderr.contains("cert renew n1"), "{said:?}");
    }
    world.ok("kv put a 1");
    world.ok("cert renew n1");
    let heard = |status: &Value| status["health"] == "HEALTHY";
    world.await_status(heard);
    world.ok("cert revoke n2 --dry-run");
    // A key that was stolen cannot wait.
    world.ok("cert revoke n2 --yes --force --dry-run");
}

/// Each of them was let in again by night, without a word: its new certificate began later than
/// those that were revoked.
#[test]
fn a_node_that_was_revoked_is_let_in_again_by_its_name_only() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("leader transfer n1");
    let said = world.run("cert revoke n3 --yes");
    assert!([0, 12].contains(&said.code), "{said:?}");
    // Without n3, which is cut off, n2 is needed.
    let is_cut_off = || {
        let said = world.run("cert revoke n2 --dry-run -o json");
        assert_eq!((said.code, &said.error()["code"]), (5, &"R0311".into()), "{said:?}");
    };
    is_cut_off();
    let kept = std::fs::read(certificate_of(&world, "n3")).unwrap();
    let said = world.ok("cert renew --all -o json");
    let visits = said.data()["overTheWire"].as_array().unwrap().clone();
    assert_eq!(visits.len(), 2, "{said:?}");
    let note = "n3: not renewed, its certificates were revoked; raftctl cert renew n3 lets it in";
    assert!(said.stdout.contains(note), "{said:?}");
    assert_eq!(std::fs::read(certificate_of(&world, "n3")).unwrap(), kept);
    is_cut_off();

    // Another authority is no way in either.
    world.ok("cert rotate begin");
    for line in ["cert rotate finish --dry-run", "cert rotate finish", "cert rotate abort"] {
        let said = world.run(&format!("{line} -o json"));
        assert_eq!((said.code, &said.error()["code"]), (7, &"R0511".into()), "{line}: {said:?}");
        assert!(said.stderr.contains("by a new certificate: n3"), "{said:?}");
        let error = said.error();
        assert_eq!(named(&error), "cert renew n3", "{error}");
    }
    is_cut_off();
    world.ok("cert renew n3");
    world.await_status(|status| status["health"] == "HEALTHY");
    let said = world.ok("cert renew --all -o json");
    assert_eq!(said.data()["overTheWire"].as_array().unwrap().len(), 3, "{said:?}");
    world.ok("cert rotate finish");
    world.await_status(|status| status["health"] == "HEALTHY");
}
