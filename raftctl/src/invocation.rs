//! What every command is given: its flags, where answers go, which cluster it is about, and who
//! asks. Flags and environment go before the context.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::CertError;
use client::{Client, Credentials, Generation};
use consensus::Configuration;
use tokio::time::timeout;

use crate::bundle::{Bundles, now_unix_s};
use crate::codes;
use crate::context::{self, Context, Contexts, Node};
use crate::global::Global;
use crate::look::look;
use crate::output::Output;
use crate::report::{Report, Result};
use crate::signals;
use crate::target::{Target, nodes_of};

/// How long a context looks for the leader of a history before it takes that for the cluster's.
const LEARN_WITHIN: Duration = Duration::from_secs(1);

/// What every command is given.
pub(crate) struct Invocation {
    /// The flags of every command.
    pub(crate) global: Global,
    /// Where answers go.
    pub(crate) output: Output,
    /// The certificates that were read: their files may be pipes, which are read once.
    known: OnceCell<Credentials>,
    /// The context in use that knows no history yet, its cluster, and a client that may learn one.
    learning: OnceCell<(String, String, Client)>,
}

impl Invocation {
    /// What a command is given.
    pub(crate) fn new(global: Global, output: Output) -> Self {
        Self { global, output, known: OnceCell::new(), learning: OnceCell::new() }
    }

    /// Finds out which cluster is meant.
    ///
    /// # Errors
    /// If none is named, or the certificates cannot be used.
    pub(crate) fn target(&self) -> Result<Target> {
        // A file may be a pipe that nobody writes to.
        let _at_once = signals::at_once();
        let global = &self.global;
        let complete = !global.endpoints.is_empty()
            && [&global.ca, &global.cert, &global.key].iter().all(|path| path.is_some());
        let chosen = match (complete, &global.context) {
            (true, None) => None,
            _ => self.context()?,
        };
        let (name, context) = match chosen {
            Some((name, context)) => (Some(name), Some(context)),
            None => (None, None),
        };
        let path = |flag: &Option<std::path::PathBuf>,
                    pick: fn(&Context) -> &std::path::PathBuf| {
            flag.clone().or_else(|| context.as_ref().map(|context| pick(context).clone()))
        };
        let files = (
            path(&global.ca, |context| &context.ca),
            path(&global.cert, |context| &context.cert),
            path(&global.key, |context| &context.key),
        );
        if context.is_none() && global.endpoints.is_empty() {
            return Err(no_cluster("no cluster is named: there is no context and no endpoint"));
        }
        let followed = context.as_ref().map(Context::followed).transpose()?.flatten();
        let known = context.map(|context| (context.nodes, context.former)).unwrap_or_default();
        let named = |a: &String| Node { name: None, address: a.clone() };
        let (nodes, former) = match global.endpoints.as_slice() {
            [] => known,
            flags => (flags.iter().map(named).collect(), Vec::new()),
        };
        let (Some(ca), Some(cert), Some(key)) = files else {
            return Err(no_cluster("no certificates are named: --ca, --cert and --key"));
        };
        if nodes.is_empty() {
            return Err(no_cluster("no node is named"));
        }
        let credentials = match self.known.get() {
            Some(known) => known.clone(),
            None => self.credentials(&ca, &cert, &key)?,
        };
        let credentials = self.known.get_or_init(|| credentials).clone();
        let generation = match &name {
            Some(_) => followed,
            None => known_of(&credentials),
        };
        Ok(Target { name, nodes, former, credentials, generation })
    }

    /// Loads who asks, and warns when that ends soon.
    fn credentials(&self, ca: &Path, cert: &Path, key: &Path) -> Result<Credentials> {
        let credentials = Credentials::load(ca, cert, key).map_err(|error| {
            let Global { ca, cert, key, .. } = &self.global;
            let is_named_by = |flag: &Option<PathBuf>| {
                matches!(&error, CertError::Io { path, .. } if flag.as_ref() == Some(path))
            };
            let help = match [ca, cert, key].into_iter().any(is_named_by) {
                true => "--ca, --cert and --key: ca.crt, NAME.crt and NAME.key of one directory",
                false => "raftctl cert renew operator    (where the authority is; makes it anew)",
            };
            match error.is_not_found() {
                true => Report::from(error).help(help),
                false => Report::from(error),
            }
        })?;
        let (own, authority) = (credentials.validity(), credentials.authority_validity());
        let (window, file, what) = match authority.not_after < own.not_after {
            true => (authority, ca, "--authority --all"),
            false => (own, cert, "--all"),
        };
        let now = now_unix_s();
        if window.ends_soon(now) {
            let whose = if file == ca { "the authority's" } else { "your own" };
            self.output.warn_once(&format!(
                "{whose} certificate {} ({}): raftctl cert renew {what}",
                window.tense(now),
                file.display()
            ));
        }
        Ok(credentials)
    }

