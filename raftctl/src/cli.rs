//! The command line: one definition for parsing, help, environment, completion and the manual.

use clap::{Parser, Subcommand};
use environment::{BadVariable, Failure, Parsed};

use crate::commands::adopt::AdoptArgs;
use crate::commands::alarm::AlarmCommand;
use crate::commands::audit::{AuditArgs, AuditCommand};
use crate::commands::bench::BenchArgs;
use crate::commands::cert::CertCommand;
use crate::commands::config::ConfigCommand;
use crate::commands::context::ContextCommand;
use crate::commands::dev::DevArgs;
use crate::commands::init::InitArgs;
use crate::commands::kv::KvCommand;
use crate::commands::leader::LeaderCommand;
use crate::commands::log::LogCommand;
use crate::commands::member::MemberCommand;
use crate::commands::session::SessionCommand;
use crate::commands::snapshot::SnapshotCommand;
use crate::commands::status::StatusArgs;
use crate::commands::token::TokenCommand;
use crate::commands::verify::VerifyArgs;
use crate::global::Global;

const EXIT_CODES: &str = "\
Exit codes: 0 done or healthy, 1 unexpected failure, 2 usage, 3 no such member, key or file,
4 TLS, authentication or authorisation, 5 refused by a safety rule or a changed precondition,
6 deadline passed and outcome unknown, 7 no leader or no quorum, 8 not confirmed,
9 verification failed, 10 cluster unhealthy, 11 degraded but serving, 12 partial success,
130 and 143 signals; config validate ends as raftd would with a bad file, mostly 78.";

/// Operates a raftd cluster.
///
/// A context (`raftctl init` and `raftctl dev` write one) or flags name the cluster and the
/// certificates. Each setting is taken from its flag, else from its environment variable, else from
/// the context, else its default. Of a variable, blanks around its text and empty items are
/// ignored; an empty one is not set.
#[derive(Clone, Debug, Parser)]
#[command(name = "raftctl", version, after_help = EXIT_CODES)]
#[command(max_term_width = 100, arg_required_else_help = true, infer_long_args = false)]
pub(crate) struct Cli {
    /// Settings of every command.
    #[command(flatten)]
    pub(crate) global: Global,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line, and the environment where no flag is given.
    ///
    /// # Errors
    /// If one of them makes no sense, or help or the version is asked for.
    pub(crate) fn read() -> Result<Self, Failure> {
        environment::parse().and_then(Self::of)
    }

    /// Settles what excludes each other: a flag goes before a variable.
    fn of(parsed: Parsed<Self>) -> Result<Self, Failure> {
        let Parsed { value: mut cli, variables, given } = parsed;
        let global = &mut cli.global;
        let has = |name: &str| variables.iter().any(|variable| variable == name);
        if global.quiet && global.verbose {
            match (has("RAFTCTL_QUIET"), has("RAFTCTL_VERBOSE")) {
                (true, true) => {
                    return Err(Failure::Variable(BadVariable {
                        name: "RAFTCTL_VERBOSE".to_owned(),
                        text: "on".to_owned(),
                        why: "RAFTCTL_QUIET is on, too, and one excludes the other".to_owned(),
                        flag: "-v or -q".to_owned(),
                    }));
                }
                (true, false) => global.quiet = false,
                (false, _) => global.verbose = false,
            }
        }
        global.is_timeout_given = has("RAFTCTL_TIMEOUT") || given.iter().any(|id| id == "timeout");
        global.variables = variables;
        Ok(cli)
    }
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a cluster: authority, bundles, bootstrap, context; may be run again at any point
    Init(InitArgs),
    /// Runs a complete local cluster until Ctrl-C
    Dev(DevArgs),
    /// Shows how the cluster does: verdict, reason, a row for every node
    Status(StatusArgs),
    /// Members of the cluster
    #[command(subcommand, arg_required_else_help = true)]
    Member(MemberCommand),
    /// Who leads, and handing over
    #[command(subcommand, arg_required_else_help = true)]
    Leader(LeaderCommand),
    /// Keys and values of the built-in machine
    #[command(subcommand, arg_required_else_help = true)]
    Kv(KvCommand),
    /// The replicated log
    #[command(subcommand, arg_required_else_help = true)]
    Log(LogCommand),
    /// Snapshots of the state; without a verb, makes one
    Snapshot {
        /// What to do
        #[command(subcommand)]
        command: Option<SnapshotCommand>,
    },
    /// Takes your word that a copied data directory is the latest of its node, and the only one
    Adopt(AdoptArgs),
    /// Compares the states of all nodes
    Verify(VerifyArgs),
    /// Clients' sessions, in which a command takes effect exactly once
    #[command(subcommand, arg_required_else_help = true)]
    Session(SessionCommand),
    /// Members whose disks have no room for more data
    #[command(subcommand, arg_required_else_help = true)]
    Alarm(AlarmCommand),
    /// Who did which administrative act, when and from where
    ///
    /// What changes the members, hands leadership over, ends the sessions of others or makes a
    /// snapshot by hand is noted in the replicated log; so are certificates and tokens. The last
    /// 4,096 acts are kept, or 1 MiB of them; raft(7), DEPARTURES, says more.
    #[command(args_conflicts_with_subcommands = true)]
    Audit {
        /// What to do
        #[command(subcommand)]
        command: Option<AuditCommand>,
        /// How it is shown
        #[command(flatten)]
        args: AuditArgs,
    },
    /// Measures writes and reads
    Bench(BenchArgs),
    /// Certificates: who has them, renewing, issuing and revoking them
    #[command(subcommand, arg_required_else_help = true)]
    Cert(CertCommand),
    /// One-time tokens by which new hosts get their certificates, without a key that travels
    #[command(subcommand, arg_required_else_help = true)]
    Token(TokenCommand),
    /// What nodes are configured with: looking at it, checking a file, having it read again
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Clusters that raftctl knows
    #[command(subcommand, arg_required_else_help = true)]
    Context(ContextCommand),
    /// Explains an error's code, or lists all
    Explain {
        /// The code, as R0103
        code: Option<String>,
    },
    /// Prints the version
    Version,
    /// Prints a shell's completion script
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::form::Form;
    use clap::CommandFactory as _;
    use std::time::Duration;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Reads a command line with one variable set.
    fn with(line: &str, name: &str, text: &[u8]) -> Result<Cli, Failure> {
        use std::os::unix::ffi::OsStrExt as _;
        let value = std::ffi::OsStr::from_bytes(text);
        let lookup = |asked: &std::ffi::OsStr| (asked == name).then(|| value.to_owned());
        environment::parse_from(line.split(' ').map(Into::into), lookup).and_then(Cli::of)
    }

