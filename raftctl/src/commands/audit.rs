//! `raftctl audit`: who did which administrative act, when, from where, and how it ended.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use client::{Client, Consistency};
use serde_json::{Map, Value, json};
use state_machine::{Act, AuditTotals, AuditedAct, Outcome, SystemAnswer, SystemQuery};
use tokio::time::sleep;

use crate::codes;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::newest::{Lister, Newest};
use crate::output::form::Form;
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::{View, units, write_stdout};
use crate::report::{Report, Result};

const HEADER: &[&str] = &["INDEX", "TIME", "WHO", "ACT", "OUTCOME", "FROM"];

const ACTS: Kind = Kind { kind: "AuditList", field: "acts", items: "acts", header: HEADER };

/// Acts that are asked for at a time.
const PAGE: u32 = 200;

/// How often it is asked for more.
const POLL: Duration = Duration::from_millis(500);

/// An act that goes on is shown after so long all the same.
const UNENDED: Duration = Duration::from_secs(5);

/// The audit.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists administrative acts, the oldest first; `raftctl audit` alone does the same
    #[command(visible_alias = "ls")]
    List(AuditArgs),
}

/// What `audit` is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AuditArgs {
    /// Shows so many of the last acts only
    #[arg(short = 'n', long, value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    lines: Option<u64>,
    /// Goes on with each act when it has ended, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Takes what any node has applied, however old; works without a leader
    #[arg(long)]
    stale: bool,
}

/// Runs the command.
///
/// # Errors
/// If the cluster does not answer, or this is no operator's certificate.
pub(crate) async fn run(invocation: &Invocation, args: AuditArgs) -> Result<()> {
    let (target, client) = invocation.client()?;
    let Newest { how, mut warnings } = Newest::of(&client, &target.nodes, args.stale).await?;
    if args.follow {
        warnings.iter().for_each(|warning| {
            invocation.output.remark(&format!("warning: {warning}"));
        });
        return follow(invocation, &client, how, args.lines.unwrap_or(10)).await;
    }
    let (acts, totals) = all(&client, how).await?;
    client.close().await;
    if totals.dropped > 0 {
        let (dropped, kept) = (units::count(totals.dropped), units::count(totals.acts));
        warnings.push(format!(
            "{dropped} acts were dropped, the oldest of whoever did most; {kept} are kept"
        ));
    }
    let lines = args.lines.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(usize::MAX);
    let from = acts.len().saturating_sub(lines);
    let mut stream = Stream::new(&invocation.output, ACTS);
    stream.page(&acts[from..]).await?;
    let mut rest = Map::new();
    rest.insert("dropped".to_owned(), json!(totals.dropped.to_string()));
    rest.insert("keptBytes".to_owned(), json!(totals.bytes));
    stream.end(rest, &warnings).await
}

/// Asks for all acts that are remembered.
///
/// # Errors
/// If the cluster does not answer, or this is no operator's certificate.
pub(crate) async fn all(
    client: &Client,
    how: Consistency,
) -> Result<(Vec<AuditedAct>, AuditTotals)> {
    let mut acts: Vec<AuditedAct> = Vec::new();
    let mut lister = Lister::new(client, how);
    loop {
        let after = acts.last().map_or(0, |act| act.index.get());
        let (items, more, totals) = page(&mut lister, after).await?;
        acts.extend(items);
        if !more {
            return Ok((acts, totals));
        }
    }
}

async fn page(lister: &mut Lister<'_>, after: u64) -> Result<(Vec<AuditedAct>, bool, AuditTotals)> {
    let query = SystemQuery::Audit { after, limit: PAGE };
    let SystemAnswer::Audit { items, more, totals, time: _ } = lister.ask(&query).await? else {
        return Err(Report::new(codes::UNEXPECTED, "a node answered something else than acts"));
    };
    Ok((items, more, totals))
}

