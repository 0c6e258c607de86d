//! `raftctl config`: what nodes are configured with, whether raftd would start with a file, and
//! having nodes read theirs again.

use clap::Subcommand;
use client::Client;
use protocol::{ConfigurationAnswer, ConfigurationRequest};
use tokio::task::JoinSet;

use crate::cluster::reasons::silent;
use crate::cluster::{Row, Survey};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::units::printable;
use crate::report::{Report, Result};

mod reload;
mod show;
mod validate;

/// What is done with configurations.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows what is in force at running nodes, and where each value comes from
    ///
    /// A value comes from a flag, an environment variable, a line of a file, or is the default.
    /// What was read again and waits for a restart is told in a warning.
    Show(show::ShowArgs),
    /// Checks a configuration file as raftd does at its start, and ends as raftd would
    ///
    /// raftd itself reads the file, and those of the directory beside it; it starts nothing and
    /// touches no data. Variables such as RAFTD_LISTEN in the environment here have no say.
    Validate(validate::ValidateArgs),
    /// Lets nodes read their configuration and certificates again, as `systemctl reload` does
    ///
    /// A file that makes no sense is refused, and the node goes on with what it had. Whoever asks
    /// stands in the audit.
    Reload(reload::ReloadArgs),
}

/// Runs the command.
///
/// # Errors
/// If nobody answers, a node refuses, or a file is wrong.
pub(crate) async fn run(invocation: &Invocation, command: ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Show(args) => show::run(invocation, &args).await,
        ConfigCommand::Validate(args) => validate::run(invocation, &args).await,
        ConfigCommand::Reload(args) => reload::run(invocation, &args).await,
    }
}

/// A node, and what it answered, or why it did not.
struct Asked {
    row: Row,
    answer: std::result::Result<ConfigurationAnswer, Report>,
}

impl Asked {
    /// Returns its name, or its address where it has none.
    fn name(&self) -> String {
        printable(self.row.name.as_bytes())
    }
}

/// Asks the nodes of these names or ids, or all, at once; the answers come in the rows' order.
async fn ask(
    invocation: &Invocation,
    names: &[String],
    request: ConfigurationRequest,
) -> Result<Vec<Asked>> {
    let (target, client) = invocation.client()?;
    let survey = Survey::ask(&client, &target.nodes).await;
    let rows = chosen(&survey, names)?;
    let mut asking = JoinSet::new();
    for (place, row) in rows.into_iter().enumerate() {
        let client = client.clone();
        asking.spawn(async move {
            let answer = one(&client, &row, request).await;
            (place, Asked { row, answer })
        });
    }
    let mut found = asking.join_all().await;
    client.close().await;
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, asked)| asked).collect())
}

async fn one(
    client: &Client,
    row: &Row,
    request: ConfigurationRequest,
) -> Result<ConfigurationAnswer> {
    let answer = match &row.answer {
        Ok(_) => client.configuration(&row.address, request).await.map_err(Report::from),
        Err(silence) => Err(silent(row, silence)),
    };
    answer.map_err(|mut report| {
        if let Some(cause) = report.causes.first() {
            report.message = cause.why.clone();
        }
        report
    })
}

fn chosen(survey: &Survey, names: &[String]) -> Result<Vec<Row>> {
    let is = |row: &Row, name: &String| {
        row.name == *name || row.id.is_some_and(|id| id.to_string() == *name)
    };
    if let Some(name) = names.iter().find(|name| !survey.rows.iter().any(|row| is(row, name))) {
        let known: Vec<&str> = survey.rows.iter().map(|row| row.name.as_str()).collect();
        let (name, known) = (printable(name.as_bytes()), printable(known.join(" ").as_bytes()));
        let message = format!("there is no node \"{name}\" among {known}");
        return Err(Report::new(codes::NO_NODE, message).help("raftctl member list"));
    }
    let is_meant = |row: &&Row| names.is_empty() || names.iter().any(|name| is(row, name));
    Ok(survey.rows.iter().filter(is_meant).cloned().collect())
}

/// Says how the command ends: well, if all have answered.
///
/// # Errors
/// If some have not; if none has, why the first has not.
fn ended(asked: &[Asked]) -> Result<()> {
    let silent: Vec<&Asked> = asked.iter().filter(|asked| asked.answer.is_err()).collect();
    match silent.as_slice() {
        [] => Ok(()),
        [first, ..] if silent.len() == asked.len() => Err(first
            .answer
            .clone()
            .err()
            .unwrap_or_else(|| Report::quiet(crate::exit::Exit::Done))),
        some => {
            let names: Vec<String> = some.iter().map(|asked| asked.name()).collect();
            let message = format!("{} did not answer", names.join(" "));
            Err(Report::new(codes::CONFIG_PARTIAL, message)
                .help("raftctl status    (why it is silent)"))
        }
    }
}

/// Returns a value of TOML as JSON has it; what cannot be read is a text.
fn value(toml: &str) -> serde_json::Value {
    let read: Option<toml::Table> = format!("it = {toml}").parse().ok();
    let read = read.and_then(|mut table| table.remove("it"));
    let read = read.and_then(|value| serde_json::to_value(value).ok());
    read.unwrap_or_else(|| toml.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_told_as_json_has_them() {
        for (toml, wanted) in [
            ("\"a \\\"b\"", json!("a \"b")),
            ("100", json!(100)),
            ("[300, 600]", json!([300, 600])),
            ("", json!("")),
            ("nonsense", json!("nonsense")),
        ] {
            assert_eq!(value(toml), wanted, "{toml}");
        }
    }
}
