//! Configurations of nodes: what is in force there, and having it read again.

use protocol::{ConfigurationAnswer, ConfigurationRequest, Request, Response};

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Asks one node about its configuration.
    ///
    /// # Errors
    /// If the node does not answer, or refuses: it is the operator's business alone.
    pub async fn configuration(
        &self,
        endpoint: &str,
        request: ConfigurationRequest,
    ) -> Result<ConfigurationAnswer, ClientError> {
        let Response::Configuration(answer) =
            self.on(endpoint, &Request::Configuration(request)).await?
        else {
            return Err(ClientError::Unexpected { endpoint: endpoint.into() });
        };
        Ok(answer)
    }
}
