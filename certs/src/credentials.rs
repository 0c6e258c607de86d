//! What a process holds: the authority's certificate, its own certificate, and the private key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::provider::provider;
use crate::store::{self, PemPaths};
use crate::time::now_unix_s;
use crate::verify::{AUTHORITY, Trust};
use crate::{
    CertError, ClusterId, Identity, IdentityError, Issued, NewKey, Purpose, Validity, inspect,
    renew,
};

/// Checked credentials: the key is the certificate's, the authority has signed it, the cluster is
/// one, the time is right, and the certificate names one identity. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    identity: Identity,
    validity: Validity,
    texts: Arc<Texts>,
    certified_key: Arc<CertifiedKey>,
    trust: Arc<Trust>,
}

/// The three files as they were read; the key's is a secret.
struct Texts {
    ca: String,
    certificate: String,
    key: String,
}

/// What the three parts are called in an error: their paths, where they have one.
struct Labels {
    ca: String,
    certificate: String,
    key: String,
}

impl Credentials {
    /// Loads and checks three PEM files. The key's file must not be accessible to group or others
    /// (but for a file of root's that its group may read, when the process is not root).
    ///
    /// # Errors
    ///
    /// The first check that fails, naming the file: [`CertError::Io`], [`CertError::TooLarge`],
    /// [`CertError::KeyFileMode`], [`CertError::Pem`], [`CertError::NotAnAuthority`],
    /// [`CertError::NoIdentity`], [`CertError::TwoIdentities`], [`IdentityError::BadUri`],
    /// [`CertError::WrongCluster`], [`CertError::KeyMismatch`], [`CertError::UnknownAuthority`],
    /// [`CertError::Expired`], [`CertError::NotYetValid`], [`CertError::WrongPurpose`].
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Credentials, CertError> {
        let labels = Labels {
            ca: ca.display().to_string(),
            certificate: certificate.display().to_string(),
            key: key.display().to_string(),
        };
        let texts = Texts {
            ca: store::text(store::read_public(ca)?, &labels.ca)?,
            certificate: store::text(store::read_public(certificate)?, &labels.certificate)?,
            key: store::text(store::read_secret(key)?, &labels.key)?,
        };
        Credentials::check(texts, &labels, now_unix_s())
    }

    /// Loads `ca.crt`, `<prefix>.crt` and `<prefix>.key` from a directory.
    ///
    /// # Errors
    ///
    /// As [`Credentials::load`].
    pub fn load_from(directory: &Path, prefix: &str) -> Result<Credentials, CertError> {
        let paths = PemPaths::in_directory(directory, prefix);
        Credentials::load(&paths.ca, &paths.certificate, &paths.key)
    }

    /// Checks three PEM texts.
    ///
    /// # Errors
    ///
    /// As [`Credentials::load`], without those of files.
    pub fn from_pem(ca: &str, certificate: &str, key: &str) -> Result<Credentials, CertError> {
        Credentials::from_pem_at(ca, certificate, key, now_unix_s())
    }

    /// As [`Credentials::from_pem`], as if it were `now_unix_s` seconds after 1970: for tests that
    /// need credentials which have expired since.
    ///
    /// # Errors
    ///
    /// As [`Credentials::from_pem`].
    pub fn from_pem_at(
        ca: &str,
        certificate: &str,
        key: &str,
        now_unix_s: u64,
    ) -> Result<Credentials, CertError> {
        let labels = Labels {
            ca: AUTHORITY.to_owned(),
            certificate: "the certificate".to_owned(),
            key: "the private key".to_owned(),
        };
        let texts =
            Texts { ca: ca.to_owned(), certificate: certificate.to_owned(), key: key.to_owned() };
        Credentials::check(texts, &labels, now_unix_s)
    }

    /// Writes `ca.crt` (0644), `<prefix>.crt` (0644) and `<prefix>.key` (0600) to `directory`,
    /// which is made (0700) if it is missing. Each file is replaced atomically. A certificate for
    /// another key goes first, so that whatever interrupts it no key stands beside a certificate
    /// that is not its own; what is missing then is written by writing again.
    ///
    /// # Errors
    ///
    /// [`CertError::AuthorityExists`] if the directory's `ca.crt` is another authority's (one of
    /// the same key is replaced: it was renewed), and nothing is written;
    /// [`IdentityError::BadName`] if `prefix` is not a [`crate::Name`] or is `ca`;
    /// [`CertError::Io`].
    pub fn write(&self, directory: &Path, prefix: &str) -> Result<(), CertError> {
        prefix.parse::<crate::Name>()?;
        let paths = PemPaths::in_directory(directory, prefix);
        if paths.certificate == paths.ca {
            let reason = "is the name of the authority's own files";
            return Err(IdentityError::BadName { name: prefix.to_owned(), reason }.into());
        }
        store::create_directory(directory).map_err(|e| store::io_error(directory, e))?;
        if store::exists(&paths.ca)? {
            renew::replace_authority(&paths.ca, &self.texts.ca)?;
        } else {
            store::write_atomically(&paths.ca, self.texts.ca.as_bytes(), store::PUBLIC)?;
        }
        store::replace_pair(&paths, &self.texts.certificate, &self.texts.key)
    }

