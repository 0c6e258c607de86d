use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::process::Command;

use certs::{Authority, ClusterId, Identity, Issued, Role};
use tempfile::{TempDir, tempdir};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and files of a certificate that it has issued.
struct Place {
    authority: Authority,
    certificates: Certificates,
    certificate: PathBuf,
    key: PathBuf,
    directory: TempDir,
}

fn place() -> Place {
    let directory = tempdir().expect("a directory");
    let cluster = ClusterId::generate().expect("the system has random bytes");
    let authority = Authority::create(cluster, DAY).expect("it can be made");
    issued(&authority).write(directory.path(), "node").expect("there is room");
    let [ca, certificate, key] =
        ["ca.crt", "node.crt", "node.key"].map(|name| directory.path().join(name));
    let files = CertificateFiles { ca, certificate: certificate.clone(), key: key.clone() };
    let certificates = Certificates::Files(files);
    Place { authority, certificates, certificate, key, directory }
}

fn issued(authority: &Authority) -> Issued {
    let identity = Identity::new(authority.cluster(), Role::Node(NonZeroU64::MIN));
    authority.issue(&identity, DAY).expect("it can be issued")
}

/// What came in that moment would not be used until the next change, which is months later.
#[test]
fn files_that_change_while_they_are_read_are_taken_for_new_the_next_time() {
    let Place { certificates, certificate, directory, .. } = place();
    // Read last: whoever reads it waits there for a writer.
    let stored = directory.path().join("stored");
    let made = Command::new("mkfifo").args(["-m", "600"]).arg(&stored).status();
    assert!(made.expect("every system has it").success());
    let (files, from) = (certificates.clone(), stored.clone());
    let reader = std::thread::spawn(move || stamped(&files, &from));
    let writer = std::fs::File::options().write(true).open(&stored).expect("somebody reads");
    std::fs::write(&certificate, "another one").expect("there is room");
    drop(writer);
    let (stamps, loaded) = reader.join().expect("no panic");
    loaded.expect("what was there before is whole");
    assert!(stamps != Stamps::of(&certificates), "what came meanwhile is never read");
}

/// They came there with a copy of that node's directory, and this one would speak in its name.
#[test]
fn newer_credentials_of_another_node_in_the_data_directory_are_not_taken() {
    let Place { authority, certificates, directory, .. } = place();
    let stored = directory.path().join("stored");
    let two = Role::Node(NonZeroU64::MIN.saturating_add(1));
    let other = authority.issue(&Identity::new(authority.cluster(), two), DAY);
    let other = other.and_then(|issued| issued.credentials()).expect("it can be issued");
    other.store(&stored).expect("there is room");
    let chosen = choose(configured(&certificates), &certificates, &stored, true);
    let chosen = chosen.expect("the configured ones are whole");
    assert_eq!(chosen.identity().node_id(), Some(NonZeroU64::MIN));
}

/// Follows credentials, of which those of the endpoint are in use.
fn follower(
    certificates: Certificates,
    directory: &Path,
    (endpoint, troubles): (&Endpoint, &Troubles),
) -> Follower {
    let unread = CertificatesRead::Unread;
    Follower {
        seen: Stamps::of(&certificates),
        certificates,
        stored: directory.join("stored"),
        requests: mpsc::channel(1).1,
        key: None,
        endpoint: endpoint.clone(),
        end: CertificateEnd::of(&endpoint.credentials()),
        troubles: troubles.clone(),
        looked: None,
        refused: None,
        warned: None,
        elsewhere: watch::Sender::new(Elsewhere::new(BTreeMap::new())),
        done: watch::Sender::new(Done { number: 0, certificates: unread }),
    }
}

/// A certificate and its key are two files: whoever copies them would be told that they do not fit.
#[tokio::test]
async fn files_are_left_alone_until_nobody_changes_them_any_more() {
    let Place { authority, certificates, certificate, key, directory } = place();
    let present = configured(&certificates).expect("they are whole");
    let troubles = Troubles::default();
    let endpoint = Endpoint::client(&present).expect("a socket can be had");
    let mut follower = follower(certificates, directory.path(), (&endpoint, &troubles));
    follower.look().await;
    let next = issued(&authority);
    for (file, text) in [(&certificate, &next.certificate_pem), (&key, &next.key_pem)] {
        std::fs::write(file, text).expect("there is room");
        follower.look().await;
        assert!(troubles.told().is_empty(), "{:?}", troubles.told());
        assert!(endpoint.credentials().is_same_as(&present));
    }
    follower.look().await;
    let next = next.credentials().expect("it fits");
    assert!(endpoint.credentials().is_same_as(&next), "{:?}", troubles.told());
}

/// Nothing tells versions of them from each other, and nobody hands them in once more.
#[tokio::test]
async fn credentials_in_memory_that_are_refused_stay_so_and_are_tried_again() {
    let Place { authority, certificates, directory, .. } = place();
    let present = configured(&certificates).expect("they are whole");
    let troubles = Troubles::default();
    let endpoint = Endpoint::client(&present).expect("a socket can be had");
    let two = Role::Node(NonZeroU64::MIN.saturating_add(1));
    let other = authority.issue(&Identity::new(authority.cluster(), two), DAY);
    let other = other.and_then(|issued| issued.credentials()).expect("it can be issued");
    let memory = Certificates::Memory(other);
    let mut follower = follower(memory, directory.path(), (&endpoint, &troubles));
    let read = follower.take(true).await;
    assert!(matches!(read, CertificatesRead::Refused(_)), "{read:?}");
    for _ in 0..3 {
        follower.look().await;
        assert!(!troubles.told().is_empty(), "they are forgotten, and run out one day");
    }
    let next = issued(&authority).credentials().expect("it fits");
    follower.certificates = Certificates::Memory(next.clone());
    follower.look().await;
    assert!(endpoint.credentials().is_same_as(&next), "{:?}", troubles.told());
    assert!(troubles.told().is_empty(), "{:?}", troubles.told());
}
