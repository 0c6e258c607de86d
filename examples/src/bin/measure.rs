//! Writes `common/MEASUREMENTS.md` anew: runs what measures, and puts down what each prints.
//!
//! What stands behind the heading [`ONCE`] is kept as it is: figures that need another system, more
//! time, or a bare machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const HELP: &str =
    "Runs what measures, and writes common/MEASUREMENTS.md anew, in about ten minutes.

Usage: measure";

/// The page, below the workspace's root.
const PAGE: &str = "common/MEASUREMENTS.md";

/// What is behind this heading was measured by hand and is kept.
const ONCE: &str = "## Measured by hand";

/// A command that takes longer is ended, and its section says so.
const LIMIT: Duration = Duration::from_secs(600);

/// How often a command is asked whether it has ended.
const TURN: Duration = Duration::from_millis(100);

/// A section of the page.
struct Section {
    title: &'static str,
    /// Arguments of `cargo`.
    command: &'static str,
    about: &'static str,
}

const SECTIONS: [Section; 7] = [
    Section {
        title: "Puts and gets",
        command: "xtask bench",
        about: "Three nodes and the load share this machine. Every put is on the disks of a \
                majority before it is answered, every get is linearizable.",
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
        Ok(page) => {
            println!("{} is written", page.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<PathBuf, String> {
    let manifest =
        first_line("cargo", &["locate-project", "--workspace", "--message-format=plain"])
            .ok_or("cargo does not find the workspace")?;
    let root = Path::new(&manifest).parent().ok_or("the workspace has no directory")?.to_owned();
    let page = root.join(PAGE);
    let by_hand = fs::read_to_string(&page).ok().and_then(|old| kept(&old));
    let mut text = head();
    for section in &SECTIONS {
        eprintln!("measuring: cargo {}", section.command);
        text.push_str(&written(section, &printed(&root, section)?));
    }
    text.push_str(&by_hand.unwrap_or_default());
    fs::write(&page, text).map_err(|error| format!("{}: {error}", page.display()))?;
    Ok(page)
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
    let kernel = first_line("uname", &["-sr"]).unwrap_or_else(unknown);
    format!(
        "# Measurements\n\nWritten by `cargo xtask run measure`: it runs the commands below and \
         puts down what they print.\nMeasured on {date}, commit {commit}, {kernel}, {cores} cores. \
         Compare figures of one run only: on a busy\nmachine all of them are worse.\n\n"
    )
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn written(section: &Section, printed: &str) -> String {
    let Section { title, command, about } = section;
    let output = printed.trim_end();
    format!("## {title}\n\n{about}\n\n```\n$ cargo {command}\n{output}\n```\n\n")
}

/// Runs the command of a section, and returns what it prints.
fn printed(root: &Path, section: &Section) -> Result<String, String> {
    let command = format!("cargo {}", section.command);
    let failed = |error| format!("{command}: {error}");
    let mut child = Command::new("cargo")
        .args(section.command.split(' '))
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut output = child.stdout.take().ok_or("the output is not piped")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() > end {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Ok(format!("took more than {} s", LIMIT.as_secs()));
        }
        thread::sleep(TURN);
    };
    let text = reader.join().map_err(|_| format!("{command}: reading it failed"))?;
    match status.success() {
        true => text.map_err(failed),
        false => Err(format!("{command}: {status}")),
    }
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
        let text = written(&SECTIONS[0], "row 1\nrow 2\n\n");
        assert!(text.starts_with("## Puts and gets\n\n"), "{text}");
        assert!(text.ends_with("```\n$ cargo xtask bench\nrow 1\nrow 2\n```\n\n"), "{text}");
    }
}
