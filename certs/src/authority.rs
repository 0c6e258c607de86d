//! The cluster's certificate authority: its certificate, which names the cluster, and its key.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;

use crate::issue::{self, issue_error, parameters};
use crate::verify::AUTHORITY;
use crate::{CertError, ClusterId, Identity, Issued, Validity, inspect, store};

/// The authority's private key; it stays with the operator, nodes never hold it.
pub const CA_KEY_FILE: &str = "ca.key";

/// A cluster's certificate authority, with its private key.
///
/// Its certificate is self-signed, holds the cluster's id as its one URI SAN
/// (`spiffe://<cluster-id>`), and may sign leaves only (path length 0).
pub struct Authority {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    validity: Validity,
    fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
    /// The authority that is trusted beside this one, while one takes the other's place.
    beside: Option<(CertificateDer<'static>, String)>,
}

impl Authority {
    /// Makes the authority of `cluster`, with a new key (ECDSA P-256), in memory only.
    ///
    /// # Errors
    ///
    /// [`CertError::BadValidity`], [`IdentityError::Random`](crate::IdentityError::Random)
    /// and [`CertError::Issue`].
    pub fn create(cluster: ClusterId, validity: Duration) -> Result<Authority, CertError> {
        Authority::create_within(cluster, Validity::from_now(validity)?)
    }

    /// As [`Authority::create`], for a window of time that need not begin now.
    ///
    /// # Errors
    ///
    /// As [`Authority::create`].
    pub fn create_within(cluster: ClusterId, validity: Validity) -> Result<Authority, CertError> {
        let key = KeyPair::generate().map_err(|e| issue_error(&e))?;
        Authority::sign(cluster, validity, key)
    }

