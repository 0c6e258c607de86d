//! Certificates for the other systems: an authority, and one certificate that serves nodes and
//! clients alike. `openssl` makes them, for ours name no addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What both certificates are made with.
const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Certificates {
    /// Names the files in a directory.
    pub(crate) fn at(directory: &Path) -> Self {
        Self {
            authority: directory.join("ca.crt"),
            certificate: directory.join("node.crt"),
            key: directory.join("node.key"),
        }
    }

    /// Makes them in a directory.
    ///
    /// # Errors
    /// If there is no `openssl`, or it fails.
    pub(crate) fn make(directory: &Path) -> Result<Self, String> {
        let made = Self::at(directory);
        let text = "subjectAltName=IP:127.0.0.1,DNS:localhost\n\
                    extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n";
        fs::write(directory.join("node.ext"), text).map_err(|error| error.to_string())?;
        let authority = ["req", "-x509", "-days", "30", "-subj", "/CN=bench authority"];
        let files = ["-keyout", "ca.key", "-out", "ca.crt"];
        openssl(directory, &[&authority[..], &CURVE, &files].concat())?;
        let request = ["req", "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.csr"];
        openssl(directory, &[&request[..], &CURVE].concat())?;
        let sign = "x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
                    -extfile node.ext -out node.crt";
        openssl(directory, &sign.split_whitespace().collect::<Vec<_>>())?;
        Ok(made)
    }
}

fn openssl(directory: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("openssl").current_dir(directory).args(arguments).output();
    let output = output
        .map_err(|error| format!("cannot run openssl ({error}); type: apt-get install openssl"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("openssl {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr)))
}
