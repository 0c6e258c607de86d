//! Bootstrapping: waits until every node answers, stores the bootstrap record, gives it to those
//! that lack it, and waits for a leader. Each step may be repeated: what is done is only reported.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{Client, ClientError, ErrorCode, NodeStatus};
use consensus::{Incarnation, NodeId};
use protocol::{BootstrapRecord, Generation};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bundle::{Bundles, PlannedNode, again};
use crate::cluster::reasons::no_leader_answers;
use crate::cluster::survey::silence;
use crate::cluster::{Row, Survey};
use crate::codes;
use crate::context::Node;
use crate::output::Output;
use crate::output::progress::Waiting;
use crate::report::{Report, Result};

/// Who does not follow a leader so long after its election is waited for no longer.
const FOLLOW_WITHIN: Duration = Duration::from_secs(10);

/// How long all of it may take, and how often to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long to wait for nodes and leader.
    pub(crate) wait: Duration,
    /// How often to ask.
    pub(crate) poll: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrapped {
    /// The history that all nodes have now.
    pub(crate) generation: Generation,
    /// How many nodes had it before.
    pub(crate) present: usize,
    /// What the nodes said last; there is a leader among them.
    pub(crate) survey: Survey,
}

/// Bootstraps the cluster, or finds that it was. `known` are the nodes that it had when last asked.
///
/// # Errors
/// If nodes do not answer in time, or one of them is not what was planned.
pub(crate) async fn bootstrap(
    output: &Output,
    bundles: &Bundles,
    client: &Client,
    known: &[Node],
    patience: Patience,
) -> Result<Bootstrapped> {
    let deadline = Instant::now() + patience.wait;
    if let Some(running) = running(bundles, client, known).await? {
        return Ok(running);
    }
    let found = wait_for_nodes(output, bundles, client, known, patience.poll, deadline).await?;
    let statuses = match found {
        Present::All(statuses) => statuses,
        Present::Running(running) => return Ok(running),
    };
    let record = record(bundles, &statuses)?;
    let generation = record.generation();
    let lacking = lacking(&record, &statuses)?;
    let present = statuses.len() - lacking.len();
    give(client, &record, &lacking).await?;
    let nodes = bundles.context().nodes;
    let survey = wait_for_leader(client, &nodes, patience.poll, deadline).await?;
    Ok(Bootstrapped { generation, present, survey })
}

/// Finds a cluster that is bootstrapped and serves; it is reported and not touched, also while some
/// of its first members are down, gone or in other hands. `None` if something is left to be done.
///
/// # Errors
/// If the record cannot be read.
async fn running(
    bundles: &Bundles,
    client: &Client,
    nodes: &[Node],
) -> Result<Option<Bootstrapped>> {
    let Some(record) = bundles.record()? else {
        return Ok(None);
    };
    let generation = record.generation();
    let survey = Survey::ask(client, nodes).await;
    let has_it = |status: &NodeStatus| status.generation == Some(generation);
    let led = survey.leader().is_some_and(|leader| leader.commit > 0 && has_it(leader));
    // Its leader may serve where this machine does not reach it.
    let follows = |status: &NodeStatus| status.commit > 0 && has_it(status);
    let told = survey.told().is_some_and(|told| {
        survey.answers().any(|status| told.by.contains(&status.node) && follows(status))
    });
    let serves = led || told;
    let complete = survey.answers().all(has_it);
    let present = bundles.plan.nodes.len();
    Ok((serves && complete).then_some(Bootstrapped { generation, present, survey }))
}

type Answers = BTreeMap<NodeId, (PlannedNode, NodeStatus)>;

/// What ends the waiting for nodes.
enum Present {
    /// All that were planned answer.
    All(Answers),
    /// The cluster serves without those that do not.
    Running(Bootstrapped),
}