    /// Returns the files of who asks: the authority's certificate, the own one, and its key.
    ///
    /// # Errors
    /// If neither a context nor flags name them.
    pub(crate) fn credential_files(&self) -> Result<(PathBuf, PathBuf, PathBuf)> {
        let global = &self.global;
        let flags = (&global.ca, &global.cert, &global.key);
        if let ((Some(ca), Some(cert), Some(key)), None) = (flags, &global.context) {
            return Ok((ca.clone(), cert.clone(), key.clone()));
        }
        let Some((_, context)) = self.context()? else {
            return Err(no_cluster("no certificates are named: there is no context"));
        };
        let or = |flag: &Option<PathBuf>, file: PathBuf| flag.clone().unwrap_or(file);
        Ok((
            or(&global.ca, context.ca),
            or(&global.cert, context.cert),
            or(&global.key, context.key),
        ))
    }

    /// Returns the context that is asked for, else the current one, if there is one.
    fn context(&self) -> Result<Option<(String, Context)>> {
        let contexts = Contexts::load(&context::file()?)?;
        let name = self.global.context.clone().or_else(|| contexts.current.clone());
        match name {
            Some(name) => Ok(Some((name.clone(), contexts.get(&name)?.clone()))),
            None if !contexts.all.is_empty() && self.global.endpoints.is_empty() => {
                Err(no_cluster("no context is current")
                    .help("raftctl context use NAME    (raftctl context list shows all)"))
            }
            None => Ok(None),
        }
    }

    /// Returns the directory that `init` made, if the context's key is still in it.
    ///
    /// # Errors
    /// If the contexts cannot be read.
    pub(crate) fn bundle_directory(&self) -> Result<Option<std::path::PathBuf>> {
        let context = self.context()?;
        let directory =
            context.and_then(|(_, context)| Some(context.key.parent()?.parent()?.into()));
        Ok(directory.filter(|path: &std::path::PathBuf| path.join(crate::bundle::PLAN).exists()))
    }

    /// Returns where the nodes of a cluster are, as the context in use knows, if it is that one's.
    ///
    /// # Errors
    /// If the contexts cannot be read.
    pub(crate) fn nodes_of(&self, cluster: &str) -> Result<Vec<Node>> {
        let context = self.context()?.map(|(_, context)| context);
        let known = context.filter(|context| context.cluster.as_deref() == Some(cluster));
        Ok(known.map(|context| context.nodes).unwrap_or_default())
    }

    /// Lets the context follow a change of members, so that it still leads to the cluster when
    /// its first members are gone, or are elsewhere. The change is made, so that a context that
    /// cannot follow is told of, and is no failure.
    pub(crate) async fn follow(&self, target: &Target, configuration: &Configuration) {
        let Some(name) = &target.name else {
            return;
        };
        let cluster = target.credentials.cluster().to_string();
        let nodes = nodes_of(configuration);
        let generation = target.generation.map(|generation| generation.to_string());
        let follow = |file: std::path::PathBuf| async move {
            let follow = |contexts: &mut Contexts| {
                let known = contexts.all.get_mut(name);
                if let Some(known) = known.filter(|known| known.cluster.as_ref() == Some(&cluster))
                {
                    known.nodes.clone_from(&nodes);
                    if let Some(generation) = &generation {
                        known.generation.get_or_insert_with(|| generation.clone());
                    }
                }
                Ok(())
            };
            Contexts::change(&file, follow).await
        };
        let followed = match context::file() {
            Ok(file) => follow(file).await,
            Err(report) => Err(report),
        };
        if let Err(report) = followed {
            let why = report.message;
            let line = format!("warning: the context \"{name}\" leads where it led before: {why}");
            self.output.remark(&line);
        }
    }

    /// Connects nothing yet, but could.
    ///
    /// # Errors
    /// As [`Invocation::target`]; if no socket can be had.
    pub(crate) fn client(&self) -> Result<(Target, Client)> {
        self.client_within(self.global.timeout)
    }

