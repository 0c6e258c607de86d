//! Enrolment by token: what a new host and the operator's side do, and what everybody else cannot:
//! who stole a token, stands in between, repeats what was said, or has a wrong clock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::{Credentials, NewKey, Token};
use client::{EnrolmentHost, EnrolmentLine};
use fixtures::{Process, program, wait_for};
use protocol::Enrolment;
use serde_json::Value;

use crate::kit::{CLUSTER, Said, World, free};

fn spawn(world: &World, line: &str) -> Child {
    let mut command = world.command(line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Said {
    Said::of(child.wait_with_output().unwrap())
}

/// Where `member add` puts a node's token.
fn token_file(world: &World, name: &str) -> PathBuf {
    world.directory().join(format!("{CLUSTER}-{name}.token"))
}

fn await_token(world: &World, name: &str) -> Token {
    let file = token_file(world, name);
    let read = || fs::read_to_string(&file).ok()?.parse().ok();
    wait_for(&format!("the token of {name}"), read)
}

fn token_state(world: &World, name: &str) -> String {
    let data = world.ok("token list -o json").data();
    // Of those that were made anew, the former ones are revoked.
    let mut tokens = data["tokens"].as_array().unwrap().iter();
    let of_name = |token: &&Value| token["name"] == name && token["state"] != "revoked";
    tokens.find(of_name).unwrap()["state"].as_str().unwrap().to_owned()
}

fn audited(world: &World, wanted: &str) -> Value {
    let find = || {
        let data = world.ok("audit -o json").data();
        let acts = data["acts"].as_array().unwrap().clone();
        acts.into_iter().find(|act| act["act"].as_str().unwrap().contains(wanted))
    };
    wait_for(wanted, find)
}

pub(crate) fn enroll(world: &World, name: &str, args: &[&str]) -> Process {
    let mut command = Command::new(program("raftd"));
    command
        .arg("enroll")
        .args(args)
        .env("RAFTD_DATA_DIR", world.home().join(format!("data-{name}")));
    command.env("RAFTD_ELECTION_TIMEOUT_MS", "1000,2000");
    Process::start(name, &mut command, &world.home().join(format!("{name}.log")))
}

fn logged(world: &World, name: &str, words: &str) -> String {
    let log = world.home().join(format!("{name}.log"));
    let read = || fs::read_to_string(&log).ok().filter(|text| text.contains(words));
    wait_for(&format!("\"{words}\" in the log of {name}"), read)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A host in the hands of the test.
struct Host {
    host: EnrolmentHost,
}

impl Host {
    fn at(address: &str) -> Self {
        let bind = || EnrolmentHost::listen(address.parse().unwrap()).ok();
        Self { host: wait_for("the address", bind) }
    }

    /// Takes the next caller to the point where it knows this host's request, with a proof over
    /// what `binding` makes of the connection's own; returns the line.
    async fn apply(
        &self,
        (token, key): (&Token, &NewKey),
        clock_s: u64,
        binding: impl Fn([u8; 32]) -> [u8; 32],
    ) -> EnrolmentLine {
        loop {
            let caller = self.host.accept().await.unwrap();
            // Others ask for a node's status.
            let Ok(mut line) = caller.line().await else { continue };
            let Ok(Enrolment::Greeting { token: id, proof, .. }) = line.hear().await else {
                continue;
            };
            assert_eq!(id, token.id.to_bytes());
            let own = line.binding(token.id).unwrap();
            assert!(token.accepts_operator(&own, &proof), "the operator's side is who it is");
            let request = key.request().unwrap();
            let proof = token.prove_host(&binding(own), &request);
            let (request, proof, software) = (request.into(), proof.into(), String::new());
            let application = Enrolment::Application { request, proof, clock_s, software };
            line.say(&application).await.unwrap();
            return line;
        }
    }

    /// Enrols as a right host does; returns what it was given.
    async fn enrol(&self, (token, key): (&Token, &NewKey)) -> Result<Credentials, String> {
        let mut line = self.apply((token, key), now_s(), |own| own).await;
        match line.hear().await? {
            Enrolment::Bundle { authority, certificate, .. } => {
                line.say(&Enrolment::Stored).await?;
                line.finish().await;
                Ok(Credentials::from_pem(&authority, &certificate, &key.to_pem()).unwrap())
            }
            Enrolment::Refused { reason } => Err(reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_new_host_enrols_by_token_starts_and_becomes_a_voter_and_no_key_travels() {
    let mut world = World::new();
    let addresses = free(4);
    world.found(&addresses[..3]);
    let add = spawn(&world, &format!("member add n4={} --wait 2m", addresses[3]));
    let token = await_token(&world, "n4");
    let file = token_file(&world, "n4");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((token.node.get(), token.name.as_str()), (4, "n4"));
    assert_eq!(token_state(&world, "n4"), "unused");
    // Carried to the host.
    let carried = world.home().join("carried.token");
    fs::copy(&file, &carried).unwrap();
    let dir = world.home().join("etc");
    let (carried, dir_text) = (carried.display().to_string(), dir.display().to_string());
    let args = ["--token-file", &carried, "--dir", &dir_text, "--listen", &addresses[3], "--run"];
    let node = enroll(&world, "n4", &args);
    let said = ended(add);
    assert_eq!(said.code, 0, "{said:?}");
    let status = world.await_status(|status| status["health"] == "HEALTHY");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 4, "{status:#}");

    // The key is where it was made, and nowhere else.
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("node.key"), mode("node.crt")), (0o600, 0o644));
    let bundle = world.directory().join(format!("{CLUSTER}-n4"));
    assert!(bundle.join("node.crt").exists() && !bundle.join("node.key").exists());
    let hidden = fs::read_dir(&dir).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".node.key")
    });
    assert_eq!(hidden.count(), 0, "what was needed on the way is gone");
    // The token is used up, its text is gone, and nothing of the secret was kept, said or logged.
    assert_eq!(token_state(&world, "n4"), "used");
    assert!(!file.exists());
    let secret = token.to_text();
    let secret = &secret[secret.len() / 2 - 40..secret.len() / 2];
    let kept =
        fs::read_to_string(world.directory().join("tokens").join(format!("{}.toml", token.id)))
            .unwrap();
    let log = logged(&world, "n4", "certificate valid until");
    for text in [&kept, &log, &said.stdout, &said.stderr] {
        assert!(!text.contains(&token.to_text()) && !text.contains(secret), "{text}");
    }
    for wanted in ["token create n4 (node 4)", "cert issue n4 (node 4) by token", "member add n4"] {
        assert_eq!(audited(&world, wanted)["who"], "operator operator");
    }
    // Asked again, both say that it is done.
    let said = world.ok(&format!("member add n4={}", addresses[3]));
    assert!(!said.stderr.contains("token"), "{said:?}");
    let mut again = Command::new(program("raftd"));
    let again = Said::of(again.arg("enroll").args(&args[..4]).output().unwrap());
    assert!(again.code == 0 && again.stderr.contains("is enrolled already"), "{again:?}");
    // Certificates that are renewed go the old way: the key is not needed for it.
    world.ok("cert renew n4");
    drop(node);
}

#[test]
fn a_second_token_for_a_host_says_that_the_first_counts_no_longer() {
    let mut world = World::new();
    let addresses = free(2);
    world.found(&addresses[..1]);
    let create = || {
        let said = world.ok(&format!("token create n2={}", addresses[1]));
        let token: Token = said.stdout.parse().unwrap();
        (token.id.to_string(), said.stderr)
    };
    let (first, said) = create();
    assert!(!said.contains("counts no longer"), "{said}");
    let (second, said) = create();
    let wanted = format!("token {first} was made for n2 before, and counts no longer: {second}");
    assert!(said.contains(&wanted), "{said}");
    let audit = world.ok("audit").stdout;
    assert!(audit.contains(&format!("token revoke {first} of n2")), "{audit}");
}

#[test]
fn an_interrupted_enrolment_goes_on_with_the_same_key_and_strangers_get_nothing_from_a_host() {
    let mut world = World::new();
    let addresses = free(2);
    world.found(&addresses[..1]);
    let said = world.ok(&format!("token create n2={}", addresses[1]));
    let token: Token = said.stdout.parse().unwrap();
    assert!(said.stderr.contains("raftd enroll --token-file"), "{said:?}");
    let file = world.home().join("n2.token");
    let write = |mode| {
        fs::write(&file, &said.stdout).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let dir = world.home().join("etc");
    let (file_text, dir_text) = (file.display().to_string(), dir.display().to_string());
    let args = ["--token-file", &file_text, "--dir", &dir_text, "--listen", &addresses[1]];

    // A file that others may read, and one that was cut off.
    write(0o644);
    let run =
        || Said::of(Command::new(program("raftd")).arg("enroll").args(args).output().unwrap());
    let refused = run();
    assert!(refused.code == 78 && refused.stderr.contains("others may read"), "{refused:?}");
    write(0o600);
    fs::write(&file, &said.stdout[..said.stdout.len() - 20]).unwrap();
    let refused = run();
    assert!(refused.code == 78 && refused.stderr.contains("is damaged"), "{refused:?}");
    write(0o600);

    let host = enroll(&world, "first", &args);
    logged(&world, "first", "waiting at");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dial = || EnrolmentLine::dial(&addresses[1], Duration::from_secs(5));
        // Who only knows the token's id, who has another one, and who repeats what it heard.
        let other = world.ok(&format!("token create n3={}", addresses[1])).stdout;
        let other: Token = other.parse().unwrap();
        let mut line = dial().await.unwrap();
        let heard = {
            let binding = line.binding(token.id).unwrap();
            token.verifier().prove_operator(token.id, &binding).unwrap()
        };
        drop(line);
        for (id, proof) in [
            (token.id, vec![0; 32]),
            (token.id, heard),
            (other.id, other.verifier().prove_operator(other.id, &[0; 32]).unwrap()),
        ] {
            line = dial().await.unwrap();
            let (token, proof) = (id.to_bytes(), proof.into());
            let (clock_s, software) = (now_s(), String::new());
            line.say(&Enrolment::Greeting { token, proof, clock_s, software }).await.unwrap();
            match line.hear().await {
                Err(_) | Ok(Enrolment::Refused { .. }) => {}
                Ok(said) => panic!("a stranger is told {said:?}"),
            }
        }
    });
    logged(&world, "first", "does not prove that it made the token");
    // It is killed with its key made, and goes on with it.
    host.kill();
    let pending = || fs::read(dir.join(format!(".node.key.{}", token.id))).unwrap();
    let key = pending();
    let _host = enroll(&world, "second", &args);
    logged(&world, "second", "waiting at");
    assert_eq!(pending(), key);
    let said = world.run(&format!("member add n2={} --wait 5s", addresses[1]));
    // Nobody has started raftd there: the certificate is in place all the same.
    assert_eq!(said.code, 6, "{said:?}");
    assert_eq!(fs::read(dir.join("node.key")).unwrap(), key);
    assert!(Credentials::load_from(&dir, "node").is_ok());
}

