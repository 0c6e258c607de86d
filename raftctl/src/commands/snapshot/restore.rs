//! `raftctl snapshot restore`: fills the empty data directory of a stopped node, as the beginning
//! of a new generation of the cluster.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use certs::ClusterId;
use clap::Args;
use consensus::NodeId;
use protocol::BootstrapRecord;
use serde_json::json;
use storage::{Restoration, SnapshotHeader, SnapshotReader};

use crate::bundle::{Bundles, PlannedNode, Succession};
use crate::codes;
use crate::input::Input;
use crate::invocation::Invocation;
use crate::output::progress::Progress;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::lead;

mod needed;
mod owner;

use needed::lost;
pub(super) use needed::open_end;
use owner::{Owner, Taken};

/// What `restore` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The snapshot: a plain file, which is read twice
    file: PathBuf,
    /// The data directory of the stopped node: empty, or never bootstrapped
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The node, by name or id: the only voter at first
    #[arg(long, value_name = "NODE")]
    node: String,
    /// The cluster's directory, which `init` made [default: the context's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Begins another history although the cluster serves
    #[arg(long)]
    while_serving: bool,
    /// Shows what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Verifies the snapshot, stores the new record beside the authority, then fills the directory.
/// From then on the cluster's contexts lead to this node alone: who was a member before is not.
pub(super) async fn run(invocation: &Invocation, args: &RestoreArgs) -> Result<()> {
    let mut input = plain(&args.file)?;
    let header = verified(invocation, &mut input)?;
    let bundles = bundles(invocation, args)?;
    is_ours(&bundles, &header, &args.file)?;
    let node = bundles.find(&args.node, header.meta.configuration.members())?;
    let id = NodeId::from(node.id);
    if !args.while_serving {
        is_first(&bundles, &header, &node)?;
    }
    let lost = lost(invocation, args.while_serving, &bundles, &header).await?;
    if args.dry_run {
        Restoration::check(&args.data_dir, header.cluster, id)?;
        return invocation.output.answer(&plan(args, &bundles, &node, (&header, lost)));
    }
    let also = lost.as_ref().map(|lost| format!(". {lost}")).unwrap_or_default();
    invocation.confirm(&format!(
        "Begin a new generation of cluster \"{}\" with entry {} on {} alone? Nodes with data of \
         the old one stay out of it{also}",
        bundles.plan.name,
        units::count(header.meta.last.index.get()),
        node.name,
    ))?;
    let mut snapshot = counted(invocation, &mut input)?;
    if *snapshot.header() != header {
        let message = format!("{} was changed while it was restored", args.file.display());
        return Err(Report::new(codes::INPUT_CHANGED, message));
    }
    let owner = Owner::of(&args.data_dir);
    // RocksDB's files are nobody else's business either.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let restoration = Restoration::begin(&args.data_dir, header.cluster, id)?;
    let succession = bundles.succeed(&node, restoration.incarnation(), &header)?;
    fill(restoration, &mut snapshot, &bundles, &succession)?;
    let (taken, record) = (owner.take(&args.data_dir), succession.record);
    let mut view = done((args, &taken), &bundles, &node, &header, &record);
    view.warnings.extend(lost);
    if let Err(report) = bundles.note_end(&record) {
        let or = "remove that file, or this restore is taken for one that has not ended";
        view.warnings.push(format!("{}: {or}", report.message));
    }
    // It may have been removed behind the snapshot, and is the only member now.
    let members = match bundles.lock_certificates().await {
        Ok(_lock) => bundles.part_with([], &record.configuration),
        Err(report) => Err(report),
    };
    view.warnings.extend(members.err().map(|report| report.message));
    // The state is restored whatever becomes of the contexts, which can be mended by hand.
    view.warnings.extend(match lead(&bundles.plan.cluster, &record).await {
        Ok(0) => Some(
            "no context of this user follows the cluster: each that does, of whomever, still \
             follows the former history: raftctl explain R0461"
                .to_owned(),
        ),
        Ok(_) => None,
        Err(report) => Some(format!("the context still names the old members: {}", report.message)),
    });
    invocation.output.answer(&view)
}