/// Waits until all planned nodes answer, or those that do have a leader: a bootstrapped cluster
/// that lost its leader a moment ago is about to elect another one.
async fn wait_for_nodes(
    output: &Output,
    bundles: &Bundles,
    client: &Client,
    known: &[Node],
    poll: Duration,
    deadline: Instant,
) -> Result<Present> {
    let nodes = &bundles.plan.nodes;
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let mut waiting = Waiting::new(output, &names);
    let mut answers = Answers::new();
    let mut reasons = vec![String::new(); nodes.len()];
    loop {
        let asked: Vec<usize> = (0..nodes.len())
            .filter(|at| !answers.contains_key(&NodeId::from(nodes[*at].id)))
            .collect();
        let mut asking = JoinSet::new();
        for at in asked.iter().copied() {
            let (client, address) = (client.clone(), nodes[at].address.clone());
            asking.spawn(async move { (at, client.status_of(&address).await) });
        }
        while let Some(joined) = asking.join_next().await {
            let Ok((at, answer)) = joined else { continue };
            match answer {
                Ok(status) => {
                    is_expected(&nodes[at], &status)?;
                    waiting.set(at, "answers", true);
                    answers.insert(status.node, (nodes[at].clone(), status));
                }
                Err(error) => {
                    reasons[at] = silence(&error).why;
                    waiting.set(at, &format!("not yet: {}", reasons[at]), false);
                }
            }
        }
        let missing: Vec<usize> = (0..nodes.len())
            .filter(|at| !answers.contains_key(&NodeId::from(nodes[*at].id)))
            .collect();
        if missing.is_empty() && asked.len() == nodes.len() {
            waiting.finish();
            return Ok(Present::All(answers));
        }
        if missing.is_empty() {
            // The first has answered long ago, perhaps, and has another directory by now: what is
            // recorded of all is what they say at one time.
            answers.clear();
            continue;
        }
        if let Some(running) = running(bundles, client, known).await? {
            waiting.finish();
            return Ok(Present::Running(running));
        }
        if Instant::now() + poll >= deadline {
            waiting.finish();
            return Err(late(bundles, &missing, &reasons));
        }
        waiting.tick(&missing);
        sleep(poll).await;
    }
}

fn late(bundles: &Bundles, missing: &[usize], reasons: &[String]) -> Report {
    let nodes = &bundles.plan.nodes;
    let cause = |at: &usize| client::Cause {
        endpoint: format!("{} {}", nodes[*at].name, nodes[*at].address),
        why: reasons[*at].clone(),
    };
    let strange = |at: &usize| reasons[*at].contains("belongs to cluster");
    if !missing.is_empty() && missing.iter().all(strange) {
        let message = format!(
            "{} of {} nodes belong to another cluster than the one in {}",
            missing.len(),
            nodes.len(),
            bundles.directory().display()
        );
        return Report::new(codes::CREDENTIALS, message)
            .causes(missing.iter().map(cause).collect())
            .help("take the context, and the directory, from where that cluster was made");
    }
    let message = format!("{} of {} nodes do not answer yet", missing.len(), nodes.len());
    let command = again(&bundles.plan.name, bundles.directory());
    let report = Report::new(codes::INIT_WAITED, message)
        .causes(missing.iter().map(cause).collect())
        .help(format!("{command}    (goes on where it was)"));
    // Where they are is known to nobody here, if the context that knew it is gone.
    match bundles.record() {
        Ok(Some(_)) => report.help("raftctl status -e HOST:PORT    (if the nodes have moved)"),
        Ok(None) | Err(_) => report,
    }
}

fn is_expected(node: &PlannedNode, status: &NodeStatus) -> Result<()> {
    if status.node == NodeId::from(node.id) {
        return Ok(());
    }
    let (name, address, wanted, found) = (&node.name, &node.address, node.id, status.node);
    let message = format!("at {address} node {found} answers, not {name} (node {wanted})");
    Err(Report::new(codes::OTHER_NODE, message).help(format!("put the bundle of {name} there")))
}

