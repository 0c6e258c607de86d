//! How new the answer of a command that only reads is: the latest, or what a node that answers
//! knows where nobody leads. At three in the morning, the latter is what there is.

use client::{Client, Consistency};
use state_machine::{SystemAnswer, SystemQuery};

use crate::cluster::reasons::unreachable;
use crate::context::Node;
use crate::look::look;
use crate::report::Result;

/// What is to be asked for, and what people are told of it.
pub(crate) struct Newest {
    pub(crate) how: Consistency,
    pub(crate) warnings: Vec<String>,
}

impl Newest {
    /// Looks whether anybody leads, unless any state will do.
    ///
    /// # Errors
    /// If no node answers: to ask them once more would take as long again.
    pub(crate) async fn of(client: &Client, nodes: &[Node], stale: bool) -> Result<Self> {
        if stale {
            return Ok(Self { how: Consistency::Stale, warnings: Vec::new() });
        }
        let survey = look(client, nodes).await;
        if survey.leading().is_some() {
            return Ok(Self { how: Consistency::Linearizable, warnings: Vec::new() });
        }
        if survey.answers().next().is_none() {
            return Err(unreachable(&survey));
        }
        let warning = "nobody leads: this is what one node has applied, newer may exist";
        Ok(Self { how: Consistency::Stale, warnings: vec![warning.to_owned()] })
    }
}

/// Asks for a list of the system's, page by page. Where any state will do, one node gives all of
/// them: the next page of another one may end earlier.
pub(crate) struct Lister<'a> {
    client: &'a Client,
    how: Consistency,
    endpoint: Option<String>,
}

impl<'a> Lister<'a> {
    pub(crate) fn new(client: &'a Client, how: Consistency) -> Self {
        Self { client, how, endpoint: None }
    }

    /// Asks for the next page.
    ///
    /// # Errors
    /// If nobody answers, or not the node of the first page.
    pub(crate) async fn ask(&mut self, query: &SystemQuery) -> Result<SystemAnswer> {
        let (client, how) = (self.client, self.how);
        match (how, &self.endpoint) {
            (Consistency::Stale, Some(endpoint)) => Ok(client.system_of(endpoint, query).await?),
            (Consistency::Stale, None) => {
                let (endpoint, answer) = client.system_any(query).await?;
                self.endpoint = Some(endpoint);
                Ok(answer)
            }
            (Consistency::Linearizable | Consistency::Follower | Consistency::AtLeast(_), _) => {
                Ok(client.system(query, how).await?)
            }
        }
    }
}
