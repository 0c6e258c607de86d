//! The verbs for log, snapshots and sessions, executed on a real cluster: the manual, with its
//! failures.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::kit;
use crate::kit::{Said, World, free};

#[test]
fn log_snapshots_and_sessions_are_shown_as_the_manual_says() {
    let mut world = World::new();
    let addresses = world.in_place_of(27521, 3);
    world.found(&addresses);
    world.ok("leader transfer n1");
    world.ok("kv put colour green");

    leave_a_session_open(&world);
    world.transcript("data");
    world.transcript("told");

    let id = world.ok("session list -o name").stdout;
    let id = id.trim();
    world.transcript_with("session", &[("<ID>", id)]);
    let data = world.ok(&format!("session show {id} -o json")).data();
    assert_eq!(data["id"], id, "{data}");
    let highest = data["highest"].as_u64().unwrap();
    assert!(highest > 1 && data["lowWater"].as_u64().unwrap() <= highest + 1, "{data}");

    // Two are closed, one is left.
    leave_a_session_open(&world);
    leave_a_session_open(&world);
    let open = world.ok("session list -o name").stdout;
    let other = open.lines().nth(1).unwrap();
    world.transcript_with("closed", &[("<ID>", id), ("<OTHER>", other)]);

    world.transcript("handed");
    assert_ne!(world.ok("leader show -o json").data()["name"], "n2");
    world.ok("leader transfer n1");

    // Standard output takes the file and nothing else.
    let piped = world.home().join("piped.snap");
    let mut save = world.command("snapshot save - --node n2");
    let save = save.stdout(std::fs::File::create(&piped).unwrap()).output().unwrap();
    assert_eq!((save.status.code(), save.stderr), (Some(0), Vec::new()));
    let verified = world.ok(&format!("snapshot verify {} -o json", piped.display())).data();
    assert_eq!(verified["verified"], true, "{verified}");

    a_saved_snapshot_is_its_owners_alone_and_replaces_nothing(&world);

    // What a node holds can be saved without a quorum.
    let saved = world.home().join("lost.snap");
    world.kill("n2");
    world.kill("n3");
    world.await_status(kit::nobody_leads);
    world.transcript("lost");
    // But nobody knows whether it lacks something that was acknowledged: not unasked.
    for line in [format!("snapshot save {}", saved.display()), "snapshot create".to_owned()] {
        let said = world.run(&line);
        assert!(said.code == 7 && said.stderr.contains("R0103"), "{line}: {said:?}");
        assert!(said.stderr.contains("--node NODE") && !saved.exists(), "{line}: {said:?}");
    }
    world.ok(&format!("snapshot save --node n1 {}", saved.display()));
    world.ok(&format!("snapshot verify {}", saved.display()));
}

fn a_saved_snapshot_is_its_owners_alone_and_replaces_nothing(world: &World) {
    let place = world.home().join("saved");
    std::fs::create_dir(&place).unwrap();
    let (file, link, to) = (place.join("b.snap"), place.join("link.snap"), place.join("to"));
    let save = |path: &Path, more: &str| {
        let line = format!("snapshot save {} {more}", path.display());
        let mut command = Command::new("sh");
        command.args(["-c", "umask 022; exec \"$0\" \"$@\""]);
        let plain = world.command(&line);
        command.arg(plain.get_program()).args(plain.get_args());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Said::of(command.output().unwrap())
    };
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;

    assert_eq!(save(&file, "").code, 0);
    assert_eq!(mode(&file), 0o600);
    let before = std::fs::read(&file).unwrap();
    let said = save(&file, "");
    assert_eq!(said.code, 5, "{said:?}");
    let shown = file.display();
    let wanted = format!(
        "error[R0011]: {shown} exists already, and is not replaced\n\
         help: another name, or --force to replace it\n"
    );
    assert_eq!(said.stderr, wanted);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    world.ok("kv put another one");
    assert_eq!(save(&file, "--force").code, 0);
    assert_eq!(mode(&file), 0o640);
    assert_ne!(std::fs::read(&file).unwrap(), before);

    // Links are followed by neither name; nothing is left beside.
    std::os::unix::fs::symlink(&to, &link).unwrap();
    std::os::unix::fs::symlink(&to, place.join("c.snap.part")).unwrap();
    for more in ["", "--force"] {
        let said = save(&link, more);
        assert!(said.code == 5 && said.stderr.contains("links are not followed"), "{said:?}");
    }
    assert_eq!(save(&place.join("c.snap"), "").code, 0);
    assert!(!to.exists());
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 4);

    // What no file can take is told before a node is asked.
    let said = save(&place.join("absent/b.snap"), "");
    assert_eq!((said.code, said.stderr.contains("No such file")), (3, true), "{said:?}");
}

