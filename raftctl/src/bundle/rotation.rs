//! One authority takes another one's place, in the cluster's directory:
//!
//! | directory | what is in it |
//! |---|---|
//! | `ca` | the authority in force |
//! | `ca.new` | its successor, until everybody trusts both; `ca` signs meanwhile |
//! | `ca.next` | its successor, when everybody does; it signs from then on |
//! | `ca.former` | the last one that was succeeded |
//! | `ca.dropped` | a successor that was given up, for a moment |
//!
//! Each step is one rename, so that there is always an authority that signs, and whatever
//! interrupts a command, the same command goes on.

use std::path::PathBuf;

use certs::{Authority, CA_CERTIFICATE_FILE, CertError, DEFAULT_CA_VALIDITY};

use super::{Bundles, lock};
use crate::codes;
use crate::report::{Report, Result};

const PRESENT: &str = "ca";
const NEW: &str = "ca.new";
const NEXT: &str = "ca.next";
const FORMER: &str = "ca.former";
const DROPPED: &str = "ca.dropped";

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// There is one authority.
    None,
    /// The new one is made, and not everybody trusts it yet.
    Spreading,
    /// Everybody trusts both, and the new one signs.
    Reissuing,
}

impl Bundles {
    /// Says how far the authority's rotation is.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn rotation(&self) -> Result<Rotation> {
        Ok(match (Authority::is_stored(&self.at(NEXT))?, Authority::is_stored(&self.at(NEW))?) {
            (true, _) => Rotation::Reissuing,
            (false, true) => Rotation::Spreading,
            (false, false) => Rotation::None,
        })
    }

    /// Returns the authority that signs now; while it is rotated, the other one is trusted beside
    /// it.
    ///
    /// # Errors
    /// If its certificate or key cannot be used.
    pub(crate) fn signing_authority(&self) -> Result<Authority> {
        Ok(match self.rotation()? {
            Rotation::None => Authority::load(&self.at(PRESENT))?,
            Rotation::Spreading => self.pair(PRESENT, NEW)?,
            Rotation::Reissuing => self.pair(NEXT, PRESENT)?,
        })
    }

    /// Returns the authority from before, with the new one beside it, whoever signs now.
    ///
    /// # Errors
    /// As [`Bundles::signing_authority`].
    pub(crate) fn present_authority(&self) -> Result<Authority> {
        Ok(match self.rotation()? {
            Rotation::None => Authority::load(&self.at(PRESENT))?,
            Rotation::Spreading => self.pair(PRESENT, NEW)?,
            Rotation::Reissuing => self.pair(PRESENT, NEXT)?,
        })
    }

    /// Returns one authority alone: the present one, or its successor.
    ///
    /// # Errors
    /// As [`Bundles::signing_authority`].
    pub(crate) fn alone(&self, successor: bool) -> Result<Authority> {
        let name = match (successor, self.rotation()?) {
            (false, _) => PRESENT,
            (true, Rotation::Reissuing) => NEXT,
            (true, Rotation::Spreading | Rotation::None) => NEW,
        };
        Ok(Authority::load(&self.at(name))?)
    }

    /// Makes the successor, unless it is made already.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn make_successor(&self) -> Result<()> {
        if self.rotation()? == Rotation::None {
            let cluster = Authority::load(&self.at(PRESENT))?.cluster();
            Authority::create(cluster, DEFAULT_CA_VALIDITY)?.store(&self.at(NEW))?;
        }
        Ok(())
    }

    /// Everybody trusts both: the successor signs from now on.
    ///
    /// # Errors
    /// If the directory cannot be renamed.
    pub(crate) fn let_successor_sign(&self) -> Result<()> {
        if self.rotation()? == Rotation::Spreading {
            self.rename(NEW, NEXT)?;
        }
        Ok(())
    }

    /// Everybody has a certificate of the present authority again: that one signs from now on, and
    /// the other is as if it was only made.
    ///
    /// # Errors
    /// If the directory cannot be renamed.
    pub(crate) fn let_present_sign(&self) -> Result<()> {
        if self.rotation()? == Rotation::Reissuing {
            self.rename(NEXT, NEW)?;
        }
        Ok(())
    }

    /// Says whether another authority came before.
    pub(crate) fn has_rotated(&self) -> bool {
        self.directory().join(FORMER).exists()
    }

    /// Says whether a node may trust the former authority alone, and nobody who signs now: it was
    /// away when the authority was rotated.
    pub(crate) fn may_be_untrusted(&self) -> bool {
        self.has_rotated() || matches!(self.rotation(), Ok(Rotation::Reissuing))
    }

    /// Nobody needs the former authority any more. It is kept aside.
    ///
    /// # Errors
    /// If a directory cannot be moved; run again, it goes on.
    pub(crate) fn install_successor(&self) -> Result<()> {
        if self.at(PRESENT).exists() {
            self.remove(FORMER)?;
            self.rename(PRESENT, FORMER)?;
        }
        self.rename(NEXT, PRESENT)
    }

    /// Forgets the successor.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn drop_successor(&self) -> Result<()> {
        for name in [NEXT, NEW] {
            // Half an authority would be in everybody's way.
            if self.at(name).exists() {
                self.remove(DROPPED)?;
                self.rename(name, DROPPED)?;
            }
        }
        self.remove(DROPPED)
    }

    /// Ends a finish that was interrupted between its two renames and has left no authority in its
    /// place, unless it is just between them; and an abort that was interrupted before the key of
    /// the successor was gone.
    ///
    /// # Errors
    /// If it is, or the directory cannot be renamed.
    pub(crate) fn settle(directory: &std::path::Path) -> Result<()> {
        let (present, next) = (directory.join(PRESENT), directory.join(NEXT));
        let is_broken_off = || !present.exists() && next.exists();
        if is_broken_off() {
            let _lock = lock(directory, ".add.lock")?;
            if is_broken_off() {
                std::fs::rename(&next, &present).map_err(|error| failed(&next, &error))?;
            }
        }
        let dropped = directory.join(DROPPED);
        // Whoever is about it holds the lock, and ends it.
        if dropped.exists()
            && let Ok(_lock) = lock(directory, ".add.lock")
        {
            remove(&dropped)?;
        }
        Ok(())
    }

    fn pair(&self, signs: &str, beside: &str) -> Result<Authority> {
        let file = self.at(beside).join(CA_CERTIFICATE_FILE);
        let pem = std::fs::read_to_string(&file)
            .map_err(|source| CertError::Io { path: file.clone(), source })?;
        Ok(Authority::load(&self.at(signs))?.beside(&pem, &file.display().to_string())?)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let from = self.at(from);
        std::fs::rename(&from, self.at(to)).map_err(|error| failed(&from, &error))
    }

    fn remove(&self, name: &str) -> Result<()> {
        remove(&self.at(name))
    }
}

fn remove(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(path: &std::path::Path, error: &std::io::Error) -> Report {
    Report::new(codes::LOCAL_FILE, format!("{}: {error}", path.display()))
}
