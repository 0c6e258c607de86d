//! `raftctl config validate`: would raftd start with this file, and what would be another then?
//!
//! The program itself answers: no second reader of its files could be of another mind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Args;
use protocol::{ConfigurationAnswer, ConfigurationRequest, Setting};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{ask, value};
use crate::codes;
use crate::exit::Exit;
use crate::files::absolute;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::raftd;
use crate::report::{Report, Result};

/// What `validate` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The file, as raftd.toml; those of the directory beside it (raftd.d) are read as well
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Shows which values differ from those that this running node goes by
    #[arg(long, value_name = "NODE")]
    against: Option<String>,
    /// Checks the settings only: the certificates that they name are elsewhere
    #[arg(long)]
    without_certificates: bool,
    /// The daemon's program [default: raftd beside raftctl, else on the PATH]
    #[arg(long, value_name = "FILE", env = "RAFTCTL_RAFTD", hide_env_values = true)]
    raftd: Option<PathBuf>,
}

/// A value that is another in the file than at the node.
struct Difference {
    key: String,
    is_live: bool,
    /// As TOML; empty if it is not there.
    running: String,
    file: String,
}

/// Runs the command.
///
/// # Errors
/// If raftd would not start with the file, with its exit code; if the node does not answer.
pub(super) async fn run(invocation: &Invocation, args: &ValidateArgs) -> Result<()> {
    let program = raftd::find(args.raftd.as_deref(), "config validate")?;
    let file = absolute(&args.file)?;
    let said = match args.without_certificates {
        true => {
            look(&program, &file, "--print-config").await?;
            format!("{}: valid; certificates were not looked at", file.display())
        }
        false => look(&program, &file, "--check-config").await?,
    };
    let differences = match &args.against {
        Some(node) => Some(differences(invocation, (&program, &file), node).await?),
        None => None,
    };
    invocation.output.answer(&view(invocation, &file, said.trim_end(), args, differences))
}

