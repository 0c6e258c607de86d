//! `raftctl log`: what was agreed on, in order. Values are shown only when asked for.

use bytes::Bytes;
use clap::{Args, Subcommand};
use client::{Client, LogDetail, LogEntry, LogPage};
use protocol::limits::LOG_PAGE_ENTRIES_MAX;
use protocol::{EntryKind, decode_configuration};
use serde_json::{Map, Value, json};
use state_machine::{Envelope, EnvelopeKind, SystemCommand};

use crate::codes;
use crate::commands::snapshot::members;
use crate::look::look;
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::{Session, Target};

mod offline;
mod tail;

const ENTRIES: Kind = Kind {
    kind: "LogEntryList",
    field: "entries",
    items: "entries",
    header: &["INDEX", "TERM", "KIND", "SIZE", "STATE", "COMMAND"],
};

/// The replicated log.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
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
pub struct ListArgs {
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
pub struct ShowArgs {
    /// The index
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    index: u64,
    /// How entries are read
    #[command(flatten)]
    how: How,
}

/// How entries are read.
#[derive(Clone, Debug, Args)]
struct How {
    /// Whose log, by name, id or address [default: the first node that answers]
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Shows the values too
    #[arg(long)]
    show_values: bool,
}

impl How {
    fn detail(&self) -> LogDetail {
        if self.show_values { LogDetail::Values } else { LogDetail::Commands }
    }
}

/// Runs the command.
///
/// # Errors
/// If no node answers, or there is no such entry.
pub async fn run(session: &Session, command: LogCommand) -> Result<()> {
    let how = match &command {
        LogCommand::List(args) => args.how.clone(),
        LogCommand::Show(args) => args.how.clone(),
        LogCommand::Tail(args) => args.how.clone(),
        LogCommand::Dump(args) => return offline::dump(session, args),
        LogCommand::Verify(args) => return offline::verify(session, args),
    };
    let (target, client) = session.client()?;
    let endpoint = match &how.node {
        Some(node) => Some(address_of(&target, &client, node).await?),
        None => None,
    };
    let done = live(session, &client, endpoint.as_deref(), &command).await;
    client.close().await;
    done
}

/// Asks a node that runs.
async fn live(
    session: &Session,
    client: &Client,
    endpoint: Option<&str>,
    command: &LogCommand,
) -> Result<()> {
    match command {
        LogCommand::List(args) => {
            let mut stream = Stream::new(&session.output, ENTRIES);
            let known = list(session, client, endpoint, args, &mut stream).await;
            let rest = bounds(&known.map_err(|why| stream.cut_off(why))?);
            stream.end(rest, &[]).await
        }
        LogCommand::Show(ShowArgs { index, how }) => {
            let page = client.read_log(endpoint, *index, 1, how.detail()).await?;
            session.output.answer(&show(&page, *index, how.show_values)?)
        }
        LogCommand::Tail(args) => tail::run(session, client, endpoint, args).await,
        LogCommand::Dump(_) | LogCommand::Verify(_) => unreachable!("they ask no node"),
    }
}

/// Finds a node's address by its name, its id or the address itself.
async fn address_of(target: &Target, client: &Client, wanted: &str) -> Result<String> {
    let named = |name: &Option<String>| name.as_deref() == Some(wanted);
    if let Some(node) = target.nodes.iter().find(|n| named(&n.name) || n.address == wanted) {
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
    session: &Session,
    client: &Client,
    endpoint: Option<&str>,
    args: &ListArgs,
    stream: &mut Stream,
) -> Result<LogPage> {
    let mut next = match args.from {
        Some(from) => from,
        None => {
            let known = client.read_log(endpoint, u64::MAX >> 1, 1, LogDetail::Sizes).await?;
            (known.last + 1).saturating_sub(args.limit).max(known.first).max(1)
        }
    };
    loop {
        let missing = args.limit - stream.written();
        let most = u32::try_from(missing).unwrap_or(u32::MAX).min(LOG_PAGE_ENTRIES_MAX);
        let page = client.read_log(endpoint, next, most, args.how.detail()).await?;
        if page.first > next {
            tail::warn_of_gap(session, next, page.first);
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

const fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Noop => "noop",
        EntryKind::Command => "command",
        EntryKind::Configuration => "configuration",
    }
}

fn state(page: &LogPage, entry: &LogEntry) -> &'static str {
    if entry.index <= page.commit { "committed" } else { "uncommitted" }
}

fn item(page: &LogPage, entry: &LogEntry, values: bool) -> Value {
    json!({
        "index": entry.index.to_string(),
        "term": entry.term.to_string(),
        "kind": kind(entry.kind),
        "sizeBytes": entry.payload_bytes,
        "committed": entry.index <= page.commit,
        "stampNs": entry.stamp_ns.to_string(),
        "command": Content::of(entry).line(values),
    })
}

/// What an entry says, as far as it can be read.
enum Content {
    Nothing,
    /// The node does not show payloads to this certificate.
    Hidden,
    /// The machine's, in its words if it has any.
    Machine(Option<String>, Bytes),
    System(SystemCommand),
    /// Fit to be shown.
    Members(String),
    /// The sentence says why it is not understood.
    Foreign(String),
}

impl Content {
    fn of(entry: &LogEntry) -> Self {
        match (entry.kind, &entry.payload) {
            (EntryKind::Noop, _) => Self::Nothing,
            (EntryKind::Command | EntryKind::Configuration, None) => Self::Hidden,
            (EntryKind::Command, Some(payload)) => {
                let decoded = Envelope::decode(payload).and_then(|envelope| match envelope.kind {
                    EnvelopeKind::Machine => Ok(Self::Machine(entry.text.clone(), envelope.body)),
                    EnvelopeKind::System => SystemCommand::decode(&envelope.body).map(Self::System),
                });
                decoded.unwrap_or_else(|error| Self::Foreign(error.to_string()))
            }
            (EntryKind::Configuration, Some(payload)) => match decode_configuration(payload) {
                Ok(configuration) => Self::Members(members(&configuration)),
                Err(error) => Self::Foreign(error.to_string()),
            },
        }
    }

    /// Writes it on a line; values only if they are wanted.
    fn line(&self, values: bool) -> String {
        match self {
            Self::Nothing => "-".to_owned(),
            Self::Hidden => "(not shown to this certificate)".to_owned(),
            Self::Members(text) => text.clone(),
            Self::Foreign(why) => format!("(not understood: {why})"),
            Self::Machine(Some(text), _) => units::printable(text.as_bytes()),
            Self::Machine(None, command) if values => units::name(command),
            Self::Machine(None, command) => format!("({} bytes)", command.len()),
            Self::System(SystemCommand::RegisterSession { nonce: _, name }) => {
                format!("register session {}", units::name(name.as_bytes()))
            }
            Self::System(SystemCommand::CloseSession { session }) => {
                format!("close session {session}")
            }
            Self::System(SystemCommand::ReserveId { name }) => {
                format!("reserve id for {}", units::name(name.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: Bytes, text: Option<&str>) -> LogEntry {
        LogEntry {
            index: 7,
            term: 2,
            stamp_ns: 0,
            kind: EntryKind::Command,
            payload_bytes: u32::try_from(payload.len()).expect("it is small"),
            payload: Some(payload),
            text: text.map(str::to_owned),
        }
    }

    #[test]
    fn a_command_is_told_in_the_words_of_its_machine_and_else_by_its_size() {
        let payload = Envelope::sessionless(Bytes::from_static(b"take the key")).encode();
        let said = Content::of(&entry(payload.clone(), Some("takes \x1b[2J")));
        assert_eq!(said.line(false), "takes \\x1b[2J", "nothing a terminal obeys");
        let silent = Content::of(&entry(payload, None));
        assert_eq!(silent.line(false), "(12 bytes)");
        assert_eq!(silent.line(true), "take the key");
    }

    #[test]
    fn what_the_system_is_told_is_said_in_words() {
        let payload = |command: &SystemCommand| {
            Content::of(&entry(Envelope::system(command).encode(), None)).line(false)
        };
        let register = SystemCommand::RegisterSession { nonce: [0; 16], name: "web".into() };
        assert_eq!(payload(&register), "register session web");
        assert_eq!(payload(&SystemCommand::CloseSession { session: 7 }), "close session 7");
        assert_eq!(payload(&SystemCommand::ReserveId { name: "n4".into() }), "reserve id for n4");
    }

    #[test]
    fn what_is_hidden_or_not_understood_is_said() {
        let mut hidden = entry(Bytes::new(), None);
        hidden.payload = None;
        assert_eq!(Content::of(&hidden).line(true), "(not shown to this certificate)");
        hidden.payload = Some(Bytes::from_static(b"\xff\xff"));
        assert!(Content::of(&hidden).line(true).starts_with("(not understood: "));
    }
}