    #[test]
    fn every_variable_is_ignored_when_blank_and_named_when_it_makes_no_sense() {
        let all = environment::variables(&Cli::command());
        assert!(all.len() >= 14, "{all:?}");
        for variable in all {
            let (name, verb) = (&variable.name, variable.verbs.join(" "));
            let line = match verb.as_str() {
                "" => "raftctl status",
                "init" => "raftctl init x",
                "dev" => "raftctl dev",
                "config validate" => "raftctl config validate x",
                other => panic!("a line with {other} is missing here"),
            };
            let unset = format!("{:?}", with(line, "NONE", b"").expect("it is valid"));
            for blank in ["", "  ", "\n", "\t\r\n"] {
                let found = with(line, name, blank.as_bytes()).expect("as if it were not set");
                assert_eq!(format!("{found:?}"), unset, "{name}={blank:?}");
            }
            match with(line, name, b" 1 fine mess, \xff ") {
                Err(Failure::Variable(bad)) => assert!(bad.to_string().contains(name), "{bad}"),
                Err(Failure::CommandLine(error)) => panic!("{name}: {error}"),
                // A path may be any bytes.
                Ok(found) => assert_eq!(found.global.variables, std::slice::from_ref(name)),
            }
        }
    }

    #[test]
    fn variables_are_read_as_people_write_them() {
        let endpoints = |text: &str| {
            let found = with("raftctl status", "RAFTCTL_ENDPOINT", text.as_bytes());
            found.expect("two endpoints").global.endpoints
        };
        for text in ["a:1, b:2", "a:1,b:2,", "\na:1\nb:2\n", "a:1 b:2"] {
            assert_eq!(endpoints(text), ["a:1", "b:2"], "{text:?}");
        }
        assert!(endpoints(" , ").is_empty());
        let found = with("raftctl status", "RAFTCTL_TIMEOUT", b" 5s\n").expect("a duration");
        assert_eq!(found.global.timeout, Duration::from_secs(5));
        let found = with("raftctl status", "RAFTCTL_OUTPUT", b"JSON").expect("a form");
        assert_eq!(found.global.output, Form::Json);
        let Err(Failure::Variable(bad)) = with("raftctl status", "RAFTCTL_TIMEOUT", b"10") else {
            panic!("there is no unit");
        };
        let wanted = "the environment variable RAFTCTL_TIMEOUT is \"10\": without a unit; for \
                      instance 10s";
        assert_eq!(bad.to_string(), wanted);
    }

    #[test]
    fn a_flag_goes_before_the_variable_that_excludes_it() {
        let found = with("raftctl -v status", "RAFTCTL_QUIET", b"1").expect("-v was typed");
        assert!(found.global.verbose && !found.global.quiet);
        let found = with("raftctl -q status", "RAFTCTL_VERBOSE", b"1").expect("-q was typed");
        assert!(found.global.quiet && !found.global.verbose);
    }
}
