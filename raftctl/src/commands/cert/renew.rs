//! `raftctl cert renew`: certificates get a longer time, in place, and everybody learns what to do.

use std::path::Path;

use certs::{Authority, DEFAULT_CA_VALIDITY};

use super::known::{Writing, open, pick};
use super::lifetime::DAY_S;
use super::wire::{Gift, Nodes};
use crate::bundle::holdings::{Holding, Prepared, Terms, Whose};
use crate::bundle::rotation::Rotation;
use crate::bundle::{Bundles, now_unix_s};
use crate::codes;
use crate::commands::cert::renew::told::{say_next, view};
use crate::commands::cert::renew::work::Work;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::output::units::printable;
use crate::report::{Report, Result, told};

pub(crate) use work::RenewArgs;

mod told;
mod work;

/// Runs the command: everything is signed before anything is written.
///
/// # Errors
/// If the authority is not here or has ended, or a certificate is not one of its own; exit 12 if a
/// node of a cluster that is founded has not got its new one.
pub(super) async fn run(invocation: &Invocation, args: &RenewArgs) -> Result<()> {
    let Some(every) = args.every else {
        return once(invocation, args).await;
    };
    loop {
        if let Err(report) = once(invocation, args).await {
            if report.code == Some(codes::USAGE) {
                return Err(report);
            }
            if !report.message.is_empty() {
                invocation.output.remark(&format!("warning: not renewed: {}", report.message));
            }
        }
        tokio::time::sleep(every).await;
    }
}

async fn once(invocation: &Invocation, args: &RenewArgs) -> Result<()> {
    if args.names.is_empty() && !args.all && !args.authority {
        return Err(Report::new(codes::USAGE, "nothing is named that is to be renewed")
            .help("raftctl cert renew --all    (the operator's certificate and the nodes')")
            .help("raftctl cert list    (all names)"));
    }
    let writing = if args.dry_run { Writing::Nothing } else { Writing::Certificates };
    let bundles = open(invocation, args.dir.as_deref(), writing).await?;
    let present = bundles.authority()?;
    if args.authority && bundles.rotation()? != Rotation::None {
        let message = "another authority is taking this one's place";
        return Err(Report::new(codes::USAGE, message)
            .help("raftctl cert rotate finish    (or abort; status shows how far it is)"));
    }
    let authority = match args.authority {
        true => bundles.renewed_authority(&present)?,
        false => bundles.authority()?,
    };
    let terms = Terms { validity: args.lifetime.duration(), new_key: args.new_key };
    let mut work = prepare(&bundles, &authority, args, terms)?;
    remark(&bundles, (&present, &authority), args, &mut work);
    if !args.dry_run {
        find_elsewhere(invocation, &bundles, &work).await?;
        let spread = write_first(&bundles, &authority, args, &work)?;
        let nodes = match args.offline {
            true => Ok(None),
            false => ask(invocation, &bundles, args, &mut work).await,
        };
        // Whom --all leaves out is not known then: nothing is made that would let them in.
        let nodes = match nodes {
            Err(report) if args.all => return Err(report),
            other => other,
        };
        write_nodes(&bundles, &authority, &spread, &mut work)?;
        if let Some(nodes) = nodes? {
            visit(nodes, &bundles, &authority, args, &mut work).await?;
        }
    }
    let answer = view(invocation, &bundles, args, &work);
    let answered = match args.every {
        Some(_) => invocation.output.answer_again(&answer),
        None => invocation.output.answer(&answer),
    };
    if !args.dry_run {
        say_next(invocation, &bundles, &work);
    }
    // Nobody reads notes where this runs by a timer.
    let whole = match bundles.record()?.is_some() && work.is_missed(&bundles) {
        true => Err(Report::quiet(Exit::Partial)),
        false => Ok(()),
    };
    told(answered, whole)
}

