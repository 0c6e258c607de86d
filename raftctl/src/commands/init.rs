//! `raftctl init`: from nothing to a cluster, in one command that may be run again at any point.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::Generation;
use consensus::{Configuration, NodeId};
use protocol::BootstrapRecord;
use serde_json::json;

use crate::addresses;
use crate::bootstrap::{Bootstrapped, Patience, bootstrap};
use crate::bundle::{Bundles, NodeSettings, PLAN};
use crate::cluster::Survey;
use crate::cluster::judge::judge;
use crate::codes;
use crate::context::{self, Context, Contexts, Node};
use crate::files;
use crate::invocation::Invocation;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::{Target, nodes_of};
use crate::values::{duration, machine, name, node};

/// How often nodes are asked while `init` waits for them.
const POLL: Duration = Duration::from_millis(250);

/// What `init` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArgs {
    /// The cluster's name: a-z, 0-9, '.', '_' and '-'
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: String,

    /// A node, as the others and clients reach it; again for each node, needed the first time
    #[arg(long = "node", value_name = "NAME=HOST:PORT", value_parser = node)]
    pub(crate) nodes: Vec<(String, String)>,

    /// Where authority, bundles and record are kept [default: ~/.local/share/raftctl/NAME]
    #[arg(long, value_name = "DIR", env = "RAFTCTL_DIR", hide_env_values = true)]
    pub(crate) dir: Option<PathBuf>,

    /// What the nodes replicate: the name of the machine in their program, and its version if that
    /// is not 1
    #[arg(
        long,
        value_name = "NAME[:VERSION]",
        default_value = crate::bundle::KV,
        value_parser = machine
    )]
    pub(crate) machine: String,

    /// Makes authority, bundles and context, and stops before it waits for the nodes
    #[arg(long)]
    pub(crate) prepare_only: bool,

    /// How long to wait for the nodes
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) wait: Duration,

    /// Says what would be done, and does nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// If something is in the way, or nodes do not answer in time.
pub(crate) async fn run(invocation: &Invocation, args: InitArgs) -> Result<()> {
    check_nodes(&args.nodes)?;
    addresses::check_first_members(invocation, &args.nodes).await?;
    let directory = match &args.dir {
        Some(directory) => files::absolute(directory)?,
        None => context::data_directory()?.join(&args.name),
    };
    if args.dry_run {
        return plan(invocation, &args, &directory);
    }
    may_write_context(&args.name, &directory, false).await?;
    let bundles = Bundles::prepare(&directory, &args.name, &args.nodes, &args.machine, |_| {
        NodeSettings::default()
    })?;
    say_prepared(invocation, &bundles);
    write_context(&args.name, &bundles, false).await?;
    if args.prepare_only {
        invocation.output.remark("  prepared    run the same command again when the nodes are up");
        return invocation.output.answer(&view(&bundles, None));
    }
    let target = Target::of(&bundles)?;
    let client = target.client(invocation.global.timeout)?;
    let patience = Patience { wait: args.wait, poll: POLL };
    let mut known = Contexts::load(&context::file()?)?.get(&args.name)?.nodes.clone();
    // Of the first members none may be left.
    let added = bundles
        .known()?
        .into_values()
        .map(|node| Node { name: Some(node.name), address: node.address });
    for node in added {
        if known.iter().all(|known| known.address != node.address) {
            known.push(node);
        }
    }
    let bootstrapped = bootstrap(&invocation.output, &bundles, &client, &known, patience).await?;
    client.close().await;
    if let Some(configuration) = bootstrapped.survey.configuration() {
        follow(&args.name, configuration, &bootstrapped.generation).await?;
    }
    invocation.output.answer(&view(&bundles, Some(&bootstrapped)))
}

