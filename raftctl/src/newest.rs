//! How new the answer of a command that only reads is: the latest, or what a node that answers
//! knows where nobody leads. At three in the morning, the latter is what there is.

use client::{Client, Consistency};

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