/// Notes what people should know of it.
fn remark(
    bundles: &Bundles,
    (present, authority): (&Authority, &Authority),
    args: &RenewArgs,
    work: &mut Work,
) {
    let terms = Terms { validity: args.lifetime.duration(), new_key: args.new_key };
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
    if work.renewed.iter().any(|prepared| prepared.is_cut(authority, terms)) {
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
    let early = |prepared: &&Prepared| {
        prepared.before.is_some_and(|before| now_unix_s() < before.not_before)
    };
    if let Some(prepared) = work.renewed.iter().find(early) {
        let before = prepared.before.map(|window| window.tense(now_unix_s())).unwrap_or_default();
        let (name, now) = (&prepared.holding.name, certs::utc(now_unix_s()));
        work.notes.push(format!(
            "the certificate of {name} that was there {before}: is this machine's clock right? It \
             says {now}"
        ));
    }
}

/// Refuses names that no member has either, before anything is written; where nobody answers, that
/// is found out afterwards.
async fn find_elsewhere(invocation: &Invocation, bundles: &Bundles, work: &Work) -> Result<()> {
    if work.elsewhere.is_empty() {
        return Ok(());
    }
    let nodes = Nodes::ask(invocation, bundles).await?;
    let stranger = work.elsewhere.iter().find(|name| nodes.are_without(name));
    let refused = stranger.map(|name| bundles.holdings().map(|known| unknown(&known, name)));
    nodes.close().await;
    refused.map_or(Ok(()), |report| Err(report?))
}

/// Asks the nodes, if there is something for them, and leaves out who is to get nothing.
async fn ask(
    invocation: &Invocation,
    bundles: &Bundles,
    args: &RenewArgs,
    work: &mut Work,
) -> Result<Option<Nodes>> {
    if named(work).is_empty() && !args.all && (!args.authority || !args.names.is_empty()) {
        return Ok(None);
    }
    let mut nodes = Nodes::ask(invocation, bundles).await?;
    work.part_with(&bundles.removed()?);
    if args.all {
        let revoked = nodes.revoked().await?;
        work.leave_out(&revoked);
        nodes.leave_out(&revoked);
    }
    Ok(Some(nodes))
}

/// Returns the nodes that are renewed, by their ids, and who was named and has no bundle here.
fn named(work: &Work) -> Vec<String> {
    let id = |prepared: &Prepared| match &prepared.holding.whose {
        Whose::Node(node) => Some(node.id.to_string()),
        Whose::Authority | Whose::Operator | Whose::File => None,
    };
    work.renewed.iter().filter_map(id).chain(work.elsewhere.iter().cloned()).collect()
}

/// Lets the nodes that answer have their certificates over the wire. Those that do not get what was
/// written here.
async fn visit(
    nodes: Nodes,
    bundles: &Bundles,
    authority: &Authority,
    args: &RenewArgs,
    work: &mut Work,
) -> Result<()> {
    let names = named(work);
    let validity = args.lifetime.duration();
    let trusted = authority.trust_pem();
    let authorities = args.authority.then_some(trusted.as_str());
    if args.all || !names.is_empty() {
        let wanted = (!args.all).then_some(names.as_slice());
        work.visits = nodes.renew(Gift { authority, validity, authorities }, wanted).await;
    } else if let Some(authorities) = authorities {
        work.visits = nodes.trust(authorities).await;
    }
    nodes.close().await;
    for name in &work.elsewhere {
        if !work.visits.iter().any(|visit| visit.name == *name || visit.id.to_string() == *name) {
            return Err(unknown(&bundles.holdings()?, name));
        }
    }
    for visit in &work.visits {
        if let Err(why) = &visit.result {
            work.notes.push(format!("{}: not renewed over the wire: {why}", visit.name));
        }
    }
    Ok(())
}

/// Signs everything that is asked for.
fn prepare(
    bundles: &Bundles,
    authority: &Authority,
    args: &RenewArgs,
    terms: Terms,
) -> Result<Work> {
    let mut work = Work::default();
    let wanted = wanted(bundles, args, &mut work)?;
    let mut failed = None;
    for holding in wanted {
        match bundles.prepare_renewal(authority, &holding, terms) {
            Ok(prepared) => work.renewed.push(prepared),
            // The others are not to end because of one that cannot be used, round after round.
            Err(report) if args.every.is_some() => {
                work.notes.push(format!("{} is not renewed: {}", holding.name, report.message));
                failed = Some(report);
            }
            Err(report) => return Err(report),
        }
    }
    if let Some(report) = failed.filter(|_| work.renewed.is_empty()) {
        return Err(report);
    }
    let asked_for_operator = args.all || args.names.iter().any(|name| name == "operator");
    for copy in if asked_for_operator { bundles.copies()? } else { Vec::new() } {
        match bundles.prepare_renewal(authority, &copy, Terms { new_key: false, ..terms }) {
            Ok(prepared) => work.renewed.push(prepared),
            Err(report) => work.notes.push(format!("not renewed: {}", report.message)),
        }
    }
    Ok(work)
}

/// Finds the certificates that are asked for and are here; notes those that are elsewhere.
fn wanted(bundles: &Bundles, args: &RenewArgs, work: &mut Work) -> Result<Vec<Holding>> {
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
            // Perhaps it is a member that has no bundle here.
            None if !args.offline && !args.dry_run => {
                work.elsewhere.push(name.clone());
                continue;
            }
            None => return Err(unknown(&known, name)),
        };
        if !wanted.contains(&holding) {
            wanted.push(holding);
        }
    }
    if args.all {
        for holding in bundles.holdings()?.into_iter().filter(|it| it.whose != Whose::Authority) {
            // Its machine may have it, its host may be about to enrol, or it is gone for good:
            // nobody is to be made up.
            let gone = matches!(&holding.whose, Whose::Node(node) if !bundles.has_bundle(node));
            match gone {
                true => work.notes.push(format!(
                    "{}: has no bundle here; name it to have one made anew",
                    holding.name
                )),
                false => wanted.push(holding),
            }
        }
    }
    Ok(wanted)
}

