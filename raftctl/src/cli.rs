//! The command line: one definition for parsing, help, environment, completion and the manual.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use environment::{BadVariable, Failure, Parsed};

use crate::commands::bench::BenchArgs;
use crate::commands::cert::CertCommand;
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

const EXIT_CODES: &str = "\
Exit codes: 0 done or healthy, 1 unexpected failure, 2 usage, 3 no such member, key or file,
4 TLS, authentication or authorisation, 5 refused by a safety rule or a changed precondition,
6 deadline passed and outcome unknown, 7 no leader or no quorum, 8 not confirmed,
9 verification failed, 10 cluster unhealthy, 11 degraded but serving, 12 partial success,
130 and 143 signals.";

/// Operates a raftd cluster.
///
/// Which cluster, and as whom, is said by a context (`raftctl init` and `raftctl dev` write one) or
/// by flags. Each setting is taken from its flag, else from its environment variable, else from the
/// context, else its default. Of a variable, blanks around its text and empty items are ignored; an
/// empty one is not set.
#[derive(Clone, Debug, Parser)]
#[command(name = "raftctl", version, after_help = EXIT_CODES)]
#[command(max_term_width = 100, arg_required_else_help = true, infer_long_args = false)]
pub struct Cli {
    /// Settings of every command.
    #[command(flatten)]
    pub global: Global,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The context to use instead of the current one
    #[arg(
        long,
        value_name = "NAME",
        env = "RAFTCTL_CONTEXT",
        hide_env_values = true,
        global = true
    )]
    pub context: Option<String>,

    /// A node's address; may be given several times
    #[arg(
        short,
        long = "endpoint",
        value_name = "HOST:PORT",
        env = "RAFTCTL_ENDPOINT",
        hide_env_values = true
    )]
    #[arg(global = true, value_delimiter = ',', value_parser = endpoint)]
    pub endpoints: Vec<String>,

    /// The authority's certificate
    #[arg(long, value_name = "FILE", env = "RAFTCTL_CA", hide_env_values = true, global = true)]
    pub ca: Option<PathBuf>,

    /// The operator's certificate
    #[arg(long, value_name = "FILE", env = "RAFTCTL_CERT", hide_env_values = true, global = true)]
    pub cert: Option<PathBuf>,

    /// The operator's private key
    #[arg(long, value_name = "FILE", env = "RAFTCTL_KEY", hide_env_values = true, global = true)]
    pub key: Option<PathBuf>,

    /// The form of the answer
    #[arg(
        short,
        long,
        value_name = "FORM",
        env = "RAFTCTL_OUTPUT",
        hide_env_values = true,
        global = true
    )]
    #[arg(value_enum, default_value_t = Form::Table, hide_possible_values = false)]
    pub output: Form,

    /// Leaves out the tables' headers
    #[arg(long)]
    #[arg(env = "RAFTCTL_NO_HEADERS", hide_env_values = true, value_parser = falsey())]
    #[arg(global = true)]
    pub no_headers: bool,

    /// Says nothing but the answer and errors
    #[arg(short, long)]
    #[arg(env = "RAFTCTL_QUIET", hide_env_values = true, value_parser = falsey(), global = true)]
    pub quiet: bool,

    /// Says what is tried, on stderr
    #[arg(short, long)]
    #[arg(env = "RAFTCTL_VERBOSE", hide_env_values = true, value_parser = falsey())]
    #[arg(global = true, conflicts_with = "quiet")]
    pub verbose: bool,

    /// How long a request may take with all its retries, as 10s or 500ms
    #[arg(
        long,
        value_name = "DURATION",
        env = "RAFTCTL_TIMEOUT",
        hide_env_values = true,
        global = true
    )]
    #[arg(default_value = "10s", value_parser = duration)]
    pub timeout: Duration,

    /// Leaves out colours (NO_COLOR does so too)
    #[arg(long)]
    #[arg(env = "RAFTCTL_NO_COLOR", hide_env_values = true, value_parser = falsey(), global = true)]
    pub no_color: bool,

    /// Leaves out progress, also on a terminal
    #[arg(long)]
    #[arg(env = "RAFTCTL_NO_PROGRESS", hide_env_values = true, value_parser = falsey())]
    #[arg(global = true)]
    pub no_progress: bool,

    /// Does not ask
    #[arg(short, long)]
    #[arg(env = "RAFTCTL_YES", hide_env_values = true, value_parser = falsey(), global = true)]
    pub yes: bool,

    /// Which environment variables had a say, by name.
    #[arg(skip)]
    pub variables: Vec<String>,

    /// Whether somebody said how long a request may take.
    #[arg(skip)]
    is_timeout_given: bool,
}

