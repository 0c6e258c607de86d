//! `raftctl log`: what was agreed on, in order. Values are shown only when asked for.

use clap::{Args, Subcommand};
use client::{Client, LogDetail, LogEntry, LogPage};
use protocol::limits::LOG_PAGE_ENTRIES_MAX;
use serde_json::{Map, Value};

use crate::codes;
use crate::commands::log::entries::{Content, How, item, kind};
use crate::commands::log::reader::Reader;
use crate::invocation::Invocation;
use crate::look::look;
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::Target;

mod entries;
mod offline;
mod reader;
mod tail;

const ENTRIES: Kind = Kind {
    kind: "LogEntryList",
    field: "entries",
    items: "entries",
    header: &["INDEX", "TERM", "KIND", "SIZE", "STATE", "COMMAND"],
};

/// The replicated log.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Lists entries, the last ones unless told otherwise
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Shows an entry
    Show(ShowArgs),
    /// Shows the last committed entries, and with -f those to come
    Tail(tail::TailArgs),
    /// Writes the entries of a stopped node, each checked
    Dump(offline::DumpArgs),
    /// Reads all that a stopped node has and checks every byte: log, state, snapshots
    Verify(offline::VerifyArgs),
}

/// What `list` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// The first index
    #[arg(long, value_name = "INDEX", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// At most so many entries
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
    /// How entries are read
    #[command(flatten)]
    how: How,
}

/// What `show` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// The index
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    index: u64,
    /// How entries are read
    #[command(flatten)]
    how: How,
}

/// Runs the command.
///
/// # Errors
/// If no node answers, or there is no such entry.
pub(crate) async fn run(invocation: &Invocation, command: LogCommand) -> Result<()> {
    let how = match &command {
        LogCommand::List(args) => args.how.clone(),
        LogCommand::Show(args) => args.how.clone(),
        LogCommand::Tail(args) => args.how.clone(),
        LogCommand::Dump(args) => return offline::dump(invocation, args),
        LogCommand::Verify(args) => return offline::verify(invocation, args),
    };
    let (target, client) = invocation.client()?;
    let endpoint = match &how.node {
        Some(node) => Some(address_of(&target, &client, node).await?),
        None => None,
    };
    let done = live(invocation, &mut Reader::new(&client, endpoint), &command).await;
    client.close().await;
    done
}

/// Asks a node that runs.
async fn live(
    invocation: &Invocation,
    reader: &mut Reader<'_>,
    command: &LogCommand,
) -> Result<()> {
    match command {
        LogCommand::List(args) => {
            let mut stream = Stream::new(&invocation.output, ENTRIES);
            let known = list(invocation, reader, args, &mut stream).await;
            let rest = bounds(&known.map_err(|why| stream.cut_off(why))?);
            stream.end(rest, &[]).await
        }
        LogCommand::Show(ShowArgs { index, how }) => {
            let page = reader.read(*index, 1, how.detail()).await?;
            invocation.output.answer(&show(&page, *index, how.show_values)?)
        }
        LogCommand::Tail(args) => tail::run(invocation, reader, args).await,
        LogCommand::Dump(_) | LogCommand::Verify(_) => unreachable!("they ask no node"),
    }
}

/// Finds a node's address by its name, its id or the address itself.
async fn address_of(target: &Target, client: &Client, wanted: &str) -> Result<String> {
    let named = |name: &Option<String>| name.as_deref() == Some(wanted);
    if let Some(node) = target.nodes.iter().find(|n| named(&n.name) || n.address == wanted) {
        // A name may lead to another machine than it is to.
        let status = client.status_of(&node.address).await.map_err(Report::from_client)?;
        let other = status.configuration.member(status.node).map(|member| &member.name);
        if let (Some(name), Some(other)) = (&node.name, other.filter(|other| *other != wanted))
            && name == wanted
        {
            let address = &node.address;
            let message =
                format!("{name} was not asked: {other} answers at its address, {address}");
            return Err(Report::new(codes::UNREACHABLE, message).help("raftctl status"));
        }
        return Ok(node.address.clone());
    }
    let survey = look(client, &target.nodes).await;
    let matches = |row: &&crate::cluster::Row| {
        row.name == wanted || row.id.is_some_and(|id| id.to_string() == wanted)
    };
    survey.rows.iter().find(matches).map(|row| row.address.clone()).ok_or_else(|| {
        Report::new(codes::NO_NODE, format!("no member is named \"{wanted}\""))
            .help("raftctl member list")
    })
}

