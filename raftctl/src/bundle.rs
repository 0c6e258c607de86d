//! What `init` keeps of a cluster, in one directory: the plan, the authority, a bundle for each
//! node, the operator's credentials, and the bootstrap record.
//!
//! ```text
//! DIR/cluster.toml       the plan: name, cluster id, nodes; written once
//! DIR/ca/                the authority: ca.crt, ca.key
//! DIR/operator/          ca.crt, operator.crt, operator.key
//! DIR/NAME-n1/           ca.crt, node.crt, node.key, raftd.toml
//! DIR/bootstrap.record   written once, before it is sent to anybody
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{
    Authority, CertError, ClusterId, Credentials, DEFAULT_CA_VALIDITY, DEFAULT_LEAF_VALIDITY,
    Identity, PemPaths, Role,
};
use consensus::{Configuration, Incarnation, Majority, Member, NodeId, Voters};
use protocol::BootstrapRecord;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::context::{self, make_private_directory, write_private};
use crate::report::{Report, Result};

pub mod holdings;
mod newcomers;
mod successor;

/// The largest plan or record that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file of the plan.
pub const PLAN: &str = "cluster.toml";

/// The file of the bootstrap record.
const RECORD: &str = "bootstrap.record";

/// The machine that `raftd` replicates.
pub const KV: &str = "kv";

fn kv() -> String {
    KV.to_owned()
}

/// The prefix of a node's files, in its bundle.
const NODE: &str = "node";

/// The prefix of the operator's files.
const OPERATOR: &str = "operator";

/// A node, as the operator named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedNode {
    /// Its id: its place in the first list.
    pub id: NonZeroU64,
    /// Its name.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// What the operator wants; never edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The cluster's name for people.
    pub name: String,
    /// Its id, as in its certificates.
    pub cluster: String,
    /// What it replicates.
    #[serde(default = "kv")]
    pub machine: String,
    /// Its first voters.
    #[serde(rename = "node")]
    pub nodes: Vec<PlannedNode>,
}

/// The directory of a cluster.
#[derive(Clone, Debug)]
pub struct Bundles {
    directory: PathBuf,
    /// Held as long as this value lives: one `init` or `dev` at a time.
    _lock: Arc<File>,
    /// What the operator wants.
    pub plan: Plan,
    /// The authority's fingerprint.
    pub fingerprint: String,
    /// Whether the authority was made just now.
    pub created: bool,
    /// Whether the operator's certificate was renewed just now.
    pub renewed: bool,
}

/// What a node's raftd.toml says beyond its credentials.
#[derive(Clone, Debug, Default)]
pub struct NodeSettings {
    /// Where the node keeps its data; the daemon's default if not said.
    pub data_dir: Option<PathBuf>,
    /// The address to listen on; all addresses if not said.
    pub listen_host: Option<String>,
}

impl Bundles {
    /// Makes what is missing, and returns what is there.
    ///
    /// # Errors
    /// If the directory is another cluster's, or another list of nodes was planned.
    pub fn prepare(
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
        let lock = Arc::new(lock(directory, ".lock")?);
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
        let plan = plan(directory, (name, machine), nodes, authority.cluster())?;
        let fingerprint = authority.fingerprint().to_owned();
        let (directory, renewed) = (directory.to_owned(), false);
        let mut bundles = Self { directory, _lock: lock, plan, fingerprint, created, renewed };
        for node in &bundles.plan.nodes {
            bundles.prepare_node(&authority, node, &settings(node))?;
        }
        bundles.renewed = bundles.prepare_operator(&authority)?;
        Ok(bundles)
    }

    /// Opens what `init` or `dev` made, to add nodes; that may go on while `dev` runs.
    ///
    /// # Errors
    /// If it is not there, is another cluster's, or nodes are being added already.
    pub fn open(directory: &Path, name: &str) -> Result<Self> {
        let lock = Arc::new(lock(directory, ".add.lock")?);
        let authority = Authority::load(&directory.join("ca"))?;
        let plan = plan(directory, (name, KV), &[], authority.cluster())?;
        let fingerprint = authority.fingerprint().to_owned();
        let directory = directory.to_owned();
        let (created, renewed) = (false, false);
        Ok(Self { directory, _lock: lock, plan, fingerprint, created, renewed })
    }

    /// Returns a node's bundle.
    pub fn node_directory(&self, node: &PlannedNode) -> PathBuf {
        self.directory.join(format!("{}-{}", self.plan.name, node.name))
    }

    /// Returns the operator's files.
    pub fn operator(&self) -> PemPaths {
        PemPaths::in_directory(&self.directory.join(OPERATOR), OPERATOR)
    }

    /// Returns the directory of it all.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the context that leads to this cluster.
    pub fn context(&self) -> context::Context {
        let PemPaths { ca, certificate, key } = self.operator();
        let node = |node: &PlannedNode| context::Node {
            name: Some(node.name.clone()),
            address: node.address.clone(),
        };
        context::Context {
            cluster: Some(self.plan.cluster.clone()),
            ca,
            cert: certificate,
            key,
            nodes: self.plan.nodes.iter().map(node).collect(),
        }
    }

