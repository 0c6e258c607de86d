//! Certificates: in DER as a peer sends them, in PEM as an operator's file has them.

use std::str;

use certs::{Credentials, Identity, describe, identity_of};
use rustls::pki_types::CertificateDer;

/// Takes the bytes for a certificate, a URI and three PEM texts.
///
/// # Panics
/// If an identity that was read is written otherwise.
pub fn run(data: &[u8]) {
    let certificate = CertificateDer::from(data.to_vec());
    let _ = describe(&certificate);
    let _ = identity_of(&[certificate]);
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(identity) = Identity::parse_uri(text) {
        assert!(identity.to_uri() == text, "an identity has two spellings");
    }
    // The three parts stand one behind the other, divided by a byte that no PEM text holds.
    let mut parts = text.split('\0');
    let mut part = || parts.next().unwrap_or_default();
    let _ = Credentials::from_pem_at(part(), part(), part(), 1_800_000_000);
}
