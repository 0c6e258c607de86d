//! What `init` keeps of a cluster, in one directory: the plan, the authority, a bundle for each
//! node, the operator's credentials, and the bootstrap record.
//!
//! ```text
//! DIR/cluster.toml       the plan: name, cluster id, nodes; stands once there is a record
//! DIR/ca/                the authority: ca.crt, ca.key
//! DIR/operator/          ca.crt, operator.crt, operator.key
//! DIR/NAME-n1/           ca.crt, node.crt, node.key, raftd.toml
//! DIR/tokens/            tokens by which hosts enrol: what checks a proof, not what makes one
//! DIR/NAME-n4.token      a token until it is used, for the operator to carry
//! DIR/added.toml         nodes that were added later, with their ids
//! DIR/removed.toml       ids of nodes that were removed
//! DIR/bootstrap.record   written once, before it is sent to anybody
//! DIR/bootstrap-X.record that of a former history, since a snapshot was restored
//! DIR/bootstrap-X.begun  as long as nobody may have the history of that record
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::{
    Authority, CertError, ClusterId, Credentials, DEFAULT_CA_VALIDITY, DEFAULT_LEAF_VALIDITY,
    Identity, PemPaths, Role,
};
use consensus::{Configuration, Incarnation, Majority, Member, NodeId, Voters};
use protocol::BootstrapRecord;

use crate::codes;
use crate::context::lock::{Lock, take, wait};
use crate::context::{self, make_private_directory, write_private};
use crate::report::{Report, Result};
use crate::values::machine_of;

mod bounded;
mod configuration;
pub(crate) mod holdings;
mod issued;
mod newcomers;
mod plan;
mod removed;
pub(crate) mod rotation;
mod successor;
mod tokens;

pub(crate) use configuration::{Lease, NodeSettings};
pub(crate) use plan::{KV, PLAN, Plan, PlannedNode, again};
pub(crate) use successor::Succession;
pub(crate) use tokens::KeptToken;

use bounded::{read_bounded, read_record};
use plan::RECORD;

/// How long another raftctl is waited for that changes tokens or certificates.
const PATIENCE: Duration = Duration::from_secs(10);

/// The prefix of a node's files, in its bundle.
const NODE: &str = "node";

/// The prefix of the operator's files.
const OPERATOR: &str = "operator";

/// The directory of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Bundles {
    directory: PathBuf,
    /// Held as long as this value lives, one `init` or `dev` at a time; who only looks needs none.
    locks: Vec<Arc<Lock>>,
    /// What the operator wants.
    pub(crate) plan: Plan,
    /// The authority's fingerprint.
    pub(crate) fingerprint: String,
    /// Whether the authority was made just now.
    pub(crate) created: bool,
    /// Whether the operator's certificate was renewed just now.
    pub(crate) renewed: bool,
    /// What was corrected in the plan, for people.
    pub(crate) corrected: Vec<String>,
    /// What is left to be done by hand.
    pub(crate) notes: Vec<String>,
}

impl Bundles {
    /// Makes what is missing, corrects the plan of a cluster that is not bootstrapped, and returns
    /// what is there.
    ///
    /// # Errors
    /// If the directory is another cluster's, or that was bootstrapped with another list of nodes.
    pub(crate) fn prepare(
        directory: &Path,
        name: &str,
        nodes: &[(String, String)],
        machine: &str,
        settings: impl Fn(&PlannedNode) -> NodeSettings,
    ) -> Result<Self> {
        if nodes.is_empty() && !directory.join(PLAN).exists() {
            let help = format!("raftctl init {name} --node n1=HOST:PORT --node n2=HOST:PORT ..");
            return Err(Report::new(codes::USAGE, "a new cluster needs --node").help(help));
        }
        make_private_directory(directory)?;
        let locks = vec![Arc::new(lock(directory, ".lock")?)];
        Self::settle(directory)?;
        // No half of a key is left behind.
        let _hold = crate::signals::hold();
        let authority_directory = directory.join("ca");
        let created = !Authority::is_stored(&authority_directory)?;
        if created {
            refuse_leftovers(directory)?;
            let authority = Authority::create(ClusterId::generate()?, DEFAULT_CA_VALIDITY)?;
            authority.store(&authority_directory)?;
        }
        let authority = Authority::load(&authority_directory)?;
        let (plan, correction) =
            plan::plan(directory, (name, machine), nodes, authority.cluster())?;
        let fingerprint = authority.fingerprint().to_owned();
        let (directory, renewed) = (directory.to_owned(), false);
        let (corrected, notes) = (correction.lines, Vec::new());
        let mut bundles =
            Self { directory, locks, plan, fingerprint, created, renewed, corrected, notes };
        // While another authority takes its place, everybody trusts both.
        let authority = bundles.present_authority()?;
        for node in &correction.dropped {
            bundles.put_aside(node, "dropped")?;
        }
        let (known, removed) = (bundles.known()?, bundles.removed()?);
        for node in &bundles.plan.nodes {
            // A name that was given again is another node's, and so is what lies under it.
            let is_another = |other: &PlannedNode| other.name == node.name && other.id > node.id;
            if removed.contains(&node.id) || known.values().any(is_another) {
                continue;
            }
            let note = bundles.prepare_node(&authority, node, &settings(node))?;
            bundles.notes.extend(note);
        }
        bundles.renewed = bundles.prepare_operator(&authority)?;
        Ok(bundles)
    }

