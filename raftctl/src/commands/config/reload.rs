//! `raftctl config reload`: nodes read their configuration and their certificates again.

use clap::Args;
use protocol::{
    CertificatesRead, ConfigurationAnswer, ConfigurationRequest, Reloaded, SettingChange,
};
use serde_json::{Value, json};

use super::{Asked, ask, ended, value};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::report::{Report, Result, told};

/// What `reload` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReloadArgs {
    /// The nodes, by name or id
    #[arg(value_name = "NODE", required_unless_present = "all", conflicts_with = "all")]
    nodes: Vec<String>,
    /// All nodes
    #[arg(long)]
    all: bool,
    /// Lets the nodes look at their files and say what a reload would change; they take nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// If a node refuses its files, or does not answer; what the others did is shown all the same.
pub(super) async fn run(invocation: &Invocation, args: &ReloadArgs) -> Result<()> {
    let request = match args.dry_run {
        true => ConfigurationRequest::Check,
        false => ConfigurationRequest::Reload,
    };
    let asked = ask(invocation, &args.nodes, request).await?;
    let results = asked.iter().map(result).collect::<Result<Vec<_>>>()?;
    let headers = invocation.output.headers;
    let answered = invocation.output.answer(&view(&asked, &results, args.dry_run, headers));
    let waits = results.iter().flatten().any(|reloaded| !reloaded.waiting.is_empty());
    if waits && invocation.output.for_people() {
        let line = "hint: what needs a restart is taken by `systemctl restart raftd`, one node \
                    after another";
        invocation.output.remark(line);
    }
    told(answered, judge(&asked, &results))
}

/// Says how the command ends.
fn judge(asked: &[Asked], results: &[Option<&Reloaded>]) -> Result<()> {
    let is_bad = |reloaded: &Reloaded| {
        let certificates = matches!(reloaded.certificates, CertificatesRead::Refused(_));
        !reloaded.refused.is_empty() || certificates
    };
    let bad: Vec<(&Asked, &Reloaded)> = asked
        .iter()
        .zip(results)
        .filter_map(|(asked, result)| Some((asked, (*result)?)))
        .filter(|(_, reloaded)| is_bad(reloaded))
        .collect();
    let Some((first, reloaded)) = bad.first() else {
        return ended(asked);
    };
    let why = match &reloaded.certificates {
        _ if !reloaded.refused.is_empty() => &reloaded.refused,
        CertificatesRead::Refused(why) => why,
        CertificatesRead::Unread
        | CertificatesRead::Unchanged(_)
        | CertificatesRead::Replaced(_) => &reloaded.refused,
    };
    let names: Vec<String> = bad.iter().map(|(asked, _)| asked.name()).collect();
    let message = match names.as_slice() {
        [name] => format!("{name} refuses it: {why}"),
        names => format!("{} refuse it; {}: {why}", names.join(" "), first.name()),
    };
    let mut report = Report::new(codes::CONFIG_REFUSED, message);
    if bad.len() < asked.len() {
        report.exit = codes::page(codes::CONFIG_PARTIAL).exit;
    }
    Err(report.help("mend the file, then: raftctl config reload --all    (--dry-run: looks only)"))
}

fn result(asked: &Asked) -> Result<Option<&Reloaded>> {
    match &asked.answer {
        Ok(ConfigurationAnswer::Reloaded(reloaded)) => Ok(Some(reloaded)),
        Ok(ConfigurationAnswer::Shown { .. }) => {
            let message = format!("{} answered something else than was asked", asked.name());
            Err(Report::new(codes::UNEXPECTED, message))
        }
        Err(_) => Ok(None),
    }
}

fn view(asked: &[Asked], results: &[Option<&Reloaded>], is_dry: bool, headers: bool) -> View {
    let mut rows = Rows::new(&["NODE", "RESULT", "KEY", "BEFORE", "AFTER"]);
    let mut nodes = Vec::new();
    for (one, result) in asked.iter().zip(results) {
        let name = one.name();
        match (result, &one.answer) {
            (Some(reloaded), _) => {
                push(&mut rows, &name, reloaded);
                nodes.push(data(one, &name, reloaded));
            }
            (None, Err(report)) => {
                rows.push_spilling(vec![name.clone(), "silent".into()], report.message.clone());
                nodes.push(json!({ "name": name, "error": report.to_json() }));
            }
            (None, Ok(_)) => {}
        }
    }
    View {
        kind: if is_dry { "ConfigurationReloadPlan" } else { "ConfigurationReload" },
        data: json!({ "nodes": nodes }),
        text: rows.render(headers).into_bytes(),
        names: asked.iter().map(Asked::name).collect(),
        warnings: Vec::new(),
    }
}

/// Adds a row for each change; one for a node where nothing has changed.
fn push(rows: &mut Rows, name: &str, reloaded: &Reloaded) {
    let mut is_quiet = true;
    let mut spill = |result: &str, why: &str| {
        // The parser draws the line; its first words and its last ones say it all.
        let mut lines = why.lines();
        let ends = [lines.next(), lines.next_back()].into_iter().flatten();
        let why = printable(ends.collect::<Vec<_>>().join(": ").as_bytes());
        rows.push_spilling(vec![name.to_owned(), result.to_owned()], why);
    };
    if !reloaded.refused.is_empty() {
        is_quiet = false;
        spill("refused", &reloaded.refused);
    }
    match &reloaded.certificates {
        CertificatesRead::Unread | CertificatesRead::Unchanged(_) => {}
        CertificatesRead::Replaced(until_s) => {
            is_quiet = false;
            let until = certs::utc(u64::try_from(*until_s).unwrap_or(0));
            spill("changed", &format!("certificates, valid until {until}"));
        }
        CertificatesRead::Refused(why) => {
            is_quiet = false;
            spill("refused", &format!("certificates: {why}"));
        }
    }
    for (result, changes) in [("changed", &reloaded.changed), ("restart", &reloaded.waiting)] {
        for SettingChange { name: key, before, after } in changes {
            is_quiet = false;
            let shown = |value: &String| if value.is_empty() { "-" } else { value }.to_owned();
            let of = [name.to_owned(), result.to_owned(), key.clone(), shown(before), shown(after)];
            rows.push(of.into());
        }
    }
    if is_quiet {
        rows.push([name, "unchanged", "-", "-", "-"].map(str::to_owned).into());
    }
}

fn data(asked: &Asked, name: &str, reloaded: &Reloaded) -> Value {
    let change = |change: &SettingChange| {
        let side = |text: &String| (!text.is_empty()).then(|| value(text));
        json!({ "key": change.name, "before": side(&change.before), "after": side(&change.after) })
    };
    let list = |changes: &[SettingChange]| changes.iter().map(change).collect::<Vec<Value>>();
    let (result, until_s, refused) = match &reloaded.certificates {
        CertificatesRead::Unread => ("unread", None, None),
        CertificatesRead::Unchanged(until_s) => ("unchanged", Some(until_s), None),
        CertificatesRead::Replaced(until_s) => ("replaced", Some(until_s), None),
        CertificatesRead::Refused(why) => ("refused", None, Some(why)),
    };
    json!({
        "name": name,
        "id": asked.row.id.map(|id| id.to_string()),
        "file": reloaded.file,
        "refused": Some(&reloaded.refused).filter(|why| !why.is_empty()),
        "changed": list(&reloaded.changed),
        "needsRestart": list(&reloaded.waiting),
        "certificates": { "result": result, "notAfterUnixS": until_s, "refused": refused },
    })
}