/// An entry as it is listed.
struct Item<'a> {
    page: &'a LogPage,
    entry: &'a LogEntry,
    values: bool,
}

impl Listed for Item<'_> {
    fn name(&self) -> String {
        self.entry.index.to_string()
    }

    fn row(&self) -> Vec<String> {
        let Self { page, entry, values } = self;
        vec![
            entry.index.to_string(),
            entry.term.to_string(),
            kind(entry.kind).to_owned(),
            units::size(entry.payload_bytes.into()),
            state(page, entry).to_owned(),
            Content::of(entry).line(*values),
        ]
    }

    fn data(&self) -> Value {
        item(self.page, self.entry, self.values)
    }
}

/// Writes entries page by page, the last ones if no index is named. The end of the log is where it
/// is when the list gets there. Returns the last page, whose bounds are the newest.
async fn list(
    invocation: &Invocation,
    reader: &mut Reader<'_>,
    args: &ListArgs,
    stream: &mut Stream,
) -> Result<LogPage> {
    let mut next = match args.from {
        Some(from) => from,
        None => {
            let known = reader.read(u64::MAX >> 1, 1, LogDetail::Sizes).await?;
            (known.last + 1).saturating_sub(args.limit).max(known.first).max(1)
        }
    };
    loop {
        let missing = args.limit - stream.written();
        let most = u32::try_from(missing).unwrap_or(u32::MAX).min(LOG_PAGE_ENTRIES_MAX);
        let page = reader.read(next, most, args.how.detail()).await?;
        if page.first > next {
            tail::warn_of_gap(invocation, next, page.first);
            next = page.first;
            continue;
        }
        let Some(last) = page.entries.last().map(|entry| entry.index) else {
            return Ok(page);
        };
        // A node that begins anew would be asked for ever.
        if last < next || page.entries.len() as u64 > missing {
            let message = "the node lists entries again that it has listed before";
            return Err(Report::new(codes::UNEXPECTED, message));
        }
        let item = |entry| Item { page: &page, entry, values: args.how.show_values };
        stream.page(&page.entries.iter().map(item).collect::<Vec<_>>()).await?;
        next = last + 1;
        if stream.written() >= args.limit {
            return Ok(page);
        }
    }
}

/// Says where the log begins and ends, and how far it is committed.
fn bounds(page: &LogPage) -> Map<String, Value> {
    let bounds = [("first", page.first), ("last", page.last), ("commit", page.commit)];
    bounds.map(|(name, index)| (name.to_owned(), index.to_string().into())).into_iter().collect()
}

fn show(page: &LogPage, index: u64, values: bool) -> Result<View> {
    let Some(entry) = page.entries.first().filter(|entry| entry.index == index) else {
        let (first, last) = (page.first, page.last);
        let message = format!("no entry at index {index}; the log has {first} to {last}");
        return Err(Report::new(codes::NO_INDEX, message));
    };
    let text = format!(
        "index    {index}\nterm     {}\nkind     {}\nsize     {} bytes\nstate    {}\n\
         stamp    {}.{:09} s of cluster time\ncommand  {}\n",
        entry.term,
        kind(entry.kind),
        entry.payload_bytes,
        state(page, entry),
        entry.stamp_ns / 1_000_000_000,
        entry.stamp_ns % 1_000_000_000,
        Content::of(entry).line(values),
    );
    Ok(View {
        kind: "LogEntry",
        data: item(page, entry, values),
        text: text.into_bytes(),
        names: vec![index.to_string()],
        warnings: Vec::new(),
    })
}

fn state(page: &LogPage, entry: &LogEntry) -> &'static str {
    if entry.index <= page.commit { "committed" } else { "uncommitted" }
}
