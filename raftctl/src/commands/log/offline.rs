//! `raftctl log dump` and `log verify`: the log of a stopped node, read where it lies.

use std::ops::Range;
use std::path::{Path, PathBuf};

use certs::ClusterId;
use clap::Args;
use client::{LogEntry, LogPage};
use consensus::{Entry, LogIndex, Payload};
use protocol::{EntryKind, encode_configuration};
use serde_json::json;
use state_machine::{Envelope, EnvelopeKind, Kv, StoredMachine as _};
use storage::{Part, SnapshotFile, StoppedLog, StoppedNode, Verified};

use super::entries::item;
use super::tail::{line, row};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::form::Form;
use crate::output::progress::Progress;
use crate::output::{View, units, write_stdout};
use crate::report::{Report, Result};

/// What `dump` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct DumpArgs {
    /// The data directory of a stopped node
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The first index [default: the first in the log]
    #[arg(long, value_name = "INDEX", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// The last index [default: the last in the log]
    #[arg(long, value_name = "INDEX", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Shows the values too
    #[arg(long)]
    show_values: bool,
}

/// What `verify` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The data directory of a stopped node
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Writes entries as they are read, each checked.
pub(super) fn dump(invocation: &Invocation, args: &DumpArgs) -> Result<()> {
    let node = StoppedNode::open(&args.data_dir)?;
    let log = node.log()?;
    let range = range(&log, args)?;
    // Where the state is damaged, the log may be whole.
    let applied = node.applied().map(|applied| applied.index.get()).ok();
    let page = LogPage::default();
    if invocation.output.headers && invocation.output.for_people() {
        write_stdout(
            format!("{}\n", row(["INDEX", "TERM", "KIND", "SIZE", "COMMAND"])).as_bytes(),
        )?;
    }
    let words = words(&node, args.show_values)?;
    let damaged = log.verify_condition().map_err(Report::from).err();
    if let Some(damaged) = &damaged {
        invocation.output.remark(&format!("{}: what can be read is shown", damaged.message));
    }
    let mut broken = None;
    let mut entries = Vec::new();
    for part in log.readable(range) {
        entries.push(log.entries(part)?);
    }
    for entry in entries.into_iter().flatten() {
        // Each part ends with the first entry that cannot be read after all.
        let entry = match entry {
            Ok(entry) => for_people(&entry, &words),
            Err(error) => {
                broken.get_or_insert_with(|| Report::from(error));
                continue;
            }
        };
        let mut data = item(&page, &entry, args.show_values);
        if let Some(fields) = data.as_object_mut() {
            // A node alone does not know what is committed, but for what it has applied.
            fields.remove("committed");
            let is_applied = applied.map(|applied| entry.index <= applied);
            fields.insert("applied".to_owned(), json!(is_applied));
        }
        let view = View { kind: "LogEntry", data, ..View::default() };
        let line = match invocation.output.form {
            Form::Table | Form::Wide => line(&entry, args.show_values),
            Form::Json => view.json_line(),
            Form::Yaml => format!("---\n{}", view.yaml()?),
            Form::Name => entry.index.to_string(),
        };
        write_stdout(format!("{}\n", line.trim_end()).as_bytes())?;
    }
    match damaged.or(broken) {
        Some(report) => {
            let directory = args.data_dir.display();
            Err(report.help(format!("raftctl log verify --data-dir {directory}")))
        }
        None => Ok(()),
    }
}

fn range(log: &StoppedLog, args: &DumpArgs) -> Result<Range<LogIndex>> {
    let held = log.range();
    let from = args.from.map_or(held.start, LogIndex::new);
    let to = args.to.map_or(held.end, |to| LogIndex::new(to).next());
    let all = args.from.is_none() && args.to.is_none();
    if all || (held.start <= from && from < to && to <= held.end) {
        return Ok(from..to);
    }
    let (first, end) = (held.start, held.end);
    let holds = match end.since(first) {
        0 => format!("the log is empty behind entry {}", first.get() - 1),
        _ => format!("the log has {first} to {}", end.get() - 1),
    };
    let wanted = match (args.from, args.to) {
        (Some(from), Some(to)) => format!("{from} to {to}"),
        (Some(one), None) | (None, Some(one)) => one.to_string(),
        (None, None) => "all".to_owned(),
    };
    Err(Report::new(codes::NO_INDEX, format!("{holds}, not {wanted}")))
}

/// What a machine says of a command.
type Words = Box<dyn Fn(&[u8]) -> Option<String>>;

/// Returns the words of the node's machine, if this program has it: only the built-in one.
fn words(node: &StoppedNode, values: bool) -> Result<Words> {
    let machine = node.bootstrap()?.map(|record| record.machine);
    let is_kv = machine.is_none_or(|machine| machine == Kv.name());
    Ok(Box::new(move |command| Kv.describe(command, values).filter(|_| is_kv)))
}

