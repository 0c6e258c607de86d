//! Credentials that a node got over the wire: one file in its data directory, which the daemon can
//! write also where its configuration is read-only. The configured files go before it when they are
//! newer, so that an operator can always bring others.

use std::path::{Path, PathBuf};

use certs::Credentials;

use crate::config::Certificates;
use crate::exit::Failure;

/// The file: the private key, its certificate, and the authorities'; 0600.
const FILE: &str = "identity.pem";

/// Returns where the credentials are that came over the wire.
pub(super) fn place(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Returns the credentials that count: of those that can be used the newest, and of two of the same
/// time those that came over the wire. What cannot be used is logged when `loud`.
///
/// # Errors
/// What is wrong with the configured ones, if no other can be used.
pub(super) fn choose(
    configured: Result<Credentials, Failure>,
    certificates: &Certificates,
    stored: &Path,
    loud: bool,
) -> Result<Credentials, Failure> {
    if !stored.exists() {
        return configured;
    }
    let found = Credentials::load_stored(stored);
    if let Err(error) = &found
        && loud
    {
        tracing::warn!(
            name: "certificates-kept-bad",
            "{error}: the credentials that came over the wire cannot be used"
        );
    }
    // A renewed certificate may have been carried here, for the key that never left.
    let configured = configured.or_else(|failure| match certificates {
        Certificates::Files(files) => {
            Credentials::load_with_key_of(stored, &files.ca, &files.certificate)
                .map_err(|_| failure)
        }
        Certificates::Memory(_) => Err(failure),
    });
    match (configured, found) {
        (Ok(configured), Ok(found)) => {
            let is_newer = found.identity() == configured.identity()
                && found.validity().not_before >= configured.validity().not_before;
            Ok(if is_newer { found } else { configured })
        }
        (Ok(configured), Err(_)) => Ok(configured),
        (Err(failure), Ok(found)) => {
            if loud {
                let file = stored.display();
                tracing::warn!(
                    name: "certificates-kept-used",
                    "{failure}; the node uses what it got over the wire, from {file}"
                );
            }
            Ok(found)
        }
        (Err(failure), Err(_)) => Err(failure),
    }
}
