#![allow(clippy::unwrap_used)]

use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, CertificateError, HandshakeKind, RootCertStore};

use super::*;
use crate::provider::provider;
use crate::testing::{
    HOUR, Outcome, authority, credentials, credentials_within, handshake, node, odd_leaf, operator,
};
use crate::{Authority, DEFAULT_CA_VALIDITY, Validity, identity_of};

const ALPN: &[&[u8]] = &[b"raft-peer/1"];

fn connect(client: &Credentials, server: &Credentials, expect: Expect) -> Outcome {
    let client = client.client_config(expect, ALPN).unwrap();
    handshake(client, server.server_config(ALPN).unwrap())
}

fn expect(id: u64) -> Expect {
    Expect::Node(id.try_into().unwrap())
}

/// What the client's and the server's people read.
fn texts(outcome: &Outcome) -> (String, String) {
    let text = |end: &Result<(), Error>| end.as_ref().map_or_else(sentence, |()| "ok".to_owned());
    (text(&outcome.client), text(&outcome.server))
}

fn roles() -> [Role; 5] {
    let name = || "alice".parse().unwrap();
    [
        node(1),
        Role::Operator(name()),
        Role::Client(name()),
        Role::Reader(name()),
        Role::Backup(name()),
    ]
}

#[test]
fn every_role_is_let_in_by_the_node_it_expects_and_both_learn_who_the_other_is() {
    let authority = authority();
    let server = credentials(&authority, node(2));
    for role in roles() {
        let client = credentials(&authority, role);
        for expectation in [expect(2), Expect::AnyNode] {
            let outcome = connect(&client, &server, expectation);
            assert!(outcome.succeeded(), "{outcome:?}");
            assert_eq!(identity_of(&outcome.shown_to_server).unwrap(), *client.identity());
            assert_eq!(identity_of(&outcome.shown_to_client).unwrap(), *server.identity());
            assert_eq!(outcome.alpn.as_deref(), Some(&b"raft-peer/1"[..]));
        }
    }
}

#[test]
fn another_node_than_the_expected_one_is_refused_by_both_names() {
    let authority = authority();
    let server = credentials(&authority, node(2));
    for role in roles() {
        let outcome = connect(&credentials(&authority, role), &server, expect(3));
        let (client, server) = texts(&outcome);
        let cluster = authority.cluster();
        let found = format!("found node 2 of cluster {cluster}");
        assert_eq!(client, format!("peer refused: expected node 3, {found}"));
        assert!(server.contains("CertificateUnknown"), "{server}");
        let error = outcome.client.unwrap_err();
        assert!(matches!(CertError::from_tls(&error), Some(CertError::UnexpectedPeer { .. })));
    }
}

#[test]
fn only_a_node_can_be_a_server() {
    let authority = authority();
    for role in roles().into_iter().skip(1) {
        let kind = role.kind();
        let error = credentials(&authority, role).server_config(ALPN).unwrap_err().to_string();
        assert_eq!(error, format!("the certificate of {kind} alice may not be used as a server"));
    }
}

#[test]
fn whoever_serves_with_an_operator_s_certificate_is_refused() {
    let authority = authority();
    let impostor = credentials(&authority, operator());
    let mut server = credentials(&authority, node(1)).server_config(ALPN).unwrap();
    server.cert_resolver = Arc::new(SingleCertAndKey::from(impostor.certified_key().clone()));
    let client = credentials(&authority, node(2)).client_config(Expect::AnyNode, ALPN).unwrap();
    let (client, _) = texts(&handshake(client, server));
    let cluster = authority.cluster();
    let expected = format!("expected a node, found operator alice of cluster {cluster}");
    assert_eq!(client, format!("peer refused: {expected}"));
}

