//! Asks every node for its status at once. Who does not answer keeps a row, with the reason.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use client::{Client, ClientError, NodeStatus};
use consensus::{Configuration, NodeId, RoleKind};
use tokio::task::JoinSet;

use crate::context::Node;

/// What all nodes said.
#[derive(Clone, Debug)]
pub struct Survey {
    /// A row a node: members by id, then others.
    pub rows: Vec<Row>,
    /// How long it took to ask.
    pub took: Duration,
}

/// A node, and what it said.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name, or its address where it has none.
    pub name: String,
    /// Its id, where it is known.
    pub id: Option<NodeId>,
    /// Where it was asked.
    pub address: String,
    /// What it said.
    pub answer: Result<Box<NodeStatus>, Silence>,
}

/// Why a node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// In one sentence.
    pub why: String,
    /// Whether it is for reasons of certificates.
    pub certificates: bool,
}

impl Survey {
    /// Asks all nodes that are known, and then those that the first ones name.
    pub async fn ask(client: &Client, nodes: &[Node]) -> Self {
        let began = Instant::now();
        let known: Vec<(Option<String>, String)> =
            nodes.iter().map(|node| (node.name.clone(), node.address.clone())).collect();
        let mut rows = ask_all(client, known).await;
        let asked: BTreeSet<NodeId> = rows.iter().filter_map(|row| row.id).collect();
        let addresses: BTreeSet<String> = rows.iter().map(|row| row.address.clone()).collect();
        if let Some(configuration) = newest(&rows) {
            let unasked = configuration
                .members()
                .iter()
                .filter(|(id, member)| !asked.contains(id) && !addresses.contains(&member.address))
                .map(|(_, member)| (Some(member.name.clone()), member.address.clone()))
                .collect();
            rows.extend(ask_all(client, unasked).await);
        }
        Self { rows: named(rows), took: began.elapsed() }
    }

    /// Makes a survey of rows that are known.
    pub fn of(rows: Vec<Row>) -> Self {
        Self { rows: named(rows), took: Duration::ZERO }
    }

    /// Returns the statuses of all nodes that answered.
    pub fn answers(&self) -> impl Iterator<Item = &NodeStatus> {
        self.rows.iter().filter_map(|row| row.answer.as_deref().ok())
    }

    /// Returns the leader of the highest term among those who answered.
    pub fn leader(&self) -> Option<&NodeStatus> {
        self.answers()
            .filter(|status| status.role == RoleKind::Leader && status.failure.is_empty())
            .max_by_key(|status| status.term)
    }

    /// Returns the configuration in force, as far as anybody who answered knows: the leader's, else
    /// the one that stands furthest in a log of the highest term.
    pub fn configuration(&self) -> Option<&Configuration> {
        newest(&self.rows)
    }

    /// Returns a row by its id.
    pub fn row(&self, id: NodeId) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == Some(id))
    }

    /// Returns a member's name for people.
    pub fn name(&self, id: NodeId) -> String {
        let member = self.configuration().and_then(|configuration| configuration.member(id));
        match (self.row(id), member) {
            (Some(row), _) => row.name.clone(),
            (None, Some(member)) => member.name.clone(),
            (None, None) => format!("node {id}"),
        }
    }
}

/// Asks each node once, all at the same time; the answers come in the order of the nodes.
async fn ask_all(client: &Client, nodes: Vec<(Option<String>, String)>) -> Vec<Row> {
    let mut asking = JoinSet::new();
    for (place, (name, address)) in nodes.into_iter().enumerate() {
        let client = client.clone();
        asking.spawn(async move {
            let answer = client.status_of(&address).await.map(Box::new).map_err(|e| silence(&e));
            let id = answer.as_ref().ok().map(|status| status.node);
            let name = name.unwrap_or_else(|| address.clone());
            (place, Row { name, id, address, answer })
        });
    }
    let mut rows: Vec<(usize, Row)> = Vec::new();
    while let Some(joined) = asking.join_next().await {
        rows.extend(joined.ok());
    }
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Says why a node did not answer.
pub fn silence(error: &ClientError) -> Silence {
    match error {
        ClientError::Unreachable { causes, certificates } => Silence {
            why: causes.first().map_or_else(|| error.to_string(), |cause| cause.why.clone()),
            certificates: *certificates,
        },
        ClientError::NoLeader { .. }
        | ClientError::Unknown { .. }
        | ClientError::Refused(_)
        | ClientError::Unexpected { .. }
        | ClientError::SessionExpired { .. }
        | ClientError::AnswerNotKept { .. }
        | ClientError::WindowFull { .. }
        | ClientError::NotWaiting { .. }
        | ClientError::Endpoint(_) => Silence { why: error.to_string(), certificates: false },
    }
}

fn newest(rows: &[Row]) -> Option<&Configuration> {
    rows.iter()
        .filter_map(|row| row.answer.as_deref().ok())
        .filter(|status| status.generation.is_some() && !status.configuration.members().is_empty())
        .max_by_key(|status| {
            let leads = status.role == RoleKind::Leader && status.failure.is_empty();
            (leads, status.term, status.configuration_index)
        })
        .map(|status| &status.configuration)
}

/// Names rows as the configuration does, drops second answers of one node, and sorts them.
fn named(mut rows: Vec<Row>) -> Vec<Row> {
    let configuration = newest(&rows).cloned().unwrap_or_else(Configuration::unknown);
    for row in &mut rows {
        let by_address = || {
            let mut members = configuration.members().iter();
            members.find(|(_, member)| member.address == row.address).map(|(id, _)| *id)
        };
        // A context may know a member where it was before it moved.
        let by_name = || {
            let mut members = configuration.members().iter();
            members.find(|(_, member)| member.name == row.name).map(|(id, _)| *id)
        };
        row.id = row.id.or_else(by_address).or_else(by_name);
        if let Some(member) = row.id.and_then(|id| configuration.member(id)) {
            row.name.clone_from(&member.name);
        }
    }
    let mut seen = BTreeSet::new();
    // Answers go before silence, so that a node with two addresses is shown as it answered; and
    // where it should be before where it was.
    let elsewhere = |row: &Row| {
        let member = row.id.and_then(|id| configuration.member(id));
        member.is_some_and(|member| member.address != row.address)
    };
    rows.sort_by_key(|row| (row.answer.is_err(), elsewhere(row)));
    rows.retain(|row| row.id.is_none_or(|id| seen.insert(id)));
    rows.sort_by_key(|row| (row.id.is_none(), row.id, row.name.clone()));
    rows
}
