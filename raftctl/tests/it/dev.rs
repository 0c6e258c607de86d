//! Local clusters: what they survive, and what they keep away from.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use fixtures::program;
use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{CLUSTER, World, free};

/// A running `raftctl dev`.
struct Dev {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Dev {
    /// Starts one of these nodes, and waits until it serves.
    fn start(mut command: Command) -> Self {
        command.env("RAFTCTL_RAFTD", program("raftd"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut dev = Self { child, stderr, said: String::new() };
        dev.hears("Ctrl-C stops it");
        dev
    }

    /// Waits until it has said this.
    fn hears(&mut self, words: &str) {
        while !self.said.contains(words) {
            let read = self.stderr.read_line(&mut self.said).unwrap();
            assert!(read > 0, "it ended without \"{words}\": {}", self.said);
        }
    }

    /// Stops it as Ctrl-C does.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.said);
    }
}

fn dev(world: &World, nodes: usize) -> Command {
    let port = free(1)[0].rsplit_once(':').unwrap().1.to_owned();
    world.command(&format!("dev --nodes {nodes} --name {CLUSTER} --port {port}"))
}

/// It ends at once when it is started, and that ended all others, each time.
#[test]
fn a_local_cluster_starts_again_without_a_node_that_was_removed() {
    let world = World::new();
    let mut command = dev(&world, 3);
    // It went to all nodes, and only one of them could have it.
    command.env("RAFTD_DATA_DIR", world.home().join("elsewhere"));
    let mut first = Dev::start(command);
    assert!(!world.home().join("elsewhere").exists());
    world.ok("member remove n3 --yes");
    first.hears("n3 ended");
    first.stop();
    let again = Dev::start(world.command(&format!("dev --name {CLUSTER}")));
    assert!(again.said.contains("n3 ended"), "{}", again.said);
    world.ok("kv put greeting hello");
    again.stop();
}

/// Endpoints on this machine may be the near ends of tunnels.
#[test]
fn a_local_cluster_does_not_take_the_name_of_one_that_is_elsewhere() {
    let world = World::new();
    world.ok(&format!("init {CLUSTER} --node n1=127.0.0.1:1 --prepare-only"));
    let operator = world.directory().join("operator");
    let file = |name: &str| operator.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("operator.crt"), file("operator.key"));
    world.ok(&format!("context add dev -e 127.0.0.1:1 --ca {ca} --cert {cert} --key {key}"));
    let said = world.run(&format!("dev --nodes 1 --raftd {} -o json", program("raftd").display()));
    assert_eq!((said.code, &said.error()["code"]), (5, &"R0304".into()), "{said:?}");
    assert!(!world.home().join("raftctl/dev").exists(), "nothing was made");
}