/// The variables that choose a cluster, who asks it, and files.
pub const CHOOSING: [&str; 7] = [
    "RAFTCTL_CONTEXT",
    "RAFTCTL_ENDPOINT",
    "RAFTCTL_CA",
    "RAFTCTL_CERT",
    "RAFTCTL_KEY",
    "RAFTCTL_DIR",
    "RAFTCTL_RAFTD",
];

impl Cli {
    /// Reads the command line, and the environment where no flag is given.
    ///
    /// # Errors
    /// If one of them makes no sense, or help or the version is asked for.
    pub fn read() -> Result<Self, Failure> {
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

impl Global {
    /// Returns how long a request may take, if a flag or a variable says so.
    pub fn timeout_given(&self) -> Option<Duration> {
        self.is_timeout_given.then_some(self.timeout)
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Table,
    /// For people, with more columns.
    Wide,
    /// For programs: the envelope raftctl/v1.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
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
    /// Clients' sessions, in which a command takes effect exactly once
    #[command(subcommand, arg_required_else_help = true)]
    Session(SessionCommand),
    /// Measures writes and reads
    Bench(BenchArgs),
    /// Certificates: their ends, and renewing them
    #[command(subcommand, arg_required_else_help = true)]
    Cert(CertCommand),
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

/// A switch's variable: set is on, but for an empty text, 0, no and false.
fn falsey() -> clap::builder::FalseyValueParser {
    clap::builder::FalseyValueParser::new()
}

/// Reads a duration with its unit.
///
/// # Errors
/// If there is no unit, or the duration is zero, negative or above a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Err(format!("without a unit; for instance {text}s"));
    }
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "not a duration; for instance 10s, 500ms or 2m".to_owned())?;
    let parsed = Duration::try_from(parsed).map_err(|_| "negative".to_owned())?;
    if parsed.is_zero() || parsed > Duration::from_secs(86_400) {
        return Err("from 1ms to 24h".to_owned());
    }
    Ok(parsed)
}

/// Reads `host:port`; the host may be a name, an IPv4 address, or an IPv6 address in brackets.
///
/// # Errors
/// If there is no host or no port.
pub fn endpoint(text: &str) -> Result<String, String> {
    if text.len() > protocol::limits::ADDRESS_BYTES_MAX {
        return Err(format!("longer than {} bytes", protocol::limits::ADDRESS_BYTES_MAX));
    }
    let wanted = || "not HOST:PORT, as n1.example:7400 or [2001:db8::1]:7400".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let named = !host.is_empty() && host.chars().all(plain);
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let v6 = bracketed.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    match port.parse::<u16>() {
        Ok(1..) if named || v6 => Ok(text.to_owned()),
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

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

    #[test]
    fn durations_need_a_unit_and_bounds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "10", "soon", "-1s", "0s", "25h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_have_host_and_port() {
        for good in ["n1:7400", "10.0.0.1:1", "[::1]:7400", "a-b.c_d:65535"] {
            assert_eq!(endpoint(good).as_deref(), Ok(good));
        }
        for bad in ["", "n1", ":7400", "n1:", "n1:0", "n1:65536", "::1:7400", "[x]:1", "a b:1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
        assert!(endpoint(&format!("{}:1", "x".repeat(300))).is_err());
    }
}
