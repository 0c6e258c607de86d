//! A cluster, and who asks it.

use std::time::Duration;

use client::{Client, ClientConfig, Credentials, Generation};
use consensus::{Configuration, Member};
use protocol::BootstrapRecord;

use crate::bundle::Bundles;
use crate::codes;
use crate::context::{self, Contexts, Node};
use crate::report::{Report, Result};

/// How long one attempt to connect may take, at least.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// Which part of the time that there is one attempt to connect may take: whoever has given more
/// expects slow ways.
const CONNECT_PART: u32 = 5;

/// Returns how long one attempt to connect may take.
pub(crate) fn connect_timeout(deadline: Duration) -> Duration {
    CONNECT_TIMEOUT_MIN.max(deadline / CONNECT_PART).min(deadline)
}

/// A cluster, and who asks it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The context's name, if one is used.
    pub(crate) name: Option<String>,
    /// The nodes that are known before anybody is asked.
    pub(crate) nodes: Vec<Node>,
    /// Where nodes with an earlier history were.
    pub(crate) former: Vec<Node>,
    /// Who asks.
    pub(crate) credentials: Credentials,
    /// The history that is followed, where it is known.
    pub(crate) generation: Option<Generation>,
}

impl Target {
    /// Returns the cluster that `init` or `dev` made, seen by its operator.
    ///
    /// # Errors
    /// If the operator's certificate cannot be used.
    pub(crate) fn of(bundles: &Bundles) -> Result<Self> {
        let context = bundles.context();
        let credentials = Credentials::load(&context.ca, &context.cert, &context.key)?;
        let (name, generation) = (Some(bundles.plan.name.clone()), context.followed()?);
        let (nodes, former) = (context.nodes, context.former);
        Ok(Self { name, nodes, former, credentials, generation })
    }

    /// Refuses the directory of another cluster than the one that is asked. What either of them is
    /// called does not matter.
    ///
    /// # Errors
    /// If it is one.
    pub(crate) fn check_is_of(&self, bundles: &Bundles) -> Result<()> {
        let plan = &bundles.plan;
        if plan.cluster == self.credentials.cluster().to_string() {
            return Ok(());
        }
        let (shown, name) = (bundles.directory().display(), &plan.name);
        let asked = self.name.as_deref().unwrap_or("-");
        let message = format!(
            "{shown} is the directory of cluster \"{name}\", and the one that is asked, \
             \"{asked}\", is another"
        );
        let help = format!("--context {name}, or another --dir");
        Err(Report::new(codes::IN_THE_WAY, message).help(help))
    }

    /// Makes a client.
    ///
    /// # Errors
    /// If no socket can be had.
    pub(crate) fn client(&self, deadline: Duration) -> Result<Client> {
        let endpoints = self.nodes.iter().map(|node| node.address.clone()).collect();
        let client = Client::new(ClientConfig {
            endpoints,
            credentials: self.credentials.clone(),
            deadline,
            connect_timeout: connect_timeout(deadline),
        })?;
        if let Some(generation) = self.generation {
            client.follow(generation);
        }
        Ok(client)
    }
}

/// Lets all contexts of a cluster lead to the first members of a new history, and to nobody else:
/// nodes with the old one are refused from now on. Returns how many there are.
///
/// # Errors
/// If the contexts cannot be read or written.
pub(crate) async fn lead(cluster: &str, record: &BootstrapRecord) -> Result<usize> {
    let (nodes, generation) = (nodes_of(&record.configuration), record.generation());
    let lead = |contexts: &mut Contexts| {
        let all = contexts.all.values_mut();
        let mut followers = 0;
        for context in all.filter(|context| context.cluster.as_deref() == Some(cluster)) {
            context.lead_to(&nodes, &generation);
            followers += 1;
        }
        Ok(followers)
    };
    Contexts::change(&context::file()?, lead).await
}

/// Returns where the members of a configuration are.
pub(crate) fn nodes_of(configuration: &Configuration) -> Vec<Node> {
    let node =
        |member: &Member| Node { name: Some(member.name.clone()), address: member.address.clone() };
    configuration.members().values().map(node).collect()
}
