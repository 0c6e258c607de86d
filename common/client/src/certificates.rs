//! Certificates of nodes: which are in use, and renewing them. No private key is in any of it.

use std::num::NonZeroU64;

use protocol::{CertificateAnswer, CertificateRequest, Request, Response};
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::error::{Cause, ClientError, Common, LATE};

impl Client {
    /// Asks one node about its certificate, after it has proved to be that node: what is signed
    /// names it.
    ///
    /// # Errors
    /// If the node does not answer, is another one, or refuses.
    pub async fn certificate(
        &self,
        endpoint: &str,
        node: NonZeroU64,
        request: CertificateRequest,
    ) -> Result<CertificateAnswer, ClientError> {
        self.is_open()?;
        let failed = |why: String| {
            let causes = vec![Cause { endpoint: endpoint.into(), why }];
            ClientError::Unreachable { causes, common: Common::Nothing }
        };
        let deadline = Instant::now() + self.shared.config.deadline;
        let connection = self.shared.pool.get((endpoint, true), deadline).await;
        let connection = connection.map_err(|why| failed(why.to_string()))?;
        let found = connection.identity().and_then(|identity| identity.node_id());
        if found != Some(node) {
            let found = found.map_or_else(|| "nobody".to_owned(), |id| format!("node {id}"));
            return Err(failed(format!("{found} is there, not node {node}")));
        }
        let answered = timeout_at(deadline, connection.call(&Request::Certificate(request))).await;
        match answered {
            Ok(Ok(Response::Certificate(answer))) => Ok(answer),
            Ok(Ok(Response::Error(reply))) => Err(ClientError::Refused(reply)),
            Ok(Ok(_)) => Err(ClientError::Unexpected { endpoint: endpoint.into() }),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(LATE.to_owned())),
        }
    }
}
