//! What an operator does on a day with a real cluster: bootstrapping it in pieces, loading with
//! breaks, measuring, reading the log; and being told which certificate is wrong.

use std::process::Stdio;
use std::time::Duration;

use crate::kit;
use crate::kit::{CLUSTER, Said, World, fifo, free, nodes, stopped};
use certs::{Authority, ClusterId, Identity, Role};
use fixtures::wait_for;
use rustix::process::{Pid, Signal, kill_process};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn init_goes_on_wherever_it_was_stopped_and_never_founds_twice() {
    let mut world = World::new();
    let addresses = free(3);
    let all = nodes(&addresses);
    world.ok(&format!("init {CLUSTER} {all} --prepare-only"));
    world.start("n1", &addresses[0]);
    world.start("n2", &addresses[1]);
    // Two of three: nothing is founded.
    let late = world.run(&format!("init {CLUSTER} --wait 1s"));
    assert_eq!(late.code, 6, "{late:?}");
    assert!(late.stderr.contains("n1: answers"), "{late:?}");
    assert!(late.stderr.contains("1 of 3 nodes do not answer yet"), "{late:?}");
    assert_eq!(world.run("status -o json").data()["health"], "UNINITIALISED");

    world.start("n3", &addresses[2]);
    // Killed after longer and longer times, at whatever point that is.
    for delay_ms in (0..120).step_by(10) {
        let mut init = world.command(&format!("init {CLUSTER} --wait 60s")).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        init.kill().unwrap();
        init.wait().unwrap();
    }
    let founded = world.ok(&format!("init {CLUSTER} --wait 60s -o json")).data();
    assert_eq!(founded["voters"].as_array().unwrap().len(), 3, "{founded}");
    let again = world.ok(&format!("init {CLUSTER} {all} --wait 60s -o json")).data();
    assert_eq!(again["alreadyBootstrapped"], true, "{again}");
    assert_eq!(again["generation"], founded["generation"]);

    // A cluster that serves is reported, also with a first member down that led it until now.
    let leader = again["leader"].as_str().unwrap();
    world.kill(leader);
    let reported = world.ok(&format!("init {CLUSTER} --wait 30s"));
    assert!(reported.stdout.contains("is running already"), "{reported:?}");
    assert!(reported.stderr.contains(&format!("{leader} does not answer")), "{reported:?}");
}

#[test]
fn a_load_takes_pipes_and_tells_how_far_it_came() {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut world = World::new();
    world.found(&free(1));
    let lines = |from: u32, to: u32| -> String {
        (from..=to).map(|number| format!("k{number:04}\t{number}\n")).collect()
    };
    let piped = |line: &str, text: String| {
        let mut command = world.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let said = Said::of(child.wait_with_output().unwrap());
        // Who has found a bad line reads no further.
        let _ = writing.join().unwrap();
        said
    };
    let count = || world.ok("kv list --limit 0 -o name").stdout.lines().count();

    // A FIFO; stdin by both its names; and a plain file behind stdin, which is checked first.
    let pipe = fifo(&world, "pipe");
    let (writer, text) = (pipe.clone(), lines(1, 1_000));
    let writing = std::thread::spawn(move || std::fs::write(writer, text));
    let loaded = world.ok(&format!("kv load {pipe} -o json")).data();
    writing.join().unwrap().unwrap();
    let told = (&loaded["puts"], &loaded["lines"], &loaded["acknowledgedLine"]);
    assert_eq!(told, (&1_000.into(), &1_000.into(), &1_000.into()), "{loaded}");
    assert_eq!(count(), 1_000);
    for (stdin, from) in [("-", 1_001), ("/dev/stdin", 2_001)] {
        let said = piped(&format!("kv load {stdin}"), lines(from, from + 999));
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stdout.starts_with("loaded 1,000 keys"), "{said:?}");
        assert_eq!(count(), from as usize + 999);
    }
    let file = world.home().join("-");
    std::fs::write(&file, "last\tone").unwrap();
    let behind = world.command("kv load -").stdin(std::fs::File::open(&file).unwrap()).output();
    assert_eq!(behind.unwrap().status.code(), Some(0));
    assert_eq!(world.ok("kv get last").stdout, "one\n");

    // A bad line: what came before it is there, and the rest may follow.
    let bad = format!("{}no tab\n{}", lines(3_001, 3_100), lines(3_101, 3_200));
    let said = piped("kv load -", bad.clone());
    assert_eq!(said.code, 12, "{said:?}");
    let wanted = "error[R0205]: stdin:101: no tab; a line is KEY<TAB>VALUE; every line from 1 to \
                  100 is acknowledged\nhelp: what came from stdin is gone: give the same lines \
                  again, with --from-line 101\n";
    assert_eq!(said.stderr, wanted);
    assert_eq!(world.run("kv get k3100").code, 0);
    assert_eq!(world.run("kv get k3101").code, 3);
    assert_eq!(piped("kv load - --from-line 102", bad).code, 0);
    assert_eq!(world.run("kv get k3200").code, 0);
    let said = piped("kv load - --from-line 9", lines(1, 3));
    assert!(said.stderr.contains("--from-line 9 is behind the last line, 3"), "{said:?}");
    assert_eq!(said.code, 2);
    let said = piped("kv load -", String::new());
    assert!(said.stderr.contains("warning: stdin is empty: there was nothing to load"), "{said:?}");

    // A pipe that falls silent: Ctrl-C says how far it came.
    let mut command = world.command("kv load -");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines(4_001, 4_010).as_bytes()).unwrap();
    stdin.flush().unwrap();
    let began = std::time::Instant::now();
    while world.run("kv get k4010").code != 0 {
        assert!(began.elapsed() < kit::PATIENCE, "what came is sent at once");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let said = Said::of(child.wait_with_output().unwrap());
    drop(stdin);
    assert_eq!(said.code, 130, "{said:?}");
    assert!(said.stderr.contains("interrupted; every line from 1 to 10 is ack"), "{said:?}");
}

