//! What people and programs are told of a renewal, and the exact next commands.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::work::{RenewArgs, Work};
use crate::bundle::holdings::{AUTHORITY, Prepared, Whose};
use crate::bundle::{Bundles, PlannedNode, now_unix_s};
use crate::commands::cert::wire::Visit;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;

/// Makes the answer.
pub(super) fn view(
    invocation: &Invocation,
    bundles: &Bundles,
    args: &RenewArgs,
    work: &Work,
) -> View {
    let nothing = work.renewed.is_empty() && work.authority.is_none() && work.visits.is_empty();
    let text = match nothing {
        true => String::new(),
        false => rows(bundles, args, work).render(invocation.output.headers),
    };
    View {
        kind: "CertificateRenewal",
        data: data(bundles, args, work),
        text: text.into_bytes(),
        names: work.renewed.iter().map(|prepared| prepared.holding.name.clone()).collect(),
        warnings: work.notes.clone(),
    }
}

fn rows(bundles: &Bundles, args: &RenewArgs, work: &Work) -> Rows {
    let mut rows = Rows::new(&["NAME", "ROLE", "WAS", "VALID UNTIL", "KEY", "FILE"]);
    let now = now_unix_s();
    if let Some((before, after)) = work.authority {
        rows.push(vec![
            AUTHORITY.to_owned(),
            AUTHORITY.to_owned(),
            before.tense(now),
            certs::utc(after.not_after),
            "kept".to_owned(),
            bundles.directory().join("ca/ca.crt").display().to_string(),
        ]);
    }
    for prepared in &work.renewed {
        rows.push(vec![
            prepared.holding.name.clone(),
            prepared.role.clone(),
            prepared.before.map_or_else(|| "missing".to_owned(), |window| window.tense(now)),
            certs::utc(prepared.after.not_after),
            if prepared.has_new_key() { "new" } else { "kept" }.to_owned(),
            prepared.holding.certificate.display().to_string(),
        ]);
    }
    for visit in &work.visits {
        let Ok(window) = &visit.result else { continue };
        let is_new = args.all || !args.names.is_empty();
        rows.push(vec![
            visit.name.clone(),
            format!("node {}", visit.id),
            "over the wire".to_owned(),
            certs::utc(window.not_after),
            if is_new { "new" } else { "kept" }.to_owned(),
            format!("(on the node, at {})", visit.address),
        ]);
    }
    rows
}

fn data(bundles: &Bundles, args: &RenewArgs, work: &Work) -> Value {
    let visited = |visit: &Visit| {
        let window = visit.result.as_ref().ok();
        json!({
            "name": visit.name,
            "id": visit.id.to_string(),
            "address": visit.address,
            "error": visit.result.as_ref().err(),
            "notAfter": window.map(|window| certs::utc(window.not_after)),
            "notAfterUnixS": window.map(|window| window.not_after),
        })
    };
    let item = |prepared: &Prepared| {
        json!({
            "name": prepared.holding.name,
            "role": prepared.role,
            "file": prepared.holding.certificate,
            "notAfterBefore": prepared.before.map(|window| certs::utc(window.not_after)),
            "notAfter": certs::utc(prepared.after.not_after),
            "notAfterUnixS": prepared.after.not_after,
            "newKey": prepared.has_new_key(),
        })
    };
    let authority = work.authority.map(|(before, after)| {
        json!({
            "notAfterBefore": certs::utc(before.not_after),
            "notAfter": certs::utc(after.not_after),
        })
    });
    let copies: Vec<Value> = carried(bundles, work)
        .map(|(node, files)| json!({ "node": node.name, "host": host(node), "files": files }))
        .collect();
    json!({
        "dryRun": args.dry_run,
        "directory": bundles.directory(),
        "authority": authority,
        "renewed": work.renewed.iter().map(item).collect::<Vec<_>>(),
        "overTheWire": work.visits.iter().map(visited).collect::<Vec<_>>(),
        "carry": copies,
    })
}

/// Says which files have to be brought to which node's machine.
fn carried<'a>(
    bundles: &'a Bundles,
    work: &'a Work,
) -> impl Iterator<Item = (&'a PlannedNode, Vec<PathBuf>)> {
    let renewed = work.renewed.iter().filter_map(move |prepared| {
        let Whose::Node(node) = &prepared.holding.whose else { return None };
        if work.has_it(node) {
            return None;
        }
        let directory = bundles.node_directory(node);
        // Nobody here knows which authority's certificate lies there.
        let mut files = vec![directory.join("ca.crt"), directory.join("node.crt")];
        if prepared.has_new_key() {
            files.push(directory.join("node.key"));
        }
        Some((node, files))
    });
    let copies = work
        .copies
        .iter()
        .filter(|node| !work.has_it(node))
        .map(move |node| (node, vec![bundles.node_directory(node).join("ca.crt")]));
    renewed.chain(copies)
}

/// What is said of nodes that are to read their files.
const RELOADED: [&str; 2] = [
    "a node that runs goes on with it, one that has stopped is started;",
    "one that reads the files where they are takes them by itself",
];

/// The same where the authority was rotated: a reload would be refused.
const RESTARTED: [&str; 2] = [
    "one after the other: a node that runs may trust the former authority alone, and it",
    "learns of another one by a restart only",
];

/// Tells the exact next commands.
pub(super) fn say_next(invocation: &Invocation, bundles: &Bundles, work: &Work) {
    let say = |line: &str| invocation.output.remark(line);
    let local = |node: &PlannedNode| bundles.local_settings(node).data_dir.is_some();
    // A reload takes nothing that is of an authority which the node does not trust.
    let restarts = bundles.may_be_untrusted();
    let taken = if restarts { "restart" } else { "reload-or-restart" };
    let mut any = false;
    for (node, files) in carried(bundles, work) {
        if local(node) {
            continue;
        }
        if !any {
            say("  next        bring the files to their machines, and let raftd read them there:");
            any = true;
        }
        let host = host(node);
        let login = host.trim_start_matches('[').trim_end_matches(']');
        let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
        say(&format!(
            "  {:<10}  scp {} {host}:/etc/raftd/ && ssh {login} systemctl {taken} raftd",
            node.name,
            files.join(" "),
        ));
    }
    let nodes = carried(bundles, work).count();
    if any {
        for line in if restarts { RESTARTED } else { RELOADED } {
            say(&format!("              {line}"));
        }
        say("  then        raftctl status    (CERT: how long the certificate in use counts)");
    } else if nodes > 0 {
        say("  next        nothing: nodes that run here take the files by themselves");
    }
}

/// The machine of a node, as it is reached.
fn host(node: &PlannedNode) -> &str {
    node.address.rsplit_once(':').map_or(node.address.as_str(), |(host, _)| host)
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let shown = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match shown.chars().all(plain) {
        true => shown,
        false => format!("'{}'", shown.replace('\'', r"'\''")),
    }
}
