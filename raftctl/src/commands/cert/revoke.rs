//! `raftctl cert revoke`: certificates that count no more, on any node, from a moment on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use certs::{Identity, Role, read_certificate, shown_in};
use clap::Args;
use client::Client;
use serde_json::json;
use state_machine::{REASON_BYTES_MAX, SystemAnswer, SystemQuery};
use tokio::time::sleep;

use self::cost::agreed;
use self::reach::Reach;
use super::known::{ever_held, pick};
use crate::bundle::holdings::Holding;
use crate::bundle::{Bundles, now_unix_s};
use crate::change::Present;
use crate::codes;
use crate::exit::Exit;
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::newest::Newest;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::report::{Report, Result, told};
use crate::target::Target;

mod cost;
mod reach;

/// Certificates begin so long before they are made, for clocks that are behind.
const BACKDATED_S: u64 = 300;

/// So long is waited for a clock that is behind, in seconds.
const CLOCK_WAIT_S: u64 = 30;

/// A clock that is further ahead of the leader's, in seconds, is asked about.
const AHEAD_S_MAX: u64 = 60;

/// How often it is looked whether something has come about.
const EVERY: Duration = Duration::from_millis(20);

/// What `cert revoke` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RevokeArgs {
    /// All certificates of a holder that were made until now, by this machine's clock: ROLE/NAME as
    /// client/web, or a node's name; or the one in a file, and all that were made for the same
    /// holder before it
    #[arg(value_name = "ROLE/NAME|NODE|FILE")]
    what: String,

    /// Why: their holders and the log are told
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    /// Lets them count again
    #[arg(long, conflicts_with = "reason")]
    undo: bool,

    /// Cuts a voter off though those that are left are no majority
    #[arg(long, conflicts_with = "undo")]
    force: bool,

    /// Says what would be revoked, and changes nothing
    #[arg(long)]
    dry_run: bool,

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What is revoked.
struct Meant {
    role: Role,
    /// Certificates that begin then or before.
    until_s: u64,
    /// Those with these keys, whenever they begin.
    keys: Vec<[u8; 32]>,
    /// Whether all that were made until now are meant.
    is_all: bool,
}

/// Runs the command.
///
/// # Errors
/// If nobody is meant, the own certificate is, or the cluster does not answer.
pub(super) async fn run(invocation: &Invocation, args: &RevokeArgs) -> Result<()> {
    if args.reason.len() > REASON_BYTES_MAX {
        let message = format!("the reason is longer than {REASON_BYTES_MAX} bytes");
        return Err(Report::new(codes::USAGE, message));
    }
    let (target, client) = invocation.client()?;
    let done = revoke(invocation, args, &target, &client).await;
    client.close().await;
    done
}

/// What is said where keys are revoked as well.
const KEY: &str =
    "their key counts no more either: raftctl cert renew ROLE/NAME --new-key makes another\n";

/// What is said where all that were made until now are: who issued one elsewhere had another clock.
const AHEAD: &str = "one that was made elsewhere, by a clock that was ahead, may count still: \
                     raftctl cert revoke FILE names it\n";

async fn revoke(
    invocation: &Invocation,
    args: &RevokeArgs,
    target: &Target,
    client: &Client,
) -> Result<()> {
    let present = Present::ask_for(client, &target.nodes, "nothing can be revoked: ").await?;
    let meant = meant(invocation, args, target, &present)?;
    let holder = meant.role.to_string();
    if args.undo {
        return undo(invocation, args.dry_run, client, holder).await;
    }
    refuse_own(target, &meant)?;
    let agreed = agreed((invocation, client), (args, target), &present, &meant).await?;
    let mut warnings: Vec<String> = agreed.into_iter().collect();
    warnings.extend(is_ahead(invocation, args.dry_run, &present, &meant)?);
    let until = certs::utc(meant.until_s);
    let what = format!("{holder}: certificates that begin at {until} or before");
    let mut reach = Reach::new();
    let ahead = if meant.is_all { AHEAD } else { "" };
    let text = if args.dry_run {
        format!("{what} would be revoked\n{ahead}")
    } else {
        let began = Instant::now();
        write(client, &holder, &meant, &args.reason).await?;
        reach = Reach::of(client, &present, (&holder, &meant), began).await;
        warnings.extend(reach.open());
        warnings.extend(wait_for_the_clock(&holder, meant.until_s).await);
        let key = if meant.keys.is_empty() { "" } else { KEY };
        let rows = reach.rows().render(invocation.output.headers);
        format!("{what} are revoked\n{key}{ahead}{rows}")
    };
    let data = json!({
        "holder": holder,
        "untilUnixS": meant.until_s,
        "keyFingerprints": meant.keys.iter().copied().map(fingerprint).collect::<Vec<_>>(),
        "reason": args.reason,
        "dryRun": args.dry_run,
        "nodes": reach.data(),
    });
    let (kind, names, text) = ("CertificateRevocation", vec![holder], text.into_bytes());
    let answered = invocation.output.answer(&View { kind, data, text, names, warnings });
    let whole = if reach.is_whole() { Ok(()) } else { Err(Report::quiet(Exit::Partial)) };
    told(answered, whole)
}

