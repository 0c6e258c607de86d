//! Asks every node for its status at once. Who does not answer keeps a row, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{Client, ClientError, Common, NodeStatus};
use consensus::{Configuration, NodeId, RoleKind};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout, timeout_at};

use crate::cluster::pace::recent_ms;
use crate::context::Node;

/// Who has not answered by then is waited for no longer if the leader does not hear it either.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers that have waited for others for so long are fetched anew.
const STALE: Duration = Duration::from_millis(250);

/// How long those may take who have answered a moment ago.
const AGAIN: Duration = Duration::from_millis(500);

/// What all nodes said.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// A row a node: members by id, then others.
    pub(crate) rows: Vec<Row>,
    /// How long it took to ask.
    pub(crate) took: Duration,
}

/// A node, and what it said.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its name, or its address where it has none.
    pub(crate) name: String,
    /// Its id, where it is known.
    pub(crate) id: Option<NodeId>,
    /// Where it was asked.
    pub(crate) address: String,
    /// What it said.
    pub(crate) answer: Result<Box<NodeStatus>, Silence>,
}

/// Why a node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// In one sentence.
    pub(crate) why: String,
    /// What kind of reason it is.
    pub(crate) common: Common,
}

/// A leader that did not answer, as those tell it who follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The leader.
    pub(crate) leader: NodeId,
    /// Its term.
    pub(crate) term: u64,
    /// Who hears it.
    pub(crate) by: Vec<NodeId>,
    /// How long ago one of them last heard it, in milliseconds.
    pub(crate) heard_ms: u64,
}

impl Silence {
    /// Says whether the machine there answered that no process listens.
    pub(crate) fn is_refusal(&self) -> bool {
        self.why.starts_with("connection refused")
    }
}

impl Survey {
    /// Asks all nodes that are known, and then those that the first ones name.
    pub(crate) async fn ask(client: &Client, nodes: &[Node]) -> Self {
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
        Self::settled(client, rows, began).await
    }

    /// Makes a survey of what was said to questions asked since `began`. Where a leader believes a
    /// node alive that did not answer, it is asked again when it must have noticed if it is not.
    pub(crate) async fn settled(client: &Client, mut rows: Vec<Row>, began: Instant) -> Self {
        let doubt = Self::of(rows.clone()).doubt();
        if let Some(until) = doubt {
            sleep_until((began + until).into()).await;
        }
        let is_stale = began.elapsed() >= STALE && rows.iter().any(|row| row.answer.is_err());
        if doubt.is_some() || is_stale {
            ask_again(client, &mut rows).await;
        }
        Self { rows: named(rows), took: began.elapsed() }
    }

