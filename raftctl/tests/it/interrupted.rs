//! What a signal does: it ends every command, whatever its threads wait for; and `member add`,
//! stopped on its way, goes on where it was.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::kit::{CLUSTER, World, await_sleep, fifo, free, stopped};
use fixtures::Relay;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

#[test]
fn a_command_that_waits_for_a_pipe_ends_by_the_first_signal() {
    let world = World::new();
    let pipe = fifo(&world, "pipe");
    for line in [
        "kv put key -".to_owned(),
        "kv load - --dry-run".to_owned(),
        "snapshot verify -".to_owned(),
        format!("kv load {pipe}"),
        format!("kv load {pipe} --dry-run"),
        format!("snapshot show {pipe}"),
        format!("snapshot verify {pipe}"),
        format!("snapshot restore {pipe} --data-dir x --node n1"),
        format!("status -e localhost:1 --ca {pipe} --cert x --key y"),
        format!("bench -e localhost:1 --ca {pipe} --cert x --key y"),
        format!("member add n4=localhost:1 -e localhost:1 --ca {pipe} --cert x --key y"),
    ] {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 143)] {
            let mut command = world.command(&line);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let ended = stopped(command.spawn().unwrap(), signal);
            assert_eq!(ended, Some(code), "{line}: {signal:?}");
        }
    }
}

#[test]
fn a_command_whose_reader_has_stopped_ends_by_the_first_signal() {
    let world = World::new();
    let mut command = world.command("completion bash");
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    // More than the pipe holds, and nobody reads.
    assert_eq!(stopped(child, Signal::INT), Some(130));
    let whole = world.ok("completion bash").stdout;
    assert!(whole.len() > 128 * 1024, "{} bytes would fit a pipe", whole.len());
}

/// Under pipefail, `status --check | head -1` was a success without a quorum.
#[test]
fn who_closes_the_pipe_does_not_make_a_success_of_a_verdict() {
    let world = World::new();
    world.ok(&format!("init {CLUSTER} --node n1=127.0.0.1:1 --prepare-only"));
    let check = "status --check --timeout 1s";
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = world.command(check).stdout(writer).status().unwrap();
    assert_eq!((ended.code(), world.run(check).code), (Some(10), 10));
    assert_eq!(world.run("status --check --watch").code, 2, "they ask for different things");
}

/// A parent that reads it in its own time, as Node.js does, got as much as a pipe holds.
#[test]
fn a_pipe_on_which_others_do_not_wait_gets_everything() {
    let world = World::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut command = world.command("completion bash");
    let mut child = command.stdout(writer).spawn().unwrap();
    // What it holds open of the pipe goes with it.
    drop(command);
    await_sleep(&mut child);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(said, world.ok("completion bash").stdout);
}

#[test]
fn ctrl_c_at_a_question_ends_the_command_and_changes_nothing() {
    let world = World::new();
    let contexts = world.home().join("contexts.toml");
    let text = "[context.old]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n\
                nodes = [{ address = \"n1:7400\" }]\n";
    std::fs::write(&contexts, text).unwrap();
    let plain = world.command("context remove old");
    let line = format!("{} context remove old", plain.get_program().display());
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]);
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("script(1), which every Debian has");
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut byte) = (String::new(), [0]);
    while !shown.contains("[y/N]") {
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "it ended without a question: {shown}");
        shown.push(char::from(byte[0]));
    }
    keys.write_all(b"\x03").unwrap();
    // Whatever else it shows is not of interest, but must not hold it up.
    screen.read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{shown}");
    assert_eq!(std::fs::read_to_string(&contexts).unwrap(), text);
}

