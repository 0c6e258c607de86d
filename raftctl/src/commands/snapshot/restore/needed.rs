//! Whether a restore is needed at all: who of the cluster answers, and with which history. What was
//! written behind the snapshot is lost by it, and where the cluster serves, two histories would.

use certs::ClusterId;
use client::{Client, Common, Generation, NodeStatus};
use protocol::BootstrapRecord;
use storage::SnapshotHeader;

use crate::bundle::{Bundles, now_unix_s};
use crate::cluster::judge::judge;
use crate::cluster::{Health, Row, Survey};
use crate::codes;
use crate::invocation::Invocation;
use crate::look::look;
use crate::output::units;
use crate::report::{Report, Result};

/// Refuses a restore while the cluster serves: it begins a second history beside one that lives, in
/// which all is lost that was written behind the snapshot, and the contexts follow it. Returns what
/// a node that answers has, and the snapshot has not; or that nobody could be asked.
///
/// # Errors
/// If a leader of this cluster leads, also where only others hear it, or a node has a history that
/// is not known here; unless it is to be `forced`.
pub(super) async fn lost(
    invocation: &Invocation,
    forced: bool,
    bundles: &Bundles,
    header: &SnapshotHeader,
) -> Result<Option<String>> {
    let own = invocation.everywhere(bundles);
    let usual = invocation.target().and_then(|usual| usual.check_is_of(bundles).map(|()| usual));
    // Where the directory is a copy, nodes may accept its certificates no more, and those in use;
    // where both are the same, nobody is waited for twice.
    let is_other = match (&own, &usual) {
        (Ok(own), Ok(usual)) => !own.credentials.is_same_as(&usual.credentials),
        (_, _) => true,
    };
    let mut unasked = None;
    for target in [Some(own), Some(usual).filter(|_| is_other)].into_iter().flatten() {
        let asked = target.and_then(|target| {
            let client = target.client(invocation.global.timeout)?;
            Ok((target, client))
        });
        let (target, client) = match asked {
            Ok(asked) => asked,
            Err(report) => {
                let why = report.message;
                let text = format!("no node was asked whether the cluster serves: {why}");
                unasked.get_or_insert(text);
                continue;
            }
        };
        let survey = look(&client, &target.nodes).await;
        let histories = histories(&client, &survey).await;
        client.close().await;
        if !forced {
            is_needed(&survey, bundles, header)?;
            is_known(&histories, bundles, header)?;
        }
        if survey.answers().next().is_some() || !histories.is_empty() {
            return Ok(behind(&survey, header));
        }
        // A machine that says that nobody listens there tells of its node; silence does not.
        let hides = |row: &Row| row.answer.as_ref().is_err_and(|silence| !silence.is_refusal());
        unasked = survey.rows.iter().any(hides).then(|| {
            let count = survey.rows.len();
            format!("no known node of {count} answered here: they may serve others")
        });
    }
    Ok(unasked)
}

/// Returns which history each node has that answers.
async fn histories(client: &Client, survey: &Survey) -> Vec<(String, Generation)> {
    let mut found = Vec::new();
    for row in &survey.rows {
        let generation = match &row.answer {
            Ok(status) => status.generation,
            // It has answered, and counts as silent where another history is followed.
            Err(silence) if silence.common == Common::Generation => {
                client.status_of(&row.address).await.ok().and_then(|status| status.generation)
            }
            Err(_) => None,
        };
        found.extend(generation.map(|generation| (row.name.clone(), generation)));
    }
    found
}

/// Refuses a restore where a node has a history of which nothing is known here: this directory may
/// be an older copy, and the cluster go on from a restore with another one.
fn is_known(
    histories: &[(String, Generation)],
    bundles: &Bundles,
    header: &SnapshotHeader,
) -> Result<()> {
    let records = bundles.record()?.into_iter().chain(bundles.former_records()?);
    let of = |record: BootstrapRecord| [Some(record.generation()), record.parent];
    let mut known: Vec<Generation> = records.flat_map(of).flatten().collect();
    known.push(header.generation);
    let Some((name, found)) = histories.iter().find(|(_, found)| !known.contains(found)) else {
        return Ok(());
    };
    let message = format!(
        "{} answers with history {}, of which nothing is known in {}: was the cluster restored \
         with another copy of that directory?",
        units::name(name.as_bytes()),
        found.short(),
        bundles.directory().display(),
    );
    Err(Report::new(codes::STILL_SERVES, message)
        .help("raftctl explain R0461    (which of two histories is dead)")
        .help("--while-serving    (begins a new history all the same)"))
}