    /// Opens what `init` or `dev` made, to add nodes; that may go on while `dev` runs.
    ///
    /// # Errors
    /// If there is no cluster in it, or nodes are being added already.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        // Nothing is made in a directory that is none.
        plan::name_in(directory)?;
        Self::settle(directory)?;
        let locks = vec![Arc::new(lock(directory, ".add.lock")?)];
        Ok(Self { locks, ..Self::beside(directory)? })
    }

    /// Keeps others from writing certificates here as long as what is returned lives. Whoever adds
    /// nodes may wait for them for hours, and certificates end meanwhile: this is another lock.
    ///
    /// # Errors
    /// If another raftctl writes some for long.
    pub(crate) async fn writing_certificates(mut self) -> Result<Self> {
        self.locks.push(Arc::new(self.lock_certificates().await?));
        Ok(self)
    }

    /// Waits for the lock of those who write certificates here.
    ///
    /// # Errors
    /// As [`Bundles::writing_certificates`].
    pub(crate) async fn lock_certificates(&self) -> Result<Lock> {
        wait(&self.directory.join(".certs.lock"), "the certificates", PATIENCE).await
    }

    /// Opens what `init` or `dev` made, also while nodes are being added.
    ///
    /// # Errors
    /// If there is no cluster in it.
    pub(crate) fn beside(directory: &Path) -> Result<Self> {
        let locks = Vec::new();
        let name = plan::name_in(directory)?;
        let authority = Authority::load(&directory.join("ca"))?;
        let (plan, _) = plan::plan(directory, (&name, KV), &[], authority.cluster())?;
        let fingerprint = authority.fingerprint().to_owned();
        let directory = directory.to_owned();
        let (created, renewed) = (false, false);
        let (corrected, notes) = (Vec::new(), Vec::new());
        Ok(Self { directory, locks, plan, fingerprint, created, renewed, corrected, notes })
    }

    /// Says what another list of nodes would change in the plan; nothing if there is none yet.
    ///
    /// # Errors
    /// If the cluster is bootstrapped with other nodes.
    pub(crate) fn preview(directory: &Path, nodes: &[(String, String)]) -> Result<Vec<String>> {
        plan::preview(directory, nodes)
    }

    /// Returns a node's bundle.
    pub(crate) fn node_directory(&self, node: &PlannedNode) -> PathBuf {
        self.directory.join(format!("{}-{}", self.plan.name, node.name))
    }

    /// Returns the operator's files.
    pub(crate) fn operator(&self) -> PemPaths {
        PemPaths::in_directory(&self.directory.join(OPERATOR), OPERATOR)
    }

    /// Returns the directory of it all.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the context that leads to this cluster.
    pub(crate) fn context(&self) -> context::Context {
        let PemPaths { ca, certificate, key } = self.operator();
        let node = |node: &PlannedNode| context::Node {
            name: Some(node.name.clone()),
            address: node.address.clone(),
        };
        // One that cannot be read is told of when it is needed; one whose restore has not ended is
        // followed by nobody.
        let record = self.record().ok().flatten().filter(|record| !self.is_begun(record));
        context::Context {
            cluster: Some(self.plan.cluster.clone()),
            generation: record.map(|record| record.generation().to_string()),
            ca,
            cert: certificate,
            key,
            nodes: self.plan.nodes.iter().map(node).collect(),
            former: Vec::new(),
        }
    }

    fn prepare_node(
        &self,
        authority: &Authority,
        node: &PlannedNode,
        settings: &NodeSettings,
    ) -> Result<Option<String>> {
        let directory = self.node_directory(node);
        make_private_directory(&directory)?;
        let identity = Identity::new(authority.cluster(), Role::Node(node.id));
        match Credentials::load_from(&directory, NODE) {
            Ok(present) if *present.identity() == identity => {}
            Ok(present) => {
                let found = present.identity();
                let message = format!("{}: holds the bundle of {found}", directory.display());
                return Err(Report::new(codes::IN_THE_WAY, message));
            }
            // A key that is on its node's machine only: a new pair would not go with it.
            Err(error) if error.is_not_found() && directory.join("node.crt").exists() => {}
            Err(error) if error.is_not_found() => {
                authority.issue(&identity, DEFAULT_LEAF_VALIDITY)?.write(&directory, NODE)?;
            }
            Err(CertError::Expired { .. }) => return Err(self.expired_bundles()?),
            Err(error @ CertError::KeyMismatch { .. }) => {
                let command = self.renew_command(&format!("{} --new-key", node.name));
                return Err(Report::from(error)
                    .help(format!("{command}    (makes certificate and key anew)")));
            }
            Err(error) => return Err(error.into()),
        }
        self.prepare_configuration(node, settings)
    }

    /// Writes a node's raftd.toml; returns what is to be done by hand, if anything is.
    fn prepare_configuration(
        &self,
        node: &PlannedNode,
        settings: &NodeSettings,
    ) -> Result<Option<String>> {
        let file = self.node_directory(node).join("raftd.toml");
        configuration::write(&file, &self.plan.name, node, settings)
    }

    /// Makes the operator's certificate, or renews it when it ends soon; says whether it did.
    fn prepare_operator(&self, authority: &Authority) -> Result<bool> {
        let directory = self.directory.join(OPERATOR);
        make_private_directory(&directory)?;
        let present = Credentials::load_from(&directory, OPERATOR);
        let (there, counts) = match present {
            Ok(present) if !present.validity().ends_soon(now_unix_s()) => return Ok(false),
            Ok(_) => (true, true),
            Err(CertError::Expired { .. }) => (true, false),
            Err(error) if error.is_not_found() => (false, false),
            Err(error @ CertError::KeyMismatch { .. }) => {
                let command = self.renew_command("operator --new-key");
                return Err(Report::from(error)
                    .help(format!("{command}    (makes certificate and key anew)")));
            }
            Err(error) => return Err(error.into()),
        };
        match self.renew_operator(authority) {
            // An authority that ends soon gives no longer time.
            Err(report) if counts && report.code == Some(codes::AUTHORITY_ENDS) => Ok(false),
            done => done.map(|()| there),
        }
    }

    /// Returns the stored bootstrap record, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn record(&self) -> Result<Option<BootstrapRecord>> {
        read_record(&self.record_path())
    }

    /// Makes the record of these data directories and stores it; never replaces one.
    ///
    /// # Errors
    /// If it cannot be written, or the nodes make no configuration.
    pub(crate) fn write_record(
        &self,
        incarnations: &BTreeMap<NodeId, Incarnation>,
    ) -> Result<BootstrapRecord> {
        let member = |node: &PlannedNode| {
            let id = NodeId::from(node.id);
            let incarnation = incarnations.get(&id).copied().unwrap_or_default();
            let (name, address) = (node.name.clone(), node.address.clone());
            (id, Member { incarnation, name, address })
        };
        let members: BTreeMap<NodeId, Member> = self.plan.nodes.iter().map(member).collect();
        let voters = Voters::Stable(Majority::new(members.keys().copied()));
        let configuration = Configuration::new(voters, BTreeSet::new(), members)
            .map_err(|error| Report::new(codes::USAGE, error.to_string()))?;
        let cluster: ClusterId = self.plan.cluster.parse()?;
        let (machine, machine_version) = machine_of(&self.plan.machine);
        let record = BootstrapRecord {
            cluster: cluster.to_bytes(),
            configuration,
            machine: machine.to_owned(),
            machine_version,
            parent: None,
        };
        // `snapshot restore` writes it, too.
        let _lock = lock(&self.directory, ".record.lock")?;
        match self.record()? {
            Some(present) => Ok(present),
            None => write_private(&self.record_path(), &record.encode()).map(|()| record),
        }
    }

    /// Returns where the bootstrap record is.
    pub(crate) fn record_path(&self) -> PathBuf {
        self.directory.join(RECORD)
    }
}

/// Keeps other `init`s and `dev`s out of the directory as long as this value lives.
fn lock(directory: &Path, name: &str) -> Result<Lock> {
    take(&directory.join(name))?.ok_or_else(|| {
        let message = format!("another `raftctl` works in {}", directory.display());
        Report::new(codes::LOCKED, message)
            .help("wait for it or stop it; another --dir is another cluster")
    })
}

/// A directory with a plan or a record and without an authority has lost it.
fn refuse_leftovers(directory: &Path) -> Result<()> {
    for name in [PLAN, RECORD] {
        let path = directory.join(name);
        if path.exists() {
            let message = format!("{} exists, but the authority in ca/ is missing", path.display());
            return Err(Report::new(codes::IN_THE_WAY, message)
                .help("restore ca/ from a backup, or prepare another cluster with another --dir"));
        }
    }
    Ok(())
}

/// Returns the wall clock, in seconds since 1970; before that, 0.
pub(crate) fn now_unix_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