/// Returns the stored record, or makes and stores the first one.
fn record(bundles: &Bundles, answers: &Answers) -> Result<BootstrapRecord> {
    if let Some(record) = bundles.record()? {
        return Ok(record);
    }
    if let Some((node, _)) = answers.values().find(|(_, status)| status.generation.is_some()) {
        let shown = bundles.directory().display();
        let message =
            format!("{} is bootstrapped already, but {shown} has no bootstrap record", node.name);
        return Err(Report::new(codes::NO_RECORD, message)
            .help("raftctl context add --help    (to use the cluster as it is)"));
    }
    let incarnations: BTreeMap<NodeId, Incarnation> =
        answers.iter().map(|(id, (_, status))| (*id, status.incarnation)).collect();
    bundles.write_record(&incarnations)
}

/// Returns who lacks the record; refuses nodes with another history or another data directory.
fn lacking(record: &BootstrapRecord, answers: &Answers) -> Result<Vec<PlannedNode>> {
    let mut lacking = Vec::new();
    for (id, (node, status)) in answers {
        let name = &node.name;
        match status.generation {
            Some(present) if present == record.generation() => {}
            Some(present) => {
                let (present, wanted) = (present.short(), record.generation().short());
                let message = format!("{name} has generation {present}, the record's is {wanted}");
                return Err(Report::new(codes::OTHER_GENERATION, message));
            }
            None if record.configuration.recognises(*id, status.incarnation) => {
                lacking.push(node.clone());
            }
            None => {
                let present = status.incarnation;
                let known = record.configuration.member(*id).map(|member| member.incarnation);
                let message = match known {
                    Some(known) => format!(
                        "{name} has data directory {present}, but took part with {known}: it was \
                         wiped or replaced"
                    ),
                    None => format!("the bootstrap record does not name {name} (node {id})"),
                };
                return Err(Report::new(codes::WIPED, message)
                    .help("raftctl status    (it says what brings the node back)"));
            }
        }
    }
    Ok(lacking)
}

/// Gives the record to all that lack it, at the same time.
async fn give(client: &Client, record: &BootstrapRecord, lacking: &[PlannedNode]) -> Result<()> {
    let mut giving = JoinSet::new();
    for node in lacking.iter().cloned() {
        let (client, record) = (client.clone(), record.clone());
        giving.spawn(async move {
            let given = client.bootstrap(&node.address, record).await;
            (node.name, given)
        });
    }
    let mut failed = None;
    while let Some(joined) = giving.join_next().await {
        if let Ok((name, Err(error))) = joined {
            let is_other = matches!(
                &error,
                ClientError::Refused(reply) if reply.code == ErrorCode::AlreadyInitialised
            );
            let mut report = Report::from(error);
            report.message = format!("{name}: {}", report.message);
            if !is_other {
                report = report.help("run the same command again: it goes on where it was");
            }
            failed.get_or_insert(report);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Waits until a leader has committed in its term and all nodes follow it. Who does not follow for
/// long after that is no reason to call bootstrapping a failure: the verdict says what is wrong.
async fn wait_for_leader(
    client: &Client,
    nodes: &[Node],
    poll: Duration,
    deadline: Instant,
) -> Result<Survey> {
    let mut led_since = None;
    loop {
        let survey = Survey::ask(client, nodes).await;
        let leader = survey.leader().filter(|leader| leader.commit > 0);
        let settled = leader.is_some_and(|leader| {
            let follows = |row: &Row| {
                row.answer.as_ref().is_ok_and(|status| status.leader == Some(leader.node))
            };
            survey.rows.iter().all(follows)
        });
        let now = Instant::now();
        let late = now + poll >= deadline;
        if leader.is_some() || survey.told().is_some() {
            let since = *led_since.get_or_insert(now);
            if settled || late || now - since >= FOLLOW_WITHIN {
                return Ok(survey);
            }
        } else if late {
            let (why, causes) = no_leader_answers(&survey);
            let message = format!("the nodes are bootstrapped, but {why} yet");
            return Err(Report::new(codes::NO_LEADER, message)
                .causes(causes)
                .help("raftctl status    (the cluster is bootstrapped)"));
        }
        sleep(poll).await;
    }
}
