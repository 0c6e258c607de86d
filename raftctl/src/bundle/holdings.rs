//! The certificates of a cluster's directory: whose they are, where they are, and renewing them.
//!
//! Renewing keeps keys: then one file changes, which is not secret, and whatever interrupts it, key
//! and certificate belong together. It asks nobody: the authority's key is here, so it works also
//! when everything has expired.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{
    Authority, CA_CERTIFICATE_FILE, CA_KEY_FILE, CertError, DEFAULT_CA_VALIDITY,
    DEFAULT_LEAF_VALIDITY, Identity, Issued, PemPaths, Renewed, Role, Validity, identity_of,
    read_certificate, replace_certificate,
};

use super::rotation::Rotation;
use super::{Bundles, NODE, OPERATOR, PLAN, Plan, PlannedNode, now_unix_s, read_bounded};
use crate::codes;
use crate::context::Contexts;
use crate::report::{Report, Result};

/// The authority's name among the holders of certificates.
pub(crate) const AUTHORITY: &str = "authority";

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The authority's own.
    Authority,
    /// The operator's, whose files `init` made.
    Operator,
    /// A node's, in its bundle.
    Node(PlannedNode),
    /// Somebody's, in a file of any name; its key and the authority's certificate may be beside it.
    File,
}

/// A certificate, and where it and what belongs to it are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// What it is called on the command line: `authority`, `operator`, `n1`, or its file.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) whose: Whose,
    /// Its file.
    pub(crate) certificate: PathBuf,
    /// The copy of the authority's certificate that goes with it, where that is known.
    pub(crate) ca: Option<PathBuf>,
    /// Its private key, where that is known.
    pub(crate) key: Option<PathBuf>,
}

impl Holding {
    fn new(name: &str, whose: Whose, files: PemPaths) -> Self {
        let PemPaths { ca, certificate, key } = files;
        Self { name: name.to_owned(), whose, certificate, ca: Some(ca), key: Some(key) }
    }

    /// A certificate in a file, and nothing else.
    pub(crate) fn of_file(file: &Path) -> Self {
        let name = file.display().to_string();
        Self { name, whose: Whose::File, certificate: file.to_owned(), ca: None, key: None }
    }

    /// What makes the pair anew in the place of one that cannot be used.
    fn anew(&self) -> String {
        format!("raftctl cert renew {} --new-key    (makes certificate and key anew)", self.name)
    }
}

/// How long a renewed certificate counts, and whether it gets a new key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// From now on.
    pub(crate) validity: Duration,
    /// Whether a new key is made.
    pub(crate) new_key: bool,
}

/// A certificate that is signed and not written yet.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Whose it is, and where it goes.
    pub(crate) holding: Holding,
    /// Who it names.
    pub(crate) role: String,
    /// The window before; `None` if there was no certificate.
    pub(crate) before: Option<Validity>,
    /// The window from now on.
    pub(crate) after: Validity,
    signed: Signed,
}

#[derive(Clone, Debug)]
enum Signed {
    /// For the same key.
    Same(Renewed),
    /// With a new key.
    Anew(Box<Issued>),
}

impl Prepared {
    /// Whether a new private key is written, too.
    pub(crate) fn has_new_key(&self) -> bool {
        matches!(self.signed, Signed::Anew(_))
    }

    /// Whether it ends with the authority's certificate, earlier than was asked for.
    pub(crate) fn is_cut(&self, authority: &Authority, terms: Terms) -> bool {
        let asked = now_unix_s().saturating_add(terms.validity.as_secs());
        // A second or two have passed since it was signed.
        self.after.not_after == authority.validity().not_after && self.after.not_after + 60 < asked
    }
}