/// Tells what was made and what comes next.
fn say_prepared(invocation: &Invocation, bundles: &Bundles) {
    let say = |line: String| invocation.output.remark(&line);
    let verb = if bundles.created { "created" } else { "present" };
    let directory = bundles.directory().display();
    let fingerprint = bundles.fingerprint.get(..19).unwrap_or(&bundles.fingerprint);
    say(format!("  authority   {verb}, key in {directory}/ca (0600), fingerprint {fingerprint}.."));
    let names: Vec<String> =
        bundles.plan.nodes.iter().map(|n| format!("{}-{}", bundles.plan.name, n.name)).collect();
    let names = names.join(" ");
    say(format!("  bundles     {names}   (certificate, key, CA, raftd.toml; in {directory})"));
    if bundles.renewed {
        say("  operator    the certificate is renewed for a year, with the same key".to_owned());
    }
    if let Ok(ending) = bundles.ending_soon()
        && let [(_, first), ..] = &ending[..]
    {
        let names: Vec<&str> = ending.iter().map(|(name, _)| name.as_str()).collect();
        let (names, command) = (names.join(" "), bundles.renew_command("--all"));
        let tense = first.tense(crate::bundle::now_unix_s());
        say(format!("  warning     the certificate of {names} {tense}: {command}"));
    }
    for line in &bundles.corrected {
        say(format!("  corrected   {line}"));
    }
    for note in &bundles.notes {
        say(format!("warning: {note}"));
    }
    if bundles.created || !bundles.corrected.is_empty() {
        let next =
            "put each bundle at /etc/raftd on its machine, then: systemctl enable --now raftd";
        say(format!("  next        {next}"));
    }
}

/// Returns the answer: for people a line or two, for programs all of it.
fn view(bundles: &Bundles, bootstrapped: Option<&Bootstrapped>) -> View {
    let plan = &bundles.plan;
    let mut text = String::new();
    let cluster = units::short_id(&plan.cluster);
    let mut data = json!({
        "name": plan.name,
        "cluster": plan.cluster,
        "directory": bundles.directory(),
        "corrected": bundles.corrected,
        "authority": { "fingerprint": bundles.fingerprint, "created": bundles.created },
        "nodes": plan.nodes.iter().map(|node| json!({
            "id": node.id.to_string(), "name": node.name, "address": node.address,
            "bundle": bundles.node_directory(node),
        })).collect::<Vec<_>>(),
    });
    if let Some(Bootstrapped { generation, present, survey }) = bootstrapped {
        let verdict = judge(survey, crate::bundle::now_unix_s().try_into().unwrap_or(i64::MAX));
        let name = |id: NodeId| survey.name(id);
        let leader = survey.leader().map(|leader| leader.node);
        let leader = leader.or_else(|| survey.told().map(|told| told.leader));
        let leader = leader.map(name).unwrap_or_default();
        let voters: Vec<String> = survey
            .configuration()
            .map(|found| found.voters().iter().map(name).collect())
            .unwrap_or_default();
        let verb = match *present {
            0 => "bootstrapped",
            all if all == plan.nodes.len() => "is running already",
            _ => "bootstrap completed",
        };
        let (list, tolerates) = (voters.join(" "), verdict.tolerates.unwrap_or(0));
        let failures = if tolerates == 1 { "failure" } else { "failures" };
        text = format!(
            "  cluster     {cluster} {verb}: voters {list}, leader {leader}, tolerates {tolerates} \
             {failures}\n  context     \"{}\" is now current: try `raftctl status`\n",
            plan.name
        );
        data["generation"] = json!(generation.to_string());
        data["alreadyBootstrapped"] = json!(*present == plan.nodes.len());
        data["leader"] = json!(leader);
        data["voters"] = json!(voters);
        data["tolerates"] = json!(verdict.tolerates);
    }
    let rows = bootstrapped.into_iter().flat_map(|bootstrapped| &bootstrapped.survey.rows);
    let silent = |row: &crate::cluster::Row| {
        let silence = row.answer.as_ref().err()?;
        Some(format!("{} does not answer: {}", row.name, silence.why))
    };
    let mut warnings: Vec<String> = rows.filter_map(silent).collect();
    warnings
        .extend(bootstrapped.into_iter().flat_map(|bootstrapped| unsettled(&bootstrapped.survey)));
    let names = vec![plan.name.clone()];
    View { kind: "Init", data, text: text.into_bytes(), names, warnings }
}