/// Fills the directory. What comes to nothing leaves the record from before beside the authority,
/// or says that it is another one.
fn fill(
    restoration: Restoration,
    snapshot: &mut SnapshotReader<Counted<'_>>,
    bundles: &Bundles,
    succession: &Succession,
) -> Result<()> {
    let shown = bundles.directory().display();
    let again = "run the same command again when that is mended    (begins anew)";
    let poured = restoration.pour(&succession.record, snapshot);
    let filled = poured.map_err(|error| {
        let report = Report::from(error);
        // Without its last step the directory has no history: nobody can have the new record.
        match bundles.take_back(succession) {
            Ok(true) => {
                let message =
                    format!("{}; the record in {shown} is the one from before", report.message);
                Report { message, ..report }.help(again)
            }
            Ok(false) => stays(report, bundles, succession).help(again),
            Err(why) => {
                let message = format!("{}; {}", report.message, why.message);
                stays(Report { message, ..report }, bundles, succession).help(again)
            }
        }
    })?;
    let founded = filled.found(&succession.record);
    founded.map_err(|error| stays(Report::from(error), bundles, succession).help(again))
}

/// Says that the record of a restore that failed is in the place of the one from before.
fn stays(report: Report, bundles: &Bundles, succession: &Succession) -> Report {
    let (short, place) = (succession.record.generation().short(), bundles.record_path());
    let place = place.display();
    let message = format!(
        "{}; {place} is the record of this restore by now, generation {short}, and nobody may have \
         that history",
        report.message
    );
    let report = Report { message, ..report };
    match succession.former() {
        None => report,
        Some(former) => {
            let former = former.display();
            let help = format!("mv {former} {place}    (gives it up; empty the data directory)");
            report.help(help)
        }
    }
}

/// Refuses to let a history go on that goes on already, from another node or in what was restored
/// since: both would serve. What was restored last, on this node, may be restored anew.
fn is_first(bundles: &Bundles, header: &SnapshotHeader, node: &PlannedNode) -> Result<()> {
    let goes_on = |record: &BootstrapRecord| record.parent == Some(header.generation);
    let is_own = |record: &BootstrapRecord| {
        record.configuration.members().contains_key(&NodeId::from(node.id))
    };
    let present = bundles.record()?;
    let is_anew = present.as_ref().is_some_and(|record| goes_on(record) && is_own(record));
    let mut all = present.into_iter().chain(bundles.former_records()?);
    let found = all.find(|record| goes_on(record) && !(is_anew && is_own(record)));
    let Some(record) = found else { return Ok(()) };
    let Some((id, other)) = record.configuration.members().iter().next() else { return Ok(()) };
    let (name, address) = (units::name(node.name.as_bytes()), &node.address);
    let (there, generation) = (units::name(other.name.as_bytes()), record.generation().short());
    if bundles.is_begun(&record) {
        let message = format!(
            "a restore of this history was begun already, on {there} (node {id}), as generation \
             {generation}, and has not ended, as far as is known here"
        );
        return Err(Report::new(codes::RESTORED_BEFORE, message)
            .help(format!("run it again on the machine of {there}    (goes on there)"))
            .help(format!("--while-serving    (if {there} is given up: never start it then)")));
    }
    let message = format!(
        "this history was restored already, on {there} (node {id}), and goes on there as \
         generation {generation}"
    );
    Err(Report::new(codes::RESTORED_BEFORE, message)
        .help(format!("raftctl member add {name}={address}    (when raftd runs there)"))
        .help("--while-serving    (begins another one all the same)"))
}

/// Opens the snapshot, which is read twice.
fn plain(file: &Path) -> Result<Input> {
    let input = Input::open(file)?;
    if input.is_plain() {
        return Ok(input);
    }
    let message = format!("{} can be read only once, and is needed twice", file.display());
    Err(Report::new(codes::USAGE, message).help("write it to a file and restore that"))
}

/// Reads the whole snapshot before anything is written.
fn verified(invocation: &Invocation, input: &mut Input) -> Result<SnapshotHeader> {
    let (name, size) = (input.name().to_owned(), input.size()?);
    let mut progress = Progress::of(&invocation.output, "verifying the snapshot", size);
    let reader = SnapshotReader::new(name, BufReader::new(input))?;
    let header = reader.header().clone();
    let verified = reader.verify(|read| progress.set(read, "bytes"));
    progress.finish();
    verified?;
    Ok(header)
}

