//! How new the answer of a command that only reads is: the latest, or what a node that answers
//! knows where nobody leads. At three in the morning, the latter is what there is.

use client::{Client, Consistency};

use crate::context::Node;
use crate::look::look;

/// What is to be asked for, and what people are told of it.
pub(crate) struct Newest {
    pub(crate) how: Consistency,
    pub(crate) warnings: Vec<String>,
}

impl Newest {
    /// Looks whether anybody leads, unless any state will do.
    pub(crate) async fn of(client: &Client, nodes: &[Node], stale: bool) -> Self {
        if stale {
            return Self { how: Consistency::Stale, warnings: Vec::new() };
        }
        if look(client, nodes).await.leading().is_some() {
            return Self { how: Consistency::Linearizable, warnings: Vec::new() };
        }
        let warning = "nobody leads: this is what one node has applied, newer may exist";
        Self { how: Consistency::Stale, warnings: vec![warning.to_owned()] }
    }
}