/// Lets a holder's certificates count again.
///
/// # Errors
/// If none of them is revoked, or the cluster does not take it.
async fn undo(
    invocation: &Invocation,
    dry_run: bool,
    client: &Client,
    holder: String,
) -> Result<()> {
    if !client.revocations().await?.iter().any(|one| one.holder == holder) {
        let message = format!("no certificate of {holder} is revoked");
        return Err(Report::new(codes::REFUSED, message).help("raftctl cert list --revoked"));
    }
    if !dry_run {
        client.forget_revocation(&holder).await?;
    }
    let count = if dry_run { "would count" } else { "count" };
    invocation.output.answer(&View {
        kind: "CertificateRevocation",
        data: json!({ "holder": holder, "undone": !dry_run, "dryRun": dry_run }),
        text: format!("{holder}: certificates {count} again\n").into_bytes(),
        names: vec![holder],
        warnings: Vec::new(),
    })
}

/// Asks whether to revoke by a clock that is ahead of the leader's: what is made elsewhere counts
/// no more either, until others have come so far. Returns what a script is told.
fn is_ahead(
    invocation: &Invocation,
    dry_run: bool,
    present: &Present,
    meant: &Meant,
) -> Result<Option<String>> {
    let Some(leader) = present.survey.leader() else { return Ok(None) };
    // What was made long ago is revoked until then, whatever this clock says.
    let until_s = meant.until_s.saturating_add(BACKDATED_S).min(now_unix_s());
    let ahead_s = until_s.saturating_sub(leader.clock_unix_ms / 1_000);
    if ahead_s <= AHEAD_S_MAX {
        return Ok(None);
    }
    let warning = format!(
        "this machine's clock is {} ahead of the leader's: what is made for {} elsewhere before {} \
         is revoked as well (timedatectl)",
        certs::span_nearest(ahead_s),
        meant.role,
        certs::utc(until_s)
    );
    if !dry_run {
        invocation.confirm(&format!("{warning}. Revoke?"))?;
    }
    Ok((dry_run || invocation.global.yes).then_some(warning))
}

/// Lets the cluster know: one key at a time.
async fn write(client: &Client, holder: &str, meant: &Meant, reason: &str) -> Result<()> {
    let mut keys = meant.keys.iter().copied();
    client.revoke(holder, meant.until_s, keys.next(), reason).await?;
    for key in keys {
        client.revoke(holder, meant.until_s, Some(key), reason).await?;
    }
    Ok(())
}

/// Waits until what is made here counts again: not in the same second, and not as long as this
/// clock is behind the one that was gone by. Says so where that is long.
async fn wait_for_the_clock(holder: &str, until_s: u64) -> Option<String> {
    let counts_s = until_s.saturating_add(BACKDATED_S).max(now_unix_s());
    let behind_s = counts_s.saturating_sub(now_unix_s());
    if behind_s > CLOCK_WAIT_S {
        return Some(format!(
            "this machine's clock is {} behind the leader's: what is made here for {holder} before \
             {} by this clock is revoked as well (timedatectl)",
            certs::span_nearest(behind_s),
            certs::utc(counts_s)
        ));
    }
    while now_unix_s() <= counts_s {
        sleep(EVERY).await;
    }
    None
}

