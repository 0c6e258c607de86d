//! `raftctl config show`: what is in force, and where each value comes from.

use clap::Args;
use protocol::{ConfigurationAnswer, ConfigurationRequest, Setting, SettingSource};
use serde_json::{Value, json};

use super::{Asked, ask, ended, value};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::output::units::printable;
use crate::report::{Report, Result};

/// What `show` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// The nodes, by name or id [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Leaves out what nobody has set
    #[arg(long)]
    set: bool,
}

/// Runs the command.
///
/// # Errors
/// If nodes do not answer; the others' settings are shown all the same.
pub(super) async fn run(invocation: &Invocation, args: &ShowArgs) -> Result<()> {
    let asked = ask(invocation, &args.nodes, ConfigurationRequest::Show).await?;
    invocation.output.answer(&view(&asked, args.set, invocation.output.headers)?)?;
    ended(&asked)
}

fn view(asked: &[Asked], only_set: bool, headers: bool) -> Result<View> {
    let mut rows = Rows::new(&["NODE", "KEY", "TAKEN ON", "FROM", "VALUE"]);
    let (mut nodes, mut warnings) = (Vec::new(), Vec::new());
    for one in asked {
        let name = one.name();
        let (file, settings, refused) = match &one.answer {
            Ok(ConfigurationAnswer::Shown { file, settings, refused }) => (file, settings, refused),
            Ok(ConfigurationAnswer::Reloaded(_)) => {
                let message = format!("{name} answered something else than was asked");
                return Err(Report::new(codes::UNEXPECTED, message));
            }
            Err(report) => {
                rows.push_spilling(vec![name.clone(), "-".to_owned()], report.message.clone());
                nodes.push(json!({ "name": name, "error": report.to_json() }));
                continue;
            }
        };
        let is_shown = |setting: &&Setting| {
            !only_set || setting.source != SettingSource::Default || setting.next.is_some()
        };
        let shown: Vec<&Setting> = settings.iter().filter(is_shown).collect();
        for setting in &shown {
            rows.push(row(&name, setting));
            if let Some((value, place)) = &setting.next {
                let (key, value) = (&setting.name, printable(value.as_bytes()));
                let place = if place.is_empty() { "the default" } else { place };
                warnings.push(format!(
                    "{name}: {key} = {value} ({}) waits for a restart of raftd there",
                    printable(place.as_bytes())
                ));
            }
        }
        if !refused.is_empty() {
            warnings.push(format!(
                "{name}: the configuration that was read last is refused, and raftd would not \
                 start with it: {}",
                printable(refused.as_bytes())
            ));
        }
        nodes.push(json!({
            "name": name,
            "id": one.row.id.map(|id| id.to_string()),
            "file": file,
            "refused": Some(refused).filter(|why| !why.is_empty()),
            "settings": shown.into_iter().map(data).collect::<Vec<Value>>(),
        }));
    }
    Ok(View {
        kind: "NodeConfigurationList",
        data: json!({ "nodes": nodes }),
        text: rows.render(headers).into_bytes(),
        names: asked.iter().map(Asked::name).collect(),
        warnings,
    })
}

fn row(name: &str, setting: &Setting) -> Vec<String> {
    let from = match &setting.source {
        SettingSource::Default => "default",
        SettingSource::File(place)
        | SettingSource::Environment(place)
        | SettingSource::Flag(place) => place,
    };
    let taken = if setting.is_live { "reload" } else { "restart" };
    let (key, from, value) = (&setting.name, from.to_owned(), setting.value.clone());
    vec![name.to_owned(), key.clone(), taken.to_owned(), from, value]
}

fn data(setting: &Setting) -> Value {
    let (kind, place) = match &setting.source {
        SettingSource::Default => ("default", None),
        SettingSource::File(place) => ("file", Some(place)),
        SettingSource::Environment(variable) => ("environment", Some(variable)),
        SettingSource::Flag(flag) => ("flag", Some(flag)),
    };
    let next = setting.next.as_ref();
    json!({
        "key": setting.name,
        "value": value(&setting.value),
        "source": { "kind": kind, "place": place },
        "takenOn": if setting.is_live { "reload" } else { "restart" },
        "next": next.map(|(next, place)| json!({ "value": value(next), "place": place })),
    })
}
