//! TLS configurations: 1.3 only, both sides certified, every handshake a full one.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme, version,
};

use crate::verify::Trust;
use crate::{CertError, Credentials, Expect, Purpose, Role};

/// The server name to give to rustls and quinn. Nobody looks at it: a server is its identity.
pub const SERVER_NAME: &str = "raftd";

impl Credentials {
    /// The configuration of a node's server side: TLS 1.3, a client certificate of this cluster
    /// required, no 0-RTT and no resumption. The peer is [`crate::identity_of`] its chain.
    ///
    /// # Errors
    ///
    /// [`CertError::WrongPurpose`] if these are not a node's credentials.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, CertError> {
        if !matches!(self.identity().role, Role::Node(_)) {
            let what = format!("the certificate of {}", self.identity().role);
            return Err(CertError::WrongPurpose { what, purpose: Purpose::Server });
        }
        let verifier = ClientVerifier { trust: self.trust().clone() };
        let mut config = ServerConfig::builder_with_provider(self.trust().provider().clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| tls(&e))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified_key().clone())));
        config.alpn_protocols = protocols(alpn);
        config.max_early_data_size = 0;
        // A resumed session would not look at the certificates again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// The configuration of a client that connects to the node that it `expect`s: TLS 1.3, its own
    /// certificate always sent, no 0-RTT and no resumption. Use [`SERVER_NAME`] as server name.
    ///
    /// # Errors
    ///
    /// [`CertError::Tls`] if rustls refuses the configuration.
    pub fn client_config(&self, expect: Expect, alpn: &[&[u8]]) -> Result<ClientConfig, CertError> {
        let verifier = ServerVerifier { trust: self.trust().clone(), expect };
        let mut config = ClientConfig::builder_with_provider(self.trust().provider().clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| tls(&e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                self.certified_key().clone(),
            )));
        config.alpn_protocols = protocols(alpn);
        config.enable_early_data = false;
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn protocols(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

fn tls(error: &Error) -> CertError {
    CertError::Tls { reason: error.to_string() }
}

/// What a client asks of a server: the chain, the time, the cluster, and to be who was expected.
#[derive(Debug)]
struct ServerVerifier {
    trust: Arc<Trust>,
    expect: Expect,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let expect = Some(self.expect);
        self.trust.check_peer(Purpose::Server, expect, end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.trust.provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a node asks of a client: the chain, the time, the cluster, and any role. What the role may
/// do is decided with each request.
#[derive(Debug)]
struct ClientVerifier {
    trust: Arc<Trust>,
}

impl ClientCertVerifier for ClientVerifier {
    // No hints: a client has one certificate, and strangers need not learn the authority's name.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.check_peer(Purpose::Client, None, end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.trust.provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.provider().signature_verification_algorithms.supported_schemes()
    }
}

fn tls12_refused() -> Error {
    PeerIncompatible::Tls13RequiredForQuic.into()
}

#[cfg(test)]
mod tests;
