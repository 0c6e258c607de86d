//! `raftctl cert issue`: a new certificate, with its key, for a person or a program.

use std::path::PathBuf;
use std::time::Duration;

use certs::{CA_CERTIFICATE_FILE, PemPaths, RoleKind};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::known::{Writing, open};
use super::lifetime::Lifetime;
use crate::bundle::now_unix_s;
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::output::View;
use crate::report::Result;

/// Who gets certificates by this command. Nodes get theirs with their bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Holder {
    /// May change the cluster
    Operator,
    /// Changes and reads data
    Client,
    /// Reads data
    Reader,
    /// Keeps snapshots
    Backup,
}

impl Holder {
    fn kind(self) -> RoleKind {
        match self {
            Self::Operator => RoleKind::Operator,
            Self::Client => RoleKind::Client,
            Self::Reader => RoleKind::Reader,
            Self::Backup => RoleKind::Backup,
        }
    }
}

/// What `cert issue` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct IssueArgs {
    /// Whom it is for: a name of a-z, 0-9, '.', '_' and '-'
    #[arg(value_name = "NAME", value_parser = crate::values::name)]
    name: String,

    /// What its holder may do; raft(7) has the table
    #[arg(long, value_name = "ROLE")]
    role: Holder,

    /// Where NAME.crt, NAME.key and ca.crt are written [default: issued/ROLE-NAME in the cluster's
    /// directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    lifetime: Lifetime,

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If the authority is not here, or somebody has such a certificate already.
pub(super) async fn run(invocation: &Invocation, args: &IssueArgs) -> Result<()> {
    let bundles = open(invocation, args.dir.as_deref(), Writing::Certificates).await?;
    let authority = bundles.authority()?;
    let role = args.role.kind().named(args.name.parse()?).expect("nodes are not among them");
    let out = args.out.as_deref().map(absolute).transpose()?;
    let renewed: Duration = args.lifetime.duration();
    let directory = bundles.issue(&authority, &role, renewed, out.as_deref())?;
    let PemPaths { certificate, key, .. } = PemPaths::in_directory(&directory, &args.name);
    let ca = directory.join(CA_CERTIFICATE_FILE);
    let validity = certs::describe(&certs::read_certificate(&certificate)?)?.validity;
    let text = format!(
        "{:<12} {role}\n{:<12} {}\n{:<12} {}\n{:<12} {}    (a secret)\n{:<12} {}, {}\n",
        "holder",
        "certificate",
        certificate.display(),
        "authority",
        ca.display(),
        "key",
        key.display(),
        "valid until",
        certs::utc(validity.not_after),
        validity.tense(now_unix_s()),
    );
    let names = vec![role.to_string()];
    let data = json!({
        "role": role.to_string(),
        "certificate": certificate,
        "key": key,
        "ca": ca,
        "notAfter": certs::utc(validity.not_after),
        "notAfterUnixS": validity.not_after,
    });
    let warnings = Vec::new();
    let text = text.into_bytes();
    invocation.output.answer(&View { kind: "IssuedCertificate", data, text, names, warnings })
}
