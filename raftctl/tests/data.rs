//! The verbs for log, snapshots and sessions, executed on a real cluster: the manual, with its
//! failures.
#![allow(clippy::unwrap_used)]

mod kit;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use kit::{Said, World};

#[test]
fn log_snapshots_and_sessions_are_shown_as_the_manual_says() {
    let mut world = World::new();
    // The manual names addresses, so these are fixed.
    let addresses: Vec<String> = (27521..27524).map(|port| format!("127.0.0.1:{port}")).collect();
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
    world.await_status(|status| status["health"] == "NO_QUORUM");
    world.transcript("lost");
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