/// Shows acts as they end. One that does not end is shown as it is, after some time.
async fn follow(
    invocation: &Invocation,
    client: &Client,
    how: Consistency,
    lines: u64,
) -> Result<()> {
    let (acts, _) = all(client, how).await?;
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let shown = &acts[acts.len().saturating_sub(lines)..];
    if invocation.output.headers && invocation.output.for_people() {
        let header: Vec<String> = HEADER.iter().map(|title| (*title).to_owned()).collect();
        write_stdout(format!("{}\n", columns(&header)).as_bytes())?;
    }
    for act in shown {
        tell(invocation, act)?;
    }
    let mut after = acts.last().map_or(0, |act| act.index.get());
    let mut since: Option<Instant> = None;
    let mut is_cut_off = false;
    loop {
        let items = match page(&mut Lister::new(client, how), after).await {
            Ok((items, _, _)) => items,
            // Whoever waits for acts waits for nodes as well.
            Err(report) if [Exit::NoLeader, Exit::Unknown].contains(&report.exit) => {
                if !std::mem::replace(&mut is_cut_off, true) {
                    let why = format!("warning: {}; asked again and again", report.message);
                    invocation.output.remark(&why);
                }
                sleep(POLL).await;
                continue;
            }
            Err(report) => return Err(report),
        };
        is_cut_off = false;
        let seen = !items.is_empty();
        for act in items {
            // The next ones wait for it, so that all are shown in their order.
            let began = *since.get_or_insert_with(Instant::now);
            if act.act.outcome == Outcome::Asked && began.elapsed() < UNENDED {
                break;
            }
            tell(invocation, &act)?;
            (after, since) = (act.index.get(), None);
        }
        if !seen || since.is_some() {
            sleep(POLL).await;
        }
    }
}

/// Writes a line: for programs an envelope each.
fn tell(invocation: &Invocation, act: &AuditedAct) -> Result<()> {
    let view = View { kind: "AuditedAct", data: act.data(), ..View::default() };
    let line = match invocation.output.form {
        Form::Table | Form::Wide => columns(&act.row()),
        Form::Json => view.json_line(),
        Form::Yaml => format!("---\n{}", view.yaml()?),
        Form::Name => act.name(),
    };
    write_stdout(format!("{}\n", line.trim_end()).as_bytes())
}

/// Writes columns that need not know what follows.
fn columns(row: &[String]) -> String {
    const WIDTHS: [usize; 6] = [8, 20, 16, 40, 10, 0];
    let cells = row.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ")
}

/// Says in a few words how an act ended.
pub(crate) fn outcome(act: &Act) -> String {
    match &act.outcome {
        Outcome::Asked => "asked for".to_owned(),
        Outcome::Done => "done".to_owned(),
        Outcome::Refused { reason } => format!("refused: {}", units::printable(reason.as_bytes())),
    }
}

impl Listed for AuditedAct {
    fn name(&self) -> String {
        self.index.to_string()
    }

    fn row(&self) -> Vec<String> {
        let Act { who, from, what, clock_s, .. } = &self.act;
        let text = |text: &str| units::printable(text.as_bytes());
        vec![
            self.index.to_string(),
            certs::utc(*clock_s),
            text(who),
            text(what),
            outcome(&self.act),
            text(from),
        ]
    }

    fn data(&self) -> Value {
        let Act { id: _, who, from, node, clock_s, what, outcome } = &self.act;
        let (ended, reason) = match outcome {
            Outcome::Asked => ("asked", None),
            Outcome::Done => ("done", None),
            Outcome::Refused { reason } => ("refused", Some(reason)),
        };
        json!({
            "index": self.index.to_string(),
            "clusterTimeNs": self.time.get().to_string(),
            "time": certs::utc(*clock_s),
            "who": who,
            "act": what,
            "outcome": ended,
            "reason": reason,
            "from": from,
            "node": node.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{ClusterTime, LogIndex};

    #[test]
    fn an_act_is_shown_with_who_what_when_and_from_where() {
        let refused = Outcome::Refused { reason: "no\u{1b}".into() };
        let act = Act {
            id: [1; 16],
            who: "operator alice".into(),
            from: "192.0.2.7:4242".into(),
            node: 2,
            clock_s: 1_795_873_600,
            what: "leader transfer n\u{1b}3".into(),
            outcome: refused,
        };
        let act = AuditedAct { index: LogIndex::new(9), time: ClusterTime::new(5), act };
        let time = "2026-11-28T13:46:40Z";
        let what = "leader transfer n\\x1b3";
        let row = ["9", time, "operator alice", what, "refused: no\\x1b", "192.0.2.7:4242"];
        assert_eq!(act.row(), row);
        let data = act.data();
        assert_eq!((&data["outcome"], &data["node"]), (&json!("refused"), &json!("2")));
        assert_eq!(data["clusterTimeNs"], "5");
    }
}
