//! Another authority takes the place of the old one, while the cluster serves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::enrol::enroll;
use crate::kit::{CLUSTER, Said, World, free};

/// Clients that come and go all the time: each is a process of its own, with new handshakes.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Said>>>,
}

impl Load {
    fn start(world: &World, makes: impl Fn(&World) -> Command) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |_| {
            let (mut command, stop) = (makes(world), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut all = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    all.push(Said::of(command.output().unwrap()));
                }
                all
            })
        };
        Self { threads: (0..2).map(one).collect(), stop }
    }

    /// Returns how many requests there were; none may have failed.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let all: Vec<Said> = self.threads.into_iter().flat_map(|it| it.join().unwrap()).collect();
        for said in &all {
            assert_eq!(said.code, 0, "{said:?}");
        }
        all.len()
    }
}

fn holders(world: &World) -> Vec<(String, String, String)> {
    let status = world.ok("cert rotate status -o json").data();
    let text = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap_or("-").to_owned();
    let all = status["holders"].as_array().unwrap().iter();
    all.map(|one| (text(one, "name"), text(one, "certificateOf"), text(one, "trusts"))).collect()
}

#[test]
fn an_authority_is_replaced_under_load_without_a_failed_request() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("cert issue web --role client");
    let before = world.ok("cert show authority -o json").data()["keyFingerprint"].clone();
    // A node that is off keeps everybody from using the new one, and nothing is lost.
    world.kill("n3");
    world.await_status(|status| status["leader"].is_object());
    let said = world.run("cert rotate status");
    assert!(said.code == 12 && said.stdout.contains("next: "), "one does not say: {said:?}");
    let said = world.run("cert rotate begin --dry-run");
    assert!(said.code == 7 && said.stdout.contains("would make a new authority"), "{said:?}");
    assert!(!world.directory().join("ca.next").exists());
    let said = world.run("cert rotate begin -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (7, Some("R0511")), "{said:?}");
    assert!(said.error()["message"].as_str().unwrap().contains("n3 at "), "{said:?}");
    world.start("n3", &addresses[2]);
    world.await_status(|status| status["health"] == "HEALTHY");

    let load = Load::start(&world, |world| world.command("kv put greeting hello"));
    let said = world.run("cert rotate finish -o json");
    assert_eq!(said.error()["code"], "R0513", "{said:?}");
    world.ok("cert rotate begin");
    let all = holders(&world);
    assert!(all.iter().all(|(_, of, trusts)| of == "old" && trusts == "both"), "{all:?}");
    // What a program has is renewed first, or it is said whose it is.
    let said = world.run("cert rotate finish -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (5, Some("R0512")), "{said:?}");
    assert!(said.error()["message"].as_str().unwrap().ends_with(": client/web"), "{said:?}");
    world.ok("cert renew client/web operator");
    // What has its certificate from the new one stays connected.
    let mut bench = world.command("bench --writes --clients 4 --duration 8s -o json");
    let bench = bench.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (begun, plan) = (holders(&world), world.ok("cert rotate finish --dry-run"));
    assert!(plan.stdout.contains("would renew"), "{plan:?}");
    assert!(world.ok("cert rotate abort --dry-run").stdout.contains("would go back"));
    assert_eq!(holders(&world), begun);
    let said = world.run("cert renew --authority");
    assert_eq!(said.code, 2, "not while it is replaced: {said:?}");
    world.ok("cert rotate finish");
    assert!(world.ok("cert rotate finish").stdout.starts_with("nothing to do"));
    let all = holders(&world);
    assert_eq!(all.len(), 5, "{all:?}");
    let one = "the authority";
    assert!(all.iter().all(|(_, of, trusts)| of == one && trusts == one), "{all:?}");
    let after = world.ok("cert show authority -o json").data()["keyFingerprint"].clone();
    assert_ne!(before, after);

    let requests = load.end();
    let bench = Said::of(bench.wait_with_output().unwrap());
    assert_eq!(bench.code, 0, "{bench:?}");
    println!("the authority was replaced, {requests} handshakes meanwhile, none failed");
    assert!(requests >= 10, "{requests}");

    // A certificate of the former authority is a stranger's.
    let former = certs::Authority::load(&world.directory().join("ca.former")).unwrap();
    let identity =
        certs::Identity::new(former.cluster(), certs::Role::Operator("mallory".parse().unwrap()));
    let day = std::time::Duration::from_secs(86_400);
    let issued = former.issue(&identity, day).unwrap();
    let place = world.home().join("former");
    issued.write(&place, "mallory").unwrap();
    std::fs::copy(world.directory().join("ca/ca.crt"), place.join("ca.crt")).unwrap();
    let shown = |file: &str| place.join(file).display().to_string();
    let files = (shown("ca.crt"), shown("mallory.crt"), shown("mallory.key"));
    let line = format!("status --ca {} --cert {} --key {}", files.0, files.1, files.2);
    let said = world.run(&line);
    assert!(said.stderr.contains("not signed by the authority"), "{said:?}");
    // All nodes start with what they have.
    for (name, address) in ["n1", "n2", "n3"].iter().zip(&addresses) {
        world.kill(name);
        world.start(name, address);
    }
    world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");
    // A node that was away would refuse the files on a reload.
    let said = world.ok("cert renew n1 --offline").stderr;
    assert!(said.contains("systemctl restart raftd") && !said.contains("reload"), "{said}");
}

#[test]
fn a_rotation_that_is_given_up_leaves_the_old_authority() {
    let mut world = World::new();
    world.found(&free(3));
    let before = world.ok("cert show authority -o json").data()["keyFingerprint"].clone();
    world.ok("cert issue web --role client");
    world.ok("cert rotate begin");
    // Some have certificates of the new one already.
    world.ok("cert renew n1 operator client/web");
    let all = holders(&world);
    assert_eq!(all.iter().filter(|(_, of, _)| of == "new").count(), 3, "{all:?}");
    world.ok("kv put greeting hello");
    // Programs were cut off without a word.
    let plan = world.ok("cert rotate abort --dry-run");
    assert!(plan.stdout.contains("would first sign anew") && plan.stdout.contains("client/web"));
    let said = world.run("cert rotate abort -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (5, Some("R0512")), "{said:?}");
    let all = holders(&world);
    let web = all.iter().find(|(name, _, _)| name == "client/web").unwrap();
    assert_eq!((web.1.as_str(), web.2.as_str()), ("old", "both"), "{all:?}");
    world.ok("cert rotate abort");
    let place = world.directory().join("issued/client-web");
    let file = |name: &str| place.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("web.crt"), file("web.key"));
    world.ok(&format!("kv put greeting hello --ca {ca} --cert {cert} --key {key}"));
    let all = holders(&world);
    let one = "the authority";
    assert!(all.iter().all(|(_, of, trusts)| of == one && trusts == one), "{all:?}");
    let after = world.ok("cert show authority -o json").data()["keyFingerprint"].clone();
    assert_eq!(before, after);
    assert_eq!(world.ok("kv get greeting").stdout, "hello\n");
    let said = world.run("cert rotate abort -o json");
    assert_eq!(said.error()["code"], "R0513", "{said:?}");
    assert!(!world.directory().join("ca.next").exists());
}

/// It is not there, as it should be, and it was asked again and again.
#[test]
fn a_member_that_was_removed_does_not_hold_up_a_rotation() {
    let mut world = World::new();
    world.found(&free(3));
    world.ok("member remove n3 --yes");
    assert_eq!(world.ended("n3"), Some(77));
    world.ok("cert rotate begin");
    world.ok("cert rotate abort");
    world.ok("cert rotate begin");
    world.ok("cert rotate finish");
    assert_eq!(world.run("cert renew --all").code, 0, "nobody is missed");
}

/// They trusted the old authority alone: whoever had a certificate of the new one could not talk to
/// them, nor could they be renewed.
#[test]
fn nodes_that_are_added_while_the_authority_is_replaced_trust_both() {
    let mut world = World::new();
    let addresses = free(5);
    world.found(&addresses[..3]);
    world.ok("cert rotate begin");
    world.ok("cert renew --all");
    let file = world.home().join("n4.token");
    fs::write(&file, world.ok(&format!("token create n4={}", addresses[3])).stdout).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let place = world.home().join("etc").display().to_string();
    let file = file.display().to_string();
    let args = ["--token-file", &file, "--dir", &place, "--listen", &addresses[3], "--run"];
    let _node = enroll(&world, "n4", &args);
    world.ok(&format!("member add n4={} --wait 60s", addresses[3]));
    let add = format!("member add n5={} --bundle", addresses[4]);
    world.ok(&format!("{add} --prepare-only"));
    world.start("n5", &addresses[4]);
    world.ok(&add);
    // One that ends soon is renewed by `init`, which left the operator with the old one alone.
    world.ok("cert renew operator --days 10");
    world.ok(&format!("init {CLUSTER} --wait 60s"));
    let all = holders(&world);
    assert_eq!(all.len(), 6, "{all:?}");
    assert!(all.iter().all(|(_, _, trusts)| trusts == "both"), "{all:?}");
    world.ok("cert renew --all");
    assert!(holders(&world).iter().all(|(_, of, _)| of == "new"), "{:?}", holders(&world));
    world.ok("cert rotate finish");
    let one = "the authority";
    let all = holders(&world);
    assert!(all.iter().all(|(_, of, trusts)| of == one && trusts == one), "{all:?}");
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 5, "{status:#}");
}

