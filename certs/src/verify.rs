//! Whether a certificate counts: its cluster, its role, its chain and its time.

use std::sync::Arc;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore};

use crate::inspect::{self, MAX_CHAIN_CERTIFICATES};
use crate::{CertError, ClusterId, Expect, Identity, Purpose, Validity};

/// The authority's certificate, where it is not called by its file.
pub(crate) const AUTHORITY: &str = "the authority's certificate";

/// A cluster's authority as the root of trust; two of them while one takes the other's place.
#[derive(Debug)]
pub(crate) struct Trust {
    cluster: ClusterId,
    roots: Vec<Root>,
    provider: Arc<CryptoProvider>,
}

/// One certificate of an authority.
#[derive(Debug)]
struct Root {
    /// What the authority's certificate is called in an error.
    what: String,
    fingerprint: String,
    validity: Validity,
    roots: Arc<RootCertStore>,
    client_chains: Arc<dyn ClientCertVerifier>,
}

impl Root {
    fn new(
        authority: &CertificateDer<'static>,
        cluster: ClusterId,
        provider: &Arc<CryptoProvider>,
        what: &str,
    ) -> Result<Root, CertError> {
        let parsed = inspect::parse(authority, what)?;
        if !parsed.is_ca() {
            return Err(CertError::NotAnAuthority { what: what.to_owned() });
        }
        if let Some(found) = inspect::cluster_of_authority(&parsed, what)?
            && found != cluster
        {
            return Err(CertError::WrongCluster {
                what: what.to_owned(),
                expected: cluster,
                found,
            });
        }
        let bad = |reason: String| CertError::Malformed { what: what.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).map_err(|e| bad(e.to_string()))?;
        let roots = Arc::new(roots);
        let client_chains =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|e| bad(e.to_string()))?;
        let fingerprint = inspect::fingerprint(parsed.public_key().raw);
        let validity = inspect::validity(&parsed);
        let what = match what {
            AUTHORITY => what.to_owned(),
            file => format!("{file} ({AUTHORITY})"),
        };
        Ok(Root { what, fingerprint, validity, roots, client_chains })
    }
}

impl Trust {
    /// Trusts these authorities, which `what` names, for identities of `cluster` and nothing else.
    pub(crate) fn new(
        authorities: &[CertificateDer<'static>],
        cluster: ClusterId,
        provider: Arc<CryptoProvider>,
        what: &str,
    ) -> Result<Trust, CertError> {
        if authorities.is_empty() {
            return Err(CertError::NotAnAuthority { what: what.to_owned() });
        }
        let root = |authority| Root::new(authority, cluster, &provider, what);
        let roots = authorities.iter().map(root).collect::<Result<_, _>>()?;
        Ok(Trust { cluster, roots, provider })
    }

    /// The fingerprints of all authorities that are trusted.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().map(|root| root.fingerprint.as_str())
    }

    /// The fingerprint of the authority that a certificate names as its issuer.
    pub(crate) fn fingerprint_for(&self, leaf: &CertificateDer<'_>) -> &str {
        &self.root_of(leaf).fingerprint
    }

    /// From when to when the authority counts that a certificate names as its issuer.
    pub(crate) fn validity_for(&self, leaf: &CertificateDer<'_>) -> Validity {
        self.root_of(leaf).validity
    }

    /// The authority that a certificate names as its issuer; the first, if it names none of them.
    fn root_of(&self, leaf: &CertificateDer<'_>) -> &Root {
        let named = inspect::parse(leaf, "").ok().map(|leaf| inspect::issuer_fingerprint(&leaf));
        let is_named = |root: &&Root| Some(&root.fingerprint) == named.as_ref();
        self.roots.iter().find(is_named).unwrap_or(&self.roots[0])
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Checks a peer's certificate: whose it claims to be first, then whether that is true.
    ///
    /// The claims come first because their errors tell more: a node of another cluster is always
    /// signed by a stranger as well. Nobody is admitted before all checks have passed.
    pub(crate) fn check_peer(
        &self,
        purpose: Purpose,
        expect: Option<Expect>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Identity, CertError> {
        let identity = inspect::identity_in(leaf, "the peer's certificate")?;
        if let Some(expect) = expect
            && identity.cluster == self.cluster
            && !expect.admits(&identity.role)
        {
            return Err(CertError::UnexpectedPeer { expected: expect, found: identity });
        }
        let what = format!("the certificate of {}", identity.role);
        self.check(purpose, &identity, leaf, intermediates, now, &what)?;
        Ok(identity)
    }

    /// Checks that the certificate that `what` names is this cluster's, and counts at `now`.
    pub(crate) fn check(
        &self,
        purpose: Purpose,
        identity: &Identity,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        what: &str,
    ) -> Result<(), CertError> {
        if identity.cluster != self.cluster {
            let (expected, found) = (self.cluster, identity.cluster);
            return Err(CertError::WrongCluster { what: what.to_owned(), expected, found });
        }
        if intermediates.len() >= MAX_CHAIN_CERTIFICATES {
            let reason = format!("the chain has more than {MAX_CHAIN_CERTIFICATES} certificates");
            return Err(CertError::BadChain { what: what.to_owned(), reason });
        }
        // webpki takes a root for granted, for ever.
        let root = self.root_of(leaf);
        root.validity.check(&root.what, now.as_secs())?;
        self.check_chain(purpose, leaf, intermediates, now)
            .map_err(|error| self.chain_error(&error, purpose, leaf, what))
    }

    pub(crate) fn check_chain(
        &self,
        purpose: Purpose,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let root = self.root_of(leaf);
        match purpose {
            Purpose::Client => {
                root.client_chains.verify_client_cert(leaf, intermediates, now).map(drop)
            }
            Purpose::Server => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(leaf)?,
                &root.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            ),
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls may add variants")]
    pub(crate) fn chain_error(
        &self,
        error: &rustls::Error,
        purpose: Purpose,
        leaf: &CertificateDer<'_>,
        what: &str,
    ) -> CertError {
        let what = what.to_owned();
        let rustls::Error::InvalidCertificate(reason) = error else {
            return CertError::BadChain { what, reason: error.to_string() };
        };
        match reason {
            CertificateError::ExpiredContext { time, not_after } => {
                CertError::Expired { what, not_after: not_after.as_secs(), now: time.as_secs() }
            }
            CertificateError::NotValidYetContext { time, not_before } => CertError::NotYetValid {
                what,
                not_before: not_before.as_secs(),
                now: time.as_secs(),
            },
            // An authority that was made anew for the same cluster has the same name and another
            // key: the signature is what fails.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let found = inspect::parse(leaf, &what)
                    .map_or_else(|e| e.to_string(), |leaf| inspect::issuer_fingerprint(&leaf));
                let expected = self.fingerprints().collect::<Vec<_>>().join(" or ");
                CertError::UnknownAuthority { what, expected, found }
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                CertError::WrongPurpose { what, purpose }
            }
            other => CertError::BadChain { what, reason: other.to_string() },
        }
    }
}
