//! Data directories of which parts, or the contents of all files, were put back from another time.
//! Whatever it is, nothing that was acknowledged is lost, `status` names it, and the node comes
//! back through the log.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::kit::directories::{
    back_up_as, data, disguise, is_healthy, overwrite, put_back, put_back_parts, remarks, three,
};
use crate::kit::{PATIENCE, World};
use rustix::process::Signal;

fn superblock(path: &Path) -> Vec<u8> {
    fs::read(path.join("superblock")).unwrap()
}

/// A write is on n1 and n2 only; then both are stopped, and something is done to n2's directory.
/// n2 and n3 are no majority that knows of the write, and must not pass for one.
fn nothing_is_lost_where(what: impl Fn(&World), told: &str) {
    let (mut world, addresses) = three();
    world.kill("n3");
    world.ok("kv put kept 1 --timeout 30s");
    world.kill("n1");
    world.kill("n2");
    what(&world);
    world.start("n2", &addresses[1]);
    world.start("n3", &addresses[2]);
    world.logged("n2", told);
    let forgotten = |status: &Value| remarks(status, "R0431") || remarks(status, "R0432");
    let status = world.await_status(forgotten);
    assert_eq!(status["health"], "NO_QUORUM", "{status:#}");
    assert_ne!(world.run("status --check").code, 0);
    assert_ne!(world.run("kv put lost 1 --timeout 3s").code, 0, "n2 does not count");
    world.start("n1", &addresses[0]);
    assert_eq!(world.ok("kv get kept --timeout 60s").stdout.trim(), "1");
    world.await_status(is_healthy);
    world.kill("n3");
    world.ok("kv put counts 1 --timeout 30s");
}

#[test]
fn an_old_log_alone_is_noticed_by_the_tail_file() {
    let told = "when it was last written";
    nothing_is_lost_where(|world| put_back_parts(world, "n2", &["log"]), told);
}

#[test]
fn an_old_log_with_its_tail_file_is_noticed_by_the_superblock() {
    let parts = ["log", "tail"];
    let told = "parts of its data directory are older than others";
    nothing_is_lost_where(|world| put_back_parts(world, "n2", &parts), told);
}

#[test]
fn an_old_log_without_its_tail_file_is_noticed() {
    let told = "the file that says where its log ended is lost";
    let what = |world: &World| {
        put_back_parts(world, "n2", &["log"]);
        fs::remove_file(data(world, "n2").join("tail")).unwrap();
    };
    nothing_is_lost_where(what, told);
}

#[test]
fn old_contents_in_all_files_are_noticed_where_the_node_was_started_since() {
    let told = "its data directory is a copy";
    let what = |world: &World| {
        overwrite(&world.home().join("old-n2"), &data(world, "n2"));
    };
    nothing_is_lost_where(what, told);
}

/// Nothing in the directory itself tells: the same start, the same files. The peers remember.
#[test]
fn old_contents_in_all_files_of_the_same_start_are_noticed_by_the_peers() {
    same_start("n1");
}

/// A leader acknowledges its own entries to itself; it tells the others how far it keeps them.
#[test]
fn old_contents_of_the_leaders_files_are_noticed_by_the_peers() {
    same_start("n2");
}

fn same_start(leader: &str) {
    let (mut world, addresses) = three();
    world.ok(&format!("leader transfer {leader} --timeout 60s"));
    world.ok("kv put more 1");
    world.signal("n2", Signal::STOP);
    let copy = back_up_as(&world, "n2", "paused-n2");
    world.signal("n2", Signal::CONT);
    world.await_status(is_healthy);
    for number in 0..5 {
        world.ok(&format!("kv put key{number} 1"));
    }
    // Members tell each other once a second.
    let led_ms = |status: &Value| status["leader"]["leadingMs"].as_u64().unwrap_or(0);
    let before = led_ms(&world.await_status(is_healthy));
    world.await_status(|status| led_ms(status) > before + 3_000);
    world.kill("n2");
    let place = data(&world, "n2");
    assert_eq!(superblock(&copy), superblock(&place), "it is the same start");
    overwrite(&copy, &place);
    world.start("n2", &addresses[1]);
    assert_eq!(world.ended("n2"), Some(75), "it is told, and ends");
    world.start("n2", &addresses[1]);
    world.logged("n2", "has promised more than it remembers");
    world.await_status(is_healthy);
    world.kill("n3");
    world.ok("kv put counts 1 --timeout 30s");
}

