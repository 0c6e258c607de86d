//! Certificates that get a longer time, in place.
//!
//! Renewing keeps the key: only the public half of it is needed, and that stands in the
//! certificate. So one file changes, and it is not secret: whatever interrupts it, key and
//! certificate belong together, and nothing but a certificate has to be carried to a machine.

use std::path::Path;
use std::time::Duration;

use rcgen::{KeyPair, SubjectPublicKeyInfo};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::issue::{issue_error, sign};
use crate::provider::provider;
use crate::time::now_unix_s;
use crate::verify::{AUTHORITY, Trust};
use crate::{Authority, CertError, Identity, Purpose, Validity, inspect, store};

/// A certificate that was signed once more.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Whose it is, as before.
    pub identity: Identity,
    /// From when to when it counts.
    pub validity: Validity,
    /// The certificate, as PEM.
    pub certificate_pem: String,
}

impl Renewed {
    /// Checks that the private key in `key` is the certificate's, which is to stand in
    /// `certificate`.
    ///
    /// # Errors
    ///
    /// [`CertError::KeyMismatch`], [`CertError::KeyFileMode`], [`CertError::Io`]
    /// ([`CertError::is_not_found`] tells a missing file), and what is wrong with the key.
    pub fn check_key(&self, key: &Path, certificate: &Path) -> Result<(), CertError> {
        let (name, certificate) = (key.display().to_string(), certificate.display().to_string());
        let chain = store::parse_certificates(self.certificate_pem.as_bytes(), &certificate)?;
        let key = store::parse_key(&store::read_secret(key)?, &name)?;
        match CertifiedKey::from_der(chain, key, &provider()) {
            Ok(_) => Ok(()),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(CertError::KeyMismatch { key: name, certificate })
            }
            Err(other) => Err(CertError::BadKey { key: name, reason: other.to_string() }),
        }
    }
}

/// Reads the first certificate of a PEM file; nothing is verified.
///
/// # Errors
///
/// [`CertError::Io`], [`CertError::TooLarge`] and [`CertError::Pem`].
pub fn read_certificate(file: &Path) -> Result<CertificateDer<'static>, CertError> {
    let what = file.display().to_string();
    let chain = store::parse_certificates(&store::read_public(file)?, &what)?;
    Ok(chain.into_iter().next().expect("a text without a certificate is refused"))
}

/// Replaces the certificate in a file (0644), at once and durably: after a crash it is the old one
/// or the new one. A symbolic link stays one, and leads to the new certificate.
///
/// # Errors
///
/// [`CertError::Io`].
pub fn replace_certificate(file: &Path, pem: &str) -> Result<(), CertError> {
    store::write_atomically(&store::real(file)?, pem.as_bytes(), store::PUBLIC)
}

/// The fingerprints of the certificates in a PEM text; none if it is no such text.
#[must_use]
pub fn fingerprints(pem: &str) -> Vec<String> {
    let certificates = store::parse_certificates(pem.as_bytes(), "").unwrap_or_default();
    let parsed = certificates.iter().filter_map(|certificate| {
        let parsed = inspect::parse(certificate, "").ok()?;
        Some(inspect::fingerprint(parsed.public_key().raw))
    });
    parsed.collect()
}

/// Makes `file`, which holds the authority's certificate, hold this one; tells whether it changed.
/// Only certificates of the same authority are replaced: one for the same key must be among the
/// new.
pub(crate) fn replace_authority(file: &Path, pem: &str) -> Result<bool, CertError> {
    let present = store::read_public(file)?;
    if present == pem.as_bytes() {
        return Ok(false);
    }
    let what = file.display().to_string();
    let fingerprints = |text: &[u8]| {
        let certificates = store::parse_certificates(text, &what)?;
        let fingerprint = |certificate| {
            let parsed = inspect::parse(certificate, &what)?;
            Ok::<_, CertError>(inspect::fingerprint(parsed.public_key().raw))
        };
        certificates.iter().map(fingerprint).collect::<Result<Vec<_>, CertError>>()
    };
    let (present, new) = (fingerprints(&present)?, fingerprints(pem.as_bytes())?);
    if !present.iter().any(|known| new.contains(known)) {
        return Err(CertError::AuthorityExists { path: file.to_owned() });
    }
    replace_certificate(file, pem)?;
    Ok(true)
}

