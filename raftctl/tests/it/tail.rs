//! The log as it grows: what is committed is shown once, in order, until Ctrl-C.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::kit::{PATIENCE, World, free};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command that goes on until it is stopped.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(world: &World, line: &str) -> Self {
        let mut child = world.command(line).stdout(Stdio::piped()).spawn().unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line, once it is there.
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line in time")
    }

    fn stop(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_tail_shows_the_last_entries_and_follows_until_it_is_stopped() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("kv put greeting hello");
    world.ok("kv put planet world");
    // A follower hears with the next heartbeat how far the log is committed.
    world.await_status(|status| {
        let rows = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let there = |row: &Value| row["status"]["applied"] == status["commit"];
        rows.len() == 3 && rows.iter().all(there)
    });
    world.transcript("tail");

    let follow = Following::start(&world, "log tail -f -n 1 --node n2");
    assert!(follow.line().starts_with("INDEX "));
    assert!(follow.line().ends_with("put planet (5 bytes)"));
    for number in 0..20 {
        world.ok(&format!("kv put key{number} {number}"));
        // It arrives while more is to come.
        let line = follow.line();
        let length = number.to_string().len();
        assert!(line.ends_with(&format!("put key{number} ({length} bytes)")), "{line}");
    }
    assert_eq!(follow.stop(Signal::INT), Some(130));

    let follow = Following::start(&world, "log tail -f -n 1 -o json --show-values");
    let entry = || -> Value { serde_json::from_str(&follow.line()).unwrap() };
    assert_eq!(entry()["data"]["command"], "put key19 19", "it has begun");
    let mut last = 0;
    for number in 0..5 {
        world.ok(&format!("kv put more{number} value{number}"));
        let envelope = entry();
        assert_eq!(envelope["kind"], "LogEntry");
        let data = &envelope["data"];
        assert_eq!(
            (&data["command"], &data["committed"]),
            (&format!("put more{number} value{number}").into(), &true.into(),)
        );
        let index: u64 = data["index"].as_str().unwrap().parse().unwrap();
        assert!(index > last, "each once, in order: {index} after {last}");
        last = index;
    }
    assert_eq!(follow.stop(Signal::TERM), Some(143));

    // Whoever waits for entries waits for the node as well.
    let follow = Following::start(&world, "log tail -f -n 1 --no-headers --node n2");
    assert!(follow.line().ends_with("put more4 (6 bytes)"));
    world.kill("n2");
    world.await_status(|status| {
        status["health"] == "DEGRADED" && status["leader"]["name"].as_str() != Some("n2")
    });
    world.ok("kv put late value");
    world.start("n2", &addresses[1]);
    let late = (0..4).map(|_| follow.line()).find(|line| line.ends_with("put late (5 bytes)"));
    assert!(late.is_some(), "elections leave entries, too");
    assert_eq!(follow.stop(Signal::INT), Some(130));
}

/// What is shown again and again was one mapping in YAML, with every key many times.
#[test]
fn a_status_that_is_watched_is_a_document_each_time() {
    let mut world = World::new();
    world.found(&free(1));
    let watch = Following::start(&world, "status --watch=1s -o json");
    for _ in 0..2 {
        let status: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(status["kind"], "ClusterStatus");
    }
    assert_eq!(watch.stop(Signal::INT), Some(130));
    let watch = Following::start(&world, "status --watch=1s -o yaml");
    let line = || watch.line();
    assert_eq!((line().as_str(), line().as_str()), ("---", "apiVersion: raftctl/v1"));
    while line() != "---" {}
    assert_eq!(watch.stop(Signal::INT), Some(130));
}
