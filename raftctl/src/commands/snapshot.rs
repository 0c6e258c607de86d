//! `raftctl snapshot`: files that hold the whole state behind one entry.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use certs::ClusterId;
use clap::Subcommand;
use serde_json::{Value, json};
use storage::{SnapshotHeader, SnapshotReader, SnapshotTotals};

use crate::input::Input;
use crate::invocation::Invocation;
use crate::output::progress::Progress;
use crate::output::{View, units};
use crate::report::Result;

mod live;
mod restore;

/// Snapshots of the state.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Makes a snapshot of the present state on a node; also what `raftctl snapshot` alone does
    Create {
        /// The node, by name or id; the leader if not said
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Lists the snapshots on all nodes
    #[command(visible_alias = "ls")]
    List,
    /// Makes a snapshot and writes it to a file, which is checked as a whole
    Save(live::SaveArgs),
    /// Shows what a file says of itself; its contents are not looked at
    Show {
        /// The file; - is standard input (./- is a file of that name)
        file: PathBuf,
    },
    /// Reads a file as a whole and checks every byte
    Verify {
        /// The file; - is standard input (./- is a file of that name)
        file: PathBuf,
    },
    /// Fills the empty data directory of a stopped node, as a new generation of the cluster
    Restore(restore::RestoreArgs),
}

/// Runs the command.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub(crate) async fn run(invocation: &Invocation, command: SnapshotCommand) -> Result<()> {
    match command {
        SnapshotCommand::Create { node } => live::create(invocation, node.as_deref()).await,
        SnapshotCommand::List => live::list(invocation).await,
        SnapshotCommand::Save(args) => live::save(invocation, &args).await,
        SnapshotCommand::Show { file } => show(invocation, &file),
        SnapshotCommand::Verify { file } => verify(invocation, &file),
        SnapshotCommand::Restore(args) => restore::run(invocation, &args).await,
    }
}

fn show(invocation: &Invocation, file: &Path) -> Result<()> {
    let input = Input::open_or_stdin(file)?;
    let bytes = input.size()?;
    let reader = SnapshotReader::new(input.name().to_owned(), BufReader::new(input))?;
    let (text, data) = description(reader.name(), bytes, reader.header());
    invocation.output.answer(&View {
        kind: "Snapshot",
        data,
        text: text.into_bytes(),
        names: vec![reader.id().to_string()],
        warnings: Vec::new(),
    })
}

fn verify(invocation: &Invocation, file: &Path) -> Result<()> {
    let input = Input::open_or_stdin(file)?;
    let (name, bytes) = (input.name().to_owned(), input.size()?);
    let mut progress = Progress::of(&invocation.output, &format!("verifying {name}"), bytes);
    let reader = SnapshotReader::new(name.clone(), BufReader::new(input))?;
    let (header, id) = (reader.header().clone(), reader.id());
    let verified = reader.verify(|done| progress.set(done, "bytes"));
    progress.finish();
    let totals = verified?;
    let (mut text, mut data) = description(&name, bytes, &header);
    let SnapshotTotals { chunks, pairs, bytes, digest } = totals;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push_str(&format!(
        "contents       {} pairs, {} of keys and values, in chunks: {}\n\
         digest         sha256:{digest}\n\
         verified       every byte is as it was written\n",
        units::count(pairs),
        units::size(bytes),
        units::count(chunks),
    ));
    data["pairs"] = json!(pairs.to_string());
    data["contentBytes"] = json!(bytes.to_string());
    data["chunks"] = json!(chunks.to_string());
    data["digestSha256"] = json!(digest);
    data["verified"] = json!(true);
    invocation.output.answer(&View {
        kind: "Snapshot",
        data,
        text: text.into_bytes(),
        names: vec![id.to_string()],
        warnings: Vec::new(),
    })
}

/// Writes what a header says, for people and for programs.
fn description(file: &str, bytes: Option<u64>, header: &SnapshotHeader) -> (String, Value) {
    let meta = &header.meta;
    let cluster = ClusterId::from_bytes(header.cluster);
    let machine = units::name(header.machine.as_bytes());
    let made = units::utc(header.made_unix_ms);
    let stamp = meta.stamp.get();
    // A pipe has no size.
    let size = bytes.map(|bytes| format!(" ({})", units::size(bytes))).unwrap_or_default();
    let text = format!(
        "file           {file}{size}\n\
         snapshot       {}\n\
         cluster        {cluster}\n\
         generation     {}\n\
         last entry     {} of term {}\n\
         configuration  {} (entry {})\n\
         cluster time   {}.{:09} s\n\
         machine        {machine}, version {}\n\
         made           {made}\n",
        header.id(),
        header.generation,
        units::count(meta.last.index.get()),
        meta.last.term,
        units::members(&meta.configuration),
        units::count(meta.configuration_index.get()),
        stamp / 1_000_000_000,
        stamp % 1_000_000_000,
        header.machine_version,
    );
    let data = json!({
        "file": file,
        "sizeBytes": bytes.map(|bytes| bytes.to_string()),
        "id": header.id().to_string(),
        "cluster": cluster.to_string(),
        "generation": header.generation.to_string(),
        "index": meta.last.index.to_string(),
        "term": meta.last.term.to_string(),
        "configuration": units::members(&meta.configuration),
        "configurationIndex": meta.configuration_index.to_string(),
        "clusterTimeNs": stamp.to_string(),
        "machine": header.machine,
        "machineVersion": header.machine_version,
        "made": made,
    });
    (text, data)
}
