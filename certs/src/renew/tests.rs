#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustls::pki_types::pem::PemObject as _;
use tempfile::tempdir;

use super::*;
use crate::testing::{HOUR, authority, credentials, issued, node, odd_leaf, operator};
use crate::{CheckedRequest, ClusterId, Credentials, NewKey, PemPaths, describe};

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Long ago.
const PAST: Validity = Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 };

#[test]
fn an_expired_certificate_is_renewed_for_the_same_holder_and_key() {
    let authority = authority();
    for role in [node(3), operator()] {
        let identity = Identity::new(authority.cluster(), role);
        let old = authority.issue_within(&identity, PAST).unwrap();
        let before = der(&old.certificate_pem);
        let error = old.credentials().unwrap_err().to_string();
        assert!(error.contains("expired at 2004-11-09T11:33:20Z, "), "{error}");
        assert!(error.ends_with("Z (raftctl cert renew --all)"), "{error}");

        let renewed = authority.renew_certificate(&before, HOUR, "old.crt").unwrap();
        assert_eq!(renewed.identity, identity);
        let loaded = Credentials::from_pem(
            authority.certificate_pem(),
            &renewed.certificate_pem,
            &old.key_pem,
        )
        .unwrap();
        assert_eq!(loaded.validity(), renewed.validity);
        let (before, after) =
            (describe(&before).unwrap(), describe(&der(&renewed.certificate_pem)).unwrap());
        assert_eq!(before.key, after.key);
        assert_ne!(before.serial, after.serial);
    }
}

#[test]
fn nothing_of_another_authority_is_renewed() {
    let authority = authority();
    // The same cluster's id under another key, as after an authority was lost and made anew.
    let twin = Authority::create(authority.cluster(), HOUR).unwrap();
    let error = authority
        .renew_certificate(&der(&issued(&twin, node(1)).certificate_pem), HOUR, "a.crt")
        .unwrap_err();
    assert!(matches!(error, CertError::UnknownAuthority { .. }), "{error}");
    let foreign = Authority::create(ClusterId::generate().unwrap(), HOUR).unwrap();
    let error = authority
        .renew_certificate(&der(&issued(&foreign, node(1)).certificate_pem), HOUR, "a.crt")
        .unwrap_err();
    assert!(matches!(error, CertError::WrongCluster { .. }), "{error}");
    // An authority's certificate names no holder, and a certificate of nobody is not renewed.
    assert!(authority.renew_certificate(authority.certificate(), HOUR, "ca.crt").is_err());
    let (nobody, _) = odd_leaf(&authority, |params| params.subject_alt_names.clear());
    let error = authority.renew_certificate(&der(&nobody), HOUR, "a.crt").unwrap_err();
    assert!(matches!(error, CertError::NoIdentity { .. }), "{error}");
}

#[test]
fn a_renewed_certificate_ends_with_its_authority() {
    let authority = Authority::create(ClusterId::generate().unwrap(), HOUR).unwrap();
    let old = der(&issued(&authority, node(1)).certificate_pem);
    let renewed = authority.renew_certificate(&old, 5 * HOUR, "old.crt").unwrap();
    assert_eq!(renewed.validity.not_after, authority.validity().not_after);
}

#[test]
fn an_expired_authority_signs_nothing_until_it_is_renewed_and_old_certificates_stay() {
    let old = Authority::create_within(ClusterId::generate().unwrap(), PAST).unwrap();
    let identity = Identity::new(old.cluster(), node(1));
    let leaf = old.issue_within(&identity, PAST).unwrap();
    let certificate = der(&leaf.certificate_pem);
    let error = old.renew_certificate(&certificate, HOUR, "node.crt").unwrap_err();
    assert!(matches!(error, CertError::AuthorityExpired { .. }), "{error}");
    let request = NewKey::generate().and_then(|key| key.request()).unwrap();
    let request = CheckedRequest::from_der(&request).unwrap();
    let error = old.sign_request(&request, &identity, HOUR).unwrap_err();
    assert!(matches!(error, CertError::AuthorityExpired { .. }), "{error}");

    let new = old.renew(HOUR).unwrap();
    assert_eq!((new.fingerprint(), new.cluster()), (old.fingerprint(), old.cluster()));
    let renewed = new.renew_certificate(&certificate, HOUR, "node.crt").unwrap();
    let pem = new.certificate_pem();
    Credentials::from_pem(pem, &renewed.certificate_pem, &leaf.key_pem).unwrap();
    // A certificate from before counts under the new one, and a new one under the old one.
    let now = PAST.not_after;
    let both = [(pem, &leaf.certificate_pem), (old.certificate_pem(), &leaf.certificate_pem)];
    let early = Credentials::from_pem_at(both[0].0, both[0].1, &leaf.key_pem, now).unwrap_err();
    assert!(matches!(early, CertError::NotYetValid { .. }), "its authority is of today: {early}");
    Credentials::from_pem_at(both[1].0, both[1].1, &leaf.key_pem, now).unwrap();
}

