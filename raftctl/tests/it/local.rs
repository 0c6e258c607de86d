//! What raftctl leaves on the operator's machine: contexts that several change at once, plans,
//! bundles that a service can read.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::kit::{CLUSTER, Said, World};
use rustix::process::{getegid, geteuid};

/// Prepares a cluster, and returns the flags that name its credentials.
fn prepared(world: &World) -> String {
    world.ok(&format!("init {CLUSTER} --node n1=127.0.0.1:1 --prepare-only"));
    let operator = world.directory().join("operator");
    let file = |name: &str| operator.join(name).display().to_string();
    format!(
        "--ca {} --cert {} --key {}",
        file("ca.crt"),
        file("operator.crt"),
        file("operator.key")
    )
}

fn spawn(world: &World, line: &str) -> Child {
    let mut command = world.command(line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn contexts(world: &World) -> Vec<String> {
    world.ok("context list -o name").stdout.lines().map(str::to_owned).collect()
}

#[test]
fn contexts_that_are_added_at_once_are_all_there() {
    let world = World::new();
    let flags = prepared(&world);
    let add = |number: usize| spawn(&world, &format!("context add c{number} -e a:1 {flags}"));
    let adding: Vec<Child> = (0..20).map(add).collect();
    // Reading, going back and forth, and forgetting meanwhile does no harm.
    let others = ["context use -", "context list", "context remove c99 --yes", "context use -"];
    let others: Vec<Child> = others.iter().map(|line| spawn(&world, line)).collect();
    for child in adding {
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }
    for child in others {
        let said = Said::of(child.wait_with_output().unwrap());
        assert!([0, 3].contains(&said.code), "{said:?}");
    }
    assert_eq!(contexts(&world).len(), 21, "20 and {CLUSTER}");
    let file = world.home().join("contexts.toml");
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(world.home()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn whoever_adds_the_same_context_second_is_told() {
    let world = World::new();
    let flags = prepared(&world);
    let adding: Vec<Child> =
        (0..8).map(|_| spawn(&world, &format!("context add one -e a:1 {flags}"))).collect();
    let codes: Vec<i32> =
        adding.into_iter().map(|child| Said::of(child.wait_with_output().unwrap()).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 5).count(), 7, "{codes:?}");
}

#[test]
fn the_same_init_at_once_makes_one_cluster_and_the_others_are_told() {
    let world = World::new();
    let line = format!("init {CLUSTER} --node n1=127.0.0.1:1 --node n2=127.0.0.1:2 --wait 300ms");
    let said: Vec<Said> = (0..6)
        .map(|_| spawn(&world, &line))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|child| Said::of(child.wait_with_output().unwrap()))
        .collect();
    for said in &said {
        let waited = said.code == 6 && said.stderr.contains("R0303");
        let late = said.code == 5 && said.stderr.contains("another `raftctl` works in");
        assert!(waited || late, "{said:?}");
    }
    assert!(said.iter().any(|said| said.code == 6), "{said:?}");
    world.ok(&format!("init {CLUSTER} --prepare-only"));
}

#[test]
fn a_link_to_the_contexts_stays_a_link() {
    let world = World::new();
    let target = world.home().join("dotfiles/raftctl.toml");
    let link = world.home().join("contexts.toml");
    symlink("dotfiles/raftctl.toml", &link).unwrap();
    let flags = prepared(&world);
    assert!(link.is_symlink() && target.is_file(), "it is made where the link leads");
    world.ok(&format!("context add other -e a:1 {flags}"));
    assert!(link.is_symlink());
    assert!(std::fs::read_to_string(&target).unwrap().contains("[context.other]"));

    // What is no plain file is neither waited for nor replaced.
    for (place, code) in [("/dev/null", 1), ("contexts.toml", 1)] {
        std::fs::remove_file(&link).unwrap();
        symlink(place, &link).unwrap();
        let said = world.run(&format!("context add third -e a:1 {flags}"));
        assert_eq!(said.code, code, "{place}: {said:?}");
        assert!(said.stderr.contains("contexts.toml"), "{said:?}");
    }
    assert!(!Path::new("/dev/null").is_file());
}

#[test]
fn contexts_that_cannot_be_written_stop_init_before_it_makes_anything() {
    let world = World::new();
    let line = format!("init {CLUSTER} --node n1=127.0.0.1:1 --prepare-only");
    let said =
        Said::of(world.command(&line).env("RAFTCTL_CONFIG_DIR", "/proc/1/x").output().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("/proc/1/x/contexts.toml cannot be changed"), "{said:?}");
    assert!(said.stderr.contains("export RAFTCTL_CONFIG_DIR=DIR"), "{said:?}");
    assert!(!world.directory().exists());
}

#[test]
fn directories_are_found_whatever_the_environment_says() {
    let world = World::new();
    prepared(&world);
    let home = world.home().display().to_string();
    let listed = |set: &[(&str, &str)], unset: &[&str]| {
        let mut command = world.command("context list -o name");
        for name in ["RAFTCTL_CONFIG_DIR", "XDG_CONFIG_HOME", "HOME"].iter().chain(unset) {
            command.env_remove(name);
        }
        Said::of(command.envs(set.iter().copied()).output().unwrap())
    };
    let config = world.home().join("raftctl/contexts.toml");
    std::fs::rename(world.home().join("contexts.toml"), &config).unwrap();
    assert_eq!(listed(&[("XDG_CONFIG_HOME", &home)], &[]).stdout, format!("{CLUSTER}\n"));
    let spaced = format!(" {home}\n");
    assert_eq!(listed(&[("XDG_CONFIG_HOME", &spaced)], &[]).stdout, format!("{CLUSTER}\n"));
    let below = world.home().join(".config");
    symlink(&home, below).unwrap();
    for xdg in ["", "  ", "relative/path"] {
        let said = listed(&[("XDG_CONFIG_HOME", xdg), ("HOME", &home)], &[]);
        assert_eq!(said.stdout, format!("{CLUSTER}\n"), "{xdg:?}: {said:?}");
    }
    let said = listed(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "")], &[]);
    assert_eq!(said.code, 2, "{said:?}");
    let wanted = "HOME is not set, and XDG_CONFIG_HOME is \"relative\", no absolute path";
    assert!(said.stderr.contains(wanted), "{said:?}");
}