    /// Makes a survey of rows that are known.
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        Self { rows: named(rows), took: Duration::ZERO }
    }

    /// Returns within which time contact counts to a node that did not answer here, in
    /// milliseconds: only if it is of after it was asked. It may have died just before.
    pub(crate) fn unanswered_ms(&self, status: &NodeStatus) -> u64 {
        let took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let recent_ms = recent_ms(status);
        if self.took.is_zero() { recent_ms } else { recent_ms.min(took_ms) }
    }

    /// Returns for how long to wait, from the beginning on, until those who answered must have
    /// noticed it if a node that did not answer died before; `None` if nobody believes it alive.
    fn doubt(&self) -> Option<Duration> {
        let silent = |id: NodeId| self.row(id).is_some_and(|row| row.answer.is_err());
        let pause = |status: &NodeStatus| {
            Duration::from_millis(status.heartbeat_ms.saturating_mul(2).saturating_add(100))
        };
        let told = self.told_by_followers().map(|told| told.by);
        let follower = told.and_then(|by| self.row(*by.first()?)?.answer.as_deref().ok());
        if let Some(follower) = follower {
            return Some(pause(follower));
        }
        let leader = self.leader()?;
        let recent = |ms: u64| ms < recent_ms(leader);
        let mut peers = leader.peers.iter();
        let heard = peers.any(|peer| silent(peer.id) && peer.heard_ms.is_some_and(recent));
        heard.then(|| pause(leader))
    }

    /// Returns the statuses of all nodes that answered.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &NodeStatus> {
        self.rows.iter().filter_map(|row| row.answer.as_deref().ok())
    }

    /// Returns the leader of the highest term among those who answered; not one that has been
    /// succeeded, as others tell, by one who did not answer.
    pub(crate) fn leader(&self) -> Option<&NodeStatus> {
        let leader = self.claimants().max_by_key(|status| status.term)?;
        let successor = self.told_by_followers().is_some_and(|told| told.term > leader.term);
        (!successor).then_some(leader)
    }

    /// Returns all who answered and say that they lead.
    pub(crate) fn claimants(&self) -> impl Iterator<Item = &NodeStatus> {
        self.answers().filter(|status| status.role == RoleKind::Leader && status.failure.is_empty())
    }

    /// Returns the leader that did not answer, if those who did hear from one.
    pub(crate) fn told(&self) -> Option<Told> {
        if self.leader().is_some() { None } else { self.told_by_followers() }
    }

    /// Returns who leads, as it says itself or its followers do.
    pub(crate) fn leading(&self) -> Option<NodeId> {
        let leader = self.leader().map(|leader| leader.node);
        leader.or_else(|| self.told().map(|told| told.leader))
    }

    fn told_by_followers(&self) -> Option<Told> {
        let answered = |id: NodeId| self.row(id).is_some_and(|row| row.answer.is_ok());
        let hears = |status: &&NodeStatus| {
            let recent = status.heard_ms.is_some_and(|ms| ms < self.unanswered_ms(status));
            let serves = status.failure.is_empty() && status.generation.is_some();
            serves && recent && status.leader.is_some_and(|leader| !answered(leader))
        };
        let newest = self.answers().filter(hears).max_by_key(|status| status.term)?;
        let (leader, term) = (newest.leader?, newest.term);
        let same = |status: &&NodeStatus| (status.leader, status.term) == (Some(leader), term);
        let by: Vec<&NodeStatus> = self.answers().filter(hears).filter(same).collect();
        let heard_ms = by.iter().filter_map(|status| status.heard_ms).min()?;
        Some(Told { leader, term, by: by.iter().map(|status| status.node).collect(), heard_ms })
    }

    /// Returns the configuration in force, as far as anybody who answered knows: the leader's, else
    /// the one that stands furthest in a log of the highest term.
    pub(crate) fn configuration(&self) -> Option<&Configuration> {
        newest(&self.rows)
    }

    /// Returns a row by its id.
    pub(crate) fn row(&self, id: NodeId) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == Some(id))
    }

    /// Returns a member's name for people.
    pub(crate) fn name(&self, id: NodeId) -> String {
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
    let (count, all) = (nodes.len(), nodes.clone());
    let mut asking = JoinSet::new();
    for (place, (name, address)) in nodes.into_iter().enumerate() {
        let client = client.clone();
        asking.spawn(async move {
            let answer = ask_one(&client, &address).await;
            let id = answer.as_ref().ok().map(|status| status.node);
            let name = name.unwrap_or_else(|| address.clone());
            (place, Row { name, id, address, answer })
        });
    }
    let patience = tokio::time::Instant::now() + PATIENCE;
    let mut rows: Vec<(usize, Row)> = Vec::new();
    while let Ok(Some(joined)) = timeout_at(patience, asking.join_next()).await {
        rows.extend(joined.ok());
    }
    for (place, (name, address)) in all.into_iter().enumerate() {
        let missing = rows.iter().all(|(at, _)| *at != place);
        if missing && let Some(why) = given_up(&rows, &address) {
            let name = name.unwrap_or_else(|| address.clone());
            let answer = Err(Silence { why, common: Common::Nothing });
            rows.push((place, Row { name, id: None, address, answer }));
        }
    }
    while rows.len() < count
        && let Some(joined) = asking.join_next().await
    {
        let Ok((place, row)) = joined else { continue };
        match rows.iter_mut().find(|(at, _)| *at == place) {
            Some((_, known)) => *known = row,
            None => rows.push((place, row)),
        }
    }
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Asks a node once. One with another history than the one that is followed says nothing of the
/// cluster that is meant: it counts as silent. Which of the two is dead cannot be told from it.
pub(crate) async fn ask_one(client: &Client, address: &str) -> Result<Box<NodeStatus>, Silence> {
    let status = client.status_of(address).await.map_err(|error| silence(&error))?;
    match (client.generation(), status.generation) {
        (Some(followed), Some(found)) if followed != found => Err(Silence {
            why: format!(
                "has another history, {}, and {} is followed here: one of the two is dead: \
                 raftctl explain R0461",
                found.short(),
                followed.short()
            ),
            common: Common::Generation,
        }),
        (_, _) => Ok(Box::new(status)),
    }
}

/// Says why a node need not be waited for any longer: the leader, which answered, has no connection
/// to it either.
fn given_up(rows: &[(usize, Row)], address: &str) -> Option<String> {
    let leader = rows
        .iter()
        .filter_map(|(_, row)| row.answer.as_deref().ok())
        .filter(|status| status.role == RoleKind::Leader && status.failure.is_empty())
        .max_by_key(|status| status.term)?;
    let mut members = leader.configuration.members().iter();
    let (id, _) = members.find(|(_, member)| member.address == address)?;
    let peer = leader.peers.iter().find(|peer| peer.id == *id)?;
    let silent = !peer.connected && peer.heard_ms.is_none_or(|ms| ms >= recent_ms(leader));
    silent.then(|| format!("no answer from {address} within {PATIENCE:?}"))
}

/// Asks those once more who answered while others were waited for: what they said then may not be
/// so any more.
async fn ask_again(client: &Client, rows: &mut [Row]) {
    let mut asking = JoinSet::new();
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| row.answer.is_ok()) {
        let (client, address) = (client.clone(), row.address.clone());
        asking.spawn(async move { (place, timeout(AGAIN, ask_one(&client, &address)).await) });
    }
    while let Some(joined) = asking.join_next().await {
        let Ok((place, answer)) = joined else { continue };
        rows[place].answer = match answer {
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("it answered a moment ago, and then not within {AGAIN:?}");
                Err(Silence { why, common: Common::Nothing })
            }
        };
    }
}

