//! Everything that can be wrong with identities, certificates, keys and their files.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use crate::time::{span_coarse, utc, utc_minute};
use crate::{ClusterId, Expect, Identity, IdentityError, Purpose};

/// What is wrong, by name. `what` says which certificate: a path, or whose it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A file or directory could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than 64 KiB.
    #[error("{}: larger than {limit} bytes, this is no certificate or key", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Something that should be PEM is not.
    #[error("{what}: {reason}")]
    Pem {
        /// The file, or which of several texts.
        what: String,
        /// What is missing or malformed.
        reason: String,
    },
    /// A certificate is not valid DER, or lacks what every certificate of a cluster has.
    #[error("{what}: {reason}")]
    Malformed {
        /// Which certificate.
        what: String,
        /// What is malformed.
        reason: String,
    },
    /// A private key is readable by users other than its owner.
    #[error(
        "{}: the private key is accessible to others (mode {mode:04o}); run: chmod 600 {}",
        .path.display(), .path.display()
    )]
    KeyFileMode {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A private key belongs to another certificate.
    #[error("{key} is not the private key of {certificate}")]
    KeyMismatch {
        /// The key's file.
        key: String,
        /// The certificate's file.
        certificate: String,
    },
    /// A private key is of a kind that cannot be used.
    #[error("{key}: {reason}")]
    BadKey {
        /// The key's file.
        key: String,
        /// Why it cannot be used; never its contents.
        reason: String,
    },
    /// A certificate counts no more.
    #[error(
        "{what} expired at {}, {} ago by a clock that says {} (raftctl cert renew --all)",
        utc(*.not_after), span_coarse(.now.saturating_sub(*.not_after)), utc_minute(*.now)
    )]
    Expired {
        /// Which certificate.
        what: String,
        /// Its last second, since 1970.
        not_after: u64,
        /// When that was found out, by the clock of the machine that looked.
        now: u64,
    },
    /// The authority's own certificate counts no more, and with it none that it has issued.
    #[error(
        "{what} expired at {}, {} ago by a clock that says {} \
         (raftctl cert renew --authority --all)",
        utc(*.not_after), span_coarse(.now.saturating_sub(*.not_after)), utc_minute(*.now)
    )]
    AuthorityExpired {
        /// Which certificate.
        what: String,
        /// Its last second, since 1970.
        not_after: u64,
        /// When that was found out, by the clock of the machine that looked.
        now: u64,
    },
    /// A certificate does not count yet; often the clock of one machine is wrong.
    #[error(
        "{what} is not valid before {}, but the clock of the machine that checked it says {}: \
         this clock is {} behind the one that made it, or more",
        utc(*.not_before), utc_minute(*.now), span_coarse(.not_before.saturating_sub(*.now))
    )]
    NotYetValid {
        /// Which certificate.
        what: String,
        /// Its first second, since 1970.
        not_before: u64,
        /// When that was found out, by the clock of the machine that looked.
        now: u64,
    },
    /// A certificate belongs to another cluster.
    #[error("{what} belongs to cluster {found}, not to cluster {expected}")]
    WrongCluster {
        /// Which certificate.
        what: String,
        /// The cluster that was expected.
        expected: ClusterId,
        /// The cluster that the certificate names.
        found: ClusterId,
    },
    /// A certificate is not signed by the cluster's authority.
    #[error("{what} is not signed by the authority {expected}; its issuer is {found}")]
    UnknownAuthority {
        /// Which certificate.
        what: String,
        /// The fingerprint of the authority that is trusted.
        expected: String,
        /// What the certificate says about its issuer.
        found: String,
    },
    /// A peer is properly certified, but it is not who was asked for.
    #[error("expected {expected}, found {found}")]
    UnexpectedPeer {
        /// Who was asked for.
        expected: Expect,
        /// Who answered.
        found: Identity,
    },
    /// A certificate may not be used on this side of a connection.
    #[error("{what} may not be used as a {purpose}")]
    WrongPurpose {
        /// Which certificate.
        what: String,
        /// The side on which it was used.
        purpose: Purpose,
    },
    /// A certificate failed another check of its chain.
    #[error("{what}: {reason}")]
    BadChain {
        /// Which certificate.
        what: String,
        /// What failed.
        reason: String,
    },
    /// A certificate names nobody: it has no URI SAN.
    #[error("{what} names no raftd identity (it has no URI among its alternative names)")]
    NoIdentity {
        /// Which certificate.
        what: String,
    },
    /// A certificate names several.
    #[error("{what} names {count} URIs, exactly one is allowed")]
    TwoIdentities {
        /// Which certificate.
        what: String,
        /// How many URI SANs it has.
        count: usize,
    },
    /// A text names no identity, or none could be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A validity is out of bounds.
    #[error("bad validity: {reason}")]
    BadValidity {
        /// Which bound.
        reason: String,
    },
    /// There is an authority already; it is never overwritten.
    #[error("{}: there is another authority already, and it is never overwritten", .path.display())]
    AuthorityExists {
        /// The file or directory that exists.
        path: PathBuf,
    },
    /// An authority gets a directory of its own, and this one has other files.
    #[error("{}: the directory is not empty, an authority needs one of its own", .path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A certificate is not a certificate authority's.
    #[error("{what} is not the certificate of an authority")]
    NotAnAuthority {
        /// Which certificate.
        what: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {reason}")]
    Issue {
        /// Why.
        reason: String,
    },
    /// A TLS configuration could not be made.
    #[error("cannot configure TLS: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
}

impl CertError {
    /// The refusal inside an error of rustls, if one of this crate's verifiers refused the peer.
    #[must_use]
    pub fn from_tls(error: &rustls::Error) -> Option<&CertError> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
            return None;
        };
        other.0.downcast_ref::<Refusal>().map(Refusal::error)
    }

    /// Whether a file or directory that was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, CertError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The alert on the wire is `certificate_unknown`; QUIC sends the reason's text as well.
impl From<CertError> for rustls::Error {
    fn from(error: CertError) -> rustls::Error {
        let refusal: Arc<Refusal> = Arc::new(Refusal(error));
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(refusal)))
    }
}

/// A [`CertError`] on its way through rustls, which prints errors of verifiers with `Debug`: here
/// both forms are the sentence for people.
struct Refusal(CertError);

impl Refusal {
    /// Why the peer was refused.
    fn error(&self) -> &CertError {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