#[test]
fn a_load_that_is_stopped_goes_on_behind_what_is_acknowledged() {
    let mut world = World::new();
    world.found(&free(3));
    let file = world.home().join("data.tsv");
    let lines: String = (0..60_000).map(|number| format!("k{number:06}\t{number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let shown = file.display();

    let mut load = world.command(&format!("kv load {shown} --in-flight 8"));
    load.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let load = load.spawn().unwrap();
    let committed = |status: &serde_json::Value| {
        status["commit"].as_str().is_some_and(|commit| commit.parse::<u64>().unwrap() > 200)
    };
    world.await_status(committed);
    kill_process(Pid::from_child(&load), Signal::INT).unwrap();
    let stopped = Said::of(load.wait_with_output().unwrap());
    assert_eq!(stopped.code, 130, "{stopped:?}");
    let next = stopped.stderr.split("--from-line ").nth(1).unwrap();
    let next: u64 = next.split_whitespace().next().unwrap().parse().unwrap();
    assert!(next > 1 && next < 60_000, "{stopped:?}");

    let rest = world.ok(&format!("kv load {shown} --from-line {next} -o json")).data();
    assert_eq!(rest["puts"], 60_000 - next + 1, "{rest}");
    let keys = world.ok("kv list --limit 0 -o name").stdout;
    assert_eq!(keys.lines().count(), 60_000);
    assert_eq!(world.ok(&format!("kv get k{:06}", next - 1)).stdout.trim(), (next - 1).to_string());
}

#[test]
fn bench_measures_each_kind_and_tells_it_in_json() {
    let mut world = World::new();
    world.found(&free(3));
    let run = |what: &str| {
        let flags = "--clients 4 --keys 50 --size 100 --duration 500ms --warmup 50ms -o json";
        world.ok(&format!("bench {what} {flags}")).data()
    };
    for (what, kinds) in
        [("--writes", &["put"][..]), ("--reads", &["get"]), ("--mixed", &["put", "get"])]
    {
        let data = run(what);
        let operations = data["operations"].as_array().unwrap();
        let names: Vec<&str> =
            operations.iter().map(|one| one["operation"].as_str().unwrap()).collect();
        assert_eq!(names, kinds, "{data}");
        for one in operations {
            let number = |key: &str| one[key].as_f64().unwrap();
            assert!(number("count") > 0.0 && number("perSecond") > 0.0, "{data}");
            let ascending = ["p50Us", "p99Us", "p999Us", "maxUs"].map(number);
            assert!(ascending.is_sorted(), "{data}");
            assert_eq!((number("failed"), number("unknown")), (0.0, 0.0), "{data}");
        }
    }
    let left = world.ok("kv list raftctl-bench/ -o name");
    assert_eq!(left.stdout, "", "its keys are removed");
    // What fits into no message, or not into memory, is refused before anybody is asked.
    for much in ["--batch 512 --size 1044480", "--size 1044480 --clients 4096"] {
        let said = world.run(&format!("bench {much} --keys 3 --duration 100ms"));
        assert!(said.code == 2 && said.stderr.contains("R0002"), "{said:?}");
    }
}

#[test]
fn what_is_tried_is_said_where_that_is_asked_for() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    let said = world.ok("kv put a b -v");
    assert!(said.stderr.contains(&format!("{} answered, after", addresses[0])), "{said:?}");
    world.kill("n1");
    let said = world.run("kv get a -v --timeout 1s");
    assert!(said.stderr.contains(&format!("{} is not reached", addresses[0])), "{said:?}");
    assert!(!world.run("kv get a --timeout 1s").stderr.contains("is not reached"));
}

#[test]
fn the_log_is_listed_from_any_node_and_values_are_hidden() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("kv put greeting hello");
    for node in ["n1", "n2", "n3"] {
        world.await_status(|status| {
            let rows = status["nodes"].as_array();
            rows.is_some_and(|rows| {
                rows.iter().all(|row| row["status"]["applied"] == status["commit"])
            })
        });
        let list = world.ok(&format!("log list --node {node} -o json")).data();
        let entries = list["entries"].as_array().unwrap();
        let last = entries.last().unwrap();
        assert_eq!(last["command"], "put greeting (5 bytes)", "{list}");
        assert_eq!(last["committed"], true);
        let index = last["index"].as_str().unwrap();
        let shown = world.ok(&format!("log show {index} --node {node} --show-values"));
        assert!(shown.stdout.contains("put greeting hello"), "{shown:?}");
    }
    let absent = world.run("log show 999999 -o json");
    assert_eq!((absent.code, absent.error()["code"].as_str()), (3, Some("R0206")), "{absent:?}");
}