impl Bundles {
    /// Looks at the directory without keeping others from working in it.
    ///
    /// # Errors
    /// If there is no plan in it.
    pub(crate) fn look(directory: &Path) -> Result<Self> {
        let path = directory.join(PLAN);
        let missing = || {
            Report::new(codes::NO_CLUSTER, format!("{} has no {PLAN}", directory.display()))
                .help("--dir DIR    (the directory that `raftctl init` made)")
        };
        let bytes = read_bounded(&path)?.ok_or_else(missing)?;
        let text = String::from_utf8(bytes).ok();
        let plan: Option<Plan> = text.and_then(|text| toml::from_str(&text).ok());
        let bad = || Report::new(codes::LOCAL_FILE, format!("{}: no plan", path.display()));
        Ok(Self {
            directory: directory.to_owned(),
            locks: Vec::new(),
            plan: plan.ok_or_else(bad)?,
            fingerprint: String::new(),
            created: false,
            renewed: false,
            corrected: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Returns the authority, with its key.
    ///
    /// # Errors
    /// If its certificate or key is not there or cannot be used.
    pub(crate) fn authority(&self) -> Result<Authority> {
        self.signing_authority()
    }

    /// Returns the command that renews certificates here, with these words.
    pub(crate) fn renew_command(&self, words: &str) -> String {
        let usual = crate::context::file().and_then(|file| Contexts::load(&file));
        let current = usual.ok().and_then(|contexts| {
            let current = contexts.current.clone()?;
            Some(contexts.all.get(&current)?.key.clone())
        });
        if current.is_some_and(|key| key == self.operator().key) {
            return format!("raftctl cert renew {words}");
        }
        format!("raftctl cert renew {words} --dir {}", self.directory.display())
    }

    /// Returns the authority's certificate, the operator's, and each node's that was planned or
    /// added and not removed; of several nodes of a name the last, whose bundle it is.
    ///
    /// # Errors
    /// If the list of added or removed nodes cannot be read.
    pub(crate) fn holdings(&self) -> Result<Vec<Holding>> {
        let removed = self.removed()?;
        let is_gone = |held: &Holding| match &held.whose {
            Whose::Node(node) => removed.contains(&node.id),
            Whose::Authority | Whose::Operator | Whose::File => false,
        };
        Ok(self.ever_held()?.into_iter().filter(|held| !is_gone(held)).collect())
    }

    /// Returns the same with those of nodes that were removed: what they have counts until it is
    /// revoked.
    ///
    /// # Errors
    /// If the list of added nodes cannot be read.
    pub(crate) fn ever_held(&self) -> Result<Vec<Holding>> {
        let ca = self.directory.join("ca");
        let authority = PemPaths {
            ca: ca.join(CA_CERTIFICATE_FILE),
            certificate: ca.join(CA_CERTIFICATE_FILE),
            key: ca.join(CA_KEY_FILE),
        };
        let mut all = vec![
            Holding::new(AUTHORITY, Whose::Authority, authority),
            Holding::new(OPERATOR, Whose::Operator, self.operator()),
        ];
        let known = self.known()?;
        for node in known.values() {
            let later = |other: &PlannedNode| other.name == node.name && other.id > node.id;
            if !known.values().any(later) {
                let files = PemPaths::in_directory(&self.node_directory(node), NODE);
                all.push(Holding::new(&node.name, Whose::Node(node.clone()), files));
            }
        }
        Ok(all)
    }

    /// Says whether there is something of a node here that can be renewed: its machine may have it
    /// all, or its host is to enrol by a token.
    pub(crate) fn has_bundle(&self, node: &PlannedNode) -> bool {
        self.has_key(node) || self.has_certificate(node)
    }

    /// Returns the certificates that contexts of this cluster use and that are not `init`'s.
    ///
    /// # Errors
    /// If the contexts cannot be read.
    pub(crate) fn copies(&self) -> Result<Vec<Holding>> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut seen = vec![real(&self.operator().certificate)];
        let mut found = Vec::new();
        for context in Contexts::load(&crate::context::file()?)?.all.values() {
            let place = real(&context.cert);
            if context.cluster.as_deref() == Some(&self.plan.cluster) && !seen.contains(&place) {
                seen.push(place);
                found.push(Holding {
                    ca: Some(context.ca.clone()),
                    key: Some(context.key.clone()),
                    ..Holding::of_file(&context.cert)
                });
            }
        }
        Ok(found)
    }

    /// Signs the authority's certificate anew, for the same key. Writes nothing.
    ///
    /// # Errors
    /// If it is not one of `init`'s.
    pub(crate) fn renewed_authority(&self, present: &Authority) -> Result<Authority> {
        Ok(present.renew(DEFAULT_CA_VALIDITY)?)
    }

    /// Writes the authority's certificate to its place, and then to every copy that is here.
    /// Returns the names of those whose copy changed.
    ///
    /// # Errors
    /// If a file cannot be written; run again, it goes on.
    pub(crate) fn spread(&self, authority: &Authority) -> Result<Vec<String>> {
        if self.rotation()? == Rotation::None {
            authority.refresh(&self.directory.join("ca").join(CA_CERTIFICATE_FILE))?;
        }
        let mut changed = Vec::new();
        let issued = self.issued()?;
        for holding in self.holdings()?.into_iter().chain(self.copies()?).chain(issued) {
            let Some(ca) = &holding.ca else { continue };
            if holding.whose == Whose::Authority {
                continue;
            }
            match authority.refresh(ca) {
                Ok(true) => changed.push(holding.name),
                Ok(false) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(changed)
    }

    /// Signs a certificate anew. Writes nothing.
    ///
    /// # Errors
    /// If it is not this authority's, or its key is another's; if the authority ends too soon.
    pub(crate) fn prepare_renewal(
        &self,
        authority: &Authority,
        holding: &Holding,
        terms: Terms,
    ) -> Result<Prepared> {
        self.check_authority(authority, terms)?;
        let what = holding.certificate.display().to_string();
        if terms.new_key && holding.key.is_none() {
            let message = format!("{what}: where its private key is, is not known");
            return Err(Report::new(codes::USAGE, message)
                .help("--new-key is for the operator, nodes, and certificates of contexts"));
        }
        // An operator without a key has nothing; a node's may be on its machine only.
        let lost = holding.whose == Whose::Operator
            && holding.key.as_ref().is_some_and(|key| !key.exists());
        let new_key = terms.new_key || lost;
        let present = match read_certificate(&holding.certificate) {
            Ok(present) => Some(present),
            Err(error) if error.is_not_found() && holding.whose != Whose::File => None,
            Err(error) if holding.key.is_none() || error.is_not_found() => {
                return Err(error.into());
            }
            // What stands there is no certificate any more: the new pair takes its place.
            Err(_) if new_key => None,
            Err(error) => return Err(Report::from(error).help(holding.anew())),
        };
        let before = present.as_ref().and_then(|found| certs::describe(found).ok());
        let before = before.map(|found| found.validity);
        let named = present.as_ref().map(|found| identity_of(std::slice::from_ref(found)));
        let identity = self.identity(authority, holding, named.transpose()?)?;
        let (signed, after) = match present {
            Some(present) if !new_key => {
                let renewed = authority.renew_certificate(&present, terms.validity, &what);
                let renewed = renewed.map_err(|error| {
                    let is_foreign = matches!(
                        error,
                        CertError::UnknownAuthority { .. } | CertError::WrongCluster { .. }
                    );
                    if is_foreign {
                        return Report::new(codes::FOREIGN_CERTIFICATE, error.to_string());
                    }
                    error.into()
                })?;
                has_key(holding, &renewed)?;
                let after = renewed.validity;
                (Signed::Same(renewed), after)
            }
            Some(_) | None => {
                let issued = authority.issue(&identity, terms.validity)?;
                let after = issued.validity;
                (Signed::Anew(Box::new(issued)), after)
            }
        };
        let role = identity.role.to_string();
        Ok(Prepared { holding: holding.clone(), role, before, after, signed })
    }

    /// Returns who the certificate is to name: who it names already, if that is who it should.
    fn identity(
        &self,
        authority: &Authority,
        holding: &Holding,
        named: Option<Identity>,
    ) -> Result<Identity> {
        let role = match &holding.whose {
            Whose::Node(node) => Role::Node(node.id),
            Whose::Operator | Whose::Authority | Whose::File => match named {
                Some(named) => return Ok(named),
                None => Role::Operator(OPERATOR.parse()?),
            },
        };
        let wanted = Identity::new(authority.cluster(), role);
        match named {
            Some(named) if named != wanted => {
                let shown = holding.certificate.display();
                let message = format!("{shown}: is the certificate of {named}, not of {wanted}");
                Err(Report::new(codes::IN_THE_WAY, message))
            }
            Some(_) | None => Ok(wanted),
        }
    }

    /// Refuses what would end again at once because the authority ends.
    fn check_authority(&self, authority: &Authority, terms: Terms) -> Result<()> {
        let now = now_unix_s();
        let window = authority.validity();
        let file = self.directory.join("ca").join(CA_CERTIFICATE_FILE);
        if now < window.not_before {
            let (what, not_before) = (file.display().to_string(), window.not_before);
            return Err(CertError::NotYetValid { what, not_before, now }.into());
        }
        let asked = now.saturating_add(terms.validity.as_secs());
        if asked <= window.not_after || !window.ends_soon(now) {
            return Ok(());
        }
        let message = format!(
            "{} (the authority's certificate) {}, at {}: what it signs ends then at the latest",
            file.display(),
            window.tense(now),
            certs::utc(window.not_after)
        );
        let command = self.renew_command("--authority --all");
        Err(Report::new(codes::AUTHORITY_ENDS, message)
            .help(format!("{command}    (the authority keeps its key: all stays valid)")))
    }

    /// Writes what was signed: the authority's certificate first, where the copy is not the present
    /// one, then the certificate.
    ///
    /// # Errors
    /// If a file cannot be written. Whatever stands there then belongs together.
    pub(crate) fn write_renewal(&self, authority: &Authority, prepared: &Prepared) -> Result<()> {
        let Holding { whose, certificate, ca, key, .. } = &prepared.holding;
        match (&prepared.signed, key) {
            (Signed::Same(renewed), _) => {
                if let Some(ca) = ca {
                    match authority.refresh(ca) {
                        Err(error) if error.is_not_found() => {
                            replace_certificate(ca, &authority.trust_pem())?;
                        }
                        other => drop(other?),
                    }
                }
                replace_certificate(certificate, &renewed.certificate_pem)?;
            }
            (Signed::Anew(issued), Some(key)) => match whose {
                Whose::Node(node) => {
                    let directory = self.node_directory(node);
                    issued.write(&directory, NODE)?;
                    self.prepare_configuration(node, &self.local_settings(node))?;
                }
                Whose::Operator => issued.write(&self.directory.join(OPERATOR), OPERATOR)?,
                Whose::Authority | Whose::File => issued.replace(&PemPaths {
                    ca: ca.clone().unwrap_or_default(),
                    certificate: certificate.clone(),
                    key: key.clone(),
                })?,
            },
            (Signed::Anew(_), None) => unreachable!("no pair is made where a key has no place"),
        }
        Ok(())
    }

    /// Renews the operator's certificate, or makes it.
    pub(super) fn renew_operator(&self, authority: &Authority) -> Result<()> {
        let holding = Holding::new(OPERATOR, Whose::Operator, self.operator());
        let terms = Terms { validity: DEFAULT_LEAF_VALIDITY, new_key: false };
        let prepared = self.prepare_renewal(authority, &holding, terms)?;
        self.write_renewal(authority, &prepared)
    }

    /// Says whose certificates have expired, and what renews them.
    pub(super) fn expired_bundles(&self) -> Result<Report> {
        let expired = self.ending(|window, now| window.not_after < now)?;
        let one = |(name, window): &(String, Validity)| {
            format!("{name} ({}, at {})", window.tense(now_unix_s()), certs::utc(window.not_after))
        };
        let names: Vec<String> = expired.iter().map(one).collect();
        let message = format!("certificates have expired: {}", names.join(", "));
        let again = super::again(&self.plan.name, &self.directory);
        Ok(Report::new(codes::BUNDLES_EXPIRED, message)
            .help(format!("{}    (renews them, and says what to do next)", {
                self.renew_command("--all")
            }))
            .help(format!("{again}    (afterwards)")))
    }

    /// Names the bundles whose certificate has ended, or does within thirty days.
    ///
    /// # Errors
    /// If the list of added nodes cannot be read.
    pub(crate) fn ending_soon(&self) -> Result<Vec<(String, Validity)>> {
        self.ending(Validity::ends_soon)
    }

    fn ending(&self, is: impl Fn(Validity, u64) -> bool) -> Result<Vec<(String, Validity)>> {
        let now = now_unix_s();
        let nodes =
            self.holdings()?.into_iter().filter(|held| matches!(held.whose, Whose::Node(_)));
        let window = |held: Holding| {
            let certificate = read_certificate(&held.certificate).ok()?;
            Some((held.name, certs::describe(&certificate).ok()?.validity))
        };
        Ok(nodes.filter_map(window).filter(|(_, window)| is(*window, now)).collect())
    }
}

/// A key that is here must be the certificate's; it may also be on its machine only.
fn has_key(holding: &Holding, renewed: &Renewed) -> Result<()> {
    let Some(key) = &holding.key else { return Ok(()) };
    let Err(error) = renewed.check_key(key, &holding.certificate) else { return Ok(()) };
    if error.is_not_found() {
        return Ok(());
    }
    let is_of_another = matches!(error, CertError::KeyMismatch { .. });
    let report = Report::from(error);
    Err(if is_of_another { report.help(holding.anew()) } else { report })
}
