//! Certificates for an identity.

use std::fmt;

use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};

use crate::validity::asn1_time;
use crate::{CertError, ClusterId, Identity, PemPaths, Validity, store};

/// A certificate that was just issued, with its private key. The key exists nowhere else: who drops
/// this value without writing it down issues again.
#[derive(Clone)]
pub struct Issued {
    /// Whose it is.
    pub identity: Identity,
    /// From when to when it counts.
    pub validity: Validity,
    /// The authority's certificate, as PEM.
    pub ca_pem: String,
    /// The certificate, as PEM.
    pub certificate_pem: String,
    /// The private key (PKCS#8), as PEM. A secret.
    pub key_pem: String,
}

impl Issued {
    /// Writes certificate and key to these files (the authority's certificate is not touched).
    /// The old certificate goes first: whatever interrupts it, no key stands beside a certificate
    /// that is not its own.
    ///
    /// # Errors
    ///
    /// [`CertError::Io`].
    pub fn replace(&self, paths: &PemPaths) -> Result<(), CertError> {
        store::replace_pair(paths, &self.certificate_pem, &self.key_pem)
    }
}

/// Without the key.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("identity", &self.identity)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// Signs a certificate with a new key for `identity`.
pub(crate) fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    ca_pem: &str,
    identity: &Identity,
    validity: Validity,
) -> Result<Issued, CertError> {
    let key = KeyPair::generate().map_err(|e| issue_error(&e))?;
    let certificate = sign(issuer, identity, validity, &key)?;
    Ok(Issued {
        identity: identity.clone(),
        validity,
        ca_pem: ca_pem.to_owned(),
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// Signs a certificate for `identity`, whose holder has the key to `public_key`.
pub(crate) fn sign(
    issuer: &Issuer<'_, KeyPair>,
    identity: &Identity,
    validity: Validity,
    public_key: &impl PublicKeyData,
) -> Result<Certificate, CertError> {
    let name = match identity.node_id() {
        Some(_) => identity.role.to_string(),
        None => identity.role.holder(),
    };
    let mut params = parameters(&name, &identity.to_uri(), validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Nodes connect to each other; nobody else is ever connected to.
    params.extended_key_usages = match identity.node_id() {
        Some(_) => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        None => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.signed_by(public_key, issuer).map_err(|e| issue_error(&e))
}

/// What every certificate of ours has: a name for people, one URI, a window and a random serial.
pub(crate) fn parameters(
    name: &str,
    uri: &str,
    validity: Validity,
) -> Result<CertificateParams, CertError> {
    if validity.not_before > validity.not_after {
        return Err(CertError::BadValidity { reason: format!("{validity} is no window") });
    }
    let mut params = CertificateParams::default();
    params.not_before = asn1_time(validity.not_before)?.to_datetime();
    params.not_after = asn1_time(validity.not_after)?.to_datetime();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let uri = uri.try_into().map_err(|e| issue_error(&e))?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

pub(crate) fn issue_error(error: &rcgen::Error) -> CertError {
    CertError::Issue { reason: error.to_string() }
}

/// 126 random bits in 16 bytes: positive, and never zero (RFC 5280 §4.1.2.2).
fn random_serial() -> Result<SerialNumber, CertError> {
    let mut bytes = ClusterId::generate()?.to_bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
