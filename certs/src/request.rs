//! Keys that never leave the machine that made them: a request for a certificate goes out, the
//! certificate comes back.

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateSigningRequestDer;

use crate::inspect::fingerprint;
use crate::issue::{issue_error, sign};
use crate::time::now_unix_s;
use crate::verify::AUTHORITY;
use crate::{Authority, CertError, Identity, Renewed, Validity, store};

/// The largest request that is read, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// A private key that was made here, and for which a certificate is to be had.
pub struct NewKey {
    key: KeyPair,
}

impl NewKey {
    /// Makes a key (ECDSA P-256), in memory only.
    ///
    /// # Errors
    ///
    /// [`CertError::Issue`].
    pub fn generate() -> Result<Self, CertError> {
        Ok(Self { key: KeyPair::generate().map_err(|error| issue_error(&error))? })
    }

    /// Takes the key that a file holds, or makes one and writes it there (0600), so that an attempt
    /// that was interrupted goes on with the same key.
    ///
    /// # Errors
    ///
    /// [`CertError::Io`], [`CertError::KeyFileMode`], and what is wrong with the key.
    pub fn at(file: &Path) -> Result<Self, CertError> {
        if store::exists(file)? {
            let name = file.display().to_string();
            let key = store::parse_key(&store::read_secret(file)?, &name)?;
            let key = KeyPair::try_from(&key).map_err(|error| issue_error(&error))?;
            return Ok(Self { key });
        }
        let new = Self::generate()?;
        store::write_atomically(file, new.to_pem().as_bytes(), store::SECRET)?;
        Ok(new)
    }

    /// The private key (PKCS#8), as PEM. A secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A request for a certificate (PKCS#10, DER), signed with the key. It names nobody: who signs
    /// it says whose the certificate is.
    ///
    /// # Errors
    ///
    /// [`CertError::Issue`].
    pub fn request(&self) -> Result<Vec<u8>, CertError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.key).map_err(|error| issue_error(&error))?;
        Ok(request.der().to_vec())
    }
}

/// A request whose signature is right: whoever made it has the key.
pub struct CheckedRequest {
    request: CertificateSigningRequestParams,
}

impl CheckedRequest {
    /// Reads a request and checks its signature. Of what it asks for, only the key counts.
    ///
    /// # Errors
    ///
    /// [`CertError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertError> {
        let bad = |reason: String| CertError::Malformed {
            what: "the request for a certificate".to_owned(),
            reason,
        };
        if der.len() > REQUEST_BYTES_MAX {
            return Err(bad(format!("{} bytes, {REQUEST_BYTES_MAX} at most", der.len())));
        }
        let der = CertificateSigningRequestDer::from(der.to_vec());
        let request = CertificateSigningRequestParams::from_der(&der);
        Ok(Self { request: request.map_err(|error| bad(error.to_string()))? })
    }

    /// The fingerprint of the key.
    #[must_use]
    pub fn key(&self) -> String {
        fingerprint(&self.request.public_key.subject_public_key_info())
    }
}

impl Authority {
    /// Issues a certificate to `identity` for the key of a request, from five minutes ago until
    /// `validity` from now, or until the authority's own end if that is earlier.
    ///
    /// # Errors
    ///
    /// As [`Authority::issue`].
    pub fn sign_request(
        &self,
        request: &CheckedRequest,
        identity: &Identity,
        validity: Duration,
    ) -> Result<Renewed, CertError> {
        self.validity().check(AUTHORITY, now_unix_s())?;
        if identity.cluster != self.cluster() {
            return Err(CertError::WrongCluster {
                what: identity.role.to_string(),
                expected: self.cluster(),
                found: identity.cluster,
            });
        }
        let validity = Validity::from_now(validity)?;
        let not_after = validity.not_after.min(self.validity().not_after);
        let validity = Validity { not_after, ..validity };
        let key = &request.request.public_key;
        let signed = sign(self.issuer(), identity, validity, key)?;
        Ok(Renewed { identity: identity.clone(), validity, certificate_pem: signed.pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterId, Credentials, Role};
    use std::num::NonZeroU64;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_certificate_comes_back_for_the_key_that_never_left() {
        let authority =
            Authority::create(ClusterId::generate().expect("random"), DAY).expect("an authority");
        let key = NewKey::generate().expect("a key");
        let request = key.request().expect("a request");
        let checked = CheckedRequest::from_der(&request).expect("it is right");
        let identity = Identity::new(authority.cluster(), Role::Node(NonZeroU64::MIN));
        let signed = authority.sign_request(&checked, &identity, DAY).expect("signed");
        let (ca, certificate) = (authority.certificate_pem(), &signed.certificate_pem);
        let found = Credentials::from_pem(ca, certificate, &key.to_pem()).expect("they fit");
        assert_eq!(found.identity(), &identity);
        assert_eq!(crate::describe(found.certificate()).expect("one").key, checked.key());
    }

    #[test]
    fn a_request_that_was_changed_is_refused() {
        let request = NewKey::generate().and_then(|key| key.request()).expect("a request");
        for at in [request.len() / 2, request.len() - 3] {
            let mut other = request.clone();
            other[at] ^= 1;
            assert!(CheckedRequest::from_der(&other).is_err(), "{at}");
        }
        assert!(CheckedRequest::from_der(&vec![0; REQUEST_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_key_in_a_file_is_the_same_the_next_time() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("node.key.ab");
        let first = NewKey::at(&file).expect("made").to_pem();
        assert_eq!(NewKey::at(&file).expect("read").to_pem(), first);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
