//! Writes `common/MEASUREMENTS.md` anew: runs what measures, and puts down what each prints.
//!
//! What stands behind the heading [`ONCE`] is kept as it is: figures that need another system, more
//! time, or a bare machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

const HELP: &str =
    "Runs what measures, and writes common/MEASUREMENTS.md anew, in about half an hour. Takes
root for the faults on real processes.

Usage: measure";

/// The page, below the workspace's root.
const PAGE: &str = "common/MEASUREMENTS.md";

/// What is behind this heading was measured by hand and is kept.
const ONCE: &str = "## Measured by hand";

/// A section of the page.
struct Section {
    title: &'static str,
    /// Arguments of `cargo`.
    command: &'static str,
    about: &'static str,
}

const SECTIONS: [Section; 8] = [
    Section {
        title: "Puts and gets",
        command: "xtask bench",
        about: "Three nodes and the load share this machine, also those of etcd and NATS if they \
                are on the PATH. Every put is on the disks of a majority before it is answered, \
                every get is linearizable.",
    },
    Section {
        title: "Exactly once",
        command: "xtask run exactly-once",
        about: "One session counts while the leader is killed again and again. The command fails \
                if the counter is not exact.",
    },
    Section {
        title: "Changes of members and leaders",
        command: "xtask run changes",
        about: "Eight writers go on while voters are added, removed, killed and replaced. The gap \
                is the longest time without an acknowledged write.",
    },
    Section {
        title: "Catching up",
        command: "xtask run catch-up",
        about: "A follower that lacks a million entries takes over a snapshot and the log behind \
                it. The command fails if the p99 of writes meanwhile is more than twice that of \
                before.",
    },
    Section {
        title: "Faults on real processes",
        command: "xtask chaos",
        about: "Real nodes in network namespaces with disks of their own, while clients ask: all \
                that these were told is checked. The table is what `raftctl status` said during \
                each fault that was on by itself; numbers are written as #.",
    },
    Section {
        title: "The simulator",
        command: "xtask sim --seeds 1000",
        about: "Each seed is 30 virtual seconds of a whole cluster's life with crashes, lost \
                writes, partitions and pauses. The invariants are checked after every step.",
    },
    Section {
        title: "The explorer",
        command: "xtask explore --change 1,4,5 --timeouts 0 --crashes 1 --states 1000000",
        about: "Voters 1 2 3 give way to 1 4 5 under any loss, delay and repetition of messages \
                and one crash, in every order.",
    },
    Section {
        title: "Quickstart",
        command: "xtask quickstart",
        about: "A data set is loaded while the leader is killed, and every key is read back from \
                every node.",
    },
];

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        println!("{HELP}");
        let asked = std::env::args().nth(1).is_some_and(|first| first == "--help" || first == "-h");
        return if asked { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    match measure() {
        Ok((page, failed)) => {
            println!("{} is written", page.display());
            failed.iter().for_each(|why| eprintln!("error: {why}"));
            if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the page that it has written, and the commands that failed.
fn measure() -> Result<(PathBuf, Vec<String>), String> {
    let manifest =
        first_line("cargo", &["locate-project", "--workspace", "--message-format=plain"])
            .ok_or("cargo does not find the workspace")?;
    let root = Path::new(&manifest).parent().ok_or("the workspace has no directory")?.to_owned();
    let page = root.join(PAGE);
    let by_hand = fs::read_to_string(&page).ok().and_then(|old| kept(&old));
    let mut text = head();
    let mut failures = Vec::new();
    for section in &SECTIONS {
        eprintln!("measuring: cargo {}", section.command);
        let (printed, failed) = run(&root, section)?;
        text.push_str(&written(section, &printed, failed.as_deref()));
        failures.extend(failed);
    }
    text.push_str(&by_hand.unwrap_or_default());
    fs::write(&page, text).map_err(|error| format!("{}: {error}", page.display()))?;
    Ok((page, failures))
}

/// Returns what a page has behind [`ONCE`], with the heading.
fn kept(page: &str) -> Option<String> {
    page.find(&format!("{ONCE}\n")).map(|at| page[at..].to_owned())
}

fn head() -> String {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let unknown = || "unknown".to_owned();
    let date = first_line("date", &["-u", "+%F"]).unwrap_or_else(unknown);
    let commit = first_line("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(unknown);
    let system = first_line("uname", &["-s"]).unwrap_or_else(unknown);
    format!(
        "# Measurements\n\nWritten by `cargo xtask run measure`: it runs the commands below and \
         puts down what they print.\nMeasured on {date}, commit {commit}, {system}, {cores} cores. \
         Compare figures of one run only: on a busy machine\nall of them are worse.\n\n"
    )
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn written(section: &Section, printed: &str, failed: Option<&str>) -> String {
    let Section { title, command, about } = section;
    let output = printed.trim_end();
    let failed = failed.map_or_else(String::new, |why| format!("\nFAILED: {why}"));
    format!("## {title}\n\n{about}\n\n```\n$ cargo {command}\n{output}{failed}\n```\n\n")
}

/// Runs the command of a section, and returns what it prints, and why it failed if it did.
fn run(root: &Path, section: &Section) -> Result<(String, Option<String>), String> {
    let command = format!("cargo {}", section.command);
    let output = Command::new("cargo")
        .args(section.command.split(' '))
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    let failed = (!output.status.success()).then(|| format!("{command}: {}", output.status));
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_by_hand_is_kept() {
        let page = format!("# Measurements\n\n## Old\n\nx\n\n{ONCE}\n\nby hand\n");
        assert_eq!(kept(&page).as_deref(), Some(format!("{ONCE}\n\nby hand\n").as_str()));
        assert_eq!(kept("# Measurements\n"), None);
    }

    #[test]
    fn a_section_shows_its_command_and_what_it_printed() {
        let text = written(&SECTIONS[0], "row 1\nrow 2\n\n", None);
        assert!(text.starts_with("## Puts and gets\n\n"), "{text}");
        assert!(text.ends_with("```\n$ cargo xtask bench\nrow 1\nrow 2\n```\n\n"), "{text}");
        let text = written(&SECTIONS[0], "row 1\n", Some("exit status: 1"));
        assert!(text.ends_with("row 1\nFAILED: exit status: 1\n```\n\n"), "{text}");
    }
}
