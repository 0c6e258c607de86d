//! The log of one node, piece by piece.

use client::{Client, LogDetail, LogPage};

use crate::report::Result;

/// Reads the log of one node: of the first that answers, unless one is named. Others may have less,
/// or begin later.
pub(super) struct Reader<'a> {
    client: &'a Client,
    endpoint: Option<String>,
    is_named: bool,
}

impl<'a> Reader<'a> {
    /// Begins with the node at this address, if one is named.
    pub(super) fn new(client: &'a Client, endpoint: Option<String>) -> Self {
        let is_named = endpoint.is_some();
        Self { client, endpoint, is_named }
    }

    /// Lets another node take the place of one that does not answer any more, unless it is the one
    /// that was named.
    pub(super) fn leave(&mut self) {
        if !self.is_named {
            self.endpoint = None;
        }
    }

    /// Reads at most so many entries from an index on.
    ///
    /// # Errors
    /// If the node does not answer, or this certificate may not read the log.
    pub(super) async fn read(
        &mut self,
        from: u64,
        most: u32,
        detail: LogDetail,
    ) -> Result<LogPage> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(self.client.read_log(Some(endpoint), from, most, detail).await?);
        }
        let (endpoint, page) = self.client.read_log_any(from, most, detail).await?;
        self.endpoint = Some(endpoint);
        Ok(page)
    }
}
