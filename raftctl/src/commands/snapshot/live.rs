//! Snapshots on running nodes: made, listed, and saved to a file that is checked as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use client::{Client, ClientError, Common};
use consensus::EntryId;
use protocol::{ErrorCode, SnapshotAnswer, SnapshotInfo, SnapshotRequest};
use serde_json::{Value, json};
use storage::SnapshotReader;
use tokio::task::JoinSet;

use super::restore::open_end;
use crate::change::no_leader;
use crate::cluster::reasons::{silent, unreachable};
use crate::cluster::survey::silence;
use crate::cluster::{Row, Survey};
use crate::codes;
use crate::context::Node;
use crate::exit::Exit;
use crate::files::{NewFile, Present};
use crate::invocation::Invocation;
use crate::look::look;
use crate::output::progress::{Progress, awaited};
use crate::output::table::Rows;
use crate::output::{Unbuffered, View, units};
use crate::report::{Report, Result, told};
use crate::signals::Signals;

/// A node whose disk hangs is given up behind so long a wait for a piece.
const PIECE_PATIENCE: Duration = Duration::from_secs(60);

/// A node may take so long to write its state to a file, however large, unless the operator says
/// how long. One that is gone is not waited for: the connection ends with it.
const MAKING: Duration = Duration::from_secs(86_400);

/// A piece is asked for so often before saving is given up.
const TRIES: u32 = 5;

/// What `save` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaveArgs {
    /// The file, for its owner alone (0600); - is standard output (./- is a file of that name).
    /// What a killed save leaves beside it, .raftctl-*.part, the next one there removes
    file: PathBuf,
    /// The node, by name or id; the leader if not said
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Replaces the file if it is there, and keeps its mode
    #[arg(long)]
    force: bool,
}

/// Makes a snapshot on a node.
///
/// # Errors
/// If no node answers, or the node cannot make one.
pub(super) async fn create(invocation: &Invocation, node: Option<&str>) -> Result<()> {
    let (client, row) = choose(invocation, node).await?;
    let info = take(invocation, &client, &row).await?;
    client.close().await;
    let (index, term) = (info.last.index, info.last.term);
    let text = format!(
        "{}   snapshot of entry {} (term {term})   {}\n",
        units::name(row.name.as_bytes()),
        units::count(index.get()),
        units::size(info.size_bytes)
    );
    let done = text.trim_end().to_owned();
    let answered = invocation.output.answer(&View {
        kind: "Snapshot",
        data: describe(&row.name, &info),
        text: text.into_bytes(),
        names: vec![format!("{index}-{term}")],
        warnings: Vec::new(),
    });
    answered.map_err(|report| report.and_yet(&done))
}

