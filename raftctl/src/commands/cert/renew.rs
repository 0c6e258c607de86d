//! `raftctl cert renew`: certificates get a longer time, in place, and everybody learns what to do.

use std::path::{Path, PathBuf};

use certs::{Authority, DEFAULT_CA_VALIDITY};
use clap::Args;
use serde_json::{Value, json};

use super::known::{Writing, open, pick};
use super::lifetime::{DAY_S, Lifetime};
use crate::bundle::holdings::{AUTHORITY, Holding, Prepared, Terms, Whose};
use crate::bundle::{Bundles, PlannedNode, now_unix_s};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::report::{Report, Result};

/// What `cert renew` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RenewArgs {
    /// Names or ids of nodes, `operator`, or files with certificates of this authority
    #[arg(value_name = "NAME|FILE")]
    pub(crate) names: Vec<String>,

    /// The operator's certificate and those of all nodes that have a bundle here
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// First the authority's own certificate, for ten years, with the key and name that it has: all
    /// that it has signed stays valid
    #[arg(long)]
    pub(crate) authority: bool,

    #[command(flatten)]
    lifetime: Lifetime,

    /// Makes new private keys, too; without it keys stay, and only certificates have to be carried
    /// to the machines
    #[arg(long)]
    pub(crate) new_key: bool,

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Says what would be renewed, and writes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Runs the command: everything is signed before anything is written.
///
/// # Errors
/// If the authority is not here or has ended, or a certificate is not one of its own.
pub(super) async fn run(invocation: &Invocation, args: &RenewArgs) -> Result<()> {
    if args.names.is_empty() && !args.all && !args.authority {
        return Err(Report::new(codes::USAGE, "nothing is named that is to be renewed")
            .help("raftctl cert renew --all    (the operator's certificate and the nodes')")
            .help("raftctl cert list    (all names)"));
    }
    let writing = if args.dry_run { Writing::No } else { Writing::Yes };
    let bundles = open(invocation, args.dir.as_deref(), writing)?;
    let present = bundles.authority()?;
    let authority = match args.authority {
        true => bundles.renewed_authority(&present)?,
        false => bundles.authority()?,
    };
    let terms = Terms { validity: args.lifetime.duration(), new_key: args.new_key };
    let mut work = prepare(&bundles, &authority, args, terms)?;
    if args.authority {
        let was = present.validity().not_after;
        let by = match was > now_unix_s() {
            true => format!("before {}", certs::utc(was)),
            false => "now".to_owned(),
        };
        let file = bundles.directory().join("ca/ca.crt");
        work.notes.push(format!(
            "programs that hold a copy of ca.crt need the new one {by}: {}",
            file.display()
        ));
        work.authority = Some((present.validity(), authority.validity()));
    }
    if work.renewed.iter().any(|(prepared, _)| prepared.is_cut(&authority, terms)) {
        let end = authority.validity().not_after;
        let mut note = format!(
            "the certificates end with the authority's, at {}, before {} are over",
            certs::utc(end),
            certs::span(args.lifetime.duration().as_secs())
        );
        if end + DAY_S < now_unix_s() + DEFAULT_CA_VALIDITY.as_secs() {
            let command = bundles.renew_command("--authority --all");
            note.push_str(&format!("; later with: {command}"));
        }
        work.notes.push(note);
    }
    let early = |(prepared, _): &&(Prepared, bool)| {
        prepared.before.is_some_and(|before| now_unix_s() < before.not_before)
    };
    if let Some((prepared, _)) = work.renewed.iter().find(early) {
        let before = prepared.before.map(|window| window.tense(now_unix_s())).unwrap_or_default();
        let (name, now) = (&prepared.holding.name, certs::utc(now_unix_s()));
        work.notes.push(format!(
            "the certificate of {name} that was there {before}: is this machine's clock right? It \
             says {now}"
        ));
    }
    if !args.dry_run {
        write(&bundles, &authority, args, &mut work)?;
    }
    invocation.output.answer(&view(invocation, &bundles, args, &work))?;
    if !args.dry_run {
        say_next(invocation, &bundles, &work);
    }
    Ok(())
}

/// What is renewed, and what should be known of it.
#[derive(Default)]
struct Work {
    /// Each with whether the copy of the authority's certificate beside it changes.
    renewed: Vec<(Prepared, bool)>,
    /// Nodes that get nothing but a copy of the authority's certificate.
    copies: Vec<PlannedNode>,
    authority: Option<(certs::Validity, certs::Validity)>,
    notes: Vec<String>,
}