#[test]
fn a_server_of_another_cluster_is_refused_by_the_cluster() {
    let (mine, other) = (authority(), authority());
    let outcome =
        connect(&credentials(&mine, node(1)), &credentials(&other, node(2)), Expect::AnyNode);
    let (client, server) = texts(&outcome);
    let (expected, found) = (mine.cluster(), other.cluster());
    let clusters = format!("belongs to cluster {found}, not to cluster {expected}");
    assert_eq!(client, format!("peer refused: the certificate of node 2 {clusters}"));
    assert!(server.contains("CertificateUnknown"), "{server}");
}

/// Returns the sentence of whoever refused, or what rustls says.
fn sentence(error: &Error) -> String {
    match CertError::from_tls(error) {
        Some(refused) => format!("peer refused: {refused}"),
        None => error.to_string(),
    }
}

/// A client that trusts the server without a look, so that it is the server that decides.
fn blind(credentials: &Credentials, server: &Credentials) -> ClientConfig {
    let mut config = credentials.client_config(Expect::AnyNode, ALPN).unwrap();
    let verifier = ServerVerifier { trust: server.trust().clone(), expect: Expect::AnyNode };
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    config
}

fn refused_client(client: &Credentials, server: &Credentials) -> Outcome {
    let outcome = handshake(blind(client, server), server.server_config(ALPN).unwrap());
    let alert = Error::AlertReceived(AlertDescription::CertificateUnknown);
    assert_eq!(outcome.client, Err(alert), "the client learns it by an alert");
    outcome
}

#[test]
fn a_client_of_another_cluster_is_refused_by_the_cluster() {
    let (mine, other) = (authority(), authority());
    let outcome = refused_client(&credentials(&other, operator()), &credentials(&mine, node(1)));
    let (_, server) = texts(&outcome);
    let (expected, found) = (mine.cluster(), other.cluster());
    let clusters = format!("belongs to cluster {found}, not to cluster {expected}");
    assert_eq!(server, format!("peer refused: the certificate of operator alice {clusters}"));
}

#[test]
fn a_foreign_authority_that_claims_this_cluster_is_refused_on_both_sides() {
    let mine = authority();
    let forger = Authority::create(mine.cluster(), DEFAULT_CA_VALIDITY).unwrap();
    let (right, forged) = (credentials(&mine, node(1)), credentials(&forger, node(2)));
    let fingerprints = format!(
        "is not signed by the authority {}; its issuer is {}",
        mine.fingerprint(),
        forger.fingerprint()
    );
    let (client, _) = texts(&connect(&right, &forged, expect(2)));
    assert_eq!(client, format!("peer refused: the certificate of node 2 {fingerprints}"));
    let (_, server) = texts(&refused_client(&forged, &right));
    assert_eq!(server, format!("peer refused: the certificate of node 2 {fingerprints}"));
}

#[test]
fn an_expired_certificate_is_refused_on_both_sides_with_its_date() {
    let authority = authority();
    let right = credentials(&authority, node(1));
    let window = Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 };
    // The authority did not exist then; the credentials are checked against a copy that did.
    let old = Authority::create_within(
        authority.cluster(),
        Validity { not_after: authority.validity().not_after, ..window },
    )
    .unwrap();
    let expired = credentials_within(&old, node(2), window);
    let reason = "peer refused: the certificate of node 2 expired at 2004-11-09T11:33:20Z, ";
    let judge = credentials(&old, node(3));
    let (client, server) = texts(&connect(&judge, &expired, expect(2)));
    assert!(client.starts_with(reason), "{client}");
    assert!(server.contains("CertificateUnknown"), "{server}");
    let (_, server) = texts(&refused_client(&expired, &judge));
    assert!(server.starts_with(reason), "{server}");
    assert!(connect(&right, &right, expect(1)).succeeded());
}

