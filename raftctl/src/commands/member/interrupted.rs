//! What `member add` says when a signal stops it: what goes on without it, and how to resume.

use super::args::AddArgs;
use crate::report::Report;
use crate::signals::Stop;

/// How far `member add` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// At most ids are reserved: the same names get the same ids.
    Nothing,
    /// Ids and bundles are there; the nodes are waited for.
    Prepared,
    /// The nodes answer, and are made learners.
    Met,
    /// They are learners, and catch up.
    Learning,
    /// They have caught up, and are made voters.
    Ready,
}

impl Reached {
    /// Makes the report of a command that a signal stopped.
    pub(super) fn report(self, stop: Stop, args: &AddArgs) -> Report {
        let names: Vec<&str> = args.nodes.iter().map(|(name, _)| name.as_str()).collect();
        let several = names.len() > 1;
        let word = |one: &'static str, more: &'static str| if several { more } else { one };
        let so_far = match self {
            Self::Nothing => "no member was changed".to_owned(),
            Self::Prepared => format!(
                "{} no {} yet; {} there",
                word("it is", "they are"),
                word("member", "members"),
                word("its token or bundle is", "their tokens or bundles are"),
            ),
            Self::Met => {
                "if the change to learners has begun, the leader brings it to its end".to_owned()
            }
            Self::Learning => format!(
                "{} on getting the log, and {} no harm",
                word("it stays a learner, goes", "they stay learners, go"),
                word("does", "do"),
            ),
            Self::Ready => {
                "if the change to voters has begun, the leader brings it to its end".to_owned()
            }
        };
        let names = names.join(" ");
        let message = format!("interrupted while {}: {so_far}", self.doing(&names, several));
        let help = format!("{}    (goes on where it was)", again(args));
        Report { message, ..Report::quiet(stop.exit()) }.help(help)
    }

    fn doing(self, names: &str, several: bool) -> String {
        let word = |one: &'static str, more: &'static str| if several { more } else { one };
        match self {
            Self::Nothing => format!("preparing {names}"),
            Self::Prepared => format!("waiting for {names} to answer"),
            Self::Met => format!("making {names} {}", word("a learner", "learners")),
            Self::Learning => format!("waiting for {names} to catch up"),
            Self::Ready => format!("making {names} {}", word("a voter", "voters")),
        }
    }
}

/// Returns the command that goes on.
fn again(args: &AddArgs) -> String {
    let mut command = String::from("raftctl member add");
    for (name, address) in &args.nodes {
        command.push_str(&format!(" {name}={address}"));
    }
    if args.learner {
        command.push_str(" --learner");
    }
    if let Some(old) = &args.replace {
        command.push_str(&format!(" --replace {old}"));
    }
    if args.bundle {
        command.push_str(" --bundle");
    }
    if let Some(directory) = &args.dir {
        command.push_str(&format!(" --dir {}", directory.display()));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use std::time::Duration;

    fn args(names: &[&str]) -> AddArgs {
        AddArgs {
            nodes: names.iter().map(|name| ((*name).to_owned(), format!("{name}:7400"))).collect(),
            learner: false,
            replace: None,
            dir: None,
            bundle: false,
            prepare_only: false,
            token_file: None,
            valid: Duration::from_secs(3_600),
            wait: Duration::from_secs(1),
            dry_run: false,
        }
    }

    #[test]
    fn a_stopped_add_says_what_goes_on_and_how_to_resume() {
        let said = |reached: Reached, names: &[&str]| {
            reached.report(Stop::Interrupt, &args(names)).message
        };
        assert_eq!(
            said(Reached::Learning, &["n4"]),
            "interrupted while waiting for n4 to catch up: it stays a learner, goes on getting \
             the log, and does no harm"
        );
        assert_eq!(
            said(Reached::Prepared, &["n4", "n5"]),
            "interrupted while waiting for n4 n5 to answer: they are no members yet; their \
             tokens or bundles are there"
        );
        let report = Reached::Ready.report(Stop::Terminate, &args(&["n4"]));
        assert_eq!((report.exit, report.code), (Exit::Terminated, None));
        let replace = AddArgs { replace: Some("n1".into()), ..args(&["n4"]) };
        let report = Reached::Nothing.report(Stop::Interrupt, &replace);
        let again = "raftctl member add n4=n4:7400 --replace n1    (goes on where it was)";
        assert_eq!(report.help, [again]);
    }
}