/// Lets a node trust one authority alone, as when a step was broken off behind that.
fn narrow(world: &mut World, name: &str, address: &str, authority: &str) {
    world.kill(name);
    let file = world.home().join(format!("data-{name}/identity.pem"));
    let text = fs::read_to_string(&file).unwrap();
    let begin = "-----BEGIN CERTIFICATE-----";
    let parts: Vec<&str> = text.split(begin).collect();
    let [key, certificate, _, _] = parts[..] else { panic!("it trusts both: {text}") };
    let ca = fs::read_to_string(world.directory().join(authority).join("ca.crt")).unwrap();
    fs::write(&file, format!("{key}{begin}{certificate}{ca}")).unwrap();
    world.start(name, address);
    world.await_status(|status| status["health"] == "HEALTHY");
}

/// Who trusted one authority alone refused certificates of the other one for ever, and the rest
/// were cut off from it.
#[test]
fn what_a_step_that_was_broken_off_has_left_is_healed_by_the_other_one() {
    let mut world = World::new();
    let addresses = free(3);
    world.found(&addresses);
    world.ok("cert rotate begin");
    world.ok("cert renew --all");
    narrow(&mut world, "n1", &addresses[0], "ca.next");
    world.kill("n3");
    let said = world.run("cert rotate abort -o json");
    assert_eq!((said.code, said.error()["code"].as_str()), (7, Some("R0511")), "{said:?}");
    let help = said.error()["help"].to_string();
    assert!(help.contains("cert rotate finish") && help.contains("cert rotate abort"), "{help}");
    world.start("n3", &addresses[2]);
    world.await_status(|status| status["health"] == "HEALTHY");
    world.ok("cert rotate abort");
    world.ok("cert rotate begin");
    narrow(&mut world, "n1", &addresses[0], "ca");
    world.ok("cert rotate finish");
    let (all, one) = (holders(&world), "the authority");
    assert!(all.iter().all(|(_, of, trusts)| of == one && trusts == one), "{all:?}");
    for (name, address) in ["n1", "n2", "n3"].iter().zip(&addresses) {
        world.kill(name);
        world.start(name, address);
    }
    world.await_status(|status| status["health"] == "HEALTHY");
    world.ok("kv put greeting hello");
}

/// They were asked where `init` had planned them, and nowhere else.
#[test]
fn a_cluster_whose_first_members_are_gone_is_found() {
    let mut world = World::new();
    let addresses = free(2);
    world.found(&addresses[..1]);
    let add = format!("member add n2={} --bundle", addresses[1]);
    world.ok(&format!("{add} --prepare-only"));
    world.start("n2", &addresses[1]);
    world.ok(&add);
    world.ok("member remove n1 --yes");
    assert_eq!(world.ended("n1"), Some(77));
    let said = world.ok("cert renew --all -o json");
    let visits = said.data()["overTheWire"].as_array().unwrap().clone();
    assert!(visits.len() == 1 && visits[0]["name"] == "n2", "{said:?}");
    world.ok("cert rotate begin");
    world.ok("cert rotate finish");
    world.ok("kv put greeting hello");
}