#[test]
fn a_token_is_good_for_one_key_and_for_nobody_in_between_or_with_a_wrong_clock() {
    let mut world = World::new();
    let addresses = free(2);
    world.found(&addresses[..1]);
    let address = &addresses[1];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = runtime.block_on(async { Host::at(address) });
    let add =
        |name: &str, flags: &str| spawn(&world, &format!("member add {name}={address} {flags}"));
    let create = |name: &str| -> Token {
        world.ok(&format!("token create {name}={address}")).stdout.parse().unwrap()
    };
    let [mine, others] = [NewKey::generate().unwrap(), NewKey::generate().unwrap()];

    // The newest token of a node is the one that counts.
    let first = create("n2");
    let token = create("n2");
    let listed = world.ok("token list -o json").data();
    let mut tokens = listed["tokens"].as_array().unwrap().iter();
    let listed = tokens.find(|one| one["token"] == first.id.to_string().as_str()).unwrap();
    assert_eq!(listed["state"], "revoked");

    // A clock that is wrong is told before anything is signed.
    for (apart, way) in [(-10_800_i64, "3 hours behind"), (10_800, "3 hours ahead of")] {
        let child = add("n2", "--wait 30s");
        let clock = now_s().checked_add_signed(apart).unwrap();
        let heard = runtime.block_on(async {
            host.apply((&token, &mine), clock, |own| own).await.hear().await.unwrap()
        });
        let Enrolment::Refused { reason } = heard else { panic!("{heard:?}") };
        assert!(reason.contains(way), "{reason}");
        let said = ended(child);
        assert!(said.code == 5 && said.stderr.contains("R0534"), "{said:?}");
    }
    // A proof that was made for another connection: somebody stands in between.
    let child = add("n2", "--wait 5s");
    let heard = runtime
        .block_on(async { host.apply((&token, &mine), now_s(), |_| [7; 32]).await.hear().await });
    assert!(heard.is_err(), "{heard:?}");
    let said = ended(child);
    assert!(said.code == 4 && said.stderr.contains("R0533"), "{said:?}");
    assert_eq!(token_state(&world, "n2"), "unused");

    // The first key gets the certificate, as often as its host asks; another one never does.
    for _ in 0..2 {
        let child = add("n2", "--wait 5s");
        let found = runtime.block_on(host.enrol((&token, &mine))).unwrap();
        assert_eq!(found.identity().role.to_string(), "node 2");
        let said = ended(child);
        assert_eq!(said.code, 6, "nobody has started it: {said:?}");
    }
    let child = add("n2", "--wait 30s");
    let refused = runtime.block_on(host.enrol((&token, &others))).unwrap_err();
    assert!(refused.contains("was used by another host"), "{refused}");
    let said = ended(child);
    assert!(said.code == 5 && said.stderr.contains("R0532"), "{said:?}");

    // Taken back, or too late, while it is waited for.
    let child = add("n3", "--wait 60s");
    let token = await_token(&world, "n3");
    assert!(world.ok("token revoke n3 --dry-run").stdout.contains("unused"));
    world.ok("token revoke n3");
    assert!(!token_file(&world, "n3").exists());
    let refused = runtime.block_on(host.enrol((&token, &others))).unwrap_err();
    assert!(refused.contains("was revoked"), "{refused}");
    let said = ended(child);
    assert!(said.code == 5 && said.stderr.contains("R0531"), "{said:?}");
    let child = add("n4", "--valid 2s --wait 60s");
    let token = await_token(&world, "n4");
    wait_for("the token to expire", || (token_state(&world, "n4") == "expired").then_some(()));
    let refused = runtime.block_on(host.enrol((&token, &others))).unwrap_err();
    assert!(refused.contains("has expired"), "{refused}");
    assert_eq!(ended(child).code, 5);
    assert_eq!(world.run("token revoke n9").code, 3);
    audited(&world, "token revoke");
}