/// Kills a client in the middle of its work.
fn leave_a_session_open(world: &World) {
    let file = world.home().join("data.tsv");
    let lines: String = (0..60_000).map(|number| format!("k{number}\tv\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let commit = |status: &serde_json::Value| {
        status["commit"].as_str().map_or(0, |commit| commit.parse::<u64>().unwrap())
    };
    let before = commit(&world.await_status(|status| commit(status) > 0));
    let mut load = world.command(&format!("kv load {} --in-flight 2", file.display()));
    let mut load = load.stderr(std::process::Stdio::null()).spawn().unwrap();
    world.await_status(|status| commit(status) > before + 100);
    load.kill().unwrap();
    load.wait().unwrap();
}

/// Keys that do not show themselves, or would be taken for something else.
const KEYS: [&str; 15] = [
    "nl\nkey",
    "nl\\nkey",
    "nl\\\\nkey",
    "a\tb",
    " a ",
    "\u{202e}turned",
    "\\u202eturned",
    "zero\u{200b}width",
    "\u{1b}[2J",
    "$'a'",
    "$'",
    "it's",
    "-o",
    "--stale",
    "\"",
];

fn put(world: &World, key: &str, value: &str) {
    let mut command = world.command("kv put --");
    let said = Said::of(command.args([key, value]).output().unwrap());
    assert_eq!(said.code, 0, "{key:?}: {said:?}");
}

fn with_key(world: &World, verb: &str, key: &str) -> Said {
    Said::of(world.command(verb).arg(key).output().unwrap())
}

#[test]
fn a_key_that_is_printed_leads_back_to_itself_whatever_is_in_it() {
    let mut world = World::new();
    world.found(&free(1));
    // What begins with $' is typed in quotes of its own.
    let typed = |key: &str| match key {
        "$'a'" => r"$'$\'a\''".to_owned(),
        "$'" => r"$'$\''".to_owned(),
        key => key.to_owned(),
    };
    for (number, key) in KEYS.iter().enumerate() {
        put(&world, &typed(key), &format!("value {number}\n"));
    }
    let names = world.ok("kv list -o name").stdout;
    let distinct: BTreeSet<&str> = names.lines().collect();
    assert_eq!(distinct.len(), KEYS.len(), "{names}");
    assert!(!names.contains(['\u{202e}', '\u{200b}', '\u{1b}', '\t']), "{names}");
    let data = world.ok("kv list -o json").data();
    let listed = data["keys"].as_array().unwrap();
    for (name, item) in names.lines().zip(listed) {
        let got = with_key(&world, "kv get", name);
        assert_eq!(got.code, 0, "{name}: {got:?}");
        assert_eq!(got.stdout.trim_end_matches('\n'), item["value"].as_str().unwrap().trim_end());
        let again = with_key(&world, "kv list -o name", name).stdout;
        assert!(again.lines().any(|line| line == name), "{name}: {again}");
    }
    let keys: BTreeSet<&str> = listed.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(keys, BTreeSet::from(KEYS));

    // Typed plainly, a backslash is a backslash.
    let plain = with_key(&world, "kv get", "nl\\nkey");
    assert_eq!(plain.stdout.trim_end(), "value 1", "{plain:?}");
    let half = with_key(&world, "kv get", "$'a");
    assert_eq!((half.code, half.stderr.contains("R0212")), (2, true), "{half:?}");

    // All of them survive a file.
    let file = world.home().join("all.tsv");
    std::fs::write(&file, world.ok("kv list --limit 0 --lines").stdout).unwrap();
    let before = world.ok("kv list -o json").data();
    for name in names.lines() {
        assert_eq!(with_key(&world, "kv del", name).code, 0, "{name}");
    }
    assert_eq!(world.ok("kv list -o name").stdout, "");
    world.ok(&format!("kv load --quoted {}", file.display()));
    let after = world.ok("kv list -o json").data();
    let pairs = |data: &serde_json::Value| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let items = data["keys"].as_array().unwrap().iter();
        items.map(|item| (text(&item["key"]), text(&item["value"]))).collect()
    };
    assert_eq!(pairs(&before), pairs(&after));
}

