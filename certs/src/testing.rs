//! Helpers of this crate's tests: odd certificates, and handshakes without sockets.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use crate::issue::parameters;
use crate::{
    Authority, ClusterId, Credentials, DEFAULT_CA_VALIDITY, Identity, Issued, Role, SERVER_NAME,
    Validity,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn authority() -> Authority {
    Authority::create(ClusterId::generate().unwrap(), DEFAULT_CA_VALIDITY).unwrap()
}

pub(crate) fn node(id: u64) -> Role {
    Role::Node(NonZeroU64::new(id).unwrap())
}

pub(crate) fn operator() -> Role {
    Role::Operator("alice".parse().unwrap())
}

pub(crate) fn issued(authority: &Authority, role: Role) -> Issued {
    authority.issue(&Identity::new(authority.cluster(), role), HOUR).unwrap()
}

pub(crate) fn credentials(authority: &Authority, role: Role) -> Credentials {
    issued(authority, role).credentials().unwrap()
}

/// Credentials that were right once, and are `when` now.
pub(crate) fn credentials_within(
    authority: &Authority,
    role: Role,
    validity: Validity,
) -> Credentials {
    let identity = Identity::new(authority.cluster(), role);
    let issued = authority.issue_within(&identity, validity).unwrap();
    let Issued { ca_pem, certificate_pem, key_pem, .. } = &issued;
    Credentials::from_pem_at(ca_pem, certificate_pem, key_pem, validity.not_after).unwrap()
}

/// A certificate that this crate would not issue, properly signed, with its key; both as PEM.
pub(crate) fn odd_leaf(
    authority: &Authority,
    change: impl FnOnce(&mut CertificateParams),
) -> (String, String) {
    let identity = Identity::new(authority.cluster(), node(1));
    let window = Validity::from_now(HOUR).unwrap();
    let mut params = parameters("odd", &identity.to_uri(), window).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority.issuer()).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// How a handshake ended on each side; the chain is what the server was shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) client: Result<(), rustls::Error>,
    pub(crate) server: Result<(), rustls::Error>,
    pub(crate) shown_to_server: Vec<CertificateDer<'static>>,
    pub(crate) shown_to_client: Vec<CertificateDer<'static>>,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) kind: Option<HandshakeKind>,
}

impl Outcome {
    pub(crate) fn succeeded(&self) -> bool {
        self.client.is_ok() && self.server.is_ok()
    }
}

/// Lets a client and a server talk in memory until both are done or have failed.
pub(crate) fn handshake(client: ClientConfig, server: ServerConfig) -> Outcome {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let (mut client_end, mut server_end) = (Ok(()), Ok(()));
    // TLS 1.3 needs three flights; the bound only keeps a broken test from hanging.
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        if server_end.is_ok() {
            server_end = feed(&mut wire.as_slice(), &mut server);
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        if client_end.is_ok() {
            client_end = feed(&mut wire.as_slice(), &mut client);
        }
    }
    if server_end.is_ok() && server.is_handshaking() {
        server_end = Err(rustls::Error::HandshakeNotComplete);
    }
    Outcome {
        client: client_end,
        server: server_end,
        shown_to_server: owned(server.peer_certificates()),
        shown_to_client: owned(client.peer_certificates()),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        kind: server.handshake_kind(),
    }
}

fn feed<D>(
    wire: &mut &[u8],
    connection: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>,
) -> Result<(), rustls::Error> {
    while !wire.is_empty() {
        connection.read_tls(wire).unwrap();
        connection.process_new_packets()?;
    }
    Ok(())
}

fn owned(chain: Option<&[CertificateDer<'static>]>) -> Vec<CertificateDer<'static>> {
    chain.unwrap_or_default().to_vec()
}