/// Lists the snapshots of all nodes. A node that does not answer is a row.
///
/// # Errors
/// If no cluster is named, or a node does not answer: then the list is not whole.
pub(super) async fn list(invocation: &Invocation) -> Result<()> {
    let (target, client) = invocation.client()?;
    let survey = Survey::ask(&client, &target.nodes).await;
    let mut rows = Rows::new(&["NODE", "INDEX", "TERM", "SIZE", "MADE"]);
    let (mut data, mut names, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    let mut lists = all_listed(&client, &survey).await;
    for (place, row) in survey.rows.iter().enumerate() {
        let shown = units::name(row.name.as_bytes());
        match lists.remove(&place).unwrap_or_else(|| Err("it was not asked".to_owned())) {
            Ok(list) => {
                for info in &list {
                    rows.push(vec![
                        shown.clone(),
                        units::count(info.last.index.get()),
                        info.last.term.to_string(),
                        units::size(info.size_bytes),
                        units::utc(info.made_at_s * 1_000),
                    ]);
                    data.push(describe(&row.name, info));
                    names.push(format!("{shown}/{}-{}", info.last.index, info.last.term));
                }
            }
            Err(why) => {
                rows.push_spilling(vec![shown, "unreachable".to_owned()], format!("({why})"));
                warnings.push(format!("{}: {why}", row.name));
            }
        }
    }
    client.close().await;
    let (is_silent, is_whole) = (survey.answers().next().is_none(), warnings.is_empty());
    let answered = invocation.output.answer(&View {
        kind: "SnapshotList",
        data: json!({ "snapshots": data }),
        text: rows.render(invocation.output.headers).into_bytes(),
        names,
        warnings: if invocation.output.for_people() { Vec::new() } else { warnings },
    });
    let whole = match (is_silent, is_whole) {
        (true, _) => Err(unreachable(&survey)),
        (false, true) => Ok(()),
        (false, false) => Err(Report::quiet(Exit::Partial)),
    };
    told(answered, whole)
}

/// Makes a snapshot and writes it to a file, or to stdout for `-`.
///
/// # Errors
/// If something has the file's name that is not to be replaced, the node cannot make a snapshot,
/// the file cannot be written, or what arrived is damaged: then nothing is left.
pub(super) async fn save(invocation: &Invocation, args: &SaveArgs) -> Result<()> {
    if args.file == Path::new("-") {
        return pour(invocation, args).await;
    }
    let mut signals = Signals::catch()?;
    tokio::select! {
        saved = save_file(invocation, args) => saved,
        stop = signals.stopped() => {
            let message = format!("interrupted: {} is not written", args.file.display());
            Err(Report { message, ..Report::quiet(stop.exit()) })
        }
    }
}

/// Makes a snapshot and writes it to stdout; who reads it checks it.
async fn pour(invocation: &Invocation, args: &SaveArgs) -> Result<()> {
    if std::io::stdout().is_terminal() {
        let message = "a snapshot is not written to a terminal";
        return Err(Report::new(codes::USAGE, message).help("- > FILE, or the FILE's name"));
    }
    let (client, row) = choose(invocation, args.node.as_deref()).await?;
    let info = take(invocation, &client, &row).await?;
    let what = format!("saving to stdout from {}", row.name);
    let mut progress = Progress::new(&invocation.output, &what, info.size_bytes);
    let failed = |error| Report::new(codes::LOCAL_FILE, format!("stdout: {error}"));
    let copied = copy(&client, &row, &info, &mut progress, (&mut Unbuffered, &failed)).await;
    progress.finish();
    client.close().await;
    copied
}

async fn save_file(invocation: &Invocation, args: &SaveArgs) -> Result<()> {
    let (file, node) = (args.file.as_path(), args.node.as_deref());
    let present = if args.force { Present::GivesWay } else { Present::Stays };
    // Before a node is asked for anything.
    let mut new = NewFile::create(file, present)?;
    let (client, row) = choose(invocation, node).await?;
    let info = take(invocation, &client, &row).await?;
    let what = format!("saving {} from {}", file.display(), row.name);
    let mut progress = Progress::new(&invocation.output, &what, info.size_bytes);
    let failed = |error| Report::io(file, &error);
    let written = copy(&client, &row, &info, &mut progress, (&mut new, &failed)).await;
    progress.finish();
    client.close().await;
    written?;
    verify(invocation, file, new.reader().map_err(failed)?, info.size_bytes).await?;
    new.finish()?;
    let index = info.last.index;
    let text = format!(
        "{}   entry {}   {}   verified\n",
        file.display(),
        units::count(index.get()),
        units::size(info.size_bytes)
    );
    let mut data = describe(&row.name, &info);
    data["file"] = json!(file.display().to_string());
    // With a leader, what is under way is committed in a moment.
    let name = units::name(row.name.as_bytes());
    let leaderless = row.answer.as_deref().ok().filter(|status| status.leader.is_none());
    let open = leaderless.and_then(|status| open_end(&name, status, index.get()));
    invocation.output.answer(&View {
        kind: "Snapshot",
        data,
        text: text.into_bytes(),
        names: vec![file.display().to_string()],
        warnings: open.into_iter().collect(),
    })
}

/// Reads what was written as a whole: what people keep for bad days is checked while the node still
/// has it. A thread of its own does it, so that a signal is heard meanwhile.
async fn verify(
    invocation: &Invocation,
    file: &Path,
    written: File,
    size_bytes: u64,
) -> Result<()> {
    let name = file.display().to_string();
    let mut progress = Progress::new(&invocation.output, &format!("verifying {name}"), size_bytes);
    let verify = move || {
        let reader = SnapshotReader::new(name, BufReader::new(written))?;
        let verified = reader.verify(|done| progress.set(done, "bytes"));
        progress.finish();
        verified.map(|_| ())
    };
    let verified = tokio::task::spawn_blocking(verify).await;
    let verified = verified.map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
    verified.map_err(Report::from)
}

/// Returns the node that is named, else the leader, else the one that has applied most: reading
/// the state needs no quorum.
async fn choose(invocation: &Invocation, wanted: Option<&str>) -> Result<(Client, Row)> {
    let (target, looking) = invocation.client()?;
    let survey = sought(&looking, &target.nodes, wanted).await;
    looking.close().await;
    let client = target.client(invocation.global.timeout_given().unwrap_or(MAKING))?;
    let is = |row: &&Row| {
        let id = row.id.map(|id| id.to_string());
        wanted.is_none_or(|wanted| row.name == wanted || id.as_deref() == Some(wanted))
    };
    let rank = |row: &&Row| {
        let status = row.answer.as_deref().ok();
        status.map(|status| (status.leader == Some(status.node), status.applied))
    };
    // What one of the others has applied may lack what was acknowledged long ago.
    if wanted.is_none() && survey.leader().is_none() {
        let without = "what is acknowledged is in no snapshot for certain: ";
        return Err(no_leader(&survey, without).help("--node NODE    (what that node has applied)"));
    }
    let best = survey.rows.iter().filter(is).max_by_key(rank);
    match (best, wanted) {
        (Some(row), _) => match &row.answer {
            Ok(_) => Ok((client, row.clone())),
            Err(silence) => Err(silent(row, silence)),
        },
        (None, Some(wanted)) => {
            Err(Report::new(codes::NO_NODE, format!("no node \"{wanted}\"")).help("raftctl status"))
        }
        (None, None) => Err(unreachable(&survey)),
    }
}

/// Asks who is there; nobody is waited for but the node that is wanted.
async fn sought(client: &Client, nodes: &[Node], wanted: Option<&str>) -> Survey {
    let survey = look(client, nodes).await;
    let is = |row: &&Row| {
        let id = row.id.map(|id| id.to_string());
        wanted.is_some_and(|wanted| row.name == wanted || id.as_deref() == Some(wanted))
    };
    let found = survey.rows.iter().find(is);
    if wanted.is_none() || found.is_some_and(|row| row.answer.is_ok()) {
        return survey;
    }
    Survey::ask(client, nodes).await
}

async fn take(invocation: &Invocation, client: &Client, row: &Row) -> Result<SnapshotInfo> {
    let what = format!("{} writes a snapshot of its state", row.name);
    let taking = client.snapshot(&row.address, SnapshotRequest::Take);
    match awaited(&invocation.output, &what, taking).await {
        Ok(SnapshotAnswer::Taken(info)) => Ok(info),
        Ok(_) => Err(unexpected(row)),
        Err(error) => Err(broken_off(row, error, "made a snapshot")),
    }
}

/// Says that a node which had answered does so no more, and what it did: others may well answer.
fn broken_off(row: &Row, error: ClientError, doing: &str) -> Report {
    let ClientError::Unreachable { causes, common: Common::Nothing } = error else {
        return Report::from_client(error);
    };
    let (name, address) = (units::name(row.name.as_bytes()), &row.address);
    let message = format!("{name} at {address} has stopped answering while it {doing}");
    Report::new(codes::UNREACHABLE, message)
        .causes(causes)
        .help("run this again: it asks whoever leads then    (--node NODE: another node)")
}

/// What a node has, or why it does not say.
type Listed = std::result::Result<Vec<SnapshotInfo>, String>;

/// Asks all nodes that answered for their snapshots, at once.
async fn all_listed(client: &Client, survey: &Survey) -> BTreeMap<usize, Listed> {
    let mut lists = BTreeMap::new();
    let mut asking = JoinSet::new();
    for (place, row) in survey.rows.iter().enumerate() {
        match &row.answer {
            Ok(_) => {
                let (client, address) = (client.clone(), row.address.clone());
                asking.spawn(async move { (place, listed(&client, &address).await) });
            }
            Err(silence) => {
                lists.insert(place, Err(silence.why.clone()));
            }
        }
    }
    while let Some(Ok((place, list))) = asking.join_next().await {
        lists.insert(place, list);
    }
    lists
}

async fn listed(client: &Client, address: &str) -> Listed {
    match client.snapshot(address, SnapshotRequest::List).await {
        Ok(SnapshotAnswer::List(list)) => Ok(list),
        Ok(_) => Err("it answered something else".to_owned()),
        Err(error) => Err(silence(&error).why),
    }
}

/// Copies the file piece by piece, as a whole or not at all.
async fn copy(
    client: &Client,
    row: &Row,
    info: &SnapshotInfo,
    progress: &mut Progress,
    (to, failed): (&mut impl std::io::Write, &impl Fn(std::io::Error) -> Report),
) -> Result<()> {
    let mut offset = 0;
    loop {
        let (size, bytes) = piece(client, row, info.last, offset).await?;
        if bytes.is_empty() && offset == size {
            return to.flush().map_err(failed);
        }
        if bytes.is_empty() {
            let (node, of) = (&row.name, units::count(size));
            let message = format!("{node} gave {} of {of} bytes", units::count(offset));
            return Err(Report::new(codes::UNEXPECTED, message));
        }
        to.write_all(&bytes).map_err(failed)?;
        offset += bytes.len() as u64;
        progress.set(offset, "bytes");
    }
}

/// Asks for a piece, again if the connection breaks or the node reads for others.
async fn piece(client: &Client, row: &Row, last: EntryId, offset: u64) -> Result<(u64, Bytes)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let asked = client.snapshot(&row.address, SnapshotRequest::Fetch { last, offset });
        // To make a snapshot may take hours; to read a piece of it takes a moment.
        let Ok(answer) = tokio::time::timeout(PIECE_PATIENCE, asked).await else {
            if tries < TRIES {
                continue;
            }
            let patience = PIECE_PATIENCE.as_secs();
            let message = format!(
                "{} gave nothing of its snapshot for {patience} s, {TRIES} times",
                row.name
            );
            return Err(Report::new(codes::UNREACHABLE, message).help("raftctl status"));
        };
        match answer {
            Ok(SnapshotAnswer::Piece { size_bytes, bytes }) => return Ok((size_bytes, bytes)),
            Ok(_) => return Err(unexpected(row)),
            Err(error) if tries < TRIES && may_pass(&error) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(broken_off(row, error, "gave its snapshot")),
        }
    }
}

