//! TLS between a host that has no certificate yet and the operator's side: TLS 1.3 with a key of
//! the moment. It says nothing of who is there; the proofs of [`crate::Token`] do, over a value
//! that only the two ends of this very connection share.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, ServerConfig, SignatureScheme,
    version,
};

use crate::CertError;
use crate::issue::issue_error;
use crate::provider::provider;

/// The protocol of such connections.
const ENROLMENT_ALPN: &[u8] = b"raft-enrol/1";

/// The configuration of the host, which listens.
///
/// # Errors
///
/// [`CertError::Issue`] and [`CertError::Tls`].
pub fn enrolment_server() -> Result<ServerConfig, CertError> {
    let key = KeyPair::generate().map_err(|error| issue_error(&error))?;
    let certificate = CertificateParams::default().self_signed(&key);
    let certificate = certificate.map_err(|error| issue_error(&error))?.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|reason| CertError::Tls { reason: reason.to_owned() })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(|error| CertError::Tls { reason: error.to_string() })?;
    config.alpn_protocols = vec![ENROLMENT_ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The configuration of the operator's side, which dials.
///
/// # Errors
///
/// [`CertError::Tls`].
pub fn enrolment_client() -> Result<ClientConfig, CertError> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| CertError::Tls { reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyOfTheMoment { provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![ENROLMENT_ALPN.to_vec()];
    config.enable_early_data = false;
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes any certificate, but only from who has its key: else two connections could share what only
/// one may.
#[derive(Debug)]
struct KeyOfTheMoment {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for KeyOfTheMoment {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
