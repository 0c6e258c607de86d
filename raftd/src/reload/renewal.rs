//! Renewing over the wire: the node makes a key and asks for a certificate, an operator's tool
//! signs it, and the node takes it. The key never leaves the machine.

use bytes::Bytes;
use certs::{Credentials, NewKey};
use protocol::{CertificateAnswer, CertificateRequest, ErrorCode, Response};
use tokio::task::spawn_blocking;

use super::Follower;
use crate::answer::refusal;
use crate::desk::Asked;
use crate::exit::chain;

impl Follower {
    /// Answers a request. An operator has asked it.
    pub(super) async fn serve(&mut self, (request, responder): Asked) {
        let answer = match request {
            CertificateRequest::Show => Ok(in_use(&self.endpoint.credentials())),
            CertificateRequest::Request => self.request(),
            CertificateRequest::Install { certificate, authorities } => {
                self.install(&certificate, &authorities).await
            }
        };
        responder.send(match answer {
            Ok(answer) => Response::Certificate(answer),
            Err(why) => Response::Error(refusal(ErrorCode::Forbidden, why)),
        });
    }

    /// Makes a new key. An earlier one, whose certificate never came, is forgotten.
    fn request(&mut self) -> Result<CertificateAnswer, String> {
        let made = NewKey::generate().and_then(|key| Ok((key.request()?, key)));
        let (request, key) = made.map_err(|error| chain(&error))?;
        self.key = Some(key);
        Ok(CertificateAnswer::Request(Bytes::from(request)))
    }

    /// Takes what was signed: it is durable before it is used, and used before it is answered.
    async fn install(
        &mut self,
        certificate: &str,
        authorities: &str,
    ) -> Result<CertificateAnswer, String> {
        let present = self.endpoint.credentials();
        let certificate = Some(certificate).filter(|text| !text.is_empty());
        let authorities = Some(authorities).filter(|text| !text.is_empty());
        if certificate.is_some() && self.key.is_none() {
            let why = "no key waits for a certificate here: the node was started meanwhile; ask \
                       it for a new key";
            return Err(why.to_owned());
        }
        let key = self.key.as_ref().filter(|_| certificate.is_some());
        let loaded = present.with(key, certificate, authorities).map_err(|error| chain(&error))?;
        loaded.may_succeed(&present)?;
        let (stored, file) = (loaded.clone(), self.stored.clone());
        let written = spawn_blocking(move || stored.store(&file)).await;
        written.expect("writing a file does not panic").map_err(|error| chain(&error))?;
        self.endpoint.replace(&loaded).map_err(|error| chain(&error))?;
        self.end.set(&loaded);
        self.warned = None;
        if certificate.is_some() {
            self.key = None;
        }
        tracing::info!(
            name: "certificates-renewed",
            file = %self.stored.display(),
            "certificates renewed over the wire, for new connections: valid until {}, before until \
             {}",
            certs::utc(loaded.usable_until()),
            certs::utc(present.usable_until())
        );
        Ok(in_use(&loaded))
    }
}

fn in_use(credentials: &Credentials) -> CertificateAnswer {
    CertificateAnswer::InUse {
        certificate: Bytes::copy_from_slice(credentials.certificate()),
        authorities: credentials.authorities_pem().to_owned(),
    }
}
