//! Facts out of a certificate, without judging who signed it.

use std::fmt::{self, Write as _};

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::identity::excerpt;
use crate::time::{unix_s, utc};
use crate::{CertError, ClusterId, Identity, Validity};

/// The most certificates in a chain that is read, sent or accepted: a leaf and three intermediates.
pub(crate) const MAX_CHAIN_CERTIFICATES: usize = 4;

/// What the certificate on the other side is called.
const PEER: &str = "the peer's certificate";

/// The identity in the first certificate of a chain that TLS has **already verified**, such as
/// quinn's `peer_identity()`.
///
/// # Errors
///
/// [`CertError::NoIdentity`] for an empty chain or a certificate without a URI SAN,
/// [`CertError::TwoIdentities`], [`IdentityError::BadUri`](crate::IdentityError::BadUri) and
/// [`CertError::Malformed`].
pub fn identity_of(chain: &[CertificateDer<'_>]) -> Result<Identity, CertError> {
    let leaf = chain.first().ok_or_else(|| CertError::NoIdentity { what: PEER.to_owned() })?;
    identity_in(leaf, PEER)
}

/// What is known of the first certificate of a chain that TLS has **already verified**.
///
/// # Errors
///
/// As [`identity_of`].
pub fn shown_in(chain: &[CertificateDer<'_>]) -> Result<Shown, CertError> {
    let identity = identity_of(chain)?;
    let leaf = chain.first().ok_or_else(|| CertError::NoIdentity { what: PEER.to_owned() })?;
    let parsed = parse(leaf, PEER)?;
    let digest = Sha256::digest(parsed.public_key().raw);
    Ok(Shown { identity, validity: validity(&parsed), key: digest.into() })
}

/// What a certificate says that was shown on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whose it is.
    pub identity: Identity,
    /// From when to when it counts.
    pub validity: Validity,
    /// The SHA-256 of its public key (DER of SubjectPublicKeyInfo).
    pub key: [u8; 32],
}

/// Describes a certificate for people: its holder, its end, its issuer. Nothing is verified.
///
/// # Errors
///
/// [`CertError::Malformed`] if it is not a certificate. A certificate without a raftd identity is
/// described all the same, with the reason in place of the name.
pub fn describe(certificate: &CertificateDer<'_>) -> Result<Description, CertError> {
    let parsed = parse(certificate, "certificate")?;
    let subject = match (parsed.is_ca(), sole_uri(&parsed, "certificate")) {
        (true, Ok(uri)) => ClusterId::parse_uri(uri)
            .map_or_else(|e| e.to_string(), |cluster| format!("authority of cluster {cluster}")),
        (false, Ok(uri)) => {
            Identity::parse_uri(uri).map_or_else(|e| e.to_string(), |identity| identity.to_string())
        }
        (_, Err(error)) => error.to_string(),
    };
    Ok(Description {
        subject,
        uri: sole_uri(&parsed, "certificate").ok().map(excerpt),
        serial: hex(parsed.raw_serial()),
        key: fingerprint(parsed.public_key().raw),
        validity: validity(&parsed),
        issuer: issuer_fingerprint(&parsed),
    })
}

/// What `describe` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `node 3 of cluster ..`, `authority of cluster ..`, or why there is no identity.
    pub subject: String,
    /// The URI SAN, if there is exactly one.
    pub uri: Option<String>,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The fingerprint of its public key, which renewing keeps.
    pub key: String,
    /// From when to when it counts.
    pub validity: Validity,
    /// The fingerprint of the authority that the certificate says has signed it.
    pub issuer: String,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Description { subject, serial, validity, issuer, .. } = self;
        let (from, to) = (utc(validity.not_before), utc(validity.not_after));
        write!(f, "{subject}, valid {from} to {to}, serial {serial}, issuer {issuer}")
    }
}

/// Parses exactly one certificate.
pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
    what: &str,
) -> Result<X509Certificate<'a>, CertError> {
    let malformed = |reason: String| CertError::Malformed { what: what.to_owned(), reason };
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|e| malformed(format!("not a certificate ({e})")))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes follow the certificate", rest.len())));
    }
    Ok(parsed)
}

/// The identity in a certificate, not verified.
pub(crate) fn identity_in(
    certificate: &CertificateDer<'_>,
    what: &str,
) -> Result<Identity, CertError> {
    Ok(Identity::parse_uri(sole_uri(&parse(certificate, what)?, what)?)?)
}

/// The cluster in an authority's certificate; `None` if it names none (one of an operator's own).
pub(crate) fn cluster_of_authority(
    certificate: &X509Certificate<'_>,
    what: &str,
) -> Result<Option<ClusterId>, CertError> {
    match sole_uri(certificate, what) {
        Ok(uri) => Ok(Some(ClusterId::parse_uri(uri)?)),
        Err(CertError::NoIdentity { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From when to when a certificate counts.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let window = certificate.validity();
    Validity { not_before: unix_s(window.not_before), not_after: unix_s(window.not_after) }
}

/// `sha256:` and the digest of a public key (DER of SubjectPublicKeyInfo, RFC 5280 §4.1).
///
/// The key and not the certificate is digested, so that an issued certificate can name its
/// authority (as key identifier), and an authority whose certificate is renewed keeps it.
pub(crate) fn fingerprint(public_key_info: &[u8]) -> String {
    format!("sha256:{}", hex(&key_identifier(public_key_info)))
}

/// The bytes of [`fingerprint`], which are also the authority's key identifier.
pub(crate) fn key_identifier(public_key_info: &[u8]) -> Vec<u8> {
    Sha256::digest(public_key_info).to_vec()
}

/// What a certificate says about its issuer: the fingerprint if it has one of ours, else the key
/// identifier, else the name.
pub(crate) fn issuer_fingerprint(certificate: &X509Certificate<'_>) -> String {
    let key_id = certificate.iter_extensions().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        id.key_identifier.as_ref()
    });
    match key_id {
        Some(id) if id.0.len() == Sha256::output_size() => format!("sha256:{}", hex(id.0)),
        Some(id) => format!("key id {}", hex(&id.0[..id.0.len().min(64)])),
        None if certificate.is_ca() => fingerprint(certificate.public_key().raw),
        None => format!("\"{}\"", excerpt(&certificate.issuer().to_string())),
    }
}

/// The one URI among the alternative names (X.509-SVID §2: exactly one).
fn sole_uri<'a>(certificate: &'a X509Certificate<'_>, what: &str) -> Result<&'a str, CertError> {
    let names = certificate.subject_alternative_name().map_err(|e| CertError::Malformed {
        what: what.to_owned(),
        reason: format!("bad alternative names ({e})"),
    })?;
    let uri = |name: &'a GeneralName<'_>| {
        if let GeneralName::URI(uri) = name { Some(*uri) } else { None }
    };
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(uri);
    let first = uris.next().ok_or_else(|| CertError::NoIdentity { what: what.to_owned() })?;
    match uris.count() {
        0 => Ok(first),
        more => Err(CertError::TwoIdentities { what: what.to_owned(), count: more + 1 }),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests;