#[test]
fn who_holds_either_certificate_of_a_renewed_authority_trusts_both_sides() {
    let old = authority();
    let new = old.renew(HOUR).unwrap();
    let before = issued(&old, node(1));
    let after = issued(&new, node(1));
    for ca in [&old, &new] {
        for leaf in [&before, &after] {
            let pem = ca.certificate_pem();
            Credentials::from_pem(pem, &leaf.certificate_pem, &leaf.key_pem).unwrap();
        }
    }
}

#[test]
fn copies_of_the_authoritys_certificate_follow_and_those_of_others_do_not() {
    let directory = tempdir().unwrap();
    let old = authority();
    issued(&old, node(1)).write(directory.path(), "node").unwrap();
    let file = directory.path().join("ca.crt");
    assert!(!old.refresh(&file).unwrap(), "it is the same");
    let new = old.renew(HOUR).unwrap();
    assert!(new.refresh(&file).unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), new.certificate_pem());
    // Writing a bundle again brings it the present one, too.
    issued(&old, node(1)).write(directory.path(), "node").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), old.certificate_pem());
    let error = authority().refresh(&file).unwrap_err();
    assert!(matches!(error, CertError::AuthorityExists { .. }), "{error}");
    assert!(new.refresh(&directory.path().join("none.crt")).unwrap_err().is_not_found());
}

#[test]
fn a_file_is_replaced_whole_and_a_link_stays_a_link() {
    let directory = tempdir().unwrap();
    let (file, link) = (directory.path().join("a.crt"), directory.path().join("b.crt"));
    let authority = authority();
    let old = issued(&authority, node(1)).certificate_pem;
    fs::write(&file, &old).unwrap();
    symlink(&file, &link).unwrap();
    let certificate = read_certificate(&link).unwrap();
    let renewed = authority.renew_certificate(&certificate, HOUR, "b.crt").unwrap();
    replace_certificate(&link, &renewed.certificate_pem).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), renewed.certificate_pem);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left behind");
}

#[test]
fn a_new_pair_is_never_half_beside_the_old_one() {
    let directory = tempdir().unwrap();
    let authority = authority();
    let old = issued(&authority, node(1));
    old.write(directory.path(), "node").unwrap();
    let paths = PemPaths::in_directory(directory.path(), "node");
    let new = issued(&authority, node(1));
    // The key cannot be replaced: by then the old certificate is gone, and not beside a new key.
    fs::remove_file(&paths.key).unwrap();
    fs::create_dir(&paths.key).unwrap();
    assert!(new.replace(&paths).is_err());
    assert!(!paths.certificate.exists(), "it is gone");
    fs::remove_dir(&paths.key).unwrap();
    new.replace(&paths).unwrap();
    let loaded = Credentials::load_from(directory.path(), "node").unwrap();
    assert_eq!(loaded.certificate(), &der(&new.certificate_pem));

    let renewed = authority.renew_certificate(loaded.certificate(), HOUR, "node.crt").unwrap();
    renewed.check_key(&paths.key, &paths.certificate).unwrap();
    fs::write(&paths.key, &old.key_pem).unwrap();
    let error = renewed.check_key(&paths.key, &paths.certificate).unwrap_err();
    assert!(matches!(error, CertError::KeyMismatch { .. }), "{error}");
    assert!(error.to_string().contains("node.key is not the private key of"), "{error}");
    fs::remove_file(&paths.key).unwrap();
    let error = renewed.check_key(&paths.key, &paths.certificate).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_process_takes_only_newer_credentials_of_its_own() {
    let authority = authority();
    let now = credentials(&authority, node(1));
    let after = |seconds: u64| {
        let Validity { not_before, not_after } = now.validity();
        Validity { not_before: not_before + seconds, not_after }
    };
    let within = |validity| {
        let identity = Identity::new(authority.cluster(), node(1));
        let issued = authority.issue_within(&identity, validity).unwrap();
        issued.credentials().unwrap()
    };
    within(after(10)).may_succeed(&now).unwrap();
    now.may_succeed(&now).unwrap();
    let why = now.may_succeed(&within(after(10))).unwrap_err();
    assert!(why.contains("older than the one in use"), "{why}");
    let why = credentials(&authority, node(2)).may_succeed(&now).unwrap_err();
    assert!(why.contains("those of node 2 of cluster"), "{why}");
    let twin = Authority::create(authority.cluster(), HOUR).unwrap();
    let why = credentials(&twin, node(1)).may_succeed(&now).unwrap_err();
    assert!(why.contains(authority.fingerprint()), "{why}");
    let directory = tempdir().unwrap();
    issued(&authority, node(1)).write(directory.path(), "node").unwrap();
    let paths = PemPaths::in_directory(directory.path(), "node");
    let loaded = Credentials::load(&paths.ca, &paths.certificate, &paths.key).unwrap();
    loaded.may_succeed(&now).unwrap();
}
