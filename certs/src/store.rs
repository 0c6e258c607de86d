//! Certificates and keys as files: modes, atomic writes that survive a crash, bounded reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use crate::inspect::MAX_CHAIN_CERTIFICATES;
use crate::{CertError, ClusterId};

/// The authority's certificate, in its own directory and in every bundle.
pub const CA_CERTIFICATE_FILE: &str = "ca.crt";

/// The largest file that is read as a certificate or key, in bytes: 64 KiB.
pub(crate) const MAX_PEM_BYTES: u64 = 64 * 1024;

/// The mode of certificates, which are public.
pub(crate) const PUBLIC: u32 = 0o644;
/// The mode of private keys.
pub(crate) const SECRET: u32 = 0o600;
/// The mode of directories that hold keys.
const DIRECTORY: u32 = 0o700;

/// Where the three files of [`crate::Credentials`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPaths {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl PemPaths {
    /// `ca.crt`, `<prefix>.crt` and `<prefix>.key` in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path, prefix: &str) -> PemPaths {
        PemPaths {
            ca: directory.join(CA_CERTIFICATE_FILE),
            certificate: directory.join(format!("{prefix}.crt")),
            key: directory.join(format!("{prefix}.key")),
        }
    }
}

/// Reads a public file of at most [`MAX_PEM_BYTES`].
pub(crate) fn read_public(path: &Path) -> Result<Vec<u8>, CertError> {
    let file = File::open(path).map_err(|e| io_error(path, e))?;
    read_bounded(path, file)
}

/// Reads a private key's file, after a look at its mode (of the open file: a path may change).
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, CertError> {
    let file = File::open(path).map_err(|e| io_error(path, e))?;
    let metadata = file.metadata().map_err(|e| io_error(path, e))?;
    let mode = metadata.mode() & 0o7777;
    if !is_private(mode, metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(CertError::KeyFileMode { path: path.to_owned(), mode });
    }
    read_bounded(path, file)
}

/// Writes a file so that after a crash it is either the old one or the new one, whole: temporary
/// file, fsync, rename, fsync of the directory.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertError> {
    let directory = parent_of(path);
    let temporary = temporary_beside(path)?;
    let written = write_synced(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| io_error(path, e)));
    if let Err(error) = written {
        // The first error is the one to tell; what cannot be removed is harmless.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(directory)
}

/// Replaces a certificate and its key, unless they stand there already.
pub(crate) fn replace_pair(
    paths: &PemPaths,
    certificate: &str,
    key: &str,
) -> Result<(), CertError> {
    let (place, secret) = (real(&paths.certificate)?, real(&paths.key)?);
    let same_key = read_public(&secret).is_ok_and(|present| present == key.as_bytes());
    if !same_key {
        remove(&place)?;
        write_atomically(&secret, key.as_bytes(), SECRET)?;
    }
    write_atomically(&place, certificate.as_bytes(), PUBLIC)
}

/// Where a file is that links may lead to, also if it does not exist yet.
pub(crate) fn real(file: &Path) -> Result<PathBuf, CertError> {
    match fs::canonicalize(file) {
        Ok(place) => Ok(place),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(file.to_owned()),
        Err(error) => Err(io_error(file, error)),
    }
}

/// Removes a file for good; one that is not there is gone already.
pub(crate) fn remove(path: &Path) -> Result<(), CertError> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent_of(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(path, error)),
    }
}

/// Makes `directory` (0700) with these files in it, all or nothing, fsynced. It must not exist, or
/// be empty: rename(2) replaces an empty directory, and never another one.
pub(crate) fn create_directory_with(
    directory: &Path,
    files: &[(&str, &[u8], u32)],
) -> Result<(), CertError> {
    let parent = parent_of(directory);
    create_directory(parent).map_err(|e| io_error(parent, e))?;
    let staging = temporary_beside(directory)?;
    let made = create_directory(&staging).map_err(|e| io_error(&staging, e));
    let filled = made.and_then(|()| {
        for (name, bytes, mode) in files {
            write_synced(&staging.join(name), bytes, *mode)?;
        }
        sync_directory(&staging)?;
        fs::rename(&staging, directory).map_err(|e| {
            let taken = [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists];
            if taken.contains(&e.kind()) {
                return CertError::NotEmpty { path: directory.to_owned() };
            }
            io_error(directory, e)
        })
    });
    if let Err(error) = filled {
        let _ = fs::remove_dir_all(&staging);
        return Err(error);
    }
    sync_directory(parent)
}