#[test]
fn the_wrong_certificate_is_named_with_the_check_that_it_fails() {
    let mut world = World::new();
    let addresses = free(1);
    world.found(&addresses);
    let flags = |directory: &std::path::Path| {
        let file = |name: &str| directory.join(name).display().to_string();
        format!(
            "-e {} --ca {} --cert {} --key {} -o json",
            addresses[0],
            file("ca.crt"),
            file("operator.crt"),
            file("operator.key")
        )
    };
    let issue = |authority: &Authority, role: Role, directory: &str, validity| {
        let directory = world.home().join(directory);
        std::fs::create_dir(&directory).unwrap();
        let identity = Identity::new(authority.cluster(), role);
        let issued = authority.issue(&identity, validity).unwrap();
        issued.write(&directory, "operator").unwrap();
        directory
    };
    let name = || "eve".parse().unwrap();

    // Another cluster's authority.
    let foreign = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let directory = issue(&foreign, Role::Operator(name()), "foreign", DAY);
    let said = world.run(&format!("kv get k {}", flags(&directory)));
    let error = said.error();
    assert_eq!((said.code, &error["code"]), (4, &"R0102".into()), "{error}");
    let why = error["causes"][0]["why"].as_str().unwrap();
    assert!(why.contains(&foreign.cluster().to_string()), "both clusters are named: {why}");

    // Its own authority's, but expired: refused before anybody is asked.
    let own = Authority::load(&world.directory().join("ca")).unwrap();
    let directory = issue(&own, Role::Operator(name()), "expired", Duration::from_secs(1));
    std::thread::sleep(Duration::from_millis(2_100));
    let said = world.run(&format!("kv get k {}", flags(&directory)));
    let error = said.error();
    assert_eq!((said.code, &error["code"]), (4, &"R0007".into()), "{error}");
    assert!(error["message"].as_str().unwrap().contains("expired"), "{error}");

    // A reader may look, and change nothing; a node is no operator.
    let directory = issue(&own, Role::Reader(name()), "reader", DAY);
    assert_eq!(world.run(&format!("status {}", flags(&directory))).code, 0);
    assert_eq!(world.run(&format!("kv get k {}", flags(&directory))).error()["code"], "R0201");
    let said = world.run(&format!("kv put k v {}", flags(&directory)));
    assert_eq!((said.code, &said.error()["code"]), (4, &"R0105".into()), "{said:?}");
    let said = world.run(&format!("member remove n1 --yes {}", flags(&directory)));
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0315".into()), "{said:?}");
    let directory = issue(&own, Role::Node(std::num::NonZeroU64::MIN), "node", DAY);
    let said = world.run(&format!("status {}", flags(&directory)));
    assert_eq!(said.code, 4, "{said:?}");
}

/// They stayed in the cluster without a word.
#[test]
fn a_bench_that_is_stopped_while_it_makes_its_keys_removes_them() {
    let mut world = World::new();
    world.found(&free(1));
    let mut bench = world.command("bench --reads --keys 100000 --size 2000");
    let bench = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let left = || world.ok("kv list raftctl-bench/ --limit 1 -o name").stdout;
    wait_for("keys of the bench", || (!left().is_empty()).then_some(()));
    assert_eq!(stopped(bench, Signal::INT), Some(130));
    assert_eq!(left(), "");
}
