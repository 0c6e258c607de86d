#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::tempdir;

use super::*;
use crate::CA_CERTIFICATE_FILE;
use crate::IdentityError;
use crate::testing::{HOUR, authority, issued, node, odd_leaf, operator};
use crate::{DEFAULT_CA_VALIDITY, describe};

#[test]
fn a_stored_authority_is_loaded_as_it_was_and_goes_on_issuing() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("prod/ca");
    let made = authority();
    assert!(!Authority::is_stored(&directory).unwrap());
    made.store(&directory).unwrap();
    assert!(Authority::is_stored(&directory).unwrap());

    let loaded = Authority::load(&directory).unwrap();
    assert_eq!(loaded.cluster(), made.cluster());
    assert_eq!(loaded.fingerprint(), made.fingerprint());
    assert_eq!(loaded.certificate_pem(), made.certificate_pem());
    assert_eq!(loaded.validity(), made.validity());
    // A leaf from before and one from after count alike under either copy of the certificate.
    issued(&made, node(1)).credentials().unwrap();
    let later = issued(&loaded, node(2));
    let text = (made.certificate_pem(), &later.certificate_pem, &later.key_pem);
    crate::Credentials::from_pem(text.0, text.1, text.2).unwrap();
}

#[test]
fn its_directory_is_0700_its_certificate_0644_and_its_key_0600() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("ca");
    authority().store(&directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(CA_CERTIFICATE_FILE)), 0o644);
    assert_eq!(mode(&directory.join(CA_KEY_FILE)), 0o600);
}

#[test]
fn an_existing_authority_is_never_overwritten() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("ca");
    let first = authority();
    first.store(&directory).unwrap();
    for other in [&first, &authority()] {
        let error = other.store(&directory).unwrap_err();
        assert!(matches!(error, CertError::AuthorityExists { .. }), "{error}");
    }
    // Nor is what is left of one: half an authority may be somebody's only half.
    fs::remove_file(directory.join(CA_CERTIFICATE_FILE)).unwrap();
    let key = fs::read(directory.join(CA_KEY_FILE)).unwrap();
    let error = authority().store(&directory).unwrap_err();
    assert!(error.to_string().contains("ca.key: there is another authority already"), "{error}");
    assert_eq!(fs::read(directory.join(CA_KEY_FILE)).unwrap(), key);
    assert!(Authority::load(&directory).unwrap_err().is_not_found());
}

#[test]
fn a_directory_with_other_files_is_left_alone() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("notes"), b"mine").unwrap();
    let error = authority().store(directory.path()).unwrap_err();
    assert!(matches!(error, CertError::NotEmpty { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_loose_key_another_key_and_a_leaf_are_no_authority() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("ca");
    authority().store(&directory).unwrap();
    let (certificate, key) = (directory.join(CA_CERTIFICATE_FILE), directory.join(CA_KEY_FILE));

    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Authority::load(&directory).unwrap_err();
    assert!(matches!(error, CertError::KeyFileMode { mode: 0o640, .. }), "{error}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let stranger = authority();
    fs::write(&certificate, stranger.certificate_pem()).unwrap();
    let error = Authority::load(&directory).unwrap_err();
    assert!(matches!(error, CertError::KeyMismatch { .. }), "{error}");
    assert!(error.to_string().contains(key.to_str().unwrap()), "{error}");

    let leaf = issued(&stranger, node(1));
    fs::write(&certificate, &leaf.certificate_pem).unwrap();
    fs::write(&key, &leaf.key_pem).unwrap();
    let error = Authority::load(&directory).unwrap_err();
    assert!(matches!(error, CertError::NotAnAuthority { .. }), "{error}");

    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let error = Authority::load(&directory).unwrap_err();
    assert!(matches!(error, CertError::BadKey { .. }), "{error}");
}

#[test]
fn an_authority_that_names_no_cluster_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut params = parameters("mine", "spiffe://x", Validity::from_now(HOUR).unwrap()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let load = |params: &CertificateParams| {
        let directory = tempdir().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(directory.path().join(CA_CERTIFICATE_FILE), pem).unwrap();
        let path = directory.path().join(CA_KEY_FILE);
        store::write_atomically(&path, key.serialize_pem().as_bytes(), store::SECRET).unwrap();
        Authority::load(directory.path()).unwrap_err()
    };
    assert!(matches!(load(&params), CertError::Identity(IdentityError::BadUri { .. })));
    params.subject_alt_names.clear();
    assert!(matches!(load(&params), CertError::NoIdentity { .. }));
}

#[test]
fn an_identity_of_another_cluster_is_not_certified() {
    let identity = Identity::new(ClusterId::generate().unwrap(), node(1));
    let error = authority().issue(&identity, HOUR).unwrap_err();
    assert!(matches!(error, CertError::WrongCluster { .. }), "{error}");
}

#[test]
fn an_expired_authority_issues_nothing() {
    let window = Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 };
    let old = Authority::create_within(ClusterId::generate().unwrap(), window).unwrap();
    let identity = Identity::new(old.cluster(), node(1));
    let error = old.issue(&identity, HOUR).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("the authority's certificate expired at 2004-11-09T11:33:20Z, "),
        "{said}"
    );
    assert!(said.ends_with("Z (raftctl cert renew --authority --all)"), "{said}");
    let within = Validity { not_before: 1_100_000_001, not_after: 1_200_000_000 };
    let error = old.issue_within(&identity, within).unwrap_err();
    assert!(matches!(error, CertError::BadValidity { .. }), "{error}");
}

#[test]
fn a_certificate_does_not_outlive_its_authority() {
    let short = Authority::create(ClusterId::generate().unwrap(), HOUR).unwrap();
    let identity = Identity::new(short.cluster(), operator());
    let leaf = short.issue(&identity, HOUR * 24).unwrap();
    assert_eq!(leaf.validity.not_after, short.validity().not_after);
    assert_eq!(leaf.credentials().unwrap().not_after(), short.validity().not_after);
}

#[test]
fn two_certificates_for_one_identity_have_their_own_keys_and_serials() {
    let authority = authority();
    let (one, two) = (issued(&authority, node(1)), issued(&authority, node(1)));
    assert_ne!(one.key_pem, two.key_pem);
    let serial =
        |issued: &Issued| describe(issued.credentials().unwrap().certificate()).unwrap().serial;
    assert_ne!(serial(&one), serial(&two));
    assert_eq!(serial(&one).len(), 32);
}

#[test]
fn no_key_is_in_a_debug_output() {
    let authority = authority();
    let issued = issued(&authority, node(1));
    let secret = issued.key_pem.lines().nth(1).unwrap();
    let printed =
        format!("{authority:?} {issued:?} {issued:#?} {:?}", issued.credentials().unwrap());
    assert!(printed.contains("fingerprint") && printed.contains("Identity"), "{printed}");
    assert!(!printed.contains("PRIVATE") && !printed.contains(&secret[..16]), "{printed}");
}

#[test]
fn a_leaf_cannot_sign_another() {
    let authority = authority();
    let (pem, key) = odd_leaf(&authority, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    // A certificate that may sign is not accepted as anybody's own.
    let error = crate::Credentials::from_pem(authority.certificate_pem(), &pem, &key).unwrap_err();
    assert!(matches!(error, CertError::BadChain { .. }), "{error}");
}

#[test]
fn the_default_validity_of_an_authority_is_ten_years() {
    let window = authority().validity();
    let length = window.not_after - window.not_before;
    assert_eq!(length, DEFAULT_CA_VALIDITY.as_secs() + crate::validity::CLOCK_SKEW.as_secs());
    assert_eq!(length / (365 * 24 * 3600), 10);
}