#[test]
fn whoever_presses_ctrl_c_twice_at_dev_leaves_no_node_behind() {
    let world = World::new();
    let address = free(1).pop().unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    let raftd = std::path::Path::new(env!("CARGO_BIN_EXE_raftctl")).with_file_name("raftd");
    let line = format!("dev --nodes 1 --port {port} --raftd {}", raftd.display());
    let mut command = world.command(&line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("Ctrl-C stops it") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    let node = said.split("processes: n1 ").nth(1).unwrap();
    let node: i32 = node.split_whitespace().next().unwrap().parse().unwrap();
    let node = Pid::from_raw(node).unwrap();
    test_kill_process(node).expect("it runs");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    while !said.contains("stopping 1 nodes") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    // The second one may have come when all was done.
    assert!(matches!(code, Some(0 | 130)), "{code:?}");
    assert!(test_kill_process(node).is_err(), "it runs on");
}

#[test]
fn a_command_under_nohup_outlives_its_terminal() {
    let world = World::new();
    let plain = world.command("kv put key -");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" kv put key -"]).arg(plain.get_program());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    await_sleep(&mut child);
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    child.stdin.take().unwrap().write_all(b"value").unwrap();
    // It goes on, and finds that no cluster is named.
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn what_cannot_be_written_to_stdout_is_an_error_and_a_closed_pipe_is_none() {
    let world = World::new();
    for line in ["completion bash", "version", "--help", "kv load --help", "explain", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = world.command(line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.starts_with("error[R0003]: stdout: No space left"), "{line}: {said}");

        let mut child = world.command(line).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
    }
}

#[test]
fn an_add_that_is_stopped_or_late_says_what_goes_on_and_the_same_command_ends_it() {
    let mut world = World::new();
    let mut addresses = free(4);
    let fourth = addresses.pop().unwrap();
    world.found(&addresses);
    let relay = Relay::to(&fourth);
    let add = format!("member add n4={} --bundle --wait 60s", relay.address);
    let again =
        format!("help: raftctl member add n4={} --bundle    (goes on where it was)", relay.address);
    let members = |world: &World| {
        let list = world.ok("member list -o json").data();
        let one = |member: &serde_json::Value| {
            let word = |key: &str| member[key].as_str().unwrap().to_owned();
            format!("{} {}", word("name"), word("role"))
        };
        list["members"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };

    // Before the node runs.
    let said = world.interrupted(&add, "not yet:");
    assert_eq!(said.code, 130, "{said:?}");
    let wanted = "interrupted while waiting for n4 to answer: it is no member yet; its token or \
                  bundle is there";
    assert!(said.stderr.contains(wanted) && said.stderr.contains(&again), "{said:?}");
    assert_eq!(members(&world), ["n1 voter", "n2 voter", "n3 voter"]);

    // While it catches up: the members do not reach it, and it misses more than a voter may.
    world.start("n4", &fourth);
    world.ok(&format!("{add} --learner"));
    relay.cut(&addresses);
    let file = world.home().join("data.tsv");
    let lines: String = (0..3_000).map(|number| format!("k{number}\tv\n")).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    // It says how it goes every ten seconds.
    let said = world.interrupted(&add, "n4  learner  : ");
    assert_eq!(said.code, 130, "{said:?}");
    let wanted = "interrupted while waiting for n4 to catch up: it stays a learner, goes on \
                  getting the log, and does no harm";
    assert!(said.stderr.contains(wanted) && said.stderr.contains(&again), "{said:?}");
    let learns = ["n1 voter", "n2 voter", "n3 voter", "n4 learner"];
    assert_eq!(members(&world), learns);

    // Its row says in which round it is; the others vote, and have none.
    let table = world.run("status --no-headers").stdout;
    let rows = |word: &str| table.lines().filter(|line| line.contains(word)).count();
    assert_eq!((rows("  learner  round "), rows("  round ")), (1, 1), "{table}");
    let status = world.run("status -o json").data();
    let rounds: Vec<Option<u64>> = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["seenByLeader"]["catchUp"]["round"].as_u64())
        .collect();
    assert!(matches!(rounds[..], [None, None, None, Some(1..)]), "{status}");
    assert!(world.run("status -o wide").stdout.contains("  LEASE  "));

    // It takes longer than it may.
    let late = world.run(&format!("member add n4={} --wait 8s", relay.address));
    assert_eq!(late.code, 5, "{late:?}");
    let wanted = "error[R0312]: n4 has not caught up: round ";
    assert!(late.stderr.contains(wanted) && late.stderr.contains("   lag 3,"), "{late:?}");
    let help = "help: it stays a learner and does no harm; run this again to go on";
    assert!(late.stderr.contains(help), "{late:?}");
    assert_eq!(members(&world), learns);

    relay.mend();
    let done = world.ok(&add);
    assert!(done.stderr.contains("promoting joint {n1,n2,n3} + {n1,n2,n3,n4}"), "{done:?}");
    assert_eq!(members(&world), ["n1 voter", "n2 voter", "n3 voter", "n4 voter"]);
    let again = world.ok(&add);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
}
