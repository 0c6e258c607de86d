//! `raftctl cert rotate`: another authority, without downtime: everybody trusts both, then
//! everybody gets certificates of the new one, then nobody trusts the old one any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{Authority, describe, read_certificate};
use clap::{Args, Subcommand};
use serde_json::json;

use super::known::{Writing, open};
use super::lifetime::Lifetime;
use super::wire::{Gift, Nodes, Used, Visit};
use crate::bundle::Bundles;
use crate::bundle::holdings::{Holding, Terms, Whose};
use crate::bundle::rotation::Rotation;
use crate::codes;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::report::{Report, Result, told};

/// Rotation of the authority.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// Makes a new authority, and lets every node and the operator trust it beside the old one;
    /// when all do, it signs. Run again, it goes on
    Begin(StepArgs),
    /// Shows whose certificate is of which authority, and whom they trust
    Status(RotateArgs),
    /// Renews the nodes' and the operator's certificates with the new authority, and lets nobody
    /// trust the old one any more
    Finish(FinishArgs),
    /// Goes back to the old authority, and forgets the new one
    Abort(StepArgs),
}

/// What all of them are told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RotateArgs {
    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What each step is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct StepArgs {
    #[command(flatten)]
    common: RotateArgs,

    /// Shows what would be done, and which nodes are not there for it
    #[arg(long)]
    dry_run: bool,
}

/// What `finish` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct FinishArgs {
    #[command(flatten)]
    lifetime: Lifetime,

    /// Also if certificates that were issued here are still of the old authority: they count no
    /// more
    #[arg(long)]
    drop_issued: bool,

    #[command(flatten)]
    step: StepArgs,
}

/// Runs the command.
///
/// # Errors
/// If nodes do not answer or refuse; whatever was done stays, and the same command goes on.
pub(super) async fn run(invocation: &Invocation, command: &RotateCommand) -> Result<()> {
    let (dir, plans) = match command {
        RotateCommand::Status(args) => (&args.dir, true),
        RotateCommand::Begin(step)
        | RotateCommand::Abort(step)
        | RotateCommand::Finish(FinishArgs { step, .. }) => (&step.common.dir, step.dry_run),
    };
    let writing = if plans { Writing::Nothing } else { Writing::Authority };
    let bundles = open(invocation, dir.as_deref(), writing).await?;
    match command {
        RotateCommand::Begin(args) => begin(invocation, &bundles, args.dry_run).await,
        RotateCommand::Status(_) => status(invocation, &bundles).await,
        RotateCommand::Finish(args) => finish(invocation, &bundles, args).await,
        RotateCommand::Abort(args) => abort(invocation, &bundles, args.dry_run).await,
    }
}

async fn begin(invocation: &Invocation, bundles: &Bundles, dry_run: bool) -> Result<()> {
    let again = "raftctl cert rotate begin";
    if dry_run {
        let old = bundles.alone(false)?;
        let text = format!(
            "would make a new authority, let every node and the operator trust it beside the old \
             one ({}), and let it sign then\n",
            old.fingerprint()
        );
        return plan(invocation, bundles, ("begin", again, BACK), false, text).await;
    }
    bundles.make_successor()?;
    // Who asks trusts both first: from here on it does not matter who has answered with what.
    let authority = bundles.signing_authority()?;
    bundles.spread(&authority)?;
    let nodes = Nodes::ask(invocation, bundles).await?;
    let visits = nodes.trust(&authority.trust_pem()).await;
    nodes.close().await;
    all_of(&visits, again, BACK)?;
    bundles.let_successor_sign()?;
    let new = bundles.alone(true)?;
    let mut text = format!(
        "every node trusts the new authority ({}) beside the old one; it signs from now on\n",
        new.fingerprint()
    );
    text.push_str("programs that hold a copy of ca.crt need the new one, which has both: ");
    text.push_str(&bundles.operator().ca.display().to_string());
    text.push_str("\nnext: raftctl cert renew ROLE/NAME for what was issued here, then ");
    text.push_str("raftctl cert rotate finish\n");
    tell(invocation, "begin", text, &visits)
}

