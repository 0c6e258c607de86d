//! The command line: one definition for parsing, help, environment and the manual page.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use environment::Failure;

use crate::config::Overrides;
use crate::enroll::EnrollArgs;

/// Where the configuration is looked for.
pub const CONFIG_DEFAULT: &str = "/etc/raftd/raftd.toml";

/// Runs a node of a Raft cluster.
///
/// Each setting is taken from its flag, else from its environment variable, else from the files
/// (raftd.toml, then raftd.d/*.toml in order of their names, the last one wins), else its default.
/// Of a variable, blanks around its text and empty items are ignored; an empty one is not set.
///
/// The log goes to stderr, below a service manager to the journal with its fields; --log-format
/// changes that. When it takes nothing, as a pipe that nobody reads, the node goes on: lines are
/// lost, and counted. SIGTERM and
/// SIGINT hand leadership over and stop; SIGHUP reads the configuration again.
///
/// Exit codes: 0 stopped cleanly, 64 usage, 65 corrupt or foreign data, 70 internal error,
/// 74 input or output failed, 75 it has forgotten what it promised, 77 removed from the cluster,
/// 78 configuration or credentials.
///
/// What may pass, or is mended elsewhere, ends with 74, and the systemd units start raftd again:
/// no room on the disk, a failed read or write, an address or port that is not to be had, another
/// process that uses the data directory, a certificate that is not valid yet or any more (the
/// clock is set, or a renewed file is put in its place). What needs the operator at this machine
/// ends with 64, 65, 77 or 78, and is not tried again: a flag, damaged data or another node's, a
/// removed node, a file of the configuration that is missing, wrong or not readable, rights to the
/// data directory. An empty data directory (a disk that is not mounted) is no failure: the node
/// says so, waits for `raftctl init`, and does not vote.
///
/// A broken invariant of the algorithm, or a panic, is logged and ends the process with SIGABRT;
/// the systemd units start it again. A panic of the machine at a question is that question's
/// answer.
#[derive(Clone, Debug, Parser)]
#[command(name = "raftd", version, about, long_about, max_term_width = 100)]
pub struct Cli {
    /// The configuration file
    #[arg(long, value_name = "PATH", env = "RAFTD_CONFIG", default_value = CONFIG_DEFAULT)]
    pub config: PathBuf,

    /// Checks configuration and credentials, says what is in force, and ends
    #[arg(long)]
    pub check_config: bool,

    /// Prints every setting that is in force, with where it comes from and whether a reload takes
    /// another value, and ends; what it prints is a configuration file
    #[arg(long, conflicts_with = "check_config")]
    pub print_config: bool,

    /// Settings that go before those of the files.
    #[command(flatten)]
    pub overrides: Overrides,

    /// What to do in place of running a node.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do in place of running a node.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Gets a node's certificate for a key that is made here, by a one-time token
    ///
    /// Waits where the node will be reached until `raftctl member add` (where the authority is)
    /// dials. Both sides prove over the connection that they know the token's secret, which is
    /// never sent; then the operator's side signs, and certificate, key and raftd.toml are put in
    /// place. An attempt that was interrupted goes on with the same token and key.
    Enroll(EnrollArgs),
    /// Prints a shell's completion script
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Reads the command line, and the environment where no flag is given.
    ///
    /// # Errors
    /// If one of them makes no sense, or help or the version is asked for.
    pub fn read() -> Result<Self, Failure> {
        environment::parse().map(Self::of)
    }

    fn of(parsed: environment::Parsed<Self>) -> Self {
        let mut cli = parsed.value;
        cli.overrides.variables = parsed.variables;
        cli
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    use crate::config::Given;
    use crate::logging::Level;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Reads `raftd` without arguments, with one variable set.
    fn with(name: &str, text: &[u8]) -> Result<Cli, Failure> {
        use std::os::unix::ffi::OsStrExt as _;
        let value = std::ffi::OsStr::from_bytes(text);
        let lookup = |asked: &std::ffi::OsStr| (asked == name).then(|| value.to_owned());
        environment::parse_from(["raftd".into()], lookup).map(Cli::of)
    }

    fn given<'a>(cli: &'a Cli, key: &str) -> Option<&'a Given> {
        cli.overrides.given().get(key)
    }

    #[test]
    fn every_variable_is_ignored_when_blank_and_named_when_it_makes_no_sense() {
        let unset = format!("{:?}", with("NONE", b"").expect("it is valid"));
        let all = environment::variables(&Cli::command());
        assert!(all.len() >= 9, "{all:?}");
        for name in all.into_iter().map(|variable| variable.name) {
            for blank in ["", "  ", "\n"] {
                let found = with(&name, blank.as_bytes()).expect("as if it were not set");
                assert_eq!(format!("{found:?}"), unset, "{name}={blank:?}");
            }
            match with(&name, b" 1s\xff ") {
                Err(Failure::Variable(bad)) => assert!(bad.to_string().contains(&name), "{bad}"),
                Err(Failure::CommandLine(error)) => panic!("{name}: {error}"),
                // A path may be any bytes.
                Ok(found) => assert_eq!(found.overrides.variables, [name]),
            }
        }
    }

    #[test]
    fn variables_are_read_as_people_write_them() {
        let found = with("RAFTD_ELECTION_TIMEOUT_MS", b" 150, 300\n").expect("two numbers");
        assert_eq!(
            given(&found, "raft.election_timeout_ms"),
            Some(&Given::Numbers(vec![150, 300]))
        );
        let found = with("RAFTD_LISTEN", b",127.0.0.1:1, ,[::1]:1,").expect("two addresses");
        assert_eq!(given(&found, "listen"), Some(&Given::Text("127.0.0.1:1,[::1]:1".to_owned())));
        let found = with("RAFTD_LISTEN", b",,").expect("as if it were not set");
        assert_eq!(given(&found, "listen"), None);
        let found = with("RAFTD_LOG_LEVEL", b"DEBUG\n").expect("a level");
        assert_eq!(given(&found, "log_level"), Some(&Given::Level(Level::Debug)));
    }

    #[test]
    fn flags_are_read() {
        let cli = Cli::try_parse_from([
            "raftd",
            "--config",
            "/x.toml",
            "--election-timeout-ms",
            "150,300",
            "--log-level",
            "debug",
        ])
        .expect("it is a valid command line");
        assert_eq!(cli.config, PathBuf::from("/x.toml"));
        assert_eq!(given(&cli, "raft.election_timeout_ms"), Some(&Given::Numbers(vec![150, 300])));
        assert_eq!(given(&cli, "log_level"), Some(&Given::Level(Level::Debug)));
        assert!(!cli.check_config);
    }

    #[test]
    fn unknown_flags_and_bad_values_are_refused() {
        assert!(Cli::try_parse_from(["raftd", "--datadir", "x"]).is_err());
        assert!(Cli::try_parse_from(["raftd", "--log-level", "loud"]).is_err());
        assert!(Cli::try_parse_from(["raftd", "--heartbeat-ms", "soon"]).is_err());
        assert!(Cli::try_parse_from(["raftd", "extra"]).is_err());
    }
}