/// Says why a node did not answer.
pub(crate) fn silence(error: &ClientError) -> Silence {
    match error {
        ClientError::Unreachable { causes, common } => Silence {
            why: causes.first().map_or_else(|| error.to_string(), |cause| cause.why.clone()),
            common: *common,
        },
        ClientError::NoLeader { .. }
        | ClientError::Lagging { .. }
        | ClientError::Busy { .. }
        | ClientError::Unknown { .. }
        | ClientError::Refused(_)
        | ClientError::Unexpected { .. }
        | ClientError::SessionExpired { .. }
        | ClientError::AnswerNotKept { .. }
        | ClientError::WindowFull { .. }
        | ClientError::NotWaiting { .. }
        | ClientError::Behind { .. }
        | ClientError::TooLarge { .. }
        | ClientError::Invalid(_)
        | ClientError::Ended(_)
        | ClientError::Endpoint(_) => Silence { why: error.to_string(), common: Common::Nothing },
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

/// Names rows as the configuration does, drops second answers of one node, and sorts them. Every
/// member has a row: one at whose address another node answers has not answered.
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
    let answers: BTreeMap<String, String> =
        rows.iter().map(|row| (row.address.clone(), row.name.clone())).collect();
    rows.retain(|row| row.id.is_none_or(|id| seen.insert(id)));
    let unseen = configuration.members().iter().filter(|(id, _)| !seen.contains(id));
    rows.extend(unseen.map(|(id, member)| {
        let address = member.address.clone();
        let why = match answers.get(&address) {
            Some(other) => format!("{other} answers at its address, {address}"),
            None => format!("nobody has asked {address} yet"),
        };
        let answer = Err(Silence { why, common: Common::Nothing });
        Row { name: member.name.clone(), id: Some(*id), address, answer }
    }));
    rows.sort_by_key(|row| (row.id.is_none(), row.id, row.name.clone()));
    rows
}
