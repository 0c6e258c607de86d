//! What status says while something is wrong: the verdict, and the reason that some node knows.

use std::time::{Duration, Instant};

use crate::kit::{CLUSTER, PATIENCE, Said, World, free, nodes};
use fixtures::Relay;
use rustix::process::Signal;
use serde_json::Value;

/// Three nodes; names and addresses by number from 0 on.
struct Three {
    world: World,
    addresses: Vec<String>,
}

impl Three {
    fn found() -> Self {
        let mut world = World::new();
        let addresses = free(3);
        world.found(&addresses);
        let three = Self { world, addresses };
        three.healthy();
        three
    }

    fn healthy(&self) {
        self.world.ok("status --wait healthy --timeout 60s");
    }

    fn leader(&self) -> usize {
        let status = self.world.await_status(|status| status["leader"].is_object());
        number(&status["leader"]["name"])
    }

    fn start(&mut self, at: usize) {
        self.world.start(&name(at), &self.addresses[at]);
    }

    /// Waits until status is of this health for this reason, and ends so with `--check`.
    fn awaits(&self, health: &str, exit: i32, reason: &str) -> Value {
        let mut said = Value::Null;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let checked = self.world.run("status --check -o json");
            said = checked.data();
            let told = said["reason"].as_str().unwrap_or_default();
            if said["health"] == health && told.contains(reason) && checked.code == exit {
                return said;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not {health} ({exit}) for \"{reason}\": {said:#}");
    }
}

fn name(at: usize) -> String {
    format!("n{}", at + 1)
}

fn number(name: &Value) -> usize {
    name.as_str().unwrap().trim_start_matches('n').parse::<usize>().unwrap() - 1
}

fn others(at: usize) -> [usize; 2] {
    [(at + 1) % 3, (at + 2) % 3]
}