#[test]
fn a_variable_that_makes_no_sense_is_named_and_one_that_says_nothing_is_not_set() {
    let world = World::new();
    let run = |set: &[(&str, &str)], line: &str| {
        Said::of(world.command(line).envs(set.iter().copied()).output().unwrap())
    };
    let said = run(&[("RAFTCTL_TIMEOUT", "soon")], "version");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.starts_with("error[R0013]: the environment variable RAFTCTL_TIMEOUT"));
    assert_eq!(run(&[("RAFTCTL_TIMEOUT", "soon")], "version --timeout 5s").code, 0);
    let said = run(&[("RAFTCTL_OUTPUT", " JSON\n"), ("RAFTCTL_YES", "perhaps")], "version");
    let code = said.error()["code"].clone();
    assert_eq!(code, "R0013", "for programs, too");
    let empty = ["RAFTCTL_CONTEXT", "RAFTCTL_ENDPOINT", "RAFTCTL_CA", "RAFTCTL_TIMEOUT"];
    let empty: Vec<(&str, &str)> = empty.iter().map(|name| (*name, "")).collect();
    assert_eq!(run(&empty, "version").code, 0);
    let flags = prepared(&world);
    world.ok(&format!("context add other -e a:1 {flags}"));
    let said = run(&[("RAFTCTL_CONTEXT", "nowhere")], "status");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("help: RAFTCTL_CONTEXT is set in the environment"), "{said:?}");
    let endpoints = " 127.0.0.1:1, 127.0.0.1:2,\n";
    let said = run(&[("RAFTCTL_ENDPOINT", endpoints)], "kv get x --timeout 100ms");
    assert!(
        said.stderr.contains("127.0.0.1:1 ") && said.stderr.contains("127.0.0.1:2 "),
        "{said:?}"
    );
}

/// The commands in the head of a unit, with the service's user, and `/etc/raftd` elsewhere.
fn commands(unit: &str, etc: &Path, owner: &str) -> Vec<String> {
    let lines = unit.lines().take_while(|line| line.starts_with('#'));
    let commands = lines.filter_map(|line| line.strip_prefix("#   "));
    // Users and services are the system's; what they do to files is tried here.
    let commands =
        commands.filter(|line| !["useradd", "systemctl"].iter().any(|w| line.starts_with(w)));
    let etc = etc.display().to_string();
    commands.map(|line| line.replace("root:raftd", owner).replace("/etc/raftd", &etc)).collect()
}

#[test]
fn the_units_comments_followed_to_the_letter_make_a_bundle_that_the_daemon_can_read() {
    // Somebody else than root, where there is a choice.
    let root = geteuid().is_root();
    let (user, group) = match root {
        true => (61_234, 61_235),
        false => (geteuid().as_raw(), getegid().as_raw()),
    };
    let owner = if root { format!("0:{group}") } else { format!("{user}:{group}") };
    for (unit, bundle) in [("raftd.service", "raftd"), ("raftd@.service", "raftd/n1")] {
        let world = World::new();
        prepared(&world);
        std::fs::set_permissions(world.home(), PermissionsExt::from_mode(0o755)).unwrap();
        let etc = world.home().join("etc/raftd");
        let place = world.home().join("etc").join(bundle);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let from = world.directory().join(format!("{CLUSTER}-n1"));
        let copied = Command::new("cp").arg("-r").args([&from, &place]).status().unwrap();
        assert!(copied.success());
        // A directory beside the file is configuration, too.
        std::fs::create_dir(place.join("raftd.d")).unwrap();
        std::fs::write(place.join("raftd.d/10.toml"), "log_level = \"warn\"\n").unwrap();

        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/systemd");
        let text = std::fs::read_to_string(units.join(unit)).unwrap();
        let commands = commands(&text, &etc, &owner);
        assert!(commands.iter().any(|line| line.contains("chown")), "{unit}: {commands:?}");
        for line in commands {
            let done = Command::new("sh").args(["-c", &line]).status().unwrap();
            assert!(done.success(), "{unit}: {line}");
        }
        for file in ["raftd.toml", "node.key", "raftd.d/10.toml"] {
            let mode = place.join(file).metadata().unwrap().mode();
            assert_eq!(mode & 0o137, 0, "{file} {mode:o}: others can read it, or the group write");
        }
        let program = world.home().join("raftd");
        std::fs::copy(fixtures::program("raftd"), &program).unwrap();
        let mut command = Command::new(&program);
        command.arg("--config").arg(place.join("raftd.toml")).arg("--check-config");
        let checked = Said::of(command.uid(user).gid(group).output().unwrap());
        assert_eq!(checked.code, 0, "{unit}: {checked:?}");
    }
}
