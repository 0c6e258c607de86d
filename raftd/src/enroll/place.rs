//! Where an enrolled node's files are put, and what is there already. The key is made first, under
//! a name of its own, so that an attempt that is interrupted goes on with it; the certificate comes
//! last, so that no half of it looks whole.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use certs::{CertError, Credentials, Identity, NewKey, PemPaths, Role, Token};

use super::{credentials, say};
use crate::exit::{Exit, Failure};

/// The prefix of the node's files.
const NODE: &str = "node";

/// The directory of a node's credentials and configuration.
pub(super) struct Place {
    directory: PathBuf,
    token: Token,
}

/// What is there already.
pub(super) enum Present {
    /// Nothing of a node.
    Nothing,
    /// This very node's credentials, which count until then.
    Enrolled(String),
}

impl Place {
    pub(super) fn new(directory: &Path, token: &Token) -> Self {
        Self { directory: directory.to_owned(), token: token.clone() }
    }

    /// Returns the raftd.toml.
    pub(super) fn configuration(&self) -> PathBuf {
        self.directory.join("raftd.toml")
    }

    /// Looks what is there.
    ///
    /// # Errors
    /// If it is another node's, or cannot be read.
    pub(super) fn present(&self) -> Result<Present, Failure> {
        let shown = self.directory.display();
        match Credentials::load_from(&self.directory, NODE) {
            Ok(present) if *present.identity() == self.identity() => {
                if present.authority_fingerprint() == self.token.authority {
                    return Ok(Present::Enrolled(certs::utc(present.not_after())));
                }
                say(&format!(
                    "{shown} has a certificate of another authority than the token names: it is \
                     replaced"
                ));
                Ok(Present::Nothing)
            }
            Ok(present) => {
                let whose = present.identity();
                let message = format!("{shown} has the credentials of {whose}, not of this node");
                Err(Failure::new(Exit::Config, message)
                    .hint("another directory: --dir DIR; or move those files away"))
            }
            Err(error) if error.is_not_found() && !self.paths().key.exists() => {
                Ok(Present::Nothing)
            }
            Err(error) => Err(credentials(&shown.to_string(), &error)
                .hint("move ca.crt, node.crt and node.key away, if they are of no use")),
        }
    }

    /// Returns the key of this attempt: that of an earlier one with the same token, if there was
    /// one.
    pub(super) fn key(&self) -> Result<NewKey, Failure> {
        let shown = self.directory.display().to_string();
        let made = certs::create_directory(&self.directory);
        made.map_err(|error| Failure::from_error(Exit::Config, &shown, &error))?;
        NewKey::at(&self.key_file()).map_err(|error| credentials("the key", &error))
    }

    /// Checks what was signed, and puts it in place; returns until when it counts.
    ///
    /// # Errors
    /// If it is not what the token promises, or cannot be written.
    pub(super) fn store(
        &self,
        key: &NewKey,
        (authority, certificate, configuration): (&str, &str, &str),
    ) -> Result<String, Failure> {
        let signed = Credentials::from_pem(authority, certificate, &key.to_pem());
        let signed = signed.map_err(|error| credentials("what was signed", &error))?;
        if signed.authority_fingerprint() != self.token.authority {
            let found = signed.authority_fingerprint();
            let message =
                format!("signed by {found}, and the token names {}", self.token.authority);
            return Err(Failure::new(Exit::Config, message));
        }
        if *signed.identity() != self.identity() {
            let message = format!("it was signed for {}, not for this node", signed.identity());
            return Err(Failure::new(Exit::Config, message));
        }
        self.configure(configuration)?;
        signed.write(&self.directory, NODE).map_err(|error| self.failed(&error))?;
        let PemPaths { ca, certificate, key } = self.paths();
        for file in [&ca, &certificate, &key] {
            self.give(file, file == &key)?;
        }
        // It is in its place; a copy that stays is as private, and of no more use.
        let _ = fs::remove_file(self.key_file());
        Ok(certs::utc(signed.not_after()))
    }

    /// Writes raftd.toml; one that somebody has made stays, and the other is put beside it.
    fn configure(&self, text: &str) -> Result<(), Failure> {
        let wanted = self.configuration();
        let place = match fs::read(&wanted) {
            Ok(present) if present == text.as_bytes() => return Ok(()),
            Ok(_) => {
                let beside = self.directory.join("raftd.toml.enrolled");
                let (kept, new) = (wanted.display(), beside.display());
                say(&format!("{kept} stays as it is; what it should say is in {new}"));
                beside
            }
            Err(error) if error.kind() == ErrorKind::NotFound => wanted,
            Err(error) => {
                let shown = wanted.display().to_string();
                return Err(Failure::from_error(Exit::Config, &shown, &error));
            }
        };
        let shown = place.display().to_string();
        replace(&place, text).map_err(|error| {
            let exit = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Exit::Io,
                _ => Exit::Config,
            };
            Failure::from_error(exit, &shown, &error)
        })?;
        self.give(&place, false)
    }

    /// Lets the user of the daemon read what root has written: the directory says who that is.
    fn give(&self, file: &Path, is_secret: bool) -> Result<(), Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let give = || {
            let owner = fs::metadata(&self.directory)?;
            std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid()))?;
            // Of root's own directory the group is who the daemon is.
            if is_secret && owner.uid() == 0 && owner.gid() != 0 {
                fs::set_permissions(file, Permissions::from_mode(0o640))?;
            }
            Ok(())
        };
        let shown = file.display().to_string();
        give().map_err(|error: std::io::Error| Failure::from_error(Exit::Config, &shown, &error))
    }

    fn failed(&self, error: &CertError) -> Failure {
        credentials(&self.directory.display().to_string(), error)
    }

    fn identity(&self) -> Identity {
        Identity::new(self.token.cluster, Role::Node(self.token.node))
    }

    fn paths(&self) -> PemPaths {
        PemPaths::in_directory(&self.directory, NODE)
    }

    fn key_file(&self) -> PathBuf {
        self.directory.join(format!(".node.key.{}", self.token.id))
    }
}

