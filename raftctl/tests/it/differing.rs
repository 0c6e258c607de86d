//! States that differ: they are compared, the odd one out is named with the entry, and where no
//! majority tells who is right, both are.

use rustix::process::Signal;
use state_machine::{Batch, OrderedStore as _, View as _};
use storage::StateStore;

use crate::kit::World;
use crate::kit::directories::{data, is_healthy, remarks};

/// Changes a value in the state of a stopped node, as bad memory does.
fn plant(world: &World, node: &str) {
    let mut state = StateStore::open(&data(world, node)).unwrap();
    let all = state.range(&[], None, 10_000).unwrap();
    let (key, value) = all.into_iter().find(|(key, _)| key.ends_with(b"balance")).unwrap();
    let mut value = value.to_vec();
    *value.last_mut().unwrap() ^= 1;
    let mut batch = Batch::new();
    batch.put(key, value.into());
    state.write(batch).unwrap();
    state.persist().unwrap();
}

/// Plants a difference in a node that does not lead, and lets an entry make it show. Returns the
/// node's name and the entry's index.
fn differing(world: &mut World, addresses: &[String]) -> (String, u64) {
    world.ok("kv put balance 100");
    world.ok("status --wait caught-up --timeout 60s");
    let status = world.await_status(|status| status["leader"]["name"].is_string());
    let names: Vec<String> = (1..=addresses.len()).map(|number| format!("n{number}")).collect();
    let odd = names.iter().position(|name| status["leader"]["name"] != **name).unwrap();
    let name = names[odd].clone();
    world.signal(&name, Signal::TERM);
    assert_eq!(world.ended(&name), Some(0));
    plant(world, &name);
    world.start(&name, &addresses[odd]);
    world.ok("status --wait caught-up --timeout 60s");
    world.ok("kv cas balance --expect 100 90 --timeout 60s");
    // Beside it stand the entries of a session.
    let log = world.ok("log list --from 1 --limit 100 -o json").data();
    let mut entries = log["entries"].as_array().unwrap().iter();
    let cas = entries.find(|entry| entry["command"].as_str().unwrap().starts_with("cas balance"));
    (name, cas.unwrap()["index"].as_str().unwrap().parse().unwrap())
}

#[test]
fn the_odd_one_out_is_named_and_the_entry_found_and_its_state_is_made_anew() {
    let mut world = World::new();
    let addresses = world.in_place_of(27_551, 3);
    world.found(&addresses);
    world.ok("status --wait caught-up --timeout 60s");
    world.transcript("same");
    let (odd, index) = differing(&mut world, &addresses);
    let status = world.await_status(|status| remarks(status, "R0450") && remarks(status, "R0405"));
    assert_eq!(status["health"], "DEGRADED", "{status:#}");
    assert_eq!(world.run("status --check").code, 11);
    world.transcript_with("differing", &[("<ODD>", &odd), ("<INDEX>", &index.to_string())]);
    world.signal(&odd, Signal::TERM);
    world.ended(&odd);
    let place: usize = odd[1..].parse().unwrap();
    world.start(&odd, &addresses[place - 1]);
    world.await_status(is_healthy);
    world.ok("verify");
}

#[test]
fn where_two_vote_both_are_named_and_nobody_is_judged() {
    let mut world = World::new();
    let addresses = crate::kit::free(2);
    world.found(&addresses);
    let (_, index) = differing(&mut world, &addresses);
    let status = world.await_status(|status| remarks(status, "R0450"));
    assert_eq!(status["health"], "DEGRADED", "{status:#}");
    let remark = status["remarks"].as_array().unwrap().iter().find(|it| it["code"] == "R0450");
    let text = remark.unwrap()["text"].as_str().unwrap();
    assert!(text.contains("n1") && text.contains("n2"), "{text}");
    assert!(text.contains("no majority tells whose is right"), "{text}");
    assert_eq!(world.run("status --check").code, 11);
    let said = world.run("verify --bisect");
    assert_eq!(said.code, 11, "{said:?}");
    assert!(said.stderr.contains("no majority has the same state"), "{said:?}");
    let found = format!("entry {index} is the first that made a difference");
    assert!(said.stderr.contains(&found), "{said:?}");
}
