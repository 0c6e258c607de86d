#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::testing::{HOUR, authority, credentials, issued, node, odd_leaf, operator};
use crate::{Authority, DEFAULT_CA_VALIDITY, Issued};

fn written(issued: &Issued) -> (TempDir, PemPaths) {
    let directory = tempdir().unwrap();
    issued.write(directory.path(), "node").unwrap();
    let paths = PemPaths::in_directory(directory.path(), "node");
    (directory, paths)
}

fn load(paths: &PemPaths) -> Result<Credentials, CertError> {
    Credentials::load(&paths.ca, &paths.certificate, &paths.key)
}

fn from(authority: &Authority, (certificate, key): &(String, String)) -> Result<(), CertError> {
    Credentials::from_pem(authority.certificate_pem(), certificate, key).map(drop)
}

#[test]
fn what_was_written_is_loaded_again() {
    let authority = authority();
    let issued = issued(&authority, node(3));
    let (directory, paths) = written(&issued);
    for loaded in [load(&paths), Credentials::load_from(directory.path(), "node")] {
        let loaded = loaded.unwrap();
        assert_eq!(*loaded.identity(), issued.identity);
        assert_eq!(loaded.cluster(), authority.cluster());
        assert_eq!(loaded.not_after(), issued.validity.not_after);
        assert_eq!(loaded.authority_fingerprint(), authority.fingerprint());
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&paths.key), 0o600);
    assert_eq!((mode(&paths.ca), mode(&paths.certificate)), (0o644, 0o644));
}