fn fingerprint(key: [u8; 32]) -> String {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Finds who is meant.
fn meant(
    invocation: &Invocation,
    args: &RevokeArgs,
    target: &Target,
    present: &Present,
) -> Result<Meant> {
    // All that were made until now, by this clock or the leader's: what is made a second later
    // counts, and who issued may have had a clock that is ahead of this one.
    let leader_s = present.survey.leader().map_or(0, |leader| leader.clock_unix_ms / 1_000);
    let until_s = now_unix_s().max(leader_s).saturating_sub(BACKDATED_S);
    if let Some(dir) = &args.dir {
        target.check_is_of(&Bundles::look(&absolute(dir)?)?)?;
    }
    let known = ever_held(invocation, args.dir.as_deref()).unwrap_or_default();
    let all_of = |role: Role| {
        let keys = later(&known, &role, target, until_s);
        Ok(Meant { role, until_s, keys, is_all: true })
    };
    let what = args.what.as_str();
    let uri = format!("spiffe://{}/{what}", target.credentials.cluster());
    if let Ok(identity) = Identity::parse_uri(&uri) {
        return all_of(identity.role);
    }
    let mut members = present.configuration.members().iter();
    if let Some((id, _)) = members.find(|(_, member)| member.name == what)
        && let Ok(id) = id.get().try_into()
    {
        return all_of(Role::Node(id));
    }
    let file = pick(&known, what).map(|held| held.certificate.clone());
    let is_file = file.is_none() && Path::new(what).is_file();
    let file = file.or_else(|| is_file.then(|| PathBuf::from(what)));
    let Some(file) = file else {
        let shown = printable(what.as_bytes());
        let message = format!("\"{shown}\" is no member, no file, and not of the form ROLE/NAME");
        return Err(Report::new(codes::NO_FILE, message).help("raftctl cert list"));
    };
    let certificate = read_certificate(&file)?;
    let shown = shown_in(std::slice::from_ref(&certificate))?;
    if shown.identity.cluster != target.credentials.cluster() {
        let message = format!("{}: is of another cluster", file.display());
        return Err(Report::new(codes::FOREIGN_CERTIFICATE, message));
    }
    let until_s = if is_file { shown.validity.not_before } else { until_s };
    Ok(Meant { role: shown.identity.role, until_s, keys: vec![shown.key], is_all: !is_file })
}

/// Returns the keys of a holder's certificates that lie here and begin later: made by a clock that
/// was ahead of those of now.
fn later(known: &[Holding], role: &Role, target: &Target, until_s: u64) -> Vec<[u8; 32]> {
    let shown = known.iter().filter_map(|held| {
        let certificate = read_certificate(&held.certificate).ok()?;
        shown_in(std::slice::from_ref(&certificate)).ok()
    });
    let cluster = target.credentials.cluster();
    let meant = shown.filter(|it| it.identity.cluster == cluster && it.identity.role == *role);
    meant.filter(|it| it.validity.not_before > until_s).map(|it| it.key).collect()
}

/// Whoever revokes the certificate that he uses could not see what came of it.
fn refuse_own(target: &Target, meant: &Meant) -> Result<()> {
    let own = shown_in(std::slice::from_ref(target.credentials.certificate()))?;
    let is_own = own.identity.role == meant.role
        && (own.validity.not_before <= meant.until_s || meant.keys.contains(&own.key));
    if !is_own {
        return Ok(());
    }
    let message = format!("{} is who asks: this would revoke the certificate in use", meant.role);
    Err(Report::new(codes::OWN_CERTIFICATE, message)
        .help("raftctl cert issue NAME --role operator    (another one, to revoke it with)")
        .help("raftctl cert revoke FILE    (an older certificate of the same holder)"))
}

/// Lists what is revoked.
///
/// # Errors
/// If the cluster does not answer.
pub(super) async fn list(invocation: &Invocation) -> Result<()> {
    let (target, client) = invocation.client()?;
    let Newest { how, warnings } = Newest::of(&client, &target.nodes, false).await?;
    let answer = client.system(&SystemQuery::Revocations, how).await;
    client.close().await;
    let SystemAnswer::Revocations { items: found, .. } = answer? else {
        let message = "a node answered something else than revocations";
        return Err(Report::new(codes::UNEXPECTED, message));
    };
    let mut rows = Rows::new(&["HOLDER", "MADE UNTIL", "KEYS", "BY", "INDEX", "REASON"]);
    for one in &found {
        rows.push(vec![
            one.holder.clone(),
            certs::utc(one.until_s.saturating_add(BACKDATED_S)),
            one.keys.len().to_string(),
            one.by.clone(),
            one.index.to_string(),
            printable(one.why.as_bytes()),
        ]);
    }
    let item = |one: &state_machine::Revocation| {
        json!({
            "holder": one.holder,
            "untilUnixS": one.until_s,
            "keyFingerprints": one.keys.iter().copied().map(fingerprint).collect::<Vec<_>>(),
            "by": one.by,
            "reason": one.why,
            "index": one.index.to_string(),
            "clusterTimeNs": one.time.get().to_string(),
        })
    };
    invocation.output.answer(&View {
        kind: "RevocationList",
        data: json!({ "revocations": found.iter().map(item).collect::<Vec<_>>() }),
        text: rows.render(invocation.output.headers).into_bytes(),
        names: found.iter().map(|one| one.holder.clone()).collect(),
        warnings,
    })
}
