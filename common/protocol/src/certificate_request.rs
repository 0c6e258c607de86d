//! What operators ask of a node's certificate, and the answers. No private key is in any of them.

use bytes::Bytes;

use crate::configuration::bounded;
use crate::error::ProtocolError;
use crate::limits::CERTIFICATE_BYTES_MAX;
use crate::wire::client as pb;

/// What is asked of a node's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateRequest {
    /// Which one is in use, and whom the node trusts.
    Show,
    /// Make a new key, keep it, and ask for a certificate for it.
    Request,
    /// Use these from now on; each text is PEM, and an empty one leaves what is in use.
    Install {
        /// The certificate for the key that was made last.
        certificate: String,
        /// The authorities to trust.
        authorities: String,
    },
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateAnswer {
    /// These are in use, for new connections.
    InUse {
        /// The certificate (DER).
        certificate: Bytes,
        /// The authorities that are trusted (PEM).
        authorities: String,
    },
    /// A request for a certificate (PKCS#10, DER), signed with the new key.
    Request(Bytes),
}

impl CertificateRequest {
    pub(crate) fn to_wire(&self) -> pb::CertificateRequest {
        use pb::certificate_request::Body;
        let body = match self {
            Self::Show => Body::Show(true),
            Self::Request => Body::Request(true),
            Self::Install { certificate, authorities } => Body::Install(pb::CertificateInstall {
                certificate: certificate.clone(),
                authorities: authorities.clone(),
            }),
        };
        pb::CertificateRequest { body: Some(body) }
    }

    pub(crate) fn from_wire(request: pb::CertificateRequest) -> Result<Self, ProtocolError> {
        use pb::certificate_request::Body;
        let what = "a request about certificates";
        Ok(match request.body.ok_or(ProtocolError::Missing { what })? {
            Body::Show(_) => Self::Show,
            Body::Request(_) => Self::Request,
            Body::Install(pb::CertificateInstall { certificate, authorities }) => {
                bounded("a certificate", certificate.len(), CERTIFICATE_BYTES_MAX)?;
                bounded("authorities", authorities.len(), CERTIFICATE_BYTES_MAX)?;
                Self::Install { certificate, authorities }
            }
        })
    }
}

impl CertificateAnswer {
    /// Returns how many bytes of certificates are in it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::InUse { certificate, authorities } => certificate.len() + authorities.len(),
            Self::Request(request) => request.len(),
        }
    }

    pub(crate) fn to_wire(&self) -> pb::CertificateAnswer {
        use pb::certificate_answer::Body;
        let body = match self {
            Self::InUse { certificate, authorities } => Body::InUse(pb::CertificateInUse {
                certificate: certificate.clone(),
                authorities: authorities.clone(),
            }),
            Self::Request(request) => Body::Request(request.clone()),
        };
        pb::CertificateAnswer { body: Some(body) }
    }

    pub(crate) fn from_wire(answer: pb::CertificateAnswer) -> Result<Self, ProtocolError> {
        use pb::certificate_answer::Body;
        let what = "an answer about certificates";
        Ok(match answer.body.ok_or(ProtocolError::Missing { what })? {
            Body::InUse(pb::CertificateInUse { certificate, authorities }) => {
                Self::InUse { certificate, authorities }
            }
            Body::Request(request) => Self::Request(request),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered_comes_back_as_it_was() {
        let (certificate, authorities) = ("a".to_owned(), String::new());
        for request in [
            CertificateRequest::Show,
            CertificateRequest::Request,
            CertificateRequest::Install { certificate, authorities: authorities.clone() },
        ] {
            assert_eq!(CertificateRequest::from_wire(request.to_wire()), Ok(request));
        }
        let certificate = Bytes::from_static(b"c");
        for answer in [
            CertificateAnswer::InUse { certificate, authorities },
            CertificateAnswer::Request(Bytes::from_static(b"r")),
        ] {
            assert_eq!(CertificateAnswer::from_wire(answer.to_wire()), Ok(answer));
        }
    }

    #[test]
    fn what_is_too_large_or_empty_is_refused() {
        let authorities = "x".repeat(CERTIFICATE_BYTES_MAX + 1);
        let large = CertificateRequest::Install { certificate: String::new(), authorities };
        assert!(CertificateRequest::from_wire(large.to_wire()).is_err());
        assert!(CertificateRequest::from_wire(pb::CertificateRequest { body: None }).is_err());
        assert!(CertificateAnswer::from_wire(pb::CertificateAnswer { body: None }).is_err());
    }
}