/// Signs everything that is asked for.
fn prepare(
    bundles: &Bundles,
    authority: &Authority,
    args: &RenewArgs,
    terms: Terms,
) -> Result<Work> {
    let mut work = Work::default();
    let mut known = bundles.holdings()?;
    known.extend(bundles.issued()?);
    let mut wanted: Vec<Holding> = Vec::new();
    for name in &args.names {
        let holding = match pick(&known, name) {
            Some(held) if held.whose == Whose::Authority => {
                return Err(Report::new(
                    codes::USAGE,
                    "the authority's own certificate is asked \
                    for by a flag, since every node needs the new one",
                )
                .help(bundles.renew_command("--authority --all")));
            }
            Some(held) => held.clone(),
            None if Path::new(name).is_file() => Holding::of_file(Path::new(name)),
            None if Path::new(name).exists() => {
                let shown = printable(name.as_bytes());
                let message = format!("{shown}: is no file that could be replaced");
                return Err(Report::new(codes::USAGE, message));
            }
            None => return Err(unknown(&known, name)),
        };
        if !wanted.contains(&holding) {
            wanted.push(holding);
        }
    }
    if args.all {
        for holding in bundles.holdings()?.into_iter().filter(|it| it.whose != Whose::Authority) {
            // Its machine may have it, or it is gone for good: nobody is to be made up.
            let gone = matches!(&holding.whose, Whose::Node(node)
                if !bundles.node_directory(node).exists());
            match gone {
                true => work.notes.push(format!(
                    "{}: has no bundle here; name it to have one made anew",
                    holding.name
                )),
                false => wanted.push(holding),
            }
        }
    }
    for holding in wanted {
        work.renewed.push((bundles.prepare_renewal(authority, &holding, terms)?, false));
    }
    let asked_for_operator = args.all || args.names.iter().any(|name| name == "operator");
    for copy in if asked_for_operator { bundles.copies()? } else { Vec::new() } {
        match bundles.prepare_renewal(authority, &copy, Terms { new_key: false, ..terms }) {
            Ok(prepared) => work.renewed.push((prepared, false)),
            Err(report) => work.notes.push(format!("not renewed: {}", report.message)),
        }
    }
    Ok(work)
}

fn unknown(known: &[Holding], name: &str) -> Report {
    let names: Vec<&str> = known.iter().map(|held| held.name.as_str()).collect();
    let shown = printable(name.as_bytes());
    let message =
        format!("\"{shown}\" is no file, and there are certificates of {}", { names.join(" ") });
    Report::new(codes::NO_FILE, message).help("raftctl cert list")
}

/// Writes the authority's certificate first: with the new one everything from before is valid.
fn write(
    bundles: &Bundles,
    authority: &Authority,
    args: &RenewArgs,
    work: &mut Work,
) -> Result<()> {
    let spread = match args.authority {
        true => bundles.spread(authority)?,
        false => Vec::new(),
    };
    for (prepared, ca_changed) in &mut work.renewed {
        let changed = bundles.write_renewal(authority, prepared)?;
        *ca_changed = changed || spread.contains(&prepared.holding.name);
    }
    for holding in bundles.holdings()? {
        let is_renewed = work.renewed.iter().any(|(done, _)| done.holding.name == holding.name);
        if let Whose::Node(node) = holding.whose
            && spread.contains(&node.name)
            && !is_renewed
        {
            work.copies.push(node);
        }
    }
    Ok(())
}

fn view(invocation: &Invocation, bundles: &Bundles, args: &RenewArgs, work: &Work) -> View {
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
    for (prepared, _) in &work.renewed {
        rows.push(vec![
            prepared.holding.name.clone(),
            prepared.role.clone(),
            prepared.before.map_or_else(|| "missing".to_owned(), |window| window.tense(now)),
            certs::utc(prepared.after.not_after),
            if prepared.has_new_key() { "new" } else { "kept" }.to_owned(),
            prepared.holding.certificate.display().to_string(),
        ]);
    }
    let item = |(prepared, ca): &(Prepared, bool)| {
        json!({
            "name": prepared.holding.name,
            "role": prepared.role,
            "file": prepared.holding.certificate,
            "notAfterBefore": prepared.before.map(|window| certs::utc(window.not_after)),
            "notAfter": certs::utc(prepared.after.not_after),
            "notAfterUnixS": prepared.after.not_after,
            "newKey": prepared.has_new_key(),
            "newAuthorityCertificate": ca,
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
    let text = match work.renewed.is_empty() && work.authority.is_none() {
        true => String::new(),
        false => rows.render(invocation.output.headers),
    };
    View {
        kind: "CertificateRenewal",
        data: json!({
            "dryRun": args.dry_run,
            "directory": bundles.directory(),
            "authority": authority,
            "renewed": work.renewed.iter().map(item).collect::<Vec<_>>(),
            "carry": copies,
        }),
        text: text.into_bytes(),
        names: work.renewed.iter().map(|(prepared, _)| prepared.holding.name.clone()).collect(),
        warnings: work.notes.clone(),
    }
}

/// Says which files have to be brought to which node's machine.
fn carried<'a>(
    bundles: &'a Bundles,
    work: &'a Work,
) -> impl Iterator<Item = (&'a PlannedNode, Vec<PathBuf>)> {
    let renewed = work.renewed.iter().filter_map(move |(prepared, ca_changed)| {
        let Whose::Node(node) = &prepared.holding.whose else { return None };
        let directory = bundles.node_directory(node);
        let mut files = Vec::new();
        if *ca_changed || work.authority.is_some() {
            files.push(directory.join("ca.crt"));
        }
        files.push(directory.join("node.crt"));
        if prepared.has_new_key() {
            files.push(directory.join("node.key"));
        }
        Some((node, files))
    });
    let copies = work
        .copies
        .iter()
        .map(move |node| (node, vec![bundles.node_directory(node).join("ca.crt")]));
    renewed.chain(copies)
}

/// Tells the exact next commands.
fn say_next(invocation: &Invocation, bundles: &Bundles, work: &Work) {
    let say = |line: &str| invocation.output.remark(line);
    let local = |node: &PlannedNode| bundles.local_settings(node).data_dir.is_some();
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
            "  {:<10}  scp {} {host}:/etc/raftd/ && ssh {login} systemctl reload-or-restart raftd",
            node.name,
            files.join(" "),
        ));
    }
    let nodes = carried(bundles, work).count();
    if any {
        say("              a node that runs goes on with it, one that has stopped is started;");
        say("              one that reads the files where they are takes them by itself");
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