    /// The same, with another time for each request.
    ///
    /// # Errors
    /// As [`Invocation::client`].
    pub(crate) fn client_within(&self, timeout: Duration) -> Result<(Target, Client)> {
        let target = self.target()?;
        let client = target.client(timeout)?;
        if let (Some(name), None) = (&target.name, target.generation) {
            // Whichever client of a command is the first.
            let cluster = target.credentials.cluster().to_string();
            let _ = self.learning.set((name.clone(), cluster, client.clone()));
        }
        Ok((target, client))
    }

    /// Records the history that was met first in a context that knew none. A context that cannot be
    /// written learns it again the next time.
    pub(crate) async fn learn(&self) {
        let Some((name, cluster, client)) = self.learning.get() else {
            return;
        };
        let (Some(generation), Ok(file)) = (client.generation(), context::file()) else {
            return;
        };
        if !self.is_led(generation).await {
            return;
        }
        let learn = |contexts: &mut Contexts| {
            // Another cluster may have got the name meanwhile.
            let is_meant = |context: &&mut Context| {
                let is_its = context.cluster.as_ref().is_none_or(|known| known == cluster);
                is_its && context.generation.is_none()
            };
            if let Some(context) = contexts.all.get_mut(name).filter(is_meant) {
                context.generation = Some(generation.to_string());
            }
            Ok(())
        };
        let _ = Contexts::change(&file, learn).await;
    }

    /// Returns the cluster of a directory, seen by its operator, with all places where nodes of it
    /// were ever known to be: its first members may be elsewhere by now, or gone.
    ///
    /// # Errors
    /// If the operator's certificate cannot be used, or the lists of nodes cannot be read.
    pub(crate) fn everywhere(&self, bundles: &Bundles) -> Result<Target> {
        let target = Target::of(bundles)?;
        let removed = bundles.removed()?;
        let added = bundles.known()?.into_values().filter(|node| !removed.contains(&node.id));
        let added = added.map(|node| Node { name: Some(node.name), address: node.address });
        // The context follows changes of members; whoever uses none has the lists all the same, and
        // may name others.
        let flags = self.global.endpoints.iter();
        let flags = flags.map(|address| Node { name: None, address: address.clone() });
        let mut nodes = self.nodes_of(&bundles.plan.cluster).unwrap_or_default();
        nodes.extend(added.chain(flags));
        let mut seen = BTreeSet::new();
        nodes.retain(|node| seen.insert(node.address.clone()));
        Ok(Target { nodes, ..target })
    }

    /// Says whether a leader of this history answers: one that was left behind by a restore may
    /// have been the first to answer, and what it has is kept by nobody.
    async fn is_led(&self, generation: Generation) -> bool {
        let Ok(target) = self.target() else { return false };
        let target = Target { generation: Some(generation), ..target };
        let Ok(client) = target.client(LEARN_WITHIN) else { return false };
        let survey = timeout(LEARN_WITHIN, look(&client, &target.nodes)).await;
        client.close().await;
        let is_its = |survey: crate::cluster::Survey| {
            survey.leader().is_some_and(|leader| leader.generation == Some(generation))
        };
        survey.is_ok_and(is_its)
    }

    /// Asks whether to go on, on a terminal; elsewhere `--yes` must have said so.
    ///
    /// # Errors
    /// If the answer is no, or nobody can be asked.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        use std::io::{BufRead as _, IsTerminal as _};
        if self.global.yes {
            return Ok(());
        }
        let _at_once = signals::at_once();
        let refused = |why: &str| Err(Report::new(codes::NOT_CONFIRMED, why).help("add --yes"));
        if !std::io::stdin().is_terminal() {
            return refused("not confirmed: this is no terminal, so nobody can be asked");
        }
        crate::output::write_stderr(&format!("{question} [y/N]"));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(_), "y" | "Y" | "yes") => Ok(()),
            _ => refused("not confirmed"),
        }
    }
}

/// Returns the history that contexts of the same cluster follow, where no context was asked for.
fn known_of(credentials: &Credentials) -> Option<Generation> {
    let contexts = Contexts::load(&context::file().ok()?).ok()?;
    let cluster = credentials.cluster().to_string();
    let same = contexts.all.values().filter(|one| one.cluster.as_ref() == Some(&cluster));
    let mut known = same.filter_map(|context| context.followed().ok().flatten());
    let first = known.next()?;
    known.all(|other| other == first).then_some(first)
}

fn no_cluster(why: &str) -> Report {
    Report::new(codes::NO_CLUSTER, why)
        .help("raftctl dev             (a local cluster to try things with)")
        .help("raftctl init --help     (a cluster of your machines)")
        .help("raftctl context --help  (one that exists already)")
}