fn remarks(status: &Value) -> Vec<String> {
    let line = |remark: &Value| {
        let word = |key: &str| remark[key].as_str().unwrap().to_owned();
        format!("{} {}", word("code"), word("text"))
    };
    status["remarks"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn once_a_killed_follower_is_healthy_again_the_next_one_may_stop() {
    let mut three = Three::found();
    let mut followers = others(three.leader());
    for round in 0..4 {
        let [killed, next] = followers.map(name);
        three.world.kill(&killed);
        three.start(followers[0]);
        three.healthy();
        three.world.kill(&next);
        // The shortest election timeout is a second: nothing may have to be noticed first.
        let put = three.world.run(&format!("kv put round {round} --timeout 1500ms"));
        assert_eq!(put.code, 0, "round {round}: {put:?}");
        three.start(followers[1]);
        three.healthy();
        followers.reverse();
    }
}

#[test]
fn once_a_killed_follower_is_healthy_again_the_leader_may_stop() {
    let mut three = Three::found();
    let leader = three.leader();
    let [killed, _] = others(leader);
    three.world.kill(&name(killed));
    three.start(killed);
    three.healthy();
    three.world.kill(&name(leader));
    // Election timeouts are up to two seconds; nobody has to notice first that a node is back.
    let put = three.world.run("kv put after the-leader --timeout 8s");
    assert_eq!(put.code, 0, "{put:?}");
}

#[test]
fn who_died_a_moment_ago_is_not_counted_on_when_another_one_goes() {
    let mut three = Three::found();
    let [dead, other] = others(three.leader()).map(name);
    three.world.kill(&dead);
    // The leader has heard from it just before.
    let refused = three.world.run(&format!("member remove {other} --yes -o json"));
    assert_eq!((refused.code, &refused.error()["code"]), (5, &"R0311".into()), "{refused:?}");
    three.world.ok("kv put still writes --timeout 5s");
}

#[test]
fn a_paused_follower_is_named_and_a_paused_leader_is_succeeded_and_named() {
    let three = Three::found();
    let leader = three.leader();
    let [follower, _] = others(leader);
    three.world.signal(&name(follower), Signal::STOP);
    let status = three.awaits("DEGRADED", 11, &format!("{}: no answer", name(follower)));
    assert_eq!(status["toleratesFailures"], 0, "{status:#}");
    let heard = format!("R0401 {}: no answer", name(follower));
    three.world.await_status(|status| {
        let line = remarks(status).into_iter().find(|line| line.starts_with(&heard));
        line.is_some_and(|line| line.contains("the leader has not heard from it for"))
    });
    three.world.signal(&name(follower), Signal::CONT);
    three.healthy();

    let leader = three.leader();
    three.world.signal(&name(leader), Signal::STOP);
    let status = three.awaits("DEGRADED", 11, &format!("{}: no answer", name(leader)));
    assert_ne!(number(&status["leader"]["name"]), leader, "{status:#}");
    three.world.signal(&name(leader), Signal::CONT);
    three.healthy();
}

#[test]
fn a_node_that_was_killed_a_moment_ago_is_not_said_to_serve() {
    let mut three = Three::found();
    let leader = three.leader();
    let [follower, _] = others(leader);
    three.world.kill(&name(follower));
    // The leader has heard from it less than a heartbeat ago.
    let compared = three.world.run("verify");
    assert_eq!(compared.code, 12, "it compares the states of all nodes: {compared:?}");
    let status = three.world.run("status -o json").data();
    assert_eq!((&status["health"], &status["toleratesFailures"]), (&"DEGRADED".into(), &0.into()));
    let reason = status["reason"].as_str().unwrap();
    let dead = format!("{}: connection refused", name(follower));
    assert!(reason.starts_with(&dead), "{status:#}");
    three.start(follower);
    three.healthy();
    let leader = three.leader();
    three.world.kill(&name(leader));
    let status = three.world.run("status -o json").data();
    assert_eq!(status["leaderOutOfReach"], Value::Null, "{status:#}");
    assert_ne!(status["leader"]["name"], name(leader).as_str(), "{status:#}");
}

#[test]
fn without_a_majority_everything_missing_is_named_and_nothing_is_tolerated() {
    let mut three = Three::found();
    let leader = three.leader();
    let [one, other] = others(leader);
    three.world.kill(&name(one));
    let status = three.awaits("DEGRADED", 11, &format!("{}: connection refused", name(one)));
    assert_eq!(status["toleratesFailures"], 0);
    let replace = format!("raftctl member replace {} n4=HOST:PORT", name(one));
    assert!(remarks(&status).iter().any(|line| line.contains(&replace)), "{status:#}");
    three.world.kill(&name(other));
    let status = three.awaits("NO_QUORUM", 10, "1 of 3 reachable, need 2");
    assert_eq!(status["toleratesFailures"], 0);
    for gone in [one, other] {
        let line = format!("R0401 {}: connection refused", name(gone));
        assert!(remarks(&status).iter().any(|said| said.starts_with(&line)), "{status:#}");
    }
    // The leader claims to be one until it has waited for the others in vain.
    three.world.await_status(|status| {
        let why = status["whyNobodyLeads"][0].as_str().unwrap_or_default();
        status["health"] == "NO_QUORUM" && why.starts_with("nobody can win: ")
    });
    for at in [one, other] {
        three.start(at);
    }
    three.healthy();
    // Paused nodes hold their ports open: that is silence, not a refusal, as of a way that is cut.
    for at in 0..3 {
        three.world.signal(&name(at), Signal::STOP);
    }
    let status = three.awaits("UNKNOWN", 10, "0 of 3 nodes reachable");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3);
    for at in 0..3 {
        three.world.signal(&name(at), Signal::CONT);
    }
    three.healthy();
}

/// Three nodes behind relays, by which they know each other and clients know them.
fn relayed() -> (Three, Vec<Relay>) {
    let mut world = World::new();
    let addresses = free(3);
    let relays: Vec<Relay> = addresses.iter().map(|address| Relay::to(address)).collect();
    let fronts: Vec<String> = relays.iter().map(|relay| relay.address.clone()).collect();
    world.ok(&format!("init {CLUSTER} {} --prepare-only", nodes(&fronts)));
    for (at, address) in addresses.iter().enumerate() {
        world.start(&name(at), address);
    }
    world.ok(&format!("init {CLUSTER} --wait 60s"));
    let three = Three { world, addresses };
    three.healthy();
    (three, relays)
}

#[test]
fn a_leader_that_clients_do_not_reach_is_said_to_lead() {
    let (three, relays) = relayed();
    let leader = three.leader();
    relays[leader].admit_only(&three.addresses);
    let named = name(leader);
    let status = three.awaits("DEGRADED", 11, &format!("{named} leads in term"));
    let reason = status["reason"].as_str().unwrap();
    let cut = format!("this client cannot reach {named}: no answer from");
    assert!(reason.contains(&cut), "{reason}");
    assert_eq!(status["leaderOutOfReach"]["name"], named.as_str(), "{status:#}");
    assert_eq!(status["leader"], Value::Null);
    assert_eq!(status["whyNobodyLeads"].as_array().unwrap().len(), 0, "{status:#}");
    assert!(remarks(&status)[0].starts_with(&format!("R0412 {named}: leads")), "{status:#}");
    let table = three.world.run("status").stdout;
    assert!(table.contains(&format!("leader {named} (term ")), "{table}");
    assert!(!table.contains("nobody leads"), "{table}");
    let gone = name(others(leader)[0]);
    let refused: Said = three.world.run(&format!("member remove {gone} --yes"));
    let why = format!("members cannot be changed: {named} leads, as ");
    assert!(refused.stderr.contains(&why), "{refused:?}");

    // A bootstrap that is repeated from there finds the cluster, and says what it does not reach.
    let again = three.world.ok(&format!("init {CLUSTER} --wait 30s"));
    let running = format!("is running already: voters n1 n2 n3, leader {named}, tolerates 1");
    assert!(again.stdout.contains(&running), "{again:?}");
    assert!(
        again.stderr.contains(&format!("{named} does not answer: no answer from")),
        "{again:?}"
    );

    // Its followers know who leads, and pass on that it is to lead no more.
    let shown = three.world.ok("leader show -o json").data();
    assert_eq!((&shown["name"], &shown["leadingMs"]), (&named.as_str().into(), &Value::Null));
    let listed = three.world.ok("member list -o json").data();
    assert_eq!(listed["members"][leader]["leader"], true, "{listed:#}");
    let [next, other] = others(leader);
    let now = three.world.ok(&format!("leader transfer {} -o json", name(next))).data();
    assert_eq!(now["name"], name(next), "{now:#}");

    // The one that takes over may be the one that clients do not reach.
    relays[leader].mend();
    relays[other].admit_only(&three.addresses);
    let now = three.world.ok(&format!("leader transfer {} -o json", name(other))).data();
    assert_eq!((&now["name"], &now["leadingMs"]), (&name(other).into(), &Value::Null), "{now:#}");

    // A follower that clients do not reach serves all the same.
    relays[other].mend();
    let leader = three.leader();
    let [follower, _] = others(leader);
    relays[follower].admit_only(&three.addresses);
    let serves = format!("{}: serves (the leader heard it", name(follower));
    let status = three.awaits("DEGRADED", 11, &serves);
    assert_eq!(status["toleratesFailures"], 1, "{status:#}");
    relays[follower].mend();
    three.healthy();
}

#[test]
fn a_way_that_is_cut_is_named_by_the_node_that_cannot_go_it() {
    let (three, relays) = relayed();
    let leader = three.leader();
    let [one, other] = others(leader);
    // One direction between followers: the leader notices nothing.
    relays[other].cut(&[three.addresses[one].clone()]);
    let cut = format!("{}: cannot reach {}: ", name(one), name(other));
    let status = three.awaits("DEGRADED", 11, &cut);
    assert_eq!(status["toleratesFailures"], 0, "without the leader nobody could win: {status:#}");
    assert!(remarks(&status)[0].starts_with("R0413 "), "{status:#}");
    relays[other].mend();
    three.healthy();

    // From the leader to a follower: it asks for votes, and the leader leads on.
    let leader = three.leader();
    let [one, other] = others(leader);
    relays[one].cut(&[three.addresses[leader].clone()]);
    let named = format!("{}: ", name(one));
    let cut = three.world.await_status(|status| {
        let lines = remarks(status);
        status["health"] == "DEGRADED"
            && lines.iter().any(|line| line.starts_with(&format!("R0401 {named}")))
            && lines.iter().any(|line| line.starts_with(&format!("R0414 {named}")))
    });
    assert_eq!(cut["toleratesFailures"], 0, "{cut:#}");
    relays[one].mend();
    three.healthy();

    // All from all others: every pair is named, and nobody leads.
    for (at, relay) in relays.iter().enumerate() {
        relay.cut(&others(at).map(|from| three.addresses[from].clone()));
    }
    let status = three.awaits("NO_LEADER", 10, "no voter reaches a majority of the voters");
    assert_eq!(status["toleratesFailures"], 0);
    let pairs = remarks(&status).iter().filter(|line| line.starts_with("R0413 ")).count();
    assert_eq!(pairs, 3, "{status:#}");
    let why = status["whyNobodyLeads"].as_array().unwrap();
    let reach = format!("it does not reach {}", name(other));
    assert!(why.iter().any(|line| line.as_str().unwrap().contains(&reach)), "{status:#}");
    for relay in &relays {
        relay.mend();
    }
    three.healthy();
}