impl Authority {
    /// The same authority with a new certificate, from five minutes ago until `validity`
    /// from now: of the same name and for the same key, so that all certificates that it has issued
    /// stay valid, and whoever still holds its former certificate trusts those that it issues from
    /// now on. In memory only: [`Authority::refresh`] writes it.
    ///
    /// # Errors
    ///
    /// [`CertError::BadValidity`], [`IdentityError::Random`](crate::IdentityError::Random),
    /// and [`CertError::Issue`], also if the certificate was not made by this crate and has another
    /// name.
    pub fn renew(&self, validity: Duration) -> Result<Authority, CertError> {
        self.renew_within(Validity::from_now(validity)?)
    }

    /// As [`Authority::renew`], for a window of time that need not begin now; for tools and tests.
    ///
    /// # Errors
    ///
    /// As [`Authority::renew`].
    pub fn renew_within(&self, validity: Validity) -> Result<Authority, CertError> {
        let key = KeyPair::from_pem(&self.issuer().key().serialize_pem());
        let key = key.map_err(|e| issue_error(&e))?;
        let renewed = Authority::sign(self.cluster(), validity, key)?;
        let (before, after) = (
            inspect::parse(self.certificate(), AUTHORITY)?,
            inspect::parse(renewed.certificate(), AUTHORITY)?,
        );
        if before.subject().as_raw() != after.subject().as_raw() {
            let reason =
                format!("the authority is called \"{}\", as raftd makes none", before.subject());
            return Err(CertError::Issue { reason });
        }
        Ok(renewed)
    }

    /// Makes `file`, a copy of this authority's certificate or of one for the same key, this one,
    /// at once; tells whether it was another one. Keys are not touched.
    ///
    /// # Errors
    ///
    /// [`CertError::AuthorityExists`] if it is the certificate of another authority;
    /// [`CertError::Io`] ([`CertError::is_not_found`] if there is none).
    pub fn refresh(&self, file: &Path) -> Result<bool, CertError> {
        replace_authority(file, &self.trust_pem())
    }

    /// Signs a certificate that this authority, or the one beside it, has issued once more, for the
    /// same identity and key, from five minutes ago until `validity` from now, or until the
    /// authority's own end if that is earlier. That it has expired does not matter, and its private
    /// key is not needed.
    ///
    /// # Errors
    ///
    /// As [`Authority::issue`]; [`CertError::UnknownAuthority`] if another authority has issued it;
    /// what else is wrong with the certificate, which `what` names.
    pub fn renew_certificate(
        &self,
        certificate: &CertificateDer<'_>,
        validity: Duration,
        what: &str,
    ) -> Result<Renewed, CertError> {
        self.validity().check(AUTHORITY, now_unix_s())?;
        self.renew_certificate_within(certificate, Validity::from_now(validity)?, what)
    }

    /// As [`Authority::renew_certificate`], for a window of time that need not begin now; for tools
    /// and tests.
    ///
    /// # Errors
    ///
    /// As [`Authority::renew_certificate`].
    pub fn renew_certificate_within(
        &self,
        certificate: &CertificateDer<'_>,
        validity: Validity,
        what: &str,
    ) -> Result<Renewed, CertError> {
        let not_after = validity.not_after.min(self.validity().not_after);
        leaf(self, certificate, Validity { not_after, ..validity }, what)
    }
}

/// Signs a certificate of this authority for another window.
fn leaf(
    authority: &Authority,
    certificate: &CertificateDer<'_>,
    validity: Validity,
    what: &str,
) -> Result<Renewed, CertError> {
    let identity = inspect::identity_in(certificate, what)?;
    if identity.cluster != authority.cluster() {
        return Err(CertError::WrongCluster {
            what: what.to_owned(),
            expected: authority.cluster(),
            found: identity.cluster,
        });
    }
    let parsed = inspect::parse(certificate, what)?;
    is_issued_by(authority, &identity, certificate, what)?;
    let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw);
    let key = key.map_err(|error| issue_error(&error))?;
    let signed = sign(authority.issuer(), &identity, validity, &key)?;
    Ok(Renewed { identity, validity, certificate_pem: signed.pem() })
}

/// Checks the signature, as of the certificate's last second: that it counts no more is no matter,
/// and neither is which of the authority's certificates was in force then.
fn is_issued_by(
    authority: &Authority,
    identity: &Identity,
    certificate: &CertificateDer<'_>,
    what: &str,
) -> Result<(), CertError> {
    let trust = Trust::new(&authority.trusted(), identity.cluster, provider(), what)?;
    let last = inspect::validity(&inspect::parse(certificate, what)?).not_after;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(last));
    let purpose = match identity.node_id() {
        Some(_) => Purpose::Server,
        None => Purpose::Client,
    };
    trust
        .check_chain(purpose, certificate, &[], at)
        .map_err(|error| trust.chain_error(&error, purpose, certificate, what))
}

#[cfg(test)]
mod tests;