/// Executes a command on a terminal, and returns all that this shows.
fn on_a_terminal(world: &World, line: &str) -> String {
    let plain = world.command(line);
    let words = std::iter::once(plain.get_program()).chain(plain.get_args());
    let line = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).stdin(Stdio::null());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = command.output().expect("script(1), which every Debian has");
    String::from_utf8(said.stdout).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_value_does_nothing_to_a_terminal_and_goes_as_it_is_into_a_pipe() {
    let mut world = World::new();
    world.found(&free(1));
    put(&world, "plain", "a\tb\n\n grün ");
    put(&world, "evil", "\u{1b}[2Jab\rc");
    assert_eq!(on_a_terminal(&world, "kv get plain"), "a\tb\n\n grün \n");
    let shown = on_a_terminal(&world, "kv get evil");
    assert!(shown.ends_with("$'\\x1b[2Jab\\rc'\n") && shown.contains("--raw"), "{shown}");
    let raw = on_a_terminal(&world, "kv get evil --raw");
    assert_eq!(raw, "\u{1b}[2Jab\rc");
    assert_eq!(world.ok("kv get evil").stdout, "\u{1b}[2Jab\rc\n");
    let refused = on_a_terminal(&world, "snapshot save -");
    assert!(refused.contains("not written to a terminal"), "{refused}");
}

/// A list whose reader has stopped after the first line.
struct Stopped {
    child: std::process::Child,
    stdout: BufReader<std::process::ChildStdout>,
    first: String,
}

fn stopped(mut list: Command) -> Stopped {
    let mut child = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    Stopped { child, stdout, first }
}

impl Stopped {
    /// Reads what is left.
    fn rest(mut self) -> Said {
        let mut stdout = std::mem::take(&mut self.first);
        self.stdout.read_to_string(&mut stdout).unwrap();
        Said { stdout, ..Said::of(self.child.wait_with_output().unwrap()) }
    }
}

/// What a file takes no more of was in the middle of a page, and of a line: what was said to go on
/// with left out all of the page.
fn a_list_goes_on_where_a_full_disk_has_ended(world: &World) {
    let list = world.command("kv list --limit 0 --lines");
    let place = world.home().join("list.tsv");
    let full = "trap '' XFSZ; ulimit -f 201; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", full, "sh"]).arg(list.get_program()).args(list.get_args());
    shell.envs(list.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = Said::of(shell.stdout(std::fs::File::create(&place).unwrap()).output().unwrap());
    assert_eq!(said.code, 12, "{}", said.stderr);
    assert!(said.stderr.contains("; what follows that is incomplete"), "{}", said.stderr);
    let written = std::fs::read_to_string(&place).unwrap();
    let (whole, torn) = written.rsplit_once('\n').unwrap();
    assert!(!torn.is_empty() && whole.lines().count() > 1_000, "{torn}");
    let rest = world.ok(&format!("kv list {}", goes_on(&said))).stdout;
    let all: Vec<&str> = whole.lines().chain(rest.lines()).collect();
    assert_eq!(all.len(), 30_000);
    assert!(all.is_sorted_by(|a, b| a < b), "in order, and each once");
    assert!(all.iter().all(|line| line.ends_with("\tv")), "in the form that was asked for");
}

