#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::testing::{HOUR, authority, credentials, handshake, issued, node, operator};
use crate::{Authority, CheckedRequest, DEFAULT_CA_VALIDITY, Expect};

/// An authority, and its successor.
fn two() -> (Authority, Authority) {
    let old = authority();
    let new = Authority::create(old.cluster(), DEFAULT_CA_VALIDITY).unwrap();
    (old, new)
}

fn together(one: &Authority, other: &Authority) -> String {
    format!("{}{}", one.certificate_pem(), other.certificate_pem())
}

/// The same holder, with a new key and a certificate of this authority.
fn renewed(present: &Credentials, by: &Authority, trust: Option<&str>) -> Credentials {
    let key = NewKey::generate().unwrap();
    let request = CheckedRequest::from_der(&key.request().unwrap()).unwrap();
    let signed = by.sign_request(&request, present.identity(), HOUR).unwrap();
    present.with(Some(&key), Some(&signed.certificate_pem), trust).unwrap()
}

fn meet(server: &Credentials, client: &Credentials) -> bool {
    let client = client.client_config(Expect::AnyNode, &[b"x"]).unwrap();
    handshake(client, server.server_config(&[b"x"]).unwrap()).succeeded()
}

#[test]
fn whoever_trusts_both_meets_everybody_until_the_old_one_is_dropped() {
    let (old, new) = two();
    let both = together(&old, &new);
    let (server, client) = (credentials(&old, node(1)), credentials(&old, operator()));
    let server_of_both = server.with(None, None, Some(&both)).unwrap();
    let client_of_both = client.with(None, None, Some(&both)).unwrap();
    assert!(server_of_both.may_succeed(&server).is_ok());
    assert!(meet(&server_of_both, &client) && meet(&server, &client_of_both));
    let new_server = renewed(&server_of_both, &new, None);
    assert!(new_server.may_succeed(&server_of_both).is_ok());
    assert_eq!(new_server.authority_fingerprint(), new.fingerprint());
    assert_eq!(new_server.trusted_fingerprints(), [old.fingerprint(), new.fingerprint()]);
    let new_client = renewed(&client_of_both, &new, None);
    for server in [&server_of_both, &new_server] {
        assert!(meet(server, &client_of_both) && meet(server, &new_client));
    }
    assert!(!meet(&new_server, &client), "who has not heard of the new one does not trust it");

    let alone = new_server.with(None, None, Some(new.certificate_pem())).unwrap();
    assert!(alone.may_succeed(&new_server).is_ok());
    assert!(meet(&alone, &new_client) && !meet(&alone, &client_of_both));
    // Without the step between, another authority is a stranger.
    assert!(alone.may_succeed(&server).is_err());
    let foreign = server.with(None, None, Some(new.certificate_pem())).unwrap_err();
    assert!(matches!(foreign, CertError::UnknownAuthority { .. }), "{foreign}");
}

#[test]
fn what_is_issued_meanwhile_is_given_both_to_trust_and_either_renews_it() {
    let (old, new) = two();
    let old_leaf = issued(&old, node(1));
    let pem = old.certificate_pem().to_owned();
    let signing = new.beside(&pem, "ca.crt").unwrap();
    assert_eq!(signing.trust_pem(), format!("{}{pem}", signing.certificate_pem()));
    let leaf = issued(&signing, node(2)).credentials().unwrap();
    assert_eq!(leaf.trusted_fingerprints().len(), 2);
    let certificate = old_leaf.credentials().unwrap().certificate().clone();
    let again = signing.renew_certificate(&certificate, HOUR, "node.crt").unwrap();
    let both = signing.trust_pem();
    let again = Credentials::from_pem(&both, &again.certificate_pem, &old_leaf.key_pem).unwrap();
    assert_eq!(again.authority_fingerprint(), signing.fingerprint());
    let stranger = authority();
    assert!(authority().beside(stranger.certificate_pem(), "ca.crt").is_err(), "another cluster's");
}

#[test]
fn one_file_holds_all_three_for_its_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("identity.pem");
    let (old, new) = two();
    let first = credentials(&old, node(1)).with(None, None, Some(&together(&old, &new))).unwrap();
    first.store(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let loaded = Credentials::load_stored(&file).unwrap();
    assert_eq!(loaded.identity(), first.identity());
    assert_eq!(loaded.trusted_fingerprints(), first.trusted_fingerprints());
    // A certificate for the same key may come by another way.
    let (ca, certificate) = (place.path().join("ca.crt"), place.path().join("node.crt"));
    let again = old.renew_certificate(first.certificate(), HOUR * 2, "node.crt").unwrap();
    std::fs::write(&ca, old.certificate_pem()).unwrap();
    std::fs::write(&certificate, &again.certificate_pem).unwrap();
    let carried = Credentials::load_with_key_of(&file, &ca, &certificate).unwrap();
    assert!(carried.not_after() > first.not_after());

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = Credentials::load_stored(&file).unwrap_err();
    assert!(matches!(open, CertError::KeyFileMode { .. }), "{open}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    for end in (0..text.len()).step_by(97) {
        std::fs::write(&file, &text[..end]).unwrap();
        // Cut off behind the first authority it is whole.
        let cut = Credentials::load_stored(&file);
        assert!(cut.is_err() || cut.unwrap().trusted_fingerprints().len() == 1, "{end}");
    }
}