fn bundles(invocation: &Invocation, args: &RestoreArgs) -> Result<Bundles> {
    let directory = match &args.dir {
        Some(directory) => directory.clone(),
        None => invocation.bundle_directory()?.ok_or_else(|| {
            let message = "the directory with the cluster's authority is not known";
            Report::new(codes::NO_CLUSTER, message)
                .help("--dir DIR    (the directory that `raftctl init` made)")
        })?,
    };
    Bundles::open(&directory)
}

fn is_ours(bundles: &Bundles, header: &SnapshotHeader, file: &Path) -> Result<()> {
    let theirs = ClusterId::from_bytes(header.cluster).to_string();
    if bundles.plan.cluster == theirs {
        return Ok(());
    }
    let (file, name, ours) = (file.display(), &bundles.plan.name, &bundles.plan.cluster);
    let message = format!("snapshot {file} is of cluster {theirs}, not of \"{name}\" ({ours})");
    Err(Report::new(codes::FOREIGN_FILE, message))
}

fn plan(
    args: &RestoreArgs,
    bundles: &Bundles,
    node: &PlannedNode,
    (header, lost): (&SnapshotHeader, Option<String>),
) -> View {
    let last = header.meta.last;
    let lines = [
        format!("would store a record that goes on from generation {}", header.generation.short()),
        format!("  in {}", bundles.directory().display()),
        format!("would fill {} with the state up to entry {}", args.data_dir.display(), last.index),
        format!(
            "would let {} (node {}) be the only voter: tolerates 0 failures",
            node.name, node.id
        ),
    ];
    View {
        kind: "RestorePlan",
        data: json!({ "steps": lines }),
        text: format!("{}\n", lines.join("\n")).into_bytes(),
        names: vec![node.name.clone()],
        warnings: lost.into_iter().collect(),
    }
}

fn done(
    (args, taken): (&RestoreArgs, &Taken),
    bundles: &Bundles,
    node: &PlannedNode,
    header: &SnapshotHeader,
    record: &BootstrapRecord,
) -> View {
    let (last, generation) = (header.meta.last, record.generation());
    let data_dir = args.data_dir.display();
    let text = format!(
        "  snapshot    entry {} of term {}, verified\n  \
         generation  {}, goes on from {}; the record is in {}\n  \
         filled      {data_dir}: {} (node {}) is the only voter\n  \
         owner       {}\n  \
         next        {}systemctl start raftd\n  \
         then        raftctl member add NAME=HOST:PORT    (each with an empty data directory)\n  \
         then        raftctl cert list --revoked    (revoke what was revoked or removed since)\n",
        units::count(last.index.get()),
        last.term,
        generation.short(),
        header.generation.short(),
        bundles.directory().display(),
        node.name,
        node.id,
        taken.owner,
        taken.first,
    );
    View {
        kind: "Restored",
        data: json!({
            "dataDir": args.data_dir.display().to_string(),
            "node": node.name,
            "nodeId": node.id.to_string(),
            "index": last.index.to_string(),
            "term": last.term.to_string(),
            "generation": generation.to_string(),
            "parentGeneration": header.generation.to_string(),
        }),
        text: text.into_bytes(),
        names: vec![generation.to_string()],
        warnings: Vec::new(),
    }
}

/// Reads the snapshot once more, so that reading it moves a bar.
fn counted<'a>(
    invocation: &Invocation,
    input: &'a mut Input,
) -> Result<SnapshotReader<Counted<'a>>> {
    input.rewind()?;
    let (name, size) = (input.name().to_owned(), input.size()?);
    let progress = Progress::of(&invocation.output, "filling the data directory", size);
    let source = Counted { source: BufReader::new(input), read: 0, progress };
    Ok(SnapshotReader::new(name, source)?)
}

struct Counted<'a> {
    source: BufReader<&'a mut Input>,
    read: u64,
    progress: Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read += read as u64;
        self.progress.set(self.read, "bytes");
        Ok(read)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.progress.finish();
    }
}