fn may_pass(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. })
        || matches!(error, ClientError::Refused(reply) if reply.code == ErrorCode::Busy)
}

fn unexpected(row: &Row) -> Report {
    let message = format!("{} answered something else than was asked", row.name);
    Report::new(codes::INTERNAL, message)
}

fn describe(node: &str, info: &SnapshotInfo) -> Value {
    json!({
        "node": node,
        "index": info.last.index.to_string(),
        "term": info.last.term.to_string(),
        "sizeBytes": info.size_bytes.to_string(),
        "made": units::utc(info.made_at_s * 1_000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{survey, well};

    /// A leader was stopped while it made a snapshot: "no node could be reached", with two others
    /// there, one of which led.
    #[test]
    fn a_node_that_stops_answering_in_the_middle_is_named_and_no_other_is_judged() {
        let row = survey(vec![Some(well(1))]).rows.remove(0);
        let cause = client::Cause { endpoint: row.address.clone(), why: "timed out".into() };
        let (causes, common) = (vec![cause.clone()], Common::Nothing);
        let silent = ClientError::Unreachable { causes, common };
        let report = broken_off(&row, silent, "made a snapshot");
        let address = &row.address;
        let wanted = format!("n1 at {address} has stopped answering while it made a snapshot");
        assert_eq!((report.message, report.exit), (wanted, Exit::NoLeader));
        assert_eq!(report.causes, [cause]);
    }
}