/// Makes a directory that only its owner may enter (0700) and those above it, where they are
/// missing; durably, or a loss of power would take whatever is written into them.
///
/// # Errors
/// If one cannot be made, or something else has its name.
pub fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = parent_of(directory);
    if parent != directory {
        create_directory(parent)?;
    }
    // Another process may have made it meanwhile.
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(directory)?;
    File::open(parent)?.sync_all()
}

/// Whether there is something at `path`; an error is not a no.
pub(crate) fn exists(path: &Path) -> Result<bool, CertError> {
    path.try_exists().map_err(|e| io_error(path, e))
}

/// A PEM file's bytes as text.
pub(crate) fn text(bytes: Vec<u8>, what: &str) -> Result<String, CertError> {
    String::from_utf8(bytes).map_err(|_| CertError::Pem {
        what: what.to_owned(),
        reason: "not a text file; PEM is expected, not DER".to_owned(),
    })
}

/// The certificates in a PEM text: at least one, at most [`MAX_CHAIN_CERTIFICATES`].
pub(crate) fn parse_certificates(
    text: &[u8],
    what: &str,
) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let bad = |reason: String| CertError::Pem { what: what.to_owned(), reason };
    let chain = CertificateDer::pem_slice_iter(text)
        .take(MAX_CHAIN_CERTIFICATES + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(pem_reason(&e).to_owned()))?;
    match chain.len() {
        0 => Err(bad("no BEGIN CERTIFICATE line, this is no PEM certificate".to_owned())),
        1..=MAX_CHAIN_CERTIFICATES => Ok(chain),
        _ => Err(bad(format!("more than {MAX_CHAIN_CERTIFICATES} certificates"))),
    }
}

/// The one certificate in a PEM text.
pub(crate) fn parse_sole_certificate(
    text: &[u8],
    what: &str,
) -> Result<CertificateDer<'static>, CertError> {
    let mut chain = parse_certificates(text, what)?;
    let reason = format!("{} certificates where one is expected", chain.len());
    match (chain.pop(), chain.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(CertError::Pem { what: what.to_owned(), reason }),
    }
}

/// The private key in a PEM text. Its errors never hold a piece of it.
pub(crate) fn parse_key(text: &[u8], what: &str) -> Result<PrivateKeyDer<'static>, CertError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| CertError::Pem {
        what: what.to_owned(),
        reason: if matches!(error, pem::Error::NoItemsFound) {
            "no BEGIN PRIVATE KEY line, this is no unencrypted PEM private key".to_owned()
        } else {
            pem_reason(&error).to_owned()
        },
    })
}

/// Whether a key's file is out of others' reach: no bit for group and others. A daemon that is not
/// root may also get its key from root through its group or an access list (systemd's
/// `LoadCredential=` does, mode 0440): then root owns the file, and the group cannot write it.
fn is_private(mode: u32, owner: u32, effective_user: u32) -> bool {
    let given_by_root = owner == 0 && effective_user != 0;
    mode & 0o077 == 0 || given_by_root && mode & 0o037 == 0
}

fn read_bounded(path: &Path, file: File) -> Result<Vec<u8>, CertError> {
    let mut bytes = Vec::new();
    file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(|e| io_error(path, e))?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(CertError::TooLarge { path: path.to_owned(), limit: MAX_PEM_BYTES });
    }
    Ok(bytes)
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        // Whatever the umask took away is wanted.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| io_error(path, e))
}

fn sync_directory(directory: &Path) -> Result<(), CertError> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io_error(directory, e))
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden name that nobody else uses, in the same directory (rename does not cross file systems).
fn temporary_beside(path: &Path) -> Result<PathBuf, CertError> {
    let name = path.file_name().ok_or_else(|| {
        io_error(path, io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no name"))
    })?;
    let unique = ClusterId::generate()?;
    Ok(parent_of(path).join(format!(".{}.{unique}.tmp", name.to_string_lossy())))
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> CertError {
    CertError::Io { path: path.to_owned(), source }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the library may add variants")]
fn pem_reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "the END line is missing, the PEM text is cut off",
        pem::Error::IllegalSectionStart { .. } => "malformed BEGIN line",
        pem::Error::Base64Decode(_) => "the PEM text is not base64",
        _ => "not PEM",
    }
}

#[cfg(test)]
mod tests;