#[test]
fn a_certificate_of_the_future_is_refused_on_both_sides_with_its_date() {
    let authority = authority();
    let right = credentials(&authority, node(1));
    let day = 24 * HOUR.as_secs();
    let tomorrow = authority.validity().not_before + day;
    let window = Validity { not_before: tomorrow, not_after: tomorrow + day };
    let early = credentials_within(&authority, node(2), window);
    for outcome in [connect(&right, &early, expect(2)), refused_client(&early, &right)] {
        let refusal = outcome.client.as_ref().err().and_then(CertError::from_tls);
        let refusal = refusal.or(outcome.server.as_ref().err().and_then(CertError::from_tls));
        match refusal {
            Some(CertError::NotYetValid { what, not_before, .. }) => {
                assert_eq!((what.as_str(), *not_before), ("the certificate of node 2", tomorrow));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_authority_that_has_expired_in_the_meantime_admits_nobody() {
    let window = Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 };
    let old = Authority::create_within(crate::ClusterId::generate().unwrap(), window).unwrap();
    let (one, two) =
        (credentials_within(&old, node(1), window), credentials_within(&old, node(2), window));
    let (client, _) = texts(&connect(&one, &two, expect(2)));
    assert!(client.contains("the authority's certificate expired at 2004"), "{client}");
}

/// A node's configuration, showing a certificate that this crate would not issue.
fn odd_server(
    authority: &Authority,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> ServerConfig {
    let (certificate, key) = odd_leaf(authority, change);
    let chain = crate::store::parse_certificates(certificate.as_bytes(), "odd").unwrap();
    let key = crate::store::parse_key(key.as_bytes(), "odd").unwrap();
    let odd = rustls::sign::CertifiedKey::from_der(chain, key, &provider()).unwrap();
    let mut config = credentials(authority, node(1)).server_config(ALPN).unwrap();
    config.cert_resolver = Arc::new(SingleCertAndKey::from(odd));
    config
}

#[test]
fn a_properly_signed_certificate_that_names_nobody_or_two_is_refused() {
    let authority = authority();
    let client = || credentials(&authority, node(2)).client_config(Expect::AnyNode, ALPN).unwrap();
    let nobody = odd_server(&authority, |params| params.subject_alt_names.clear());
    let (text, _) = texts(&handshake(client(), nobody));
    assert!(text.contains("the peer's certificate names no raftd identity"), "{text}");
    let two = odd_server(&authority, |params| {
        let other = format!("spiffe://{}/node/9", authority.cluster());
        params.subject_alt_names.push(rcgen::SanType::URI(other.try_into().unwrap()));
    });
    let (text, _) = texts(&handshake(client(), two));
    assert!(text.contains("names 2 URIs, exactly one is allowed"), "{text}");
}

#[test]
fn a_node_s_certificate_for_clients_only_is_refused_at_a_server() {
    let authority = authority();
    let server = odd_server(&authority, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let client = credentials(&authority, node(2)).client_config(expect(1), ALPN).unwrap();
    let (text, _) = texts(&handshake(client, server));
    assert_eq!(text, "peer refused: the certificate of node 1 may not be used as a server");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let authority = authority();
    let server = credentials(&authority, node(1));
    let trust = server.trust().clone();
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier { trust, expect: expect(1) }))
        .with_no_client_auth();
    client.alpn_protocols = protocols(ALPN);
    let outcome = handshake(client, server.server_config(ALPN).unwrap());
    let (client, server) = texts(&outcome);
    assert_eq!(server, "peer sent no certificates");
    assert!(client.contains("CertificateRequired"), "{client}");
}

#[test]
fn tls_1_2_is_not_spoken() {
    let authority = authority();
    let server = credentials(&authority, node(1));
    let trust = server.trust().clone();
    let client =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier { trust, expect: expect(1) }))
            .with_no_client_auth();
    let (client, server) = texts(&handshake(client, server.server_config(ALPN).unwrap()));
    assert!(server.starts_with("peer is incompatible"), "{server}");
    assert!(client.contains("ProtocolVersion"), "{client}");
}

#[test]
fn a_purpose_that_the_server_does_not_serve_is_refused() {
    let authority = authority();
    let client = credentials(&authority, node(2)).client_config(expect(1), &[b"raft-enroll/1"]);
    let server = credentials(&authority, node(1)).server_config(ALPN).unwrap();
    let (client, server) = texts(&handshake(client.unwrap(), server));
    assert!(server.contains("any known protocol"), "{server}");
    assert!(client.contains("NoApplicationProtocol"), "{client}");
}

#[test]
fn nothing_is_resumed_and_no_data_is_early() {
    let authority = authority();
    let server = credentials(&authority, node(1)).server_config(ALPN).unwrap();
    assert_eq!((server.max_early_data_size, server.send_tls13_tickets), (0, 0));
    assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
    let client = credentials(&authority, node(2)).client_config(expect(1), ALPN).unwrap();
    assert!(!client.enable_early_data && !client.enable_sni);
}

#[test]
fn a_second_connection_is_a_full_handshake_even_if_one_side_would_resume() {
    let authority = authority();
    let node = credentials(&authority, node(1));
    let client = node.client_config(expect(1), ALPN).unwrap();
    let server = node.server_config(ALPN).unwrap();
    let mut lax_server = server.clone();
    lax_server.session_storage = rustls::server::ServerSessionMemoryCache::new(16);
    lax_server.send_tls13_tickets = 2;
    let mut lax_client = client.clone();
    lax_client.resumption = Resumption::in_memory_sessions(16);
    for (client, server, kind) in [
        (&client, &lax_server, HandshakeKind::Full),
        (&lax_client, &server, HandshakeKind::Full),
        // That both would resume shows that the two rows above show something.
        (&lax_client, &lax_server, HandshakeKind::Resumed),
    ] {
        handshake(client.clone(), server.clone());
        assert_eq!(handshake(client.clone(), server.clone()).kind, Some(kind));
    }
}

#[test]
fn a_chain_that_is_too_long_is_refused_on_both_sides() {
    let authority = authority();
    let right = credentials(&authority, node(1));
    let long = credentials(&authority, node(2));
    let mut shown = (**long.certified_key()).clone();
    shown
        .cert
        .extend(vec![authority.certificate().clone(); crate::inspect::MAX_CHAIN_CERTIFICATES]);
    let resolver = Arc::new(SingleCertAndKey::from(shown));
    let reason = "the certificate of node 2: the chain has more than 4 certificates";

    let mut server = long.server_config(ALPN).unwrap();
    server.cert_resolver = resolver.clone();
    let (client, _) = texts(&handshake(right.client_config(expect(2), ALPN).unwrap(), server));
    assert_eq!(client, format!("peer refused: {reason}"));

    let mut client = long.client_config(expect(1), ALPN).unwrap();
    client.client_auth_cert_resolver = resolver;
    let (_, server) = texts(&handshake(client, right.server_config(ALPN).unwrap()));
    assert_eq!(server, format!("peer refused: {reason}"));
}

#[test]
fn a_reason_survives_its_way_through_rustls_as_a_sentence() {
    let error: Error = CertError::NoIdentity { what: "it".to_owned() }.into();
    assert_eq!(
        error.to_string(),
        "invalid peer certificate: Other(OtherError(it names no raftd identity \
         (it has no URI among its alternative names)))"
    );
    assert!(CertError::from_tls(&error).is_some());
    let other = Error::InvalidCertificate(CertificateError::Revoked);
    assert!(CertError::from_tls(&other).is_none());
}

#[test]
fn a_plain_web_verifier_accepts_our_chains_too() {
    // Issued certificates are ordinary X.509: a verifier that knows nothing of us takes the chain.
    let authority = authority();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let leaf = credentials(&authority, operator());
    verifier.build().unwrap().verify_client_cert(leaf.certificate(), &[], UnixTime::now()).unwrap();
}