/// Says what the node knows that has the most of those that answer with the snapshot's history.
fn behind(survey: &Survey, header: &SnapshotHeader) -> Option<String> {
    let last = header.meta.last.index.get();
    let rows = survey.rows.iter().filter_map(|row| Some((row, row.answer.as_deref().ok()?)));
    let has_more = |(_, status): &(&Row, &NodeStatus)| {
        status.generation == Some(header.generation) && status.commit.max(status.last) > last
    };
    let (row, status) = rows.filter(has_more).max_by_key(|(_, s)| (s.commit, s.last))?;
    let name = units::name(row.name.as_bytes());
    let open = open_end(&name, status, last);
    if status.commit <= last {
        return open;
    }
    let text = format!(
        "{name} answers, and knows {} entries committed: {} are behind this snapshot, and are not \
         restored; raftctl snapshot save FILE --node {name} has what it has applied",
        units::count(status.commit),
        units::count(status.commit - last),
    );
    Some(open.map_or_else(|| text.clone(), |open| format!("{text}. {open}")))
}

/// Says how many entries a node's log has behind all that it knows to be committed: what was
/// acknowledged last may be among them.
pub(crate) fn open_end(name: &str, status: &NodeStatus, last: u64) -> Option<String> {
    let known = status.commit.max(last);
    let more = status.last.checked_sub(known).filter(|more| *more > 0)?;
    Some(format!(
        "the log of {name} goes on to entry {}: {} are in no snapshot, as it does not know them \
         committed, and acknowledged ones may be among them; a majority with {name} in it keeps \
         them, a restore does not; raftctl log list --node {name} shows them",
        units::count(status.last),
        units::count(more),
    ))
}

fn is_needed(survey: &Survey, bundles: &Bundles, header: &SnapshotHeader) -> Result<()> {
    let (cluster, last) = (&bundles.plan.cluster, units::count(header.meta.last.index.get()));
    let verdict = judge(survey, now_unix_s().try_into().unwrap_or(i64::MAX));
    let serves = matches!(verdict.health, Health::Healthy | Health::Degraded | Health::Joint);
    let leader = survey.leading().and_then(|leader| survey.row(leader)).filter(|_| serves);
    let status = leader.and_then(|row| Some((row, row.answer.as_ref().ok()?)));
    let Some((row, status)) = status else { return is_led_elsewhere(survey) };
    if ClusterId::from_bytes(status.cluster).to_string() != *cluster {
        return Ok(());
    }
    let message = format!(
        "the cluster serves: {} leads it, with {} entries committed, and the snapshot ends at \
         entry {last}",
        units::name(row.name.as_bytes()),
        units::count(status.commit),
    );
    Err(Report::new(codes::STILL_SERVES, message)
        .help("raftctl member heal NAME    (for a member that lost its data)")
        .help("--while-serving    (begins a new history all the same)"))
}

/// Refuses a restore where nodes hear a leader that is not reached from here.
fn is_led_elsewhere(survey: &Survey) -> Result<()> {
    let Some(told) = survey.told() else { return Ok(()) };
    let name = |id| units::name(survey.name(id).as_bytes());
    let by: Vec<String> = told.by.iter().map(|id| name(*id)).collect();
    let message = format!(
        "the cluster serves: {} leads it, as {} hear, though it does not answer here",
        name(told.leader),
        by.join(" and "),
    );
    Err(Report::new(codes::STILL_SERVES, message)
        .help("raftctl status")
        .help("--while-serving    (begins a new history all the same)"))
}
