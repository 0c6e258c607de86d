//! Certificates of persons and programs that were issued here: a directory each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{Authority, CA_CERTIFICATE_FILE, Identity, PemPaths, Role, replace_certificate};

use super::Bundles;
use super::holdings::{Holding, Whose};
use crate::codes;
use crate::context::make_private_directory;
use crate::report::{Report, Result};

/// Where they are, below the cluster's directory.
const ISSUED: &str = "issued";

impl Bundles {
    /// Returns the place of what was issued to somebody.
    pub(crate) fn issued_directory(&self, role: &Role) -> PathBuf {
        self.directory.join(ISSUED).join(format!("{}-{}", role.kind(), role.holder()))
    }

    /// Issues a certificate with a new key, and writes both; `out` names another place for them
    /// than the cluster's directory, which gets a copy of the certificate. Returns where they are.
    ///
    /// # Errors
    /// If there is one already, or nothing can be written.
    pub(crate) fn issue(
        &self,
        authority: &Authority,
        role: &Role,
        validity: Duration,
        out: Option<&Path>,
    ) -> Result<PathBuf> {
        let name = role.holder();
        let own = self.issued_directory(role);
        if own.join(format!("{name}.crt")).exists() {
            return Err(is_issued(role, &own));
        }
        let place = out.unwrap_or(&own);
        let files = PemPaths::in_directory(place, &name);
        if let Some(taken) = [&files.certificate, &files.key].into_iter().find(|it| it.exists()) {
            let message = format!("{} is there already", taken.display());
            return Err(Report::new(codes::IN_THE_WAY, message).help("--out DIR    (another one)"));
        }
        let identity = Identity::new(authority.cluster(), role.clone());
        let issued = authority.issue(&identity, validity)?;
        make_private_directory(&own)?;
        issued.write(place, &name)?;
        if place != own {
            let copy = PemPaths::in_directory(&own, &name);
            replace_certificate(&copy.certificate, &issued.certificate_pem)?;
            replace_certificate(&own.join(CA_CERTIFICATE_FILE), &issued.ca_pem)?;
        }
        Ok(place.to_owned())
    }

    /// Returns what was issued, in order of the names.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn issued(&self) -> Result<Vec<Holding>> {
        let directory = self.directory.join(ISSUED);
        let failed = |error: std::io::Error| {
            Report::new(codes::LOCAL_FILE, format!("{}: {error}", directory.display()))
        };
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((kind, name)) = title.split_once('-') else { continue };
            let PemPaths { ca, certificate, key } = PemPaths::in_directory(&path, name);
            if certificate.exists() {
                let key = Some(key).filter(|key| key.exists());
                let (name, whose) = (format!("{kind}/{name}"), Whose::File);
                found.push(Holding { name, whose, certificate, ca: Some(ca), key });
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }
}

/// Says that somebody has a certificate already.
fn is_issued(role: &Role, directory: &Path) -> Report {
    let message = format!("{role} has a certificate already, in {}", directory.display());
    let name = format!("{}/{}", role.kind(), role.holder());
    Report::new(codes::IN_THE_WAY, message)
        .help(format!("raftctl cert renew {name}    (a longer time; --new-key if it was revoked)"))
        .help(format!("raftctl cert revoke {name}    (it is lost; then move the directory away)"))
}
