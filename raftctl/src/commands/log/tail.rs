//! `raftctl log tail`: the last entries, and with -f what is committed from now on.

use std::time::Duration;

use clap::Args;
use client::{LogDetail, LogEntry, LogPage};
use protocol::limits::LOG_PAGE_ENTRIES_MAX;
use tokio::time::sleep;

use super::entries::{Content, How, item, kind};
use super::reader::Reader;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::output::form::Form;
use crate::output::{View, units, write_stdout};
use crate::report::Result;

/// How often a node is asked for more.
const POLL: Duration = Duration::from_millis(200);

/// How soon nodes are asked again of which none has answered.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What `tail` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct TailArgs {
    /// Begins with so many of the last committed entries
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=100_000))]
    lines: u64,
    /// Goes on with each entry that is committed, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How entries are read
    #[command(flatten)]
    pub(super) how: How,
}

/// Shows the last committed entries, each once: what is committed never changes.
pub(super) async fn run(
    invocation: &Invocation,
    reader: &mut Reader<'_>,
    args: &TailArgs,
) -> Result<()> {
    let values = args.how.show_values;
    let known = reader.read(u64::MAX >> 1, 1, LogDetail::Sizes).await?;
    let mut next = (known.commit + 1).saturating_sub(args.lines).max(known.first).max(1);
    if invocation.output.headers && invocation.output.for_people() {
        write_stdout(
            format!("{}\n", row(["INDEX", "TERM", "KIND", "SIZE", "COMMAND"])).as_bytes(),
        )?;
    }
    let mut is_cut_off = false;
    loop {
        let page = match reader.read(next, LOG_PAGE_ENTRIES_MAX, args.how.detail()).await {
            Ok(page) => page,
            // Whoever waits for entries waits for nodes as well.
            Err(report)
                if args.follow && [Exit::NoLeader, Exit::Unknown].contains(&report.exit) =>
            {
                if !is_cut_off {
                    let why = format!("warning: {}; asked again and again", report.message);
                    invocation.output.remark(&why);
                }
                is_cut_off = true;
                reader.leave();
                sleep(RETRY_AFTER).await;
                continue;
            }
            Err(report) => return Err(report),
        };
        is_cut_off = false;
        if page.first > next {
            warn_of_gap(invocation, next, page.first);
            next = page.first;
            continue;
        }
        let mut seen = false;
        for entry in page.entries.iter().filter(|entry| entry.index <= page.commit) {
            tell(invocation, &page, entry, values)?;
            next = entry.index + 1;
            seen = true;
        }
        match (seen, args.follow) {
            (true, _) => {}
            (false, true) => sleep(POLL).await,
            (false, false) => return Ok(()),
        }
    }
}

/// Says which entries cannot be shown any more.
pub(super) fn warn_of_gap(invocation: &Invocation, wanted: u64, first: u64) {
    let gap = format!("entries {wanted} to {} were compacted away", first - 1);
    invocation.output.remark(&format!("warning: {gap}"));
}

/// Writes a line: for programs an envelope each.
fn tell(invocation: &Invocation, page: &LogPage, entry: &LogEntry, values: bool) -> Result<()> {
    let view = View { kind: "LogEntry", data: item(page, entry, values), ..View::default() };
    let line = match invocation.output.form {
        Form::Table | Form::Wide => line(entry, values),
        Form::Json => view.json_line(),
        Form::Yaml => format!("---\n{}", view.yaml()?),
        Form::Name => entry.index.to_string(),
    };
    write_stdout(format!("{}\n", line.trim_end()).as_bytes())
}

/// Writes an entry for people, in columns that need not know what follows.
pub(super) fn line(entry: &LogEntry, values: bool) -> String {
    let (index, term) = (entry.index.to_string(), entry.term.to_string());
    let size = units::size(entry.payload_bytes.into());
    row([&index, &term, kind(entry.kind), &size, &Content::of(entry).line(values)])
}

/// Writes columns of fixed width.
pub(super) fn row([index, term, kind, size, command]: [&str; 5]) -> String {
    format!("{index:<12}  {term:<6}  {kind:<13}  {size:<6}  {command}")
}