/// Lets raftd look at the file, and returns what it says.
async fn look(program: &Path, file: &Path, how: &str) -> Result<String> {
    let mut command = Command::new(program);
    raftd::without_variables(&mut command);
    command.arg("--config").arg(file).arg(how).stdin(Stdio::null());
    let output = spawn_blocking(move || command.output()).await;
    let output = output.expect("running a program does not panic");
    let output = output.map_err(|error| Report::io(program, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(refused(program, &output))
}

/// Makes a report of what raftd has said on stderr.
fn refused(program: &Path, output: &Output) -> Report {
    let text = String::from_utf8_lossy(&output.stderr);
    let Some(code) = output.status.code().and_then(|code| u8::try_from(code).ok()) else {
        let message = format!("{} ended: {}", program.display(), output.status);
        return Report::new(codes::INTERNAL, message);
    };
    let mut report = Report::new(codes::CONFIG_INVALID, String::new());
    report.exit = Exit::OfRaftd(code);
    let mut message: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("help: ") {
            report = report.help(printable(help.as_bytes()));
        } else if !line.starts_with("(configuration ") {
            message.push(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    let message = message.into_iter().map(|line| printable(line.as_bytes()));
    report.message = message.collect::<Vec<_>>().join("\n");
    report
}

/// Compares the file with what a node goes by.
async fn differences(
    invocation: &Invocation,
    (program, file): (&Path, &Path),
    node: &str,
) -> Result<Vec<Difference>> {
    let printed = look(program, file, "--print-config").await?;
    let mut asked = ask(invocation, &[node.to_owned()], ConfigurationRequest::Show).await?;
    let answer = asked.pop().map(|asked| asked.answer).transpose()?;
    let Some(ConfigurationAnswer::Shown { file: theirs, settings, .. }) = answer else {
        let message =
            format!("{} answered something else than was asked", printable(node.as_bytes()));
        return Err(Report::new(codes::UNEXPECTED, message));
    };
    let there = Place { directory: directory(Path::new(&theirs)) };
    let here = Place { directory: directory(file) };
    Ok(compare((&settings, &there), (&flat(&printed), &here)))
}

fn directory(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Where a configuration is: paths are meant as seen from there.
struct Place {
    directory: PathBuf,
}

impl Place {
    /// Returns a value such that it is the same wherever the files are.
    fn seen(&self, toml: &str) -> Value {
        match value(toml) {
            Value::String(text) => match Path::new(&text).strip_prefix(&self.directory) {
                Ok(inside) if !self.directory.as_os_str().is_empty() => {
                    json!({ "beside": inside.display().to_string() })
                }
                Ok(_) | Err(_) => Value::String(text),
            },
            other => other,
        }
    }
}

fn compare(
    (running, there): (&[Setting], &Place),
    (file, here): (&[(String, String)], &Place),
) -> Vec<Difference> {
    let of_file = |name: &str| file.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let mut found = Vec::new();
    for setting in running {
        let value = of_file(&setting.name);
        if value.is_some_and(|value| here.seen(value) == there.seen(&setting.value)) {
            continue;
        }
        found.push(Difference {
            key: setting.name.clone(),
            is_live: setting.is_live,
            running: setting.value.clone(),
            file: value.cloned().unwrap_or_default(),
        });
    }
    let is_new = |name: &String| running.iter().all(|setting| setting.name != *name);
    for (name, value) in file.iter().filter(|(name, _)| is_new(name)) {
        // What an older node does not know comes with its upgrade, which is a restart.
        let is_live = name.starts_with("peers.");
        let (key, file) = (name.clone(), value.clone());
        found.push(Difference { key, is_live, running: String::new(), file });
    }
    found
}

/// Returns the values of what raftd prints, by their dotted names.
fn flat(printed: &str) -> Vec<(String, String)> {
    let table: toml::Table = printed.parse().unwrap_or_default();
    let mut values = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => values.extend(
                section
                    .into_iter()
                    .map(|(word, value)| (format!("{name}.{word}"), value.to_string())),
            ),
            value => values.push((name, value.to_string())),
        }
    }
    values
}

fn view(
    invocation: &Invocation,
    file: &Path,
    said: &str,
    args: &ValidateArgs,
    differences: Option<Vec<Difference>>,
) -> View {
    let taken = |one: &Difference| if one.is_live { "reload" } else { "restart" };
    let mut text = format!("{}\n", printable(said.as_bytes()));
    if let (Some(found), Some(node)) = (&differences, &args.against) {
        let node = printable(node.as_bytes());
        if found.is_empty() {
            text.push_str(&format!("{node} goes by the same values\n"));
        } else {
            let mut rows = Rows::new(&["KEY", "TAKEN ON", "RUNNING", "FILE"]);
            for one in found {
                let shown = |value: &String| if value.is_empty() { "-" } else { value }.to_owned();
                let (running, file) = (shown(&one.running), shown(&one.file));
                rows.push(vec![one.key.clone(), taken(one).to_owned(), running, file]);
            }
            text.push_str(&rows.render(invocation.output.headers));
        }
    }
    let side = |text: &String| (!text.is_empty()).then(|| value(text));
    let data = |one: &Difference| {
        json!({
            "key": one.key, "takenOn": taken(one),
            "running": side(&one.running), "file": side(&one.file),
        })
    };
    let differences = differences.map(|found| found.iter().map(data).collect::<Vec<Value>>());
    View {
        kind: "ConfigurationCheck",
        data: json!({
            "file": file.display().to_string(),
            "valid": true,
            "said": said,
            "against": args.against,
            "differences": differences,
        }),
        text: text.into_bytes(),
        names: vec![file.display().to_string()],
        warnings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::SettingSource;

    fn setting(name: &str, value: &str, is_live: bool) -> Setting {
        let (name, value) = (name.to_owned(), value.to_owned());
        Setting { name, value, source: SettingSource::Default, is_live, next: None }
    }

    #[test]
    fn values_are_compared_as_seen_from_their_files() {
        let running = [
            setting("data_dir", "\"/var/lib/raftd\"", false),
            setting("identity.ca", "\"/etc/raftd/ca.crt\"", true),
            setting("raft.heartbeat_ms", "100", false),
            setting("raft.election_timeout_ms", "[300,600]", false),
            setting("peers.n1", "\"a:1\"", true),
        ];
        let printed = "data_dir = \"/var/lib/raftd\"  # default\n\
                       [identity]\nca = \"/home/me/prod-n1/ca.crt\"\n\
                       [raft]\nheartbeat_ms = 60\nelection_timeout_ms = [300, 600]\n\
                       [peers]\n\"n.2\" = \"b:1\"\n";
        let place = |directory: &str| Place { directory: directory.into() };
        let (there, here) = (place("/etc/raftd"), place("/home/me/prod-n1"));
        let found = compare((&running, &there), (&flat(printed), &here));
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.key.as_str(), one.is_live, one.running.as_str(), one.file.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("raft.heartbeat_ms", false, "100", "60"),
                ("peers.n1", true, "\"a:1\"", ""),
                ("peers.n.2", true, "", "\"b:1\""),
            ]
        );
    }
}