/// It follows from the log, so nothing was forgotten.
#[test]
fn an_old_state_alone_is_brought_up_to_date_from_the_log() {
    let (mut world, addresses) = three();
    world.ok("kv put kept 1");
    world.kill("n2");
    put_back_parts(&world, "n2", &["state", "snapshots"]);
    world.start("n2", &addresses[1]);
    let status = world.await_status(is_healthy);
    assert!(!remarks(&status, "R0431"), "{status:#}");
    world.ok("verify");
    world.kill("n3");
    assert_eq!(world.ok("kv get kept --timeout 30s").stdout.trim(), "1");
}

/// The highest term that any node has told.
fn term_of(status: &Value) -> u64 {
    let terms = status["nodes"].as_array().unwrap().iter();
    let terms = terms.filter_map(|node| node["status"]["term"].as_str()?.parse().ok());
    terms.max().unwrap_or_default()
}

/// Below the file system, the disk of n2 is put back to before the election of this history, and
/// nobody is there who could know: n2 and n3 elect each other in the very same term.
fn two_histories(first: u64, second: u64) -> World {
    for _ in 0..6 {
        let (mut world, addresses) = three();
        ["n1", "n2", "n3"].iter().for_each(|name| world.kill(name));
        let _ = fs::remove_dir_all(world.home().join("old-n2"));
        back_up_as(&world, "n2", "old-n2");
        world.start("n1", &addresses[0]);
        world.start("n2", &addresses[1]);
        for number in 0..first {
            world.ok(&format!("kv put first{number} 1 --timeout 60s"));
        }
        let term = term_of(&world.run("status -o json").data());
        world.kill("n1");
        world.kill("n2");
        put_back(&world, "n2");
        disguise(&data(&world, "n2"));
        world.start("n2", &addresses[1]);
        world.start("n3", &addresses[2]);
        for number in 0..second {
            world.ok(&format!("kv put second{number} 1 --timeout 60s"));
        }
        let again = term_of(&world.run("status -o json").data());
        if again == term {
            world.start("n1", &addresses[0]);
            return world;
        }
        println!("terms {term} and {again}: once more");
    }
    panic!("it is never the same term");
}

/// The log of n1 goes on where that of the others ends: what stands behind the difference tells.
#[test]
fn a_node_whose_log_is_another_one_of_the_same_term_ends_naming_both() {
    ends_naming_both(two_histories(20, 40));
}

/// All that the others have, n1 has under the same term and index, so that nothing is written.
#[test]
fn a_node_that_has_other_entries_of_the_same_names_ends_naming_both() {
    ends_naming_both(two_histories(40, 20));
}

/// Whoever follows sees it: n1, or n3 where n1 is elected meanwhile.
fn ends_naming_both(mut world: World) {
    let told = |world: &World, name: &str| {
        let log = world.logged(name, "");
        log.lines()
            .find(|line| line.contains("two histories under one identity"))
            .map(str::to_owned)
    };
    let began = Instant::now();
    let (name, line) = loop {
        let found = ["n1", "n3"].into_iter().find_map(|name| Some((name, told(&world, name)?)));
        if let Some(found) = found {
            break found;
        }
        // Two nodes are told that they are too few, and then take no more.
        world.run("kv put more 1 --timeout 3s");
        assert!(began.elapsed() < PATIENCE, "{}", world.logged("n1", ""));
    };
    assert_eq!(world.ended(name), Some(65));
    let is_chain = |word: &str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = line.split(|c: char| !c.is_ascii_alphanumeric());
    assert_eq!(words.filter(|word| is_chain(word)).count(), 2, "both are named: {line}");
    assert_ne!(world.run("status --check").code, 0);
}