/// Says what is wrong with nodes that answer, where not all is well.
fn unsettled(survey: &Survey) -> Vec<String> {
    let answered = |text: &str| {
        let silent = survey.rows.iter().filter(|row| row.answer.is_err());
        !silent.into_iter().any(|row| text.starts_with(&format!("{}:", row.name)))
    };
    let all = crate::cluster::remarks::members(survey).into_iter();
    let told = all.filter(|(text, _)| answered(text));
    told.map(|(text, code)| format!("{text} (raftctl explain {code})")).collect()
}

fn plan(invocation: &Invocation, args: &InitArgs, directory: &std::path::Path) -> Result<()> {
    let exists = directory.join(PLAN).exists();
    let shown = directory.display();
    let mut text = String::new();
    if exists {
        text.push_str(&format!("would go on with the cluster in {shown}\n"));
        for line in Bundles::preview(directory, &args.nodes)? {
            text.push_str(&format!("would correct {line}\n"));
        }
    } else {
        if args.nodes.is_empty() {
            let help = format!("raftctl init {} --node n1=HOST:PORT ..", args.name);
            return Err(Report::new(codes::USAGE, "a new cluster needs --node").help(help));
        }
        text.push_str(&format!("would create an authority in {shown}/ca\n"));
        for (name, address) in &args.nodes {
            text.push_str(&format!("would create a bundle for {name} at {address}\n"));
        }
        let voters = args.nodes.len();
        let tolerates = (voters - 1) / 2;
        let noun = if voters == 1 { "voter" } else { "voters" };
        text.push_str(&format!(
            "would bootstrap {voters} {noun}: tolerates {tolerates} failures\n"
        ));
    }
    text.push_str(&format!("would write and use the context \"{}\"\n", args.name));
    let lines: Vec<&str> = text.lines().collect();
    let data = json!({ "name": args.name, "directory": directory, "steps": lines });
    let names = vec![args.name.clone()];
    let view =
        View { kind: "Plan", data, text: text.clone().into_bytes(), names, warnings: vec![] };
    invocation.output.answer(&view)
}

/// Refuses to take the name of another cluster's context, and to begin what could not be ended.
///
/// # Errors
/// If another cluster has the name, or the contexts cannot be written.
pub(crate) async fn may_write_context(
    name: &str,
    directory: &std::path::Path,
    local: bool,
) -> Result<()> {
    let file = context::file()?;
    let contexts = Contexts::load(&file)?;
    is_free(&contexts, name, directory, local)?;
    match contexts.all.contains_key(name) && contexts.current.as_deref() == Some(name) {
        true => Ok(()),
        false => Contexts::check_writable(&file).await,
    }
}