/// Writes a file as a whole or not at all: a half of it would be taken for somebody's own.
fn replace(place: &Path, text: &str) -> std::io::Result<()> {
    let mut aside = place.to_owned().into_os_string();
    aside.push(".part");
    let aside = PathBuf::from(aside);
    // What an attempt that was cut off has left; no link that others have put there is followed.
    let _ = fs::remove_file(&aside);
    let new = fs::File::options().write(true).create_new(true).mode(0o644).open(&aside);
    let written = new
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&aside, place))
        .and_then(|()| fs::File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all());
    if written.is_err() {
        // The error of the write is the one to tell.
        let _ = fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use certs::{Authority, CheckedRequest, ClusterId};
    use fixtures::SmallDisk;

    use super::*;

    /// Whoever has the token's proof, and another authority, would have a node of its own.
    #[test]
    fn what_another_authority_or_for_another_node_was_signed_is_not_stored() {
        const DAY: Duration = Duration::from_secs(86_400);
        let cluster = ClusterId::generate().expect("random bytes");
        let [named, other] =
            [(); 2].map(|()| Authority::create(cluster, DAY).expect("it can be made"));
        let (four, five) = [4, 5].map(|id| NonZeroU64::new(id).expect("not 0")).into();
        let who = (four, "n4", "n4.example:7400");
        let token = Token::generate((cluster, named.fingerprint()), who, u64::MAX);
        let directory = tempfile::tempdir().expect("there is room");
        let place = Place::new(directory.path(), &token.expect("random bytes"));
        let key = place.key().expect("there is room");
        let request = key.request().and_then(|request| CheckedRequest::from_der(&request));
        let request = request.expect("it is right");
        let store = |authority: &Authority, node| {
            let identity = Identity::new(cluster, Role::Node(node));
            let signed = authority.sign_request(&request, &identity, DAY).expect("signed");
            place.store(&key, (authority.certificate_pem(), &signed.certificate_pem, ""))
        };
        for (authority, node) in [(&other, four), (&named, five)] {
            let refused = store(authority, node).expect_err("the token does not say so");
            assert_eq!(refused.exit, Exit::Config);
            assert!(!place.paths().certificate.exists(), "{refused}");
        }
        store(&named, four).expect("it is what the token says");
        assert!(place.paths().certificate.exists());
    }

    #[test]
    fn a_full_disk_leaves_no_half_of_a_file_and_what_was_there() {
        let above = tempfile::tempdir().expect("there is room");
        let Some(disk) = SmallDisk::mount(&above.path().join("etc"), 1) else {
            eprintln!("not shown here: mounting a small file system takes root");
            return;
        };
        let (new, old) = (disk.path().join("new.toml"), disk.path().join("old.toml"));
        replace(&old, "old").expect("there is room");
        disk.fill_up();
        for place in [&new, &old] {
            let error = replace(place, &"x".repeat(64 * 1024)).expect_err("there is none");
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
        assert!(!new.exists());
        assert_eq!(fs::read_to_string(&old).expect("it is there"), "old");
        disk.free();
        replace(&old, "new").expect("there is room");
        assert_eq!(fs::read_to_string(&old).expect("it is there"), "new");
        let names: Vec<_> = fs::read_dir(disk.path()).expect("it is there").collect();
        let is_part = |path: &Path| path.extension().is_some_and(|it| it == "part");
        assert!(!names.iter().flatten().any(|file| is_part(&file.path())), "{names:?}");
        std::os::unix::fs::symlink(&new, disk.path().join("old.toml.part")).expect("a link");
        replace(&old, "newer").expect("there is room");
        assert!(!new.exists(), "no link is followed");
    }

    /// It was taken for none, as it is no UTF-8, and replaced.
    #[test]
    fn a_configuration_that_somebody_has_made_stays_whatever_is_in_it() {
        let directory = tempfile::tempdir().expect("there is room");
        let cluster = certs::ClusterId::generate().expect("bits");
        let node = (std::num::NonZeroU64::MIN, "n1", "n1.example:7400");
        let token = Token::generate((cluster, "sha256:00"), node, u64::MAX).expect("bits");
        let place = Place::new(directory.path(), &token);
        let own = b"# f\xfcr uns\n";
        fs::write(place.configuration(), own).expect("there is room");
        place.configure("listen = \"[::]:7400\"\n").expect("it goes beside");
        assert_eq!(fs::read(place.configuration()).expect("it is there"), own);
        assert!(directory.path().join("raftd.toml.enrolled").exists());
        fs::remove_file(place.configuration()).expect("it was there");
        fs::create_dir(place.configuration()).expect("there is room");
        let failure = place.configure("other").expect_err("it cannot be read");
        assert_eq!(failure.exit, Exit::Config, "{failure}");
    }
}