async fn status(invocation: &Invocation, bundles: &Bundles) -> Result<()> {
    let authorities = Authorities::of(bundles)?;
    let nodes = Nodes::ask(invocation, bundles).await?;
    let found = nodes.look().await;
    nodes.close().await;
    let mut rows = Rows::new(&["NAME", "CERTIFICATE OF", "TRUSTS"]);
    let (mut items, mut is_whole) = (Vec::new(), true);
    for (name, used) in found {
        match used {
            Ok(Used { issuer, authorities: trusted, .. }) => {
                let (of, trusts) = (authorities.name(&issuer), authorities.trusts(&trusted));
                items.push(json!({ "name": name, "certificateOf": of, "trusts": trusts }));
                rows.push(vec![name, of.to_owned(), trusts]);
            }
            Err(why) => {
                is_whole = false;
                items.push(json!({ "name": name, "error": why }));
                rows.push_spilling(vec![name], format!("({why})"));
            }
        }
    }
    for held in held(bundles)? {
        let of = authorities.of_file(&held.certificate);
        let trusts = held.ca.as_deref().and_then(|ca| std::fs::read_to_string(ca).ok());
        let trusts = trusts.map_or_else(|| "-".to_owned(), |text| authorities.trusts(&text));
        items.push(json!({ "name": held.name, "certificateOf": of, "trusts": trusts }));
        rows.push(vec![held.name, of.to_owned(), trusts]);
    }
    let (phase, next) = match bundles.rotation()? {
        Rotation::None => ("none", "nothing: no rotation is under way"),
        Rotation::Spreading => ("begun", "raftctl cert rotate begin    (not all nodes trust both)"),
        Rotation::Reissuing => ("trusted", "raftctl cert rotate finish"),
    };
    let text = format!("{}next: {next}\n", rows.render(invocation.output.headers));
    let answered = invocation.output.answer(&View {
        kind: "AuthorityRotation",
        data: json!({ "phase": phase, "holders": items }),
        text: text.into_bytes(),
        names: vec![phase.to_owned()],
        warnings: Vec::new(),
    });
    told(answered, if is_whole { Ok(()) } else { Err(Report::quiet(Exit::Partial)) })
}

async fn finish(invocation: &Invocation, bundles: &Bundles, args: &FinishArgs) -> Result<()> {
    let phase = bundles.rotation()?;
    if phase == Rotation::None && bundles.has_rotated() {
        let fingerprint = bundles.alone(false)?.fingerprint().to_owned();
        let text =
            format!("nothing to do: the authority is {fingerprint}, as all that use it know\n");
        return tell(invocation, "finish", text, &[]);
    }
    if phase != Rotation::Reissuing {
        let message = "there is no new authority that everybody trusts";
        return Err(Report::new(codes::NO_ROTATION, message).help("raftctl cert rotate begin"));
    }
    let old = names_of(&issued_by(bundles, OLD)?);
    if !old.is_empty() && !args.drop_issued {
        let message = format!("of the old authority still: {old}");
        return Err(Report::new(codes::OLD_CERTIFICATES, message)
            .help(format!("raftctl cert renew {old}    (and bring them there)"))
            .help("raftctl cert rotate finish --drop-issued    (they count no more)"));
    }
    let again = "raftctl cert rotate finish";
    if args.step.dry_run {
        let text = format!(
            "would renew the certificates of every node and the operator with the new authority \
             ({}), and let nobody trust the old one any more\n",
            bundles.alone(true)?.fingerprint()
        );
        return plan(invocation, bundles, ("finish", again, BACK), true, text).await;
    }
    let authority = bundles.signing_authority()?;
    let validity = args.lifetime.duration();
    let nodes = trust_both(invocation, bundles, &authority, (again, BACK)).await?;
    // Who is done already, from an attempt before, takes another certificate without harm.
    let trusted = authority.trust_pem();
    let gift = Gift { authority: &authority, validity, authorities: Some(&trusted) };
    all_of(&nodes.renew(gift, None).await, again, BACK)?;
    renew_files(bundles, &authority, validity)?;
    let alone = bundles.alone(true)?;
    // The operator connects with what is new, before the old one is dropped anywhere.
    nodes.close().await;
    let nodes = Nodes::ask(invocation, bundles).await?;
    let visits = nodes.trust(&alone.trust_pem()).await;
    nodes.close().await;
    all_of(&visits, again, BACK)?;
    bundles.spread(&alone)?;
    bundles.install_successor()?;
    let text =
        format!("the authority is {} now, and nobody trusts the former one\n", alone.fingerprint());
    tell(invocation, "finish", text, &visits)
}