fn for_people(entry: &Entry, words: &Words) -> LogEntry {
    let (kind, payload) = match &entry.payload {
        Payload::Noop => (EntryKind::Noop, bytes::Bytes::new()),
        Payload::Command(command) => (EntryKind::Command, command.clone()),
        Payload::Configuration(configuration) => {
            (EntryKind::Configuration, encode_configuration(configuration))
        }
    };
    let said = || {
        let envelope = Envelope::decode(&payload).ok()?;
        (envelope.kind == EnvelopeKind::Machine).then(|| words(&envelope.body)).flatten()
    };
    let text = (kind == EntryKind::Command).then(said).flatten();
    LogEntry {
        index: entry.id.index.get(),
        term: entry.id.term.get(),
        stamp_ns: entry.stamp.get(),
        kind,
        payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload: Some(payload),
        text,
    }
}

/// Reads everything and says that it is whole, or what is damaged first.
pub(super) fn verify(invocation: &Invocation, args: &VerifyArgs) -> Result<()> {
    let node = StoppedNode::open(&args.data_dir)?;
    let mut shown: Option<(Part, Progress)> = None;
    let verified = node.verify(|part, done, all| {
        if shown.as_ref().is_none_or(|(last, _)| *last != part) {
            if let Some((_, progress)) = &shown {
                progress.finish();
            }
            shown = Some((part, Progress::new(&invocation.output, what(part), all)));
        }
        if let Some((_, progress)) = &mut shown {
            progress.set(done, "");
        }
    });
    if let Some((_, progress)) = &shown {
        progress.finish();
    }
    invocation.output.answer(&view(&args.data_dir, &node, verified?.as_ref()))
}

const fn what(part: Part) -> &'static str {
    match part {
        Part::Log => "entries",
        Part::State => "pairs of the state",
        Part::Snapshots => "bytes of snapshots",
    }
}

fn view(directory: &Path, node: &StoppedNode, verified: Option<&Verified>) -> View {
    let cluster = ClusterId::from_bytes(node.cluster());
    let generation = node.generation().map(|generation| generation.to_string());
    let mut text = format!(
        "data directory  {}\nnode            {} of cluster {cluster}\n\
         incarnation     {}\ngeneration      {}\n",
        directory.display(),
        node.node(),
        node.incarnation(),
        generation.as_deref().unwrap_or("none yet: the node belongs to no cluster"),
    );
    let mut data = json!({
        "dataDir": directory.display().to_string(),
        "node": node.node().to_string(),
        "cluster": cluster.to_string(),
        "incarnation": node.incarnation().to_string(),
        "generation": generation,
        "verified": true,
    });
    if let Some(found) = verified {
        text.push_str(&details(found));
        let up_to = |file: &SnapshotFile| file.header.meta.last.index.to_string();
        data["term"] = json!(found.hard_state.term.to_string());
        data["votedFor"] = json!(found.hard_state.vote.map(|vote| vote.candidate.to_string()));
        data["logBase"] = json!(found.base.index.to_string());
        data["logLast"] = json!(found.last.index.to_string());
        data["logPayloadBytes"] = json!(found.payload_bytes.to_string());
        data["applied"] = json!(found.applied.index.to_string());
        data["statePairs"] = json!(found.pairs.to_string());
        data["stateBytes"] = json!(found.state_bytes.to_string());
        data["unnamedTables"] = json!(found.unnamed_tables);
        data["snapshots"] = json!(found.snapshots.iter().map(up_to).collect::<Vec<_>>());
    }
    let unnamed = verified.map_or(0, |found| found.unnamed_tables);
    text.push_str(match unnamed {
        0 => "verified        every byte is as it was written\n",
        _ => "verified        every byte that is in use is as it was written\n",
    });
    View {
        kind: "VerifiedNode",
        data,
        text: text.into_bytes(),
        names: vec![node.node().to_string()],
        warnings: unread(unnamed).into_iter().collect(),
    }
}

/// Says that files were not read of which nobody can tell whether they should be in use.
fn unread(unnamed_tables: u64) -> Option<String> {
    (unnamed_tables > 0).then(|| {
        format!(
            "files of the state that its list (MANIFEST) does not name were not read: \
             {unnamed_tables}. A crash leaves such; if the list itself was cut, raftd applies the \
             log again"
        )
    })
}

fn details(found: &Verified) -> String {
    let vote = found.hard_state.vote.map_or_else(
        || "no vote given".to_owned(),
        |vote| format!("voted for node {}", vote.candidate),
    );
    let (base, last) = (found.base.index, found.last.index);
    let log = match last.since(base) {
        0 => format!("empty behind entry {}", units::count(base.get())),
        _ => format!(
            "entries {} to {}, {} of commands and configurations",
            units::count(base.get() + 1),
            units::count(last.get()),
            units::size(found.payload_bytes)
        ),
    };
    let snapshots: Vec<String> =
        found.snapshots.iter().map(|f| units::count(f.header.meta.last.index.get())).collect();
    let snapshots = match snapshots.as_slice() {
        [] => "none".to_owned(),
        ends => format!("up to entry {}", ends.join(", ")),
    };
    format!(
        "term            {}, {vote}\nlog             {log}\n\
         state           up to entry {}, {} pairs of {}\nsnapshots       {snapshots}\n",
        found.hard_state.term,
        units::count(found.applied.index.get()),
        units::count(found.pairs),
        units::size(found.state_bytes),
    )
}