fn unknown(known: &[Holding], name: &str) -> Report {
    let names: Vec<&str> = known.iter().map(|held| held.name.as_str()).collect();
    let shown = printable(name.as_bytes());
    let message =
        format!("\"{shown}\" is no file, and there are certificates of {}", { names.join(" ") });
    Report::new(codes::NO_FILE, message).help("raftctl cert list")
}

/// Writes the authority's certificate first: with the new one everything from before is valid. Then
/// what is nobody's who is asked. Returns whose copy of the authority's changed.
fn write_first(
    bundles: &Bundles,
    authority: &Authority,
    args: &RenewArgs,
    work: &Work,
) -> Result<Vec<String>> {
    let spread = match args.authority {
        true => bundles.spread(authority)?,
        false => Vec::new(),
    };
    for prepared in &work.renewed {
        if !matches!(prepared.holding.whose, Whose::Node(_)) {
            bundles.write_renewal(authority, prepared)?;
        }
    }
    Ok(spread)
}

/// Writes what is the nodes', but for those that turned out to get nothing.
fn write_nodes(
    bundles: &Bundles,
    authority: &Authority,
    spread: &[String],
    work: &mut Work,
) -> Result<()> {
    for prepared in &work.renewed {
        if matches!(prepared.holding.whose, Whose::Node(_)) {
            bundles.write_renewal(authority, prepared)?;
        }
    }
    for holding in bundles.holdings()? {
        let is_renewed = work.renewed.iter().any(|done| done.holding.name == holding.name);
        if let Whose::Node(node) = holding.whose
            && spread.contains(&node.name)
            && !is_renewed
        {
            work.copies.push(node);
        }
    }
    Ok(())
}