    fn prepare_node(
        &self,
        authority: &Authority,
        node: &PlannedNode,
        settings: &NodeSettings,
    ) -> Result<()> {
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

    /// Writes a node's raftd.toml, if there is none.
    fn prepare_configuration(&self, node: &PlannedNode, settings: &NodeSettings) -> Result<()> {
        let directory = self.node_directory(node);
        let file = directory.join("raftd.toml");
        if file.exists() {
            return Ok(());
        }
        write_private(&file, configuration(&self.plan.name, node, settings).as_bytes())
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
    pub fn record(&self) -> Result<Option<BootstrapRecord>> {
        let path = self.record_path();
        let Some(bytes) = read_bounded(&path)? else {
            return Ok(None);
        };
        BootstrapRecord::decode(&bytes)
            .map(Some)
            .map_err(|error| Report::new(codes::LOCAL_FILE, format!("{}: {error}", path.display())))
    }

    /// Makes the record of these data directories and stores it; never replaces one.
    ///
    /// # Errors
    /// If it cannot be written, or the nodes make no configuration.
    pub fn found(&self, incarnations: &BTreeMap<NodeId, Incarnation>) -> Result<BootstrapRecord> {
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
        let record = BootstrapRecord {
            cluster: cluster.to_bytes(),
            configuration,
            machine: self.plan.machine.clone(),
            machine_version: 1,
            parent: None,
        };
        write_private(&self.record_path(), &record.encode())?;
        Ok(record)
    }

    fn record_path(&self) -> PathBuf {
        self.directory.join(RECORD)
    }
}

/// Keeps other `init`s and `dev`s out of the directory until the file is closed.
fn lock(directory: &Path, name: &str) -> Result<File> {
    use rustix::fs::{FlockOperation, flock};
    let path = directory.join(name);
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Report::io(&path, &error))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => {
            let message = format!("another `raftctl` works in {}", directory.display());
            Report::new(codes::IN_THE_WAY, message)
                .help("wait for it or stop it; another --dir is another cluster")
        }
        error => Report::io(&path, &error.into()),
    })?;
    Ok(file)
}

/// Returns the command that goes on with a cluster.
pub fn again(name: &str, directory: &Path) -> String {
    match context::data_directory() {
        Ok(usual) if usual.join(name) == directory => format!("raftctl init {name}"),
        Ok(_) | Err(_) => format!("raftctl init {name} --dir {}", directory.display()),
    }
}

/// Reads the plan, or writes the first one.
fn plan(
    directory: &Path,
    (name, machine): (&str, &str),
    nodes: &[(String, String)],
    cluster: ClusterId,
) -> Result<Plan> {
    let path = directory.join(PLAN);
    let Some(bytes) = read_bounded(&path)? else {
        let planned = |(number, (name, address)): (u64, &(String, String))| PlannedNode {
            id: NonZeroU64::new(number).expect("numbers begin at 1"),
            name: name.clone(),
            address: address.clone(),
        };
        let nodes = (1..).zip(nodes).map(planned).collect();
        let (name, machine) = (name.to_owned(), machine.to_owned());
        let plan = Plan { name, cluster: cluster.to_string(), machine, nodes };
        let text = toml::to_string_pretty(&plan)
            .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        write_private(&path, text.as_bytes())?;
        return Ok(plan);
    };
    let bad = |why: String| Report::new(codes::LOCAL_FILE, format!("{}: {why}", path.display()));
    let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    let plan: Plan = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    same(&plan, name, nodes, cluster, directory)?;
    Ok(plan)
}

/// Refuses to go on with something else than was planned.
fn same(
    plan: &Plan,
    name: &str,
    nodes: &[(String, String)],
    cluster: ClusterId,
    directory: &Path,
) -> Result<()> {
    let shown = directory.display();
    if plan.name != name {
        let message = format!("{shown} is the directory of cluster \"{}\"", plan.name);
        return Err(Report::new(codes::IN_THE_WAY, message).help("another --dir"));
    }
    if plan.cluster != cluster.to_string() {
        let message = format!("{shown}/ca is the authority of another cluster than the plan's");
        return Err(Report::new(codes::IN_THE_WAY, message));
    }
    let mut planned: Vec<(String, String)> =
        plan.nodes.iter().map(|node| (node.name.clone(), node.address.clone())).collect();
    let mut wanted = nodes.to_vec();
    planned.sort();
    wanted.sort();
    if wanted.is_empty() || planned == wanted {
        return Ok(());
    }
    let list = |nodes: &[(String, String)]| {
        nodes.iter().map(|(name, at)| format!("{name}={at}")).collect::<Vec<_>>().join(" ")
    };
    let message = format!(
        "cluster \"{name}\" was prepared with other nodes: {}, not {}",
        list(&planned),
        list(&wanted)
    );
    Err(Report::new(codes::OTHER_PLAN, message)
        .help(format!("{}    (goes on with the nodes of the first time)", again(name, directory)))
        .help("another name or --dir prepares another cluster"))
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

fn configuration(cluster: &str, node: &PlannedNode, settings: &NodeSettings) -> String {
    let port = node.address.rsplit_once(':').map_or("7400", |(_, port)| port);
    let host = settings.listen_host.as_deref().unwrap_or("[::]");
    let data = settings.data_dir.as_deref().unwrap_or(Path::new("/var/lib/raftd"));
    let data = toml::Value::String(data.display().to_string());
    let PlannedNode { id, name, address } = node;
    format!(
        "# {name} (node {id}) of cluster {cluster}, reached by the others at {address}.\n\
         # Paths are relative to this file; raftd.toml(5) lists every key.\n\
         data_dir = {data}\n\
         listen = \"{host}:{port}\"\n\n\
         [identity]\n\
         ca = \"ca.crt\"\n\
         certificate = \"node.crt\"\n\
         key = \"node.key\"\n"
    )
}

/// Reads a small file; `None` if it does not exist.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Report::io(path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Report::io(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("{}: larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(Report::new(codes::LOCAL_FILE, message));
    }
    Ok(Some(bytes))
}

/// Returns the wall clock, in seconds since 1970; before that, 0.
pub fn now_unix_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