    /// Whether these may take the place of `former` in a process that runs: they name the same
    /// holder under an authority that is trusted already, and are not older.
    ///
    /// # Errors
    ///
    /// A sentence that says what differs.
    pub fn may_succeed(&self, former: &Credentials) -> Result<(), String> {
        let (new, old) = (self.identity(), former.identity());
        if new != old {
            return Err(format!("they are those of {new}, and this is {old}"));
        }
        let new = self.authority_fingerprint();
        if !former.trust.fingerprints().any(|trusted| trusted == new) {
            let old = former.trust.fingerprints().collect::<Vec<_>>().join(" and ");
            return Err(format!("they are of the authority {new}, those in use trust {old}"));
        }
        let (new, old) = (self.validity(), former.validity());
        if new.not_before < old.not_before {
            return Err(format!("the certificate is older than the one in use ({new}, not {old})"));
        }
        Ok(())
    }

    /// Who the certificate's holder is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The cluster that the holder belongs to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// The certificate's last second, since 1970.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.validity.not_after
    }

    /// From when to when the certificate counts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The last second at which others accept the certificate: its own, or the authority's if that
    /// is earlier.
    #[must_use]
    pub fn usable_until(&self) -> u64 {
        self.validity.not_after.min(self.authority_validity().not_after)
    }

    /// Whether these are the same three texts.
    #[must_use]
    pub fn is_same_as(&self, other: &Credentials) -> bool {
        let (a, b) = (&self.texts, &other.texts);
        (&a.ca, &a.certificate, &a.key) == (&b.ca, &b.certificate, &b.key)
    }

    /// From when to when the authority counts.
    #[must_use]
    pub fn authority_validity(&self) -> Validity {
        self.trust.validity_for(self.certificate())
    }

    /// The fingerprint of the authority that has issued the certificate, as
    /// [`crate::Authority::fingerprint`].
    #[must_use]
    pub fn authority_fingerprint(&self) -> &str {
        self.trust.fingerprint_for(self.certificate())
    }

    /// The fingerprints of all authorities that are trusted: two while one takes the other's place.
    #[must_use]
    pub fn trusted_fingerprints(&self) -> Vec<String> {
        self.trust.fingerprints().map(str::to_owned).collect()
    }

    /// Checks once more the chain that the side with this purpose has shown on a connection, as it
    /// would be if the connection was made now.
    ///
    /// # Errors
    ///
    /// [`CertError::NoIdentity`] for an empty chain, and what makes a certificate count no more.
    pub fn check_shown(
        &self,
        purpose: Purpose,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), CertError> {
        let what = "the peer's certificate".to_owned();
        let (leaf, others) = chain.split_first().ok_or(CertError::NoIdentity { what })?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix_s()));
        self.trust.check_peer(purpose, None, leaf, others, now).map(drop)
    }

    /// The certificates of the authorities that are trusted, as PEM.
    #[must_use]
    pub fn authorities_pem(&self) -> &str {
        &self.texts.ca
    }

    /// The same key with another certificate, other authorities, or both; or a new key with its
    /// certificate. All of it is checked as files are.
    ///
    /// # Errors
    ///
    /// As [`Credentials::from_pem`].
    pub fn with(
        &self,
        key: Option<&NewKey>,
        certificate_pem: Option<&str>,
        authorities_pem: Option<&str>,
    ) -> Result<Credentials, CertError> {
        let key = key.map(NewKey::to_pem);
        Credentials::from_pem(
            authorities_pem.unwrap_or(&self.texts.ca),
            certificate_pem.unwrap_or(&self.texts.certificate),
            key.as_deref().unwrap_or(&self.texts.key),
        )
    }

    /// Writes all three parts into one file (0600), at once and durably: after a crash it has the
    /// old ones or the new ones, and key and certificate belong together.
    ///
    /// # Errors
    ///
    /// [`CertError::Io`].
    pub fn store(&self, file: &Path) -> Result<(), CertError> {
        let Texts { ca, certificate, key } = &*self.texts;
        let parts = [key, certificate, ca].map(|text| text.trim_end());
        let text = parts.map(|part| format!("{part}\n")).concat();
        store::write_atomically(file, text.as_bytes(), store::SECRET)
    }

    /// Loads and checks what [`Credentials::store`] wrote.
    ///
    /// # Errors
    ///
    /// As [`Credentials::load`].
    pub fn load_stored(file: &Path) -> Result<Credentials, CertError> {
        let (labels, texts) = stored(file)?;
        Credentials::check(texts, &labels, now_unix_s())
    }

    /// Loads certificates from files, and the key from one that [`Credentials::store`] wrote: for a
    /// renewed certificate that was carried to a machine whose key never left it.
    ///
    /// # Errors
    ///
    /// As [`Credentials::load`].
    pub fn load_with_key_of(
        file: &Path,
        ca: &Path,
        certificate: &Path,
    ) -> Result<Credentials, CertError> {
        let (labels, texts) = stored(file)?;
        let labels = Labels {
            ca: ca.display().to_string(),
            certificate: certificate.display().to_string(),
            key: labels.key,
        };
        let texts = Texts {
            ca: store::text(store::read_public(ca)?, &labels.ca)?,
            certificate: store::text(store::read_public(certificate)?, &labels.certificate)?,
            key: texts.key,
        };
        Credentials::check(texts, &labels, now_unix_s())
    }

    /// The certificate, as DER; for [`crate::describe`].
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.certified_key.cert.first().expect("a chain without a certificate is refused")
    }

    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    pub(crate) fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    fn check(texts: Texts, labels: &Labels, now: u64) -> Result<Credentials, CertError> {
        let provider = provider();
        let ca = store::parse_certificates(texts.ca.as_bytes(), &labels.ca)?;
        let chain = store::parse_certificates(texts.certificate.as_bytes(), &labels.certificate)?;
        let key = store::parse_key(texts.key.as_bytes(), &labels.key)?;
        let (leaf, intermediates) =
            chain.split_first().expect("a text without a certificate is refused");
        let parsed = inspect::parse(leaf, &labels.certificate)?;
        let validity = inspect::validity(&parsed);
        let identity = inspect::identity_in(leaf, &labels.certificate)?;
        let trust = Trust::new(&ca, identity.cluster, provider.clone(), &labels.ca)?;

        let certified_key = CertifiedKey::from_der(chain.clone(), key, &provider)
            .map_err(|error| key_error(&error, labels))?;

        let what = format!("{} ({})", labels.certificate, identity.role);
        let purposes: &[Purpose] = match identity.node_id() {
            Some(_) => &[Purpose::Server, Purpose::Client],
            None => &[Purpose::Client],
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        for purpose in purposes {
            trust.check(*purpose, &identity, leaf, intermediates, now, &what)?;
        }
        let (certified_key, trust) = (Arc::new(certified_key), Arc::new(trust));
        Ok(Credentials { identity, validity, texts: Arc::new(texts), certified_key, trust })
    }
}

