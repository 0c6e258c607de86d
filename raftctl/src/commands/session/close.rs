//! `raftctl session close`: the fence behind which no command of a session is applied.

use clap::Args;
use client::{Consistency, Ended};
use serde_json::json;
use state_machine::SessionAnswers;

use super::found::{below, find, name, ranges};
use crate::invocation::Invocation;
use crate::output::View;
use crate::report::Result;

/// What `close` is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CloseArgs {
    /// Its id
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    id: u64,
    /// Shows what would be closed
    #[arg(long)]
    dry_run: bool,
}

/// Closes a session, and says what of it was applied.
///
/// # Errors
/// If there is no such session, it is not confirmed, or the cluster does not answer.
pub(super) async fn run(invocation: &Invocation, args: CloseArgs) -> Result<()> {
    let CloseArgs { id, dry_run } = args;
    let (_, client) = invocation.client()?;
    let (found, _) = find(&client, id, Consistency::Linearizable).await?;
    if dry_run {
        client.close().await;
        return invocation.output.answer(&plan(id, &found));
    }
    invocation.confirm(&format!(
        "Close session {id} ({})? Nothing that its client still sends in it is applied",
        name(&found.session)
    ))?;
    let ended = client.close_session(id).await;
    client.close().await;
    invocation.output.answer(&done(id, &found, ended?.as_ref()))
}

fn plan(id: u64, found: &SessionAnswers) -> View {
    let (name_shown, missing) = (name(&found.session), found.missing());
    let text = format!(
        "would close session {id} ({name_shown})\nnot applied  {}   (final then)\n",
        listed(&missing)
    );
    View {
        kind: "Plan",
        data: json!({ "id": id.to_string(), "name": found.session.name, "notApplied": missing }),
        text: text.into_bytes(),
        names: vec![id.to_string()],
        warnings: Vec::new(),
    }
}

fn done(id: u64, found: &SessionAnswers, ended: Option<&Ended>) -> View {
    let mut text = format!("session      {id}, closed\nname         {}\n", name(&found.session));
    let mut data = json!({ "id": id.to_string(), "name": found.session.name, "closed": true });
    let mut warnings = Vec::new();
    match ended {
        Some(Ended { low_water, highest, missing }) => {
            text.push_str(&format!(
                "answered     {}\nhighest      {}\nnot applied  {}   (final)\n",
                below(*low_water),
                if *highest == 0 { "-".to_owned() } else { highest.to_string() },
                listed(missing),
            ));
            data["lowWater"] = json!(low_water);
            data["highest"] = json!(highest);
            data["notApplied"] = json!(missing);
            data["final"] = json!(true);
        }
        // Of an answer that got lost, or of somebody else's close, nothing is known.
        None => {
            let why = "it was closed before this could say what was applied: read the values back";
            warnings.push(why.to_owned());
            data["notApplied"] = json!(null);
            data["final"] = json!(false);
        }
    }
    let names = vec![id.to_string()];
    View { kind: "ClosedSession", data, text: text.into_bytes(), names, warnings }
}

fn listed(missing: &[u64]) -> String {
    if missing.is_empty() { "none".to_owned() } else { ranges(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::ClusterTime;

    fn found() -> SessionAnswers {
        let time = ClusterTime::new(1);
        let session = state_machine::Session {
            owner: "client billing".to_owned(),
            name: "billing".to_owned(),
            registered: time,
            active: time,
            low_water: 3,
            highest: 9,
        };
        SessionAnswers { session, cached: Vec::new() }
    }

    #[test]
    fn a_close_says_finally_what_was_not_applied() {
        let ended = Ended { low_water: 3, highest: 9, missing: vec![4, 5, 8] };
        let view = done(12, &found(), Some(&ended));
        let expected = "session      12, closed\n\
                        name         billing\n\
                        answered     1-2\n\
                        highest      9\n\
                        not applied  4-5, 8   (final)\n";
        assert_eq!(String::from_utf8(view.text).as_deref(), Ok(expected));
        assert_eq!(
            (&view.data["final"], &view.data["notApplied"]),
            (&json!(true), &json!([4, 5, 8]))
        );
    }

    #[test]
    fn what_nobody_could_say_is_not_called_final() {
        let view = done(12, &found(), None);
        assert_eq!((&view.data["final"], &view.data["closed"]), (&json!(false), &json!(true)));
        assert!(!String::from_utf8_lossy(&view.text).contains("final"));
        assert_eq!(view.warnings.len(), 1);
    }
}
