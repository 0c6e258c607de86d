#![allow(clippy::unwrap_used)]

use rcgen::SanType;

use super::*;
use crate::store::parse_sole_certificate;
use crate::testing::{authority, credentials, node, odd_leaf, operator};

fn leaf_with(names: &[SanType]) -> CertificateDer<'static> {
    let (pem, _) = odd_leaf(&authority(), |params| {
        params.subject_alt_names = names.to_vec();
    });
    parse_sole_certificate(pem.as_bytes(), "test").unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

#[test]
fn the_identity_of_a_chain_is_that_of_its_first_certificate() {
    let authority = authority();
    let node = credentials(&authority, node(7));
    let chain = [node.certificate().clone(), authority.certificate().clone()];
    assert_eq!(identity_of(&chain).unwrap(), *node.identity());
}

#[test]
fn an_empty_chain_names_nobody() {
    assert!(matches!(identity_of(&[]), Err(CertError::NoIdentity { .. })));
}

#[test]
fn a_certificate_without_a_uri_names_nobody() {
    let dns = SanType::DnsName("n1.example".try_into().unwrap());
    for names in [vec![], vec![dns]] {
        let error = identity_of(&[leaf_with(&names)]).unwrap_err();
        assert!(matches!(error, CertError::NoIdentity { .. }), "{error}");
    }
}

#[test]
fn two_uris_are_refused_even_if_one_is_no_identity() {
    let mine = format!("spiffe://{}/node/1", "0".repeat(32));
    let other = format!("spiffe://{}/node/2", "0".repeat(32));
    for second in [mine.as_str(), other.as_str(), "https://example.net/"] {
        let error = identity_of(&[leaf_with(&[uri(&mine), uri(second)])]).unwrap_err();
        assert!(matches!(error, CertError::TwoIdentities { count: 2, .. }), "{error}");
    }
}

#[test]
fn a_uri_of_somebody_else_is_refused_by_its_text() {
    let error = identity_of(&[leaf_with(&[uri("https://example.net/")])]).unwrap_err().to_string();
    assert!(error.contains("https://example.net/") && error.contains("spiffe://"), "{error}");
}

#[test]
fn an_authority_s_certificate_is_nobody_s_identity() {
    let error = identity_of(&[authority().certificate().clone()]).unwrap_err();
    assert!(error.to_string().contains("names a cluster and no role"), "{error}");
}

#[test]
fn every_truncation_and_every_flipped_byte_is_an_error_or_harmless() {
    let certificate = credentials(&authority(), node(1)).certificate().to_vec();
    for length in 0..certificate.len() {
        let cut = CertificateDer::from(certificate[..length].to_vec());
        assert!(matches!(identity_of(&[cut]), Err(CertError::Malformed { .. })), "{length}");
    }
    for at in 0..certificate.len() {
        let mut flipped = certificate.clone();
        flipped[at] ^= 0xff;
        let flipped = CertificateDer::from(flipped);
        let _ = identity_of(std::slice::from_ref(&flipped));
        let _ = describe(&flipped);
    }
    let longer = CertificateDer::from([certificate.as_slice(), b"x"].concat());
    let error = identity_of(&[longer]).unwrap_err().to_string();
    assert!(error.contains("1 bytes follow the certificate"), "{error}");
}

#[test]
fn a_description_tells_who_until_when_and_from_whom() {
    let authority = authority();
    let operator = credentials(&authority, operator());
    let facts = describe(operator.certificate()).unwrap();
    assert_eq!(facts.subject, format!("operator alice of cluster {}", authority.cluster()));
    assert_eq!(facts.uri.as_deref(), Some(operator.identity().to_uri().as_str()));
    assert_eq!(facts.issuer, authority.fingerprint());
    assert_eq!(facts.validity, operator.validity());
    let line = facts.to_string();
    assert!(line.contains("Z, serial ") && line.contains("issuer sha256:"), "{line}");
}

#[test]
fn an_authority_is_described_as_one_that_issued_itself() {
    let authority = authority();
    let facts = describe(authority.certificate()).unwrap();
    assert_eq!(facts.subject, format!("authority of cluster {}", authority.cluster()));
    assert_eq!(facts.issuer, authority.fingerprint());
}

#[test]
fn a_certificate_without_an_identity_is_described_with_the_reason() {
    let facts = describe(&leaf_with(&[])).unwrap();
    assert!(facts.subject.contains("names no raftd identity"), "{}", facts.subject);
    assert_eq!(facts.uri, None);
    assert!(facts.issuer.contains("raftd cluster"), "{}", facts.issuer);
    let error = describe(&CertificateDer::from(vec![1, 2, 3])).unwrap_err();
    assert!(matches!(error, CertError::Malformed { .. }), "{error}");
}
