//! The operator's tool: makes clusters, shows how they do, reads and writes their data, measures.
//!
//! | module | concept |
//! |---|---|
//! | `cli` | the command line, one definition for parsing, help, completion, manual |
//! | `global`, `values` | flags of every command; how values are read |
//! | `commands` | one noun or verb each |
//! | `cluster` | asking all nodes at once, and the verdict over their answers |
//! | `look` | a quick look at it, for whoever changes something |
//! | `addresses` | what can be told of where nodes are to be, before it is written |
//! | `change` | a change of members, before, during and after |
//! | `bootstrap` | waiting for nodes, giving them the record, waiting for a leader |
//! | `bundle` | what `init` keeps of a cluster: authority, bundles, bootstrap record; renewing |
//! | `invocation` | what every command is given |
//! | `target`, `context` | which cluster, and who asks |
//! | `offline` | files of stopped nodes |
//! | `input`, `files` | what people give to be read, and files that are written for them |
//! | `signals` | how Ctrl-C and SIGTERM end a command |
//! | `output` | tables, JSON, progress |
//! | `report`, `codes`, `exit` | errors, their pages, exit codes |
//!
//! # Architecture invariants
//! - Nothing here knows the Raft algorithm: it asks nodes, and says what they said.
//! - Data goes to stdout, everything else to stderr; a closed pipe is no failure.
//! - Nothing that a node says is trusted to be printable; a name that is printed leads back to what
//!   it names.
//! - A list is held a page at a time, however long it is.
//! - A path is opened once; what is open tells whether it is a plain file.
//! - A signal ends every command, whatever its threads wait for.
//! - An unknown outcome is never called a failure; only puts of a load are repeated after one.
//! - The bootstrap record is written before it is sent, and never edited.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use environment::Failure;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::output::Output;
use crate::output::form::Form;

mod addresses;
mod bootstrap;
mod bundle;
mod change;
mod cli;
mod cluster;
mod codes;
mod commands;
mod context;
mod exit;
mod files;
mod global;
mod input;
mod invocation;
mod look;
mod newest;
mod offline;
mod output;
mod raftd;
mod report;
mod signals;
mod target;
mod values;

/// Returns the definition of the command line, for the manual.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program: reads the command line, does what it says, and reports.
pub fn main() -> ExitCode {
    let caught = signals::install();
    // Where the system refuses, everything else is done all the same.
    let _ = certs::forbid_core_dumps();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(Failure::CommandLine(error)) => return usage(&error),
        Err(Failure::Variable(bad)) => return variable(&bad),
    };
    let Cli { global, command } = cli;
    if global.verbose {
        let filter = tracing_subscriber::EnvFilter::new("client=debug,transport=debug");
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(|| output::Inert)
            .init();
    }
    let output = Output::new(&global);
    if let Err(report) = caught {
        output.fail(&report);
        return ExitCode::from(report.exit.code());
    }
    let invocation = Invocation::new(global, output.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(async {
                let done = commands::run(&invocation, command).await;
                invocation.learn().await;
                done
            });
            // A name that does not resolve in time must not keep the program alive.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(report::Report::new(codes::INTERNAL, error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            let report = with_variables(report, &invocation.global.variables);
            output.fail(&report);
            ExitCode::from(report.exit.code())
        }
    }
}

/// Says what is wrong with an environment variable.
fn variable(bad: &environment::BadVariable) -> ExitCode {
    let form = form_wanted(std::env::args_os()).unwrap_or(Form::Table);
    let report = report::Report::new(codes::BAD_VARIABLE, bad.to_string()).help(bad.hint());
    output::fail_as(form, &report);
    ExitCode::from(report.exit.code())
}

/// Names the variables that chose cluster, credentials and files, where these are what is wrong.
fn with_variables(report: report::Report, variables: &[String]) -> report::Report {
    let is_about_them = report.code.is_some_and(|code| {
        [
            codes::NO_CONTEXT,
            codes::NO_FILE,
            codes::LOCAL_FILE,
            codes::CREDENTIALS,
            codes::UNREACHABLE,
            codes::CERTIFICATES,
            codes::NO_RAFTD,
        ]
        .contains(&code)
    });
    let chosen: Vec<&str> = global::CHOOSING
        .into_iter()
        .filter(|name| variables.iter().any(|variable| variable == name))
        .collect();
    if !is_about_them || chosen.is_empty() {
        return report;
    }
    let verb = if chosen.len() == 1 { "is" } else { "are" };
    report.help(format!("{} {verb} set in the environment", chosen.join(", ")))
}

/// Says what is wrong with the command line, or what was asked: help or version.
fn usage(error: &clap::Error) -> ExitCode {
    let form = form_wanted(std::env::args_os()).filter(|_| error.use_stderr());
    if let Some(form) = form {
        let message = error.to_string();
        // What is missing is named below the first line.
        let lines = message.lines().take_while(|line| !line.trim().is_empty());
        let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        output::fail_as(form, &report::Report::new(codes::USAGE, line));
    } else {
        let written = error.print().and_then(|()| std::io::stdout().flush());
        // On stderr nobody listens if it cannot be written.
        if let (Err(why), false) = (written, error.use_stderr()) {
            let report = output::unwritten(&why);
            output::fail_as(Form::Table, &report);
            return ExitCode::from(report.exit.code());
        }
    }
    ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() })
}

/// Returns the form for programs that a command line asks for which cannot be parsed.
fn form_wanted(arguments: impl Iterator<Item = OsString>) -> Option<Form> {
    let arguments: Vec<String> =
        arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let joined = arguments.iter().find_map(|argument| {
        let long = argument.strip_prefix("--output=");
        long.or_else(|| argument.strip_prefix("-o=")).or_else(|| argument.strip_prefix("-o"))
    });
    let apart = arguments.windows(2).find(|pair| matches!(pair[0].as_str(), "-o" | "--output"));
    let variable = std::env::var_os("RAFTCTL_OUTPUT").as_deref().and_then(environment::text);
    let variable = variable.map(|text| text.to_string_lossy().to_ascii_lowercase());
    let wanted = apart.map(|pair| pair[1].as_str()).or(joined).or(variable.as_deref())?;
    match wanted {
        "json" => Some(Form::Json),
        "yaml" => Some(Form::Yaml),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_noticed_on_a_broken_command_line() {
        let wanted = |line: &str| form_wanted(line.split(' ').map(OsString::from));
        for line in ["raftctl -o json x", "raftctl x --output=json", "raftctl -ojson"] {
            assert_eq!(wanted(line), Some(Form::Json), "{line}");
        }
        assert_eq!(wanted("raftctl --output yaml x"), Some(Form::Yaml));
        assert_eq!(wanted("raftctl -o table json"), None);
    }
}
