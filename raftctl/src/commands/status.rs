//! `raftctl status`: asks all nodes at once, and judges. Works without quorum and leader.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use client::{Client, Generation};
use tokio::time::timeout_at;

use crate::bundle::now_unix_s;
use crate::cluster::former::ask_with_former;
use crate::cluster::judge::judge;
use crate::cluster::reasons::unreachable;
use crate::cluster::{Health, Survey, Verdict};
use crate::codes;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::output::View;
use crate::report::{Report, Result, told};
use crate::target::Target;
use crate::values::duration;

mod json;
mod text;

pub(crate) use json::node;
pub(crate) use text::{lease, state};

/// How often `--wait` asks.
const WAIT_POLL: Duration = Duration::from_millis(100);

/// How `status` shows what it found.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArgs {
    /// Exits with 0 if healthy, 11 if degraded but serving, 10 if unhealthy
    #[arg(long)]
    pub(crate) check: bool,

    /// Waits until the cluster is so, as long as --timeout allows
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) wait: Option<Wanted>,

    /// Shows it again and again
    #[arg(short, long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2s", value_parser = duration)]
    #[arg(conflicts_with_all = ["wait", "check"])]
    pub(crate) watch: Option<Duration>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// Every member does what it should: where one failure is tolerated, any one voter may stop.
    Healthy,
    /// Somebody leads.
    Leader,
    /// Every member has applied what is committed now.
    CaughtUp,
}

/// Runs the command.
///
/// # Errors
/// If no node answers, or the cluster does not become what is waited for.
pub(crate) async fn run(invocation: &Invocation, args: StatusArgs) -> Result<()> {
    let (target, client) = invocation.client()?;
    let (survey, verdict) = match (args.wait, args.watch) {
        (Some(wanted), _) => wait(&target, &client, wanted, invocation.global.timeout).await?,
        (None, Some(every)) => return watch(invocation, &target, &client, every).await,
        (None, None) => look(&target, &client).await,
    };
    let answered = invocation.output.answer(&view(invocation, &target, &survey, &verdict));
    client.close().await;
    told(answered, ended(invocation, args.check, &survey, &verdict))
}

/// Says how the command ends.
fn ended(invocation: &Invocation, checks: bool, survey: &Survey, verdict: &Verdict) -> Result<()> {
    if checks {
        let exit = verdict.health.exit();
        return if exit == Exit::Done { Ok(()) } else { Err(Report::quiet(exit)) };
    }
    if survey.answers().next().is_none() {
        let mut report = unreachable(survey);
        if invocation.output.for_people() {
            // The table has said it already.
            report.causes.clear();
            report.help.clear();
            if report.code == Some(codes::UNREACHABLE) {
                let moved = "raftctl status -e HOST:PORT    (if they have moved: R0408)";
                report = report.help(moved);
            }
        }
        return Err(report);
    }
    Ok(())
}

/// Asks all nodes once, and judges.
pub(crate) async fn look(target: &Target, client: &Client) -> (Survey, Verdict) {
    let survey = ask_with_former(client, &target.nodes, &target.former).await;
    let verdict = judge(&survey, i64::try_from(now_unix_s()).unwrap_or(i64::MAX));
    let verdict = with_known(verdict, &survey, client.generation());
    (survey, verdict)
}

/// A cluster without a history that had one as this client knows has lost it.
fn with_known(verdict: Verdict, survey: &Survey, known: Option<Generation>) -> Verdict {
    let Some(known) = known.filter(|_| verdict.health == Health::Uninitialised) else {
        return verdict;
    };
    // Whoever is down has it, as far as anybody knows.
    let remedy = match 2 * survey.answers().count() > survey.rows.len() {
        true => {
            "bring the data directories back, or restore a snapshot (raft(7), A majority is lost \
             for good)"
        }
        false => "start the nodes that do not answer: they may have it",
    };
    let reason = format!("{}, but {} is known here: {remedy}", verdict.reason, known.short());
    Verdict { reason, ..verdict }
}

/// Puts the answer together.
pub(crate) fn view(
    invocation: &Invocation,
    target: &Target,
    survey: &Survey,
    verdict: &Verdict,
) -> View {
    let name = target.name.as_deref().unwrap_or("-");
    let text = text::render(&invocation.output, name, survey, verdict);
    let names = survey.rows.iter().map(|row| row.name.clone()).collect();
    let data = json::render(name, survey, verdict);
    // For people the remarks stand below the table.
    let warnings = match invocation.output.for_people() {
        true => Vec::new(),
        false => verdict.remarks.iter().map(|(text, code)| format!("{text} [{code}]")).collect(),
    };
    View { kind: "ClusterStatus", data, text: text.into_bytes(), names, warnings }
}

async fn wait(
    target: &Target,
    client: &Client,
    wanted: Wanted,
    within: Duration,
) -> Result<(Survey, Verdict)> {
    let deadline = Instant::now() + within;
    let (mut goal, mut last) = (None, String::new());
    loop {
        // What was seen last is told where there is no time for another look.
        let looked = async { Some(look(target, client).await) };
        let looked = match last.is_empty() {
            true => looked.await,
            false => timeout_at(deadline.into(), looked).await.unwrap_or_default(),
        };
        let Some((survey, verdict)) = looked else { return Err(waited(within, &last)) };
        let committed = survey.leader().map(|leader| leader.commit);
        let reached = match wanted {
            Wanted::Healthy => verdict.health == Health::Healthy,
            // One that hears too few claims to lead, and cannot.
            Wanted::Leader => {
                let serves = verdict.health.exit() != Exit::Unhealthy;
                serves && committed.is_some_and(|commit| commit > 0)
            }
            Wanted::CaughtUp => {
                goal = goal.or(committed);
                goal.is_some_and(|goal| caught_up(&survey, goal))
            }
        };
        if reached {
            return Ok((survey, verdict));
        }
        last = match verdict.reason.as_str() {
            "" => verdict.health.to_string(),
            reason => format!("{}: {reason}", verdict.health),
        };
        if Instant::now() + WAIT_POLL >= deadline {
            return Err(waited(within, &last));
        }
        tokio::time::sleep(WAIT_POLL).await;
    }
}

/// Tells that it did not come to that.
fn waited(within: Duration, last: &str) -> Report {
    let message = format!("not so within {within:?}; the cluster is {last}");
    Report::new(codes::WAITED, message).help("raftctl status")
}

/// Says whether every member answers and has applied everything up to `goal`.
fn caught_up(survey: &Survey, goal: u64) -> bool {
    survey.configuration().is_some_and(|configuration| {
        configuration.members().keys().all(|id| {
            let answer = survey.row(*id).and_then(|row| row.answer.as_ref().ok());
            answer.is_some_and(|status| status.applied >= goal)
        })
    })
}

async fn watch(
    invocation: &Invocation,
    target: &Target,
    client: &Client,
    every: Duration,
) -> Result<()> {
    loop {
        let (survey, verdict) = look(target, client).await;
        invocation.output.clear()?;
        invocation.output.answer_again(&view(invocation, target, &survey, &verdict))?;
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests;
