//! `raftctl context`: the clusters that raftctl knows.

use clap::Subcommand;
use client::Credentials;
use serde_json::{Value, json};

use crate::codes;
use crate::context::{self, Context, Contexts, Node};
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::report::{Report, Result};
use crate::values::name;

/// Clusters that raftctl knows.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Lists all; the current one is marked
    #[command(visible_alias = "ls")]
    List,
    /// Makes one the current; "-" goes back to the one before
    Use {
        /// Its name, or -
        name: String,
    },
    /// Shows one, or the current one
    Show {
        /// Its name
        name: Option<String>,
    },
    /// Adds one, from -e, --ca, --cert and --key; checks that the certificates can be used
    Add {
        /// Its name
        #[arg(value_parser = name)]
        name: String,
    },
    /// Forgets one; deletes no certificate and no key
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// If there is no such context, or the file cannot be read or written.
pub(crate) async fn run(invocation: &Invocation, command: ContextCommand) -> Result<()> {
    let file = context::file()?;
    match command {
        ContextCommand::List => list(invocation, &Contexts::load(&file)?),
        ContextCommand::Show { name } => show(invocation, &Contexts::load(&file)?, name),
        ContextCommand::Use { name } => {
            let name = Contexts::change(&file, |contexts| {
                let wanted = match name.as_str() {
                    "-" => contexts.previous.clone().ok_or_else(|| {
                        Report::new(codes::NO_CONTEXT, "no other context was in use before")
                    })?,
                    _ => name.clone(),
                };
                contexts.switch(&wanted)?;
                Ok(wanted)
            });
            changed(invocation, &name.await?, "is now current")
        }
        ContextCommand::Add { name } => {
            let added = from_flags(invocation)?;
            let add = Contexts::change(&file, |contexts| {
                if contexts.all.contains_key(&name) {
                    let message = format!("the context \"{name}\" exists");
                    return Err(Report::new(codes::IN_THE_WAY, message)
                        .help(format!("raftctl context remove {name}")));
                }
                contexts.all.insert(name.clone(), added.clone());
                contexts.switch(&name)
            });
            add.await?;
            changed(invocation, &name, "is added and current")
        }
        ContextCommand::Remove { name } => {
            Contexts::load(&file)?.get(&name)?;
            invocation.confirm(&format!("forget the context \"{name}\"?"))?;
            let remove = Contexts::change(&file, |contexts| {
                contexts.get(&name)?;
                contexts.all.remove(&name);
                for place in [&mut contexts.current, &mut contexts.previous] {
                    if place.as_deref() == Some(name.as_str()) {
                        *place = None;
                    }
                }
                Ok(())
            });
            remove.await?;
            changed(invocation, &name, "is forgotten; its files are where they were")
        }
    }
}

fn changed(invocation: &Invocation, name: &str, what: &str) -> Result<()> {
    invocation.output.answer(&View {
        kind: "Context",
        data: json!({ "name": name, "result": what }),
        text: format!("context \"{name}\" {what}\n").into_bytes(),
        names: vec![name.to_owned()],
        warnings: Vec::new(),
    })
}

fn list(invocation: &Invocation, contexts: &Contexts) -> Result<()> {
    let mut rows = Rows::new(&["CURRENT", "NAME", "CLUSTER", "ENDPOINTS"]);
    for (name, context) in &contexts.all {
        let current = contexts.current.as_ref() == Some(name);
        rows.push(vec![
            if current { "*" } else { "" }.to_owned(),
            name.clone(),
            context.cluster.clone().unwrap_or_else(|| "-".to_owned()),
            endpoints(context).join(","),
        ]);
    }
    let text = match contexts.all.is_empty() {
        true => String::new(),
        false => rows.render(invocation.output.headers),
    };
    if contexts.all.is_empty() {
        invocation.output.remark("no contexts yet; raftctl dev and raftctl init write one");
    }
    let item = |(name, context): (&String, &Context)| of(name, context, contexts);
    invocation.output.answer(&View {
        kind: "ContextList",
        data: json!({
            "current": contexts.current,
            "contexts": contexts.all.iter().map(item).collect::<Vec<_>>(),
        }),
        text: text.into_bytes(),
        names: contexts.all.keys().cloned().collect(),
        warnings: Vec::new(),
    })
}

fn show(invocation: &Invocation, contexts: &Contexts, name: Option<String>) -> Result<()> {
    let name = name
        .or_else(|| invocation.global.context.clone())
        .or_else(|| contexts.current.clone())
        .ok_or_else(|| {
            Report::new(codes::NO_CONTEXT, "no context is current").help("raftctl context list")
        })?;
    let context = contexts.get(&name)?;
    let certificate = match Credentials::load(&context.ca, &context.cert, &context.key) {
        Ok(credentials) => format!("{}, {}", credentials.identity().role, credentials.validity()),
        Err(error) => format!("cannot be used: {error}"),
    };
    let text = format!(
        "name         {name}{}\ncluster      {}\ngeneration   {}\nendpoints    {}\n\
         ca           {}\ncert         {}\nkey          {}\ncertificate  {certificate}\n",
        if contexts.current.as_ref() == Some(&name) { " (current)" } else { "" },
        context.cluster.as_deref().unwrap_or("-"),
        context.generation.as_deref().unwrap_or("- (that of the first node that answers)"),
        endpoints(context).join(" "),
        context.ca.display(),
        context.cert.display(),
        context.key.display(),
    );
    let mut data = of(&name, context, contexts);
    data["certificate"] = json!(certificate);
    invocation.output.answer(&View {
        kind: "Context",
        data,
        text: text.into_bytes(),
        names: vec![name],
        warnings: Vec::new(),
    })
}

fn endpoints(context: &Context) -> Vec<String> {
    context.nodes.iter().map(|node| node.address.clone()).collect()
}

fn of(name: &str, context: &Context, contexts: &Contexts) -> Value {
    json!({
        "name": name,
        "current": contexts.current.as_deref() == Some(name),
        "cluster": context.cluster,
        "generation": context.generation,
        "endpoints": endpoints(context),
        "ca": context.ca,
        "cert": context.cert,
        "key": context.key,
    })
}

fn from_flags(invocation: &Invocation) -> Result<Context> {
    let global = &invocation.global;
    let (Some(ca), Some(cert), Some(key)) = (&global.ca, &global.cert, &global.key) else {
        return Err(Report::new(codes::USAGE, "a context needs --ca, --cert and --key"));
    };
    if global.endpoints.is_empty() {
        return Err(Report::new(codes::USAGE, "a context needs -e HOST:PORT"));
    }
    let (ca, cert, key) = (absolute(ca)?, absolute(cert)?, absolute(key)?);
    for path in [&ca, &cert, &key] {
        // Nobody could read it a second time.
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            let message = format!("{} is no plain file: a context keeps names", path.display());
            return Err(Report::new(codes::USAGE, message).help("write it to a file first"));
        }
    }
    let credentials = Credentials::load(&ca, &cert, &key)?;
    let node = |address: &String| Node { name: None, address: address.clone() };
    Ok(Context {
        cluster: Some(credentials.cluster().to_string()),
        generation: None,
        ca,
        cert,
        key,
        nodes: global.endpoints.iter().map(node).collect(),
        former: Vec::new(),
    })
}