/// Without the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Issued {
    /// The same as credentials, checked as a file would be.
    ///
    /// # Errors
    ///
    /// As [`Credentials::from_pem`], for a window of time that is not now.
    pub fn credentials(&self) -> Result<Credentials, CertError> {
        Credentials::from_pem(&self.ca_pem, &self.certificate_pem, &self.key_pem)
    }

    /// Writes `ca.crt`, `<prefix>.crt` and `<prefix>.key`, as [`Credentials::write`] does.
    ///
    /// # Errors
    ///
    /// As [`Issued::credentials`] and [`Credentials::write`].
    pub fn write(&self, directory: &Path, prefix: &str) -> Result<(), CertError> {
        self.credentials()?.write(directory, prefix)
    }
}

/// Reads a file with key, certificate and authorities, in this order.
fn stored(file: &Path) -> Result<(Labels, Texts), CertError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let name = file.display().to_string();
    let text = store::text(store::read_secret(file)?, &name)?;
    let mut certificates = text.match_indices(BEGIN).map(|(place, _)| place);
    let (Some(first), Some(second)) = (certificates.next(), certificates.next()) else {
        let reason = "a key, its certificate and the authority's are expected".to_owned();
        return Err(CertError::Pem { what: name, reason });
    };
    let texts = Texts {
        key: text[..first].to_owned(),
        certificate: text[first..second].to_owned(),
        ca: text[second..].to_owned(),
    };
    Ok((Labels { ca: name.clone(), certificate: name.clone(), key: name }, texts))
}

fn key_error(error: &Error, labels: &Labels) -> CertError {
    let key = labels.key.clone();
    if matches!(error, Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
        return CertError::KeyMismatch { key, certificate: labels.certificate.clone() };
    }
    CertError::BadKey { key, reason: error.to_string() }
}

#[cfg(test)]
mod rotation;
#[cfg(test)]
mod tests;