#[test]
fn one_directory_holds_several_and_writing_again_replaces() {
    let authority = authority();
    let directory = tempdir().unwrap();
    let bundle = directory.path().join("new/bundle");
    issued(&authority, node(1)).write(&bundle, "node").unwrap();
    issued(&authority, operator()).write(&bundle, "operator").unwrap();
    let renewed = issued(&authority, node(1));
    renewed.write(&bundle, "node").unwrap();
    let node = Credentials::load_from(&bundle, "node").unwrap();
    assert_eq!(node.certificate(), renewed.credentials().unwrap().certificate());
    assert_eq!(Credentials::load_from(&bundle, "operator").unwrap().identity().role, operator());
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_directory_of_another_authority_is_not_written_to() {
    let (directory, paths) = written(&issued(&authority(), node(1)));
    let before = fs::read(&paths.certificate).unwrap();
    let error = issued(&authority(), node(1)).write(directory.path(), "node").unwrap_err();
    assert!(matches!(error, CertError::AuthorityExists { .. }), "{error}");
    assert_eq!(fs::read(&paths.certificate).unwrap(), before);
    load(&paths).unwrap();
}

#[test]
fn a_prefix_that_leaves_the_directory_or_is_the_authority_s_is_refused() {
    let directory = tempdir().unwrap();
    let credentials = credentials(&authority(), node(1));
    for prefix in ["", "../node", "a/b", ".hidden", "ca"] {
        let error = credentials.write(directory.path(), prefix).unwrap_err();
        assert!(
            matches!(error, CertError::Identity(IdentityError::BadName { .. })),
            "{prefix}: {error}"
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let (_directory, paths) = written(&issued(&authority(), node(1)));
    for mode in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(&paths.key, fs::Permissions::from_mode(mode)).unwrap();
        let error = load(&paths).unwrap_err().to_string();
        let key = paths.key.display();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
        assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
        assert!(error.ends_with(&format!("run: chmod 600 {key}")), "{error}");
    }
    fs::set_permissions(&paths.key, fs::Permissions::from_mode(0o400)).unwrap();
    load(&paths).unwrap();
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let authority = authority();
    let (_directory, paths) = written(&issued(&authority, node(1)));
    fs::write(&paths.key, issued(&authority, node(1)).key_pem).unwrap();
    let error = load(&paths).unwrap_err();
    assert!(matches!(error, CertError::KeyMismatch { .. }), "{error}");
    let (key, certificate) = (paths.key.display(), paths.certificate.display());
    assert_eq!(error.to_string(), format!("{key} is not the private key of {certificate}"));
}

#[test]
fn a_missing_file_is_named() {
    let (_directory, paths) = written(&issued(&authority(), node(1)));
    for path in [&paths.key, &paths.certificate, &paths.ca] {
        fs::remove_file(path).unwrap();
        let error = load(&paths).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn files_in_the_wrong_place_are_refused_by_what_they_are() {
    let (_directory, paths) = written(&issued(&authority(), node(1)));
    let error = Credentials::load(&paths.certificate, &paths.certificate, &paths.key).unwrap_err();
    assert!(matches!(error, CertError::NotAnAuthority { .. }), "{error}");
    let error = Credentials::load(&paths.ca, &paths.key, &paths.key).unwrap_err();
    assert!(matches!(error, CertError::Pem { .. }), "{error}");
    assert!(error.to_string().contains("no BEGIN CERTIFICATE"), "{error}");
    let error = Credentials::load(&paths.ca, &paths.ca, &paths.key).unwrap_err();
    assert!(matches!(error, CertError::Identity(IdentityError::BadUri { .. })), "{error}");
    let private_copy = paths.key.with_extension("copy");
    store::write_atomically(&private_copy, &fs::read(&paths.ca).unwrap(), store::SECRET).unwrap();
    let error = Credentials::load(&paths.ca, &paths.certificate, &private_copy).unwrap_err();
    assert!(error.to_string().contains("no BEGIN PRIVATE KEY"), "{error}");
}

#[test]
fn the_authority_of_another_cluster_is_refused_by_the_cluster() {
    let (mine, other) = (authority(), authority());
    let leaf = issued(&mine, node(1));
    let error =
        Credentials::from_pem(other.certificate_pem(), &leaf.certificate_pem, &leaf.key_pem)
            .unwrap_err();
    let (expected, found) = (mine.cluster(), other.cluster());
    assert_eq!(
        error.to_string(),
        format!(
            "the authority's certificate belongs to cluster {found}, not to cluster {expected}"
        )
    );
}

#[test]
fn another_authority_of_the_same_cluster_is_refused_by_its_fingerprint() {
    let mine = authority();
    let other = Authority::create(mine.cluster(), DEFAULT_CA_VALIDITY).unwrap();
    let leaf = issued(&mine, node(1));
    let error =
        Credentials::from_pem(other.certificate_pem(), &leaf.certificate_pem, &leaf.key_pem)
            .unwrap_err();
    match error {
        CertError::UnknownAuthority { expected, found, .. } => {
            assert_eq!(
                (expected.as_str(), found.as_str()),
                (other.fingerprint(), mine.fingerprint())
            );
        }
        error => panic!("{error}"),
    }
}

#[test]
fn an_expired_certificate_and_one_of_the_future_are_refused_with_the_date() {
    let authority = authority();
    let now = authority.validity().not_before;
    let at = |not_before, not_after| {
        let identity = Identity::new(authority.cluster(), node(1));
        let issued = authority.issue_within(&identity, Validity { not_before, not_after }).unwrap();
        issued.credentials().unwrap_err()
    };
    let error = at(1_000_000_000, 1_100_000_000);
    let said = error.to_string();
    assert!(
        said.starts_with("the certificate (node 1) expired at 2004-11-09T11:33:20Z, "),
        "{said}"
    );
    assert!(said.contains(" days ago by a clock that says 2"), "{said}");
    assert!(matches!(error, CertError::Expired { not_after: 1_100_000_000, .. }));
    let error = at(now + 86_400, now + 2 * 86_400);
    assert!(
        matches!(error, CertError::NotYetValid { not_before, .. } if not_before == now + 86_400)
    );
    assert!(error.to_string().contains("behind the one that made it"), "{error}");
}

#[test]
fn an_expired_authority_is_refused_even_if_the_leaf_is_not() {
    let window = Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 };
    let old = Authority::create_within(crate::ClusterId::generate().unwrap(), window).unwrap();
    // odd_leaf issues from now on, beyond the authority's end.
    let error = from(&old, &odd_leaf(&old, |_| ())).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("the authority's certificate expired at 2004-11-09T11:33:20Z, "),
        "{said}"
    );
    assert!(said.ends_with("Z (raftctl cert renew --authority --all)"), "{said}");
}

#[test]
fn a_certificate_needs_exactly_one_identity() {
    let authority = authority();
    let error = from(&authority, &odd_leaf(&authority, |p| p.subject_alt_names.clear()));
    assert!(matches!(error, Err(CertError::NoIdentity { .. })), "{error:?}");
    let twice = |p: &mut rcgen::CertificateParams| {
        let first: SanType = p.subject_alt_names[0].clone();
        p.subject_alt_names.push(first);
    };
    let error = from(&authority, &odd_leaf(&authority, twice));
    assert!(matches!(error, Err(CertError::TwoIdentities { count: 2, .. })), "{error:?}");
}

#[test]
fn a_node_s_certificate_must_serve_both_sides() {
    let authority = authority();
    for (usage, expected) in [
        (ExtendedKeyUsagePurpose::ClientAuth, Purpose::Server),
        (ExtendedKeyUsagePurpose::ServerAuth, Purpose::Client),
    ] {
        let leaf = odd_leaf(&authority, |p| p.extended_key_usages = vec![usage]);
        let error = from(&authority, &leaf).unwrap_err();
        assert!(matches!(&error, CertError::WrongPurpose { purpose, .. } if *purpose == expected));
        assert!(error.to_string().contains("(node 1) may not be used as a"), "{error}");
    }
}

#[test]
fn no_damage_to_a_file_makes_loading_panic_and_no_damaged_certificate_counts() {
    let authority = authority();
    let Issued { ca_pem, certificate_pem, key_pem, .. } = issued(&authority, node(1));
    let whole = [ca_pem, certificate_pem, key_pem];
    for which in 0..whole.len() {
        for at in (0..whole[which].len()).step_by(7) {
            let mut texts = whole.clone();
            let old = texts[which].as_bytes()[at];
            let new = if old == b'A' { "B" } else { "A" };
            texts[which].replace_range(at..=at, new);
            let result = Credentials::from_pem(&texts[0], &texts[1], &texts[2]);
            // PEM's frame is read leniently; what is between is signed.
            let body = whole[1].find("-----\n").unwrap() + 6..whole[1].find("\n-----END").unwrap();
            if which == 1 && body.contains(&at) && old != b'\n' {
                assert!(result.is_err(), "byte {at}");
            }
        }
    }
}

#[test]
fn validity_is_an_hour_here_and_begins_a_little_before() {
    let window = credentials(&authority(), node(1)).validity();
    assert_eq!(
        window.not_after - window.not_before,
        HOUR.as_secs() + crate::validity::CLOCK_SKEW.as_secs()
    );
}

/// The end by which people renew: behind that of its authority nobody accepts a certificate.
#[test]
fn a_certificate_is_of_no_use_behind_the_end_of_its_authority() {
    let short = Authority::create(ClusterId::generate().unwrap(), HOUR / 2).unwrap();
    let (certificate, key) = odd_leaf(&short, |_| ());
    let longer = Credentials::from_pem(short.certificate_pem(), &certificate, &key).unwrap();
    assert!(longer.not_after() > short.validity().not_after, "it was signed for longer");
    assert_eq!(longer.usable_until(), short.validity().not_after);
    let shorter = credentials(&authority(), node(1));
    assert_eq!(shorter.usable_until(), shorter.not_after());
}
