//! TLS with a certificate on both sides, as etcd and NATS have it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::Certificates;

/// Makes a connection secure; `protocol` is what is spoken inside, if that must be said.
pub(super) async fn secured(
    files: &Certificates,
    stream: TcpStream,
    protocol: Option<&[u8]>,
) -> Result<TlsStream<TcpStream>, String> {
    let text = |error: rustls::pki_types::pem::Error| error.to_string();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(&files.authority).map_err(text)?;
    roots.add(authority).map_err(|error| error.to_string())?;
    let certificate = CertificateDer::from_pem_file(&files.certificate).map_err(text)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(text)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots);
    let config = config.with_client_auth_cert(vec![certificate], key);
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    secured.map_err(|error| error.to_string())
}