async fn abort(invocation: &Invocation, bundles: &Bundles, dry_run: bool) -> Result<()> {
    let phase = bundles.rotation()?;
    if phase == Rotation::None {
        let message = "no rotation is under way";
        return Err(Report::new(codes::NO_ROTATION, message).help("raftctl cert rotate status"));
    }
    let again = "raftctl cert rotate abort";
    let instead = match phase {
        Rotation::Reissuing => "raftctl cert rotate finish    (goes on with the new one)",
        Rotation::Spreading | Rotation::None => ANEW,
    };
    let new = issued_by(bundles, NEW)?;
    if dry_run {
        let mut text = format!(
            "would go back to the old authority ({}), and forget the new one\n",
            bundles.alone(false)?.fingerprint()
        );
        if !new.is_empty() {
            let names = names_of(&new);
            text.push_str(&format!("would first sign anew, to be brought there: {names}\n"));
        }
        let signs = phase == Rotation::Reissuing;
        return plan(invocation, bundles, ("abort", again, instead), signs, text).await;
    }
    let authority = bundles.present_authority()?;
    let validity = certs::DEFAULT_LEAF_VALIDITY;
    if phase == Rotation::Reissuing {
        trust_both(invocation, bundles, &authority, (again, instead)).await?.close().await;
    }
    if !new.is_empty() {
        // Both are trusted until they are where they are used.
        renew_all(bundles, &authority, validity, new.clone())?;
        let names = names_of(&new);
        let message =
            format!("of the new authority were, and are signed by the old one now: {names}");
        return Err(Report::new(codes::OLD_CERTIFICATES, message)
            .help("bring the certificates to where they are used    (raftctl cert list has FILE)")
            .help(format!("{again}    (afterwards: it goes on)")));
    }
    let trusted = authority.trust_pem();
    if phase == Rotation::Reissuing {
        let nodes = Nodes::ask(invocation, bundles).await?;
        let gift = Gift { authority: &authority, validity, authorities: Some(&trusted) };
        let visits = nodes.renew(gift, None).await;
        nodes.close().await;
        all_of(&visits, again, instead)?;
        renew_files(bundles, &authority, validity)?;
        // What the new one signed from here on would be refused by those that the old one alone is
        // trusted by: the operator's certificate among it.
        bundles.let_present_sign()?;
    }
    let alone = bundles.alone(false)?;
    let nodes = Nodes::ask(invocation, bundles).await?;
    let visits = nodes.trust(&alone.trust_pem()).await;
    nodes.close().await;
    all_of(&visits, again, ANEW)?;
    bundles.spread(&alone)?;
    bundles.drop_successor()?;
    let text = format!("the authority is {} as before\n", alone.fingerprint());
    tell(invocation, "abort", text, &visits)
}

/// Renews the operator's certificates and the nodes' files here, for the keys that they have.
fn renew_files(bundles: &Bundles, authority: &Authority, validity: Duration) -> Result<()> {
    let mut all = bundles.holdings()?;
    all.extend(bundles.copies()?);
    renew_all(bundles, authority, validity, all)
}

fn renew_all(
    bundles: &Bundles,
    authority: &Authority,
    validity: Duration,
    all: Vec<Holding>,
) -> Result<()> {
    let terms = Terms { validity, new_key: false };
    for holding in all {
        let gone = !holding.certificate.exists();
        if holding.whose == Whose::Authority || gone {
            continue;
        }
        let prepared = bundles.prepare_renewal(authority, &holding, terms)?;
        bundles.write_renewal(authority, &prepared)?;
    }
    Ok(())
}

/// Returns what was issued here to programs and persons, by one of the two authorities.
fn issued_by(bundles: &Bundles, which: &str) -> Result<Vec<Holding>> {
    let authorities = Authorities::of(bundles)?;
    let mut issued = bundles.issued()?;
    issued.retain(|held| authorities.of_file(&held.certificate) == which);
    Ok(issued)
}

fn names_of(all: &[Holding]) -> String {
    all.iter().map(|held| held.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Returns the operator's certificates and those that were issued here.
fn held(bundles: &Bundles) -> Result<Vec<Holding>> {
    let mut all: Vec<Holding> = bundles.holdings()?;
    all.retain(|held| held.whose == Whose::Operator);
    all.extend(bundles.copies()?);
    all.extend(bundles.issued()?);
    Ok(all)
}

const OLD: &str = "old";
const NEW: &str = "new";

/// Both authorities, by their fingerprints.
struct Authorities {
    old: String,
    new: Option<String>,
}

impl Authorities {
    fn of(bundles: &Bundles) -> Result<Self> {
        let old = bundles.alone(false)?.fingerprint().to_owned();
        let new = match bundles.rotation()? {
            Rotation::None => None,
            Rotation::Spreading | Rotation::Reissuing => {
                Some(bundles.alone(true)?.fingerprint().to_owned())
            }
        };
        Ok(Self { old, new })
    }

    fn name(&self, fingerprint: &str) -> &'static str {
        match (fingerprint == self.old, self.new.as_deref() == Some(fingerprint)) {
            (true, _) if self.new.is_none() => "the authority",
            (true, _) => OLD,
            (false, true) => NEW,
            (false, false) => "another",
        }
    }

    fn of_file(&self, file: &Path) -> &'static str {
        let described = read_certificate(file).and_then(|certificate| describe(&certificate));
        described.map_or("-", |found| self.name(&found.issuer))
    }

    /// Says which authorities a text of certificates names.
    fn trusts(&self, pem: &str) -> String {
        let found = certs::fingerprints(pem);
        let names: Vec<&str> = found.iter().map(|one| self.name(one)).collect();
        match names.as_slice() {
            [] => "-".to_owned(),
            [_, _, ..] if names.contains(&OLD) && names.contains(&NEW) => "both".to_owned(),
            names => names.join(" and "),
        }
    }
}