/// A local cluster may take the name of another one, which is made and thrown away as easily.
fn is_free(
    contexts: &Contexts,
    name: &str,
    directory: &std::path::Path,
    local: bool,
) -> Result<()> {
    let gives_way = |known: &Context| known.key.starts_with(directory) || local && is_local(known);
    match contexts.all.get(name) {
        Some(present) if !gives_way(present) => {
            let shown = present.key.display();
            let message = format!("the context \"{name}\" is in use, with the key {shown}");
            Err(Report::new(codes::IN_THE_WAY, message)
                .help(format!("raftctl context remove {name}    (forgets it; deletes no file)"))
                .help("another name for the cluster"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Says whether a context is that of a cluster that `dev` made: its data is beside its keys, if it
/// is not gone. Ways to other machines may begin at this one, too.
fn is_local(known: &Context) -> bool {
    let mut nodes = known.nodes.iter();
    let data = |directory: &std::path::Path| {
        let mut names = known.nodes.iter().filter_map(|node| node.name.as_ref());
        names.any(|name| directory.join(format!("data-{name}")).is_dir())
    };
    let directory = known.key.parent().and_then(std::path::Path::parent);
    nodes.all(|node| node.address.starts_with("127.0.0.1:"))
        && (!known.key.exists() || directory.is_some_and(data))
}

/// Writes the context of a cluster, which may be a `local` one, and makes it current.
///
/// # Errors
/// If another cluster has the name, or the file cannot be written.
pub(crate) async fn write_context(name: &str, bundles: &Bundles, local: bool) -> Result<()> {
    let write = |contexts: &mut Contexts| {
        is_free(contexts, name, bundles.directory(), local)?;
        let context = bundles.context();
        let known = contexts.all.get(name).filter(|known| known.cluster == context.cluster);
        let context = match known {
            Some(known) => renewed(context, known, bundles, local)?,
            None => context,
        };
        contexts.all.insert(name.to_owned(), context);
        contexts.switch(name)
    };
    Contexts::change(&context::file()?, write).await
}

/// Returns a context in the place of the known one of the same cluster. Which history that one
/// follows is all that tells a restored cluster from the nodes of before, so nothing takes it away
/// but a record that goes on from it.
fn renewed(
    mut context: Context,
    known: &Context,
    bundles: &Bundles,
    local: bool,
) -> Result<Context> {
    // Those of an earlier history may run on, and are named as long as they do.
    context.former.clone_from(&known.former);
    let record = bundles.record()?;
    let goes_on = |from: &String| -> Result<bool> {
        let parent = record.as_ref().and_then(|record| record.parent);
        let former = bundles.former_records()?;
        let before = former.iter().map(BootstrapRecord::generation).chain(parent);
        Ok(before.map(|generation| generation.to_string()).any(|generation| generation == *from))
    };
    match (&known.generation, &context.generation) {
        (Some(from), Some(to)) if from != to && !local && !goes_on(from)? => {
            let short = |text: &String| text.get(..8).unwrap_or(text).to_owned();
            let message = format!(
                "the context follows history {}, and {} has the record of {}, which does not go \
                 on from it: is this an older copy of the directory?",
                short(from),
                bundles.directory().display(),
                short(to)
            );
            let name = &bundles.plan.name;
            return Err(Report::new(codes::IN_THE_WAY, message)
                .help("--dir DIR    (where the cluster was restored last)")
                .help(format!("raftctl context remove {name}    (to go back to that record)")));
        }
        (Some(from), None) if !local => {
            context.generation = Some(from.clone());
            context.nodes.clone_from(&known.nodes);
        }
        // The nodes of a running cluster may have followed changes of members since.
        (_, _) if record.is_some() => context.nodes.clone_from(&known.nodes),
        (_, _) => {}
    }
    Ok(context)
}

/// Lets the context follow the history that was found, or made.
async fn follow(name: &str, configuration: &Configuration, generation: &Generation) -> Result<()> {
    let nodes = nodes_of(configuration);
    let follow = |contexts: &mut Contexts| {
        if let Some(context) = contexts.all.get_mut(name) {
            context.lead_to(&nodes, generation);
        }
        Ok(())
    };
    Contexts::change(&context::file()?, follow).await
}

fn check_nodes(nodes: &[(String, String)]) -> Result<()> {
    let unique = |pick: fn(&(String, String)) -> &String| {
        nodes.iter().map(pick).collect::<BTreeSet<_>>().len() == nodes.len()
    };
    let usage = |message: &str| Err(Report::new(codes::USAGE, message));
    if !unique(|node| &node.0) {
        return usage("two nodes have the same name");
    }
    if !unique(|node| &node.1) {
        return usage("two nodes have the same address");
    }
    if nodes.len() > consensus::MEMBERS_MAX {
        return usage(&format!("a cluster has at most {} members", consensus::MEMBERS_MAX));
    }
    Ok(())
}