/// Returns the arguments of the list that goes on where another was cut off.
fn goes_on(cut: &Said) -> String {
    let help = cut.stderr.lines().find_map(|line| line.strip_prefix("help: raftctl kv list "));
    help.unwrap().split("    (").next().unwrap().to_owned()
}

#[test]
fn a_long_list_goes_on_whoever_leads_and_says_where_it_was_cut_off() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    let file = world.home().join("data.tsv");
    let key = |number: u32| format!("key/with/a/long/name/that/fills/pages/{number:06}");
    let lines: String = (0..30_000).map(|number| format!("{}\tv\n", key(number))).collect();
    std::fs::write(&file, lines).unwrap();
    world.ok(&format!("kv load {}", file.display()));
    let all = world.ok("kv list --limit 0 -o name").stdout;
    assert_eq!(all.lines().count(), 30_000);

    // Who has seen enough goes, and nobody complains.
    let mut head = stopped(world.command("kv list --limit 0 -o name"));
    assert_eq!(head.first.trim_end(), key(0));
    drop(head.stdout);
    let status = head.child.wait().unwrap();
    let mut said = String::new();
    head.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));

    a_list_goes_on_where_a_full_disk_has_ended(&world);

    // Between two pages another node leads, keys come and keys go.
    let list = stopped(world.command("kv list --limit 0 -o name"));
    let leader = world.ok("leader show -o json").data()["name"].as_str().unwrap().to_owned();
    world.ok("leader transfer");
    assert_ne!(world.ok("leader show -o json").data()["name"], leader.as_str());
    world.ok(&format!("kv del {}", key(29_000)));
    world.ok(&format!("kv put {}x v", key(29_500)));
    let said = list.rest();
    assert_eq!(said.code, 0, "{}", said.stderr);
    let listed: Vec<&str> = said.stdout.lines().collect();
    assert!(listed.is_sorted_by(|a, b| a < b), "in order, and each once");
    let stable = (0..30_000).filter(|number| *number != 29_000).map(key);
    let listed: BTreeSet<&str> = listed.into_iter().collect();
    assert!(stable.into_iter().all(|key| listed.contains(key.as_str())), "nothing is left out");

    // In the middle nobody is left to ask: what is printed is right, and it is said how much.
    let list = stopped(world.command("kv list --limit 0 -o name --timeout 1s"));
    let json = stopped(world.command("kv list --limit 0 -o json --timeout 1s"));
    for name in ["n1", "n2", "n3"] {
        world.kill(name);
    }
    let (cut, json) = (list.rest(), json.rest());
    for said in [&cut, &json] {
        assert_eq!(said.code, 12, "{}", said.stderr);
        assert!(said.stderr.contains("R0213"), "{}", said.stderr);
    }
    assert!(serde_json::from_str::<serde_json::Value>(&json.stdout).is_err(), "no whole document");
    let printed = cut.stdout.lines().count();
    assert!(printed > 0 && printed < 30_000, "{printed}");
    let last = cut.stdout.lines().last().unwrap();
    assert!(cut.stderr.contains(&format!("keys, at {last}")), "{}", cut.stderr);

    // The command that it named goes on behind that.
    for (number, address) in (1..).zip(&addresses) {
        world.start(&format!("n{number}"), address);
    }
    world.await_status(|status| status["leader"]["name"].is_string());
    let rest = world.ok(&format!("kv list -o name {}", goes_on(&cut))).stdout;
    assert_eq!(format!("{}{rest}", cut.stdout).lines().count(), 30_000);
}