    /// Signs the certificate of a cluster's authority with its own key.
    pub(crate) fn sign(
        cluster: ClusterId,
        validity: Validity,
        key: KeyPair,
    ) -> Result<Authority, CertError> {
        let name = format!("raftd cluster {cluster}");
        let mut params: CertificateParams = parameters(&name, &cluster.to_uri(), validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method =
            KeyIdMethod::PreSpecified(inspect::key_identifier(&key.subject_public_key_info()));
        let certificate = params.self_signed(&key).map_err(|e| issue_error(&e))?;
        Authority::assemble(certificate.der().clone(), certificate.pem(), key, "ca.crt", "ca.key")
    }

    /// Loads the authority that [`Authority::store`] wrote to `directory`. An authority that has
    /// expired is loaded too, so that it can be shown; it issues nothing.
    ///
    /// # Errors
    ///
    /// [`CertError::Io`] ([`CertError::is_not_found`] tells a missing file),
    /// [`CertError::KeyFileMode`], [`CertError::KeyMismatch`], and what is wrong with a file.
    pub fn load(directory: &Path) -> Result<Authority, CertError> {
        let (certificate_path, key_path) =
            (directory.join(store::CA_CERTIFICATE_FILE), directory.join(CA_KEY_FILE));
        let certificate_name = certificate_path.display().to_string();
        let key_name = key_path.display().to_string();
        let pem = store::text(store::read_public(&certificate_path)?, &certificate_name)?;
        let certificate = store::parse_sole_certificate(pem.as_bytes(), &certificate_name)?;
        let key = store::parse_key(&store::read_secret(&key_path)?, &key_name)?;
        let key = KeyPair::try_from(&key).map_err(|_| CertError::BadKey {
            key: key_name.clone(),
            reason: "not a PKCS#8 key of ECDSA (P-256, P-384), Ed25519 or RSA".to_owned(),
        })?;
        Authority::assemble(certificate, pem, key, &certificate_name, &key_name)
    }

    /// Stores certificate (0644) and key (0600) in `directory` (0700), which is made, or exists and
    /// is empty: both files appear at once or not at all, also after a crash.
    ///
    /// # Errors
    ///
    /// [`CertError::AuthorityExists`] if the directory has an authority, never overwritten;
    /// [`CertError::NotEmpty`] if it has other files; [`CertError::Io`].
    pub fn store(&self, directory: &Path) -> Result<(), CertError> {
        let key_pem = self.issuer.key().serialize_pem();
        let files: [(&str, &[u8], u32); 2] = [
            (CA_KEY_FILE, key_pem.as_bytes(), store::SECRET),
            (store::CA_CERTIFICATE_FILE, self.certificate_pem.as_bytes(), store::PUBLIC),
        ];
        for (name, _, _) in files {
            let path = directory.join(name);
            if store::exists(&path)? {
                return Err(CertError::AuthorityExists { path });
            }
        }
        store::create_directory_with(directory, &files)
    }

    /// Whether `directory` has an authority (its certificate or its key).
    ///
    /// # Errors
    ///
    /// [`CertError::Io`] if that cannot be told.
    pub fn is_stored(directory: &Path) -> Result<bool, CertError> {
        Ok(store::exists(&directory.join(store::CA_CERTIFICATE_FILE))?
            || store::exists(&directory.join(CA_KEY_FILE))?)
    }

    /// Issues a certificate with a new key to `identity`, from five minutes ago until
    /// `validity` from now, or until the authority's own end if that is earlier.
    ///
    /// # Errors
    ///
    /// [`CertError::WrongCluster`], [`CertError::AuthorityExpired`],
    /// [`CertError::BadValidity`], [`IdentityError::Random`](crate::IdentityError::Random)
    /// and [`CertError::Issue`].
    pub fn issue(&self, identity: &Identity, validity: Duration) -> Result<Issued, CertError> {
        self.validity.check(AUTHORITY, crate::time::now_unix_s())?;
        self.issue_within(identity, Validity::from_now(validity)?)
    }

    /// As [`Authority::issue`], for a window of time that need not be now; for tools and tests.
    ///
    /// # Errors
    ///
    /// As [`Authority::issue`]; [`CertError::BadValidity`] if the window is empty or begins after
    /// the authority's end.
    pub fn issue_within(
        &self,
        identity: &Identity,
        validity: Validity,
    ) -> Result<Issued, CertError> {
        if identity.cluster != self.cluster {
            return Err(CertError::WrongCluster {
                what: identity.role.to_string(),
                expected: self.cluster,
                found: identity.cluster,
            });
        }
        let not_after = validity.not_after.min(self.validity.not_after);
        let validity = Validity { not_after, ..validity };
        issue::leaf(&self.issuer, &self.trust_pem(), identity, validity)
    }

    /// The cluster that this is the authority of.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The authority's certificate, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The same authority while another one of its cluster is trusted beside it: who gets a
    /// certificate from now on gets both authorities' to trust.
    ///
    /// # Errors
    ///
    /// [`CertError::WrongCluster`], and what is wrong with the text, which `what` names.
    pub fn beside(self, pem: &str, what: &str) -> Result<Authority, CertError> {
        let certificate = store::parse_sole_certificate(pem.as_bytes(), what)?;
        let parsed = inspect::parse(&certificate, what)?;
        let found = inspect::cluster_of_authority(&parsed, what)?
            .ok_or_else(|| CertError::NoIdentity { what: what.to_owned() })?;
        if found != self.cluster {
            let (what, expected) = (what.to_owned(), self.cluster);
            return Err(CertError::WrongCluster { what, expected, found });
        }
        drop(parsed);
        Ok(Authority { beside: Some((certificate, pem.to_owned())), ..self })
    }

    /// What is to be trusted, as PEM: the authority's certificate, and that of the one beside it.
    #[must_use]
    pub fn trust_pem(&self) -> String {
        match &self.beside {
            None => self.certificate_pem.clone(),
            Some((_, pem)) => {
                format!("{}\n{}\n", self.certificate_pem.trim_end(), pem.trim_end())
            }
        }
    }

    /// The certificates of [`Authority::trust_pem`], as DER.
    pub(crate) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        let beside = self.beside.iter().map(|(certificate, _)| certificate.clone());
        std::iter::once(self.certificate.clone()).chain(beside).collect()
    }

    /// The authority's certificate, as DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// `sha256:` and the SHA-256 of the public key (DER of SubjectPublicKeyInfo), in hexadecimal:
    /// `openssl x509 -in ca.crt -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// From when to when the authority counts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        certificate_pem: String,
        key: KeyPair,
        certificate_name: &str,
        key_name: &str,
    ) -> Result<Authority, CertError> {
        let parsed = inspect::parse(&certificate, certificate_name)?;
        if !parsed.is_ca() {
            return Err(CertError::NotAnAuthority { what: certificate_name.to_owned() });
        }
        let cluster = inspect::cluster_of_authority(&parsed, certificate_name)?
            .ok_or_else(|| CertError::NoIdentity { what: certificate_name.to_owned() })?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CertError::KeyMismatch {
                key: key_name.to_owned(),
                certificate: certificate_name.to_owned(),
            });
        }
        let validity = inspect::validity(&parsed);
        let fingerprint = inspect::fingerprint(parsed.public_key().raw);
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|e| issue_error(&e))?;
        let beside = None;
        Ok(Authority {
            cluster,
            certificate,
            certificate_pem,
            validity,
            fingerprint,
            issuer,
            beside,
        })
    }
}

/// Without the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .field("fingerprint", &self.fingerprint)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
