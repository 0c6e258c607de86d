//! `raftctl cert`: the cluster's certificates: who has them, giving more, and taking them back.

use std::path::{Path, PathBuf};

use certs::{CertificateDer, Credentials, Description, describe, identity_of, read_certificate};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::bundle::holdings::{AUTHORITY, Holding, Whose};
use crate::bundle::now_unix_s;
use crate::codes;
use crate::commands::cert::known::{ever_held, holdings, pick};
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::report::{Report, Result};

mod issue;
mod known;
mod lifetime;
mod renew;
mod revoke;
mod rotate;
mod wire;

pub(crate) use issue::IssueArgs;
pub(crate) use renew::RenewArgs;
pub(crate) use revoke::RevokeArgs;
pub(crate) use rotate::RotateCommand;

/// Certificates.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Lists those that are here, with their ends; asks no node
    #[command(visible_alias = "ls")]
    List {
        /// Asks the cluster which certificates count no more, instead
        #[arg(long, conflicts_with = "dir")]
        revoked: bool,
        /// The directory that `init` made, with the authority [default: beside the context's key]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Shows one: whose, until when, by whom, and whether its key belongs to it
    Show {
        /// A node's name or id, `operator`, `authority`, or a file [default: the context's]
        #[arg(value_name = "NAME|FILE")]
        what: Option<String>,
        /// The directory that `init` made, with the authority [default: beside the context's key]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Renews certificates, before and after their end, and says where they belong
    Renew(RenewArgs),
    /// Makes a certificate and its key for a person or a program
    Issue(IssueArgs),
    /// Lets certificates count no more: connections are closed at once, on every node
    Revoke(RevokeArgs),
    /// Replaces the authority while the cluster serves
    #[command(subcommand)]
    Rotate(RotateCommand),
}

/// Runs the command.
///
/// # Errors
/// If a certificate cannot be read, signed or written.
pub(crate) async fn run(invocation: &Invocation, command: CertCommand) -> Result<()> {
    match command {
        CertCommand::List { revoked: true, dir: _ } => revoke::list(invocation).await,
        CertCommand::List { revoked: false, dir } => list(invocation, dir.as_deref()),
        CertCommand::Show { what, dir } => show(invocation, what.as_deref(), dir.as_deref()).await,
        CertCommand::Renew(args) => renew::run(invocation, &args).await,
        CertCommand::Issue(args) => issue::run(invocation, &args).await,
        CertCommand::Revoke(args) => revoke::run(invocation, &args).await,
        CertCommand::Rotate(command) => rotate::run(invocation, &command).await,
    }
}

/// A certificate that was read, or why it cannot be.
struct Found {
    holding: Holding,
    read: std::result::Result<(Description, String), String>,
}

impl Found {
    fn of(holding: Holding) -> Self {
        let read = read_certificate(&holding.certificate).and_then(|certificate| {
            let described = describe(&certificate)?;
            let role = role(&certificate, &described);
            Ok((described, role))
        });
        Self { holding, read: read.map_err(|error| printable(error.to_string().as_bytes())) }
    }

    fn data(&self) -> Value {
        let Holding { name, certificate, .. } = &self.holding;
        match &self.read {
            Err(why) => json!({ "name": name, "file": certificate, "error": why }),
            Ok((described, role)) => {
                let mut data = window(described);
                data["name"] = json!(name);
                data["role"] = json!(role);
                data["file"] = json!(certificate);
                data
            }
        }
    }
}

/// What programs are told of a certificate.
fn window(described: &Description) -> Value {
    let (validity, now) = (described.validity, now_unix_s());
    json!({
        "serial": described.serial,
        "keyFingerprint": described.key,
        "issuerFingerprint": described.issuer,
        "uri": described.uri,
        "notBefore": certs::utc(validity.not_before),
        "notAfter": certs::utc(validity.not_after),
        "notBeforeUnixS": validity.not_before,
        "notAfterUnixS": validity.not_after,
        "expired": validity.not_after < now,
        "endsSoon": validity.ends_soon(now),
    })
}

/// Whose it is, in a word or two.
fn role(certificate: &CertificateDer<'_>, described: &Description) -> String {
    match identity_of(std::slice::from_ref(certificate)) {
        Ok(identity) => identity.role.to_string(),
        Err(_) if described.subject.starts_with("authority of ") => AUTHORITY.to_owned(),
        Err(_) => "-".to_owned(),
    }
}

fn list(invocation: &Invocation, dir: Option<&Path>) -> Result<()> {
    let found: Vec<Found> = holdings(invocation, dir)?.into_iter().map(Found::of).collect();
    let wide = invocation.output.wide();
    let mut header = vec!["NAME", "ROLE", "SERIAL", "FROM", "UNTIL", "LEFT", "FILE"];
    if wide {
        header.push("KEY");
    }
    let mut rows = Rows::new(&header);
    for Found { holding, read } in &found {
        let file = holding.certificate.display().to_string();
        let (described, role) = match read {
            Ok(read) => read,
            Err(why) => {
                rows.push_spilling(vec![holding.name.clone(), "-".into()], format!("({why})"));
                continue;
            }
        };
        let validity = described.validity;
        let mut row = vec![
            holding.name.clone(),
            role.clone(),
            described.serial.chars().take(8).collect(),
            certs::utc(validity.not_before),
            certs::utc(validity.not_after),
            left(validity),
            file,
        ];
        if wide {
            row.push(described.key.clone());
        }
        rows.push(row);
    }
    invocation.output.answer(&View {
        kind: "CertificateList",
        data: json!({ "certificates": found.iter().map(Found::data).collect::<Vec<_>>() }),
        text: rows.render(invocation.output.headers).into_bytes(),
        names: found.iter().map(|found| found.holding.name.clone()).collect(),
        warnings: Vec::new(),
    })
}

/// How long it counts yet: `364 d`, `14 d !`, `ended !`, or `not yet !`.
fn left(validity: certs::Validity) -> String {
    let now = now_unix_s();
    match validity.not_after.checked_sub(now) {
        _ if now < validity.not_before => "not yet !".to_owned(),
        None => "ended !".to_owned(),
        Some(left) if validity.ends_soon(now) && left < 86_400 => {
            format!("{} !", certs::span(left))
        }
        Some(left) if validity.ends_soon(now) => format!("{} d !", left / 86_400),
        Some(left) => format!("{} d", left / 86_400),
    }
}

/// Finds what is meant by a name: a holder, else a file.
fn find(invocation: &Invocation, what: &str, dir: Option<&Path>) -> Result<Holding> {
    let known = ever_held(invocation, dir);
    if let Ok(known) = &known
        && let Some(found) = pick(known, what)
    {
        return Ok(found.clone());
    }
    let file = Path::new(what);
    if file.exists() {
        return Ok(Holding::of_file(file));
    }
    let known = known?;
    let names: Vec<&str> = known.iter().map(|held| held.name.as_str()).collect();
    let shown = printable(what.as_bytes());
    let message =
        format!("\"{shown}\" is no file, and there are certificates of {}", { names.join(" ") });
    Err(Report::new(codes::NO_FILE, message).help("raftctl cert list"))
}

async fn show(invocation: &Invocation, what: Option<&str>, dir: Option<&Path>) -> Result<()> {
    let holding = match (what, dir) {
        (Some(what), _) => find(invocation, what, dir)?,
        (None, Some(_)) => find(invocation, "operator", dir)?,
        (None, None) => {
            let (ca, certificate, key) = invocation.credential_files()?;
            let file = Holding::of_file(&certificate);
            Holding { name: "operator".to_owned(), ca: Some(ca), key: Some(key), ..file }
        }
    };
    // A file may be a pipe that nothing comes out of: signals are heard meanwhile.
    let file = holding.certificate.clone();
    let read = spawn_blocking(move || read_certificate(&file)).await;
    let certificate = read.map_err(|error| Report::new(codes::INTERNAL, error.to_string()))??;
    let described = describe(&certificate)?;
    let role = role(&certificate, &described);
    let usable = usable(&holding);
    let mut lines = vec![
        ("name", holding.name.clone()),
        ("certificate", described.subject.clone()),
        ("file", holding.certificate.display().to_string()),
        ("serial", described.serial.clone()),
        ("key", described.key.clone()),
        ("issuer", described.issuer.clone()),
        ("valid", described.validity.to_string()),
        ("state", described.validity.tense(now_unix_s())),
    ];
    if let Some(usable) = &usable {
        lines.push(("check", usable.clone()));
    }
    let text: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<12} {}\n", printable(value.as_bytes())))
        .collect();
    let mut data = window(&described);
    data["name"] = json!(holding.name);
    data["role"] = json!(role);
    data["subject"] = json!(described.subject);
    data["file"] = json!(holding.certificate);
    data["check"] = json!(usable);
    invocation.output.answer(&View {
        kind: "Certificate",
        data,
        text: text.into_bytes(),
        names: vec![holding.name],
        warnings: Vec::new(),
    })
}

/// Says whether certificate, key and the authority's certificate can be used together.
fn usable(holding: &Holding) -> Option<String> {
    if holding.whose == Whose::Authority {
        return None;
    }
    let (Some(ca), Some(key)) = (&holding.ca, &holding.key) else {
        return None;
    };
    Some(match Credentials::load(ca, &holding.certificate, key) {
        Ok(_) => format!("can be used, with the key {}", key.display()),
        Err(error) => format!("cannot be used: {error}"),
    })
}