/// Lets everybody trust both authorities, which they do unless `finish` or `abort` was broken off:
/// then some trust one of them alone, and would refuse what the other one signs for ever.
async fn trust_both(
    invocation: &Invocation,
    bundles: &Bundles,
    authority: &Authority,
    (again, instead): (&str, &str),
) -> Result<Nodes> {
    let nodes = Nodes::ask(invocation, bundles).await?;
    none_revoked(&nodes, again).await?;
    bundles.spread(authority)?;
    all_of(&nodes.trust(&authority.trust_pem()).await, again, instead)?;
    Ok(nodes)
}

/// A certificate of another authority would let those in again whose certificates were revoked.
async fn none_revoked(nodes: &Nodes, again: &str) -> Result<()> {
    let mut revoked = nodes.revoked().await?;
    revoked.retain(|id, _| nodes.are_with(*id));
    if revoked.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = revoked.values().map(|name| printable(name.as_bytes())).collect();
    let names = names.join(" ");
    let message = format!("revoked, and let in again by a new certificate: {names}");
    Err(Report::new(codes::NODES_MISSING, message)
        .help(format!("raftctl cert renew {names}    (lets them in again)"))
        .help("raftctl member remove NAME    (it is to stay outside)")
        .help(format!("{again}    (afterwards: it goes on)")))
}

/// The way out of a rotation that does not come to its end.
const ANEW: &str = "raftctl cert rotate begin    (goes on with the new one)";

const BACK: &str = "raftctl cert rotate abort    (goes back)";

/// Every node must have done it, or the next step would cut one off.
fn all_of(visits: &[Visit], again: &str, instead: &str) -> Result<()> {
    let failed: Vec<&Visit> = visits.iter().filter(|visit| visit.result.is_err()).collect();
    if failed.is_empty() && !visits.is_empty() {
        return Ok(());
    }
    let reason = |visit: &&Visit| {
        let why = visit.result.as_ref().err().cloned().unwrap_or_default();
        format!("{} at {}: {why}", visit.name, visit.address)
    };
    let reasons: Vec<String> = failed.iter().map(reason).collect();
    let message = match reasons.is_empty() {
        true => "no node answered".to_owned(),
        false => format!("not every node has taken it: {}", reasons.join("; ")),
    };
    let report = Report::new(codes::NODES_MISSING, message)
        .help(format!("{again}    (goes on when they are there)"));
    let gone = failed.iter().map(|visit| {
        let name = printable(visit.name.as_bytes());
        format!("raftctl member remove {name}    (if {name} is gone for good)")
    });
    Err(gone.fold(report, Report::help).help(instead))
}

/// Shows what a step would do, and which nodes it would not find; and who would be let in again, if
/// it signs for nodes.
async fn plan(
    invocation: &Invocation,
    bundles: &Bundles,
    (step, again, instead): (&str, &str, &str),
    signs: bool,
    text: String,
) -> Result<()> {
    let nodes = Nodes::ask(invocation, bundles).await?;
    let visits = nodes.reach().await;
    let allowed = if signs { none_revoked(&nodes, again).await } else { Ok(()) };
    nodes.close().await;
    let answered = invocation.output.answer(&view("Plan", step, text, &visits));
    told(answered, allowed.and_then(|()| all_of(&visits, again, instead)))
}

fn tell(invocation: &Invocation, step: &str, text: String, visits: &[Visit]) -> Result<()> {
    invocation.output.answer(&view("AuthorityRotation", step, text, visits))
}

fn view(kind: &'static str, step: &str, text: String, visits: &[Visit]) -> View {
    let nodes: Vec<&str> = visits.iter().map(|visit| visit.name.as_str()).collect();
    let (data, names) = (json!({ "step": step, "nodes": nodes }), vec![step.to_owned()]);
    View { kind, data, text: text.into_bytes(), names, warnings: Vec::new() }
}
