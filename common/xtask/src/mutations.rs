//! `cargo xtask mutations`: known bugs, each put into a copy of the sources, must be found.
//!
//! A bug is a diff in `common/simulator/museum`. Two workers take one bug after the other: each has
//! a copy of the few crates that the simulator needs, applies the diff to it, builds the program
//! `hunt` in a cheap profile and runs it, which searches as the diff's head says.

mod diff;
mod scratch;

use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::progress::{human, say};
use diff::Diff;
use scratch::{Scratch, Sources};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Where the diffs lie.
const MUSEUM: &str = "common/simulator/museum";

/// How many bugs are worked on at a time.
const WORKERS: usize = 2;

/// How many bugs `verify` hunts.
const SLICE: usize = 4;

/// Which bugs are hunted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those with these names, or all if there are none.
    Named(Vec<String>),
    /// None: it is only checked that every diff applies.
    Check,
    /// A few, chosen by the commit.
    Slice,
}

/// A bug and the sources that have it.
struct Bug {
    name: String,
    /// The diff with its head.
    text: String,
    /// Files with the bug, by their paths below the workspace.
    changed: BTreeMap<PathBuf, String>,
}

/// What became of a bug.
struct Outcome {
    build: Duration,
    run: Duration,
    /// Lines of place and broken invariant, or why it is not found.
    found: Result<String, String>,
}

/// Checks that every diff applies, then hunts those that are wanted and prints a table.
///
/// # Errors
///
/// [`Failure::Bugs`] if a diff does not apply or build, or the bug is not found.
pub(crate) fn run(cargo: &Cargo, which: Which) -> Result<(), Failure> {
    let root = workspace();
    let bugs = read_all(&root)?;
    let all = bugs.len();
    say(&format!("{all} bugs in {MUSEUM}: all diffs apply"));
    let chosen = match which {
        Which::Check => return Ok(()),
        Which::Named(names) => named(bugs, &names)?,
        Which::Slice => slice(bugs, commit(&root)),
    };
    let target = cargo.target_dir().map_or_else(|| root.join("target"), Path::to_path_buf);
    let began = Instant::now();
    let missing = hunt_all(&root, &target.join("mutations"), &chosen)?;
    let found = chosen.len() - missing;
    println!("{found} of {} found in {}", chosen.len(), human(began.elapsed()));
    match missing {
        0 => Ok(()),
        _ => Err(Failure::Bugs(format!("{missing} of {} bugs are not found", chosen.len()))),
    }
}

/// Returns the workspace that this program belongs to.
fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.ancestors().nth(2).expect("this package lies two levels deep").to_path_buf()
}

/// Reads all diffs and applies each to the sources as they are.
fn read_all(root: &Path) -> Result<Vec<Bug>, Failure> {
    let entries = fs::read_dir(root.join(MUSEUM)).map_err(|error| failed(MUSEUM, &error))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "diff"));
    files.sort_by_key(|path| order(&stem(path)));
    let (mut bugs, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        let name = stem(&file);
        let text = fs::read_to_string(&file).map_err(|error| failed(&name, &error))?;
        let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|e| e.to_string());
        let changed = Diff::parse(&text).and_then(|diff| diff.apply(read));
        match changed {
            Ok(changed) => bugs.push(Bug { name, text, changed }),
            Err(why) => errors.push(format!("{name}: {why}")),
        }
    }
    if errors.is_empty() { Ok(bugs) } else { Err(Failure::Bugs(errors.join("\n"))) }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Sorts B2 before B10.
fn order(name: &str) -> (String, u32, String) {
    let row = row(name);
    let letter: String = row.chars().take(1).collect();
    let number = row.get(1..).and_then(|number| number.parse().ok()).unwrap_or(0);
    (letter, number, name.to_owned())
}

/// Returns the row that a name begins with: B1 of B1-counts-old-terms.
fn row(name: &str) -> &str {
    name.split_once('-').map_or(name, |(row, _)| row)
}

/// Returns the bugs with these names; a row stands for all of its bugs.
fn named(bugs: Vec<Bug>, names: &[String]) -> Result<Vec<Bug>, Failure> {
    let is = |bug: &Bug, name: &String| {
        name.eq_ignore_ascii_case(&bug.name) || name.eq_ignore_ascii_case(row(&bug.name))
    };
    if let Some(unknown) = names.iter().find(|name| !bugs.iter().any(|bug| is(bug, name))) {
        return Err(Failure::Usage(format!("no bug is called \"{unknown}\": see {MUSEUM}")));
    }
    let wanted = |bug: &Bug| names.is_empty() || names.iter().any(|name| is(bug, name));
    Ok(bugs.into_iter().filter(wanted).collect())
}

/// Returns a few bugs, evenly spread; others for another number.
fn slice(bugs: Vec<Bug>, number: usize) -> Vec<Bug> {
    let stride = bugs.len().div_ceil(SLICE).max(1);
    let chosen = |place: &usize| place % stride == number % stride;
    bugs.into_iter().enumerate().filter(|(place, _)| chosen(place)).map(|(_, bug)| bug).collect()
}

/// Returns a number that each commit has another of; 0 where there is no git.
fn commit(root: &Path) -> usize {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output();
    let hash = output.map(|output| output.stdout).unwrap_or_default();
    let digits = String::from_utf8_lossy(&hash).chars().take(7).collect::<String>();
    usize::from_str_radix(&digits, 16).unwrap_or(0)
}

/// Hunts the bugs, prints a line or more for each when it is done, and returns how many are not
/// found.
fn hunt_all(root: &Path, directory: &Path, bugs: &[Bug]) -> Result<usize, Failure> {
    let sources = Sources::read(root).map_err(Failure::Bugs)?;
    let scratch = |worker: usize| Scratch::new(&sources, directory.join(worker.to_string()));
    let scratches: Vec<Scratch> = (0..WORKERS.min(bugs.len())).map(scratch).collect();
    println!("{:<42}{:<12}{:>7}{:>7}  BROKEN", "BUG", "FOUND AT", "BUILD-S", "RUN-S");
    let (sender, outcomes) = channel();
    let next = AtomicUsize::new(0);
    let mut missing = 0;
    std::thread::scope(|scope| {
        for scratch in &scratches {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || work(scratch, bugs, next, &sender));
        }
        drop(sender);
        for (bug, outcome) in outcomes {
            missing += usize::from(outcome.found.is_err());
            print!("{}", lines(&bug.name, &outcome));
        }
    });
    Ok(missing)
}

/// Takes bugs until none is left.
fn work<'a>(
    scratch: &Scratch,
    bugs: &'a [Bug],
    next: &AtomicUsize,
    sender: &Sender<(&'a Bug, Outcome)>,
) {
    while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
        if sender.send((bug, hunt_one(scratch, bug))).is_err() {
            return;
        }
    }
}

fn hunt_one(scratch: &Scratch, bug: &Bug) -> Outcome {
    let began = Instant::now();
    let built = scratch.fill(&bug.changed).and_then(|()| scratch.build());
    let build = began.elapsed();
    let found = built.and_then(|()| scratch.hunt(&bug.text));
    Outcome { build, run: began.elapsed() - build, found }
}

/// Renders what became of a bug: a line for each search that found it.
fn lines(name: &str, outcome: &Outcome) -> String {
    let (build, run) = (outcome.build.as_secs_f64(), outcome.run.as_secs_f64());
    let line = |name: &str, place: &str, times: &str, broken: &str| {
        format!("{name:<42}{place:<12}{times:>14}  {broken}\n")
    };
    let times = format!("{build:>7.1}{run:>7.1}");
    match &outcome.found {
        Err(why) => line(name, "NOT FOUND", &times, "") + why.trim_end() + "\n",
        Ok(found) => {
            let mut text = String::new();
            for (number, found) in found.lines().enumerate() {
                let (place, broken) = found.split_once('\t').unwrap_or((found, ""));
                text += &match number {
                    0 => line(name, place, &times, broken),
                    _ => line("", place, "", broken),
                };
            }
            text
        }
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::Bugs(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(name: &str) -> Bug {
        Bug { name: name.to_owned(), text: String::new(), changed: BTreeMap::new() }
    }

    fn names(bugs: &[Bug]) -> Vec<&str> {
        bugs.iter().map(|bug| bug.name.as_str()).collect()
    }

    #[test]
    fn a_row_stands_for_all_of_its_bugs() {
        let some = || vec![bug("C1-a"), bug("C10-b"), bug("C7-c"), bug("C7-d")];
        let find = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            named(some(), &wanted).map(|bugs| names(&bugs).join(" ")).map_err(|e| e.to_string())
        };
        assert_eq!(find(&["c7"]), Ok("C7-c C7-d".to_owned()));
        assert_eq!(find(&["C7-d", "C1"]), Ok("C1-a C7-d".to_owned()));
        assert_eq!(find(&[]), Ok("C1-a C10-b C7-c C7-d".to_owned()));
        assert!(find(&["C7-e"]).is_err_and(|why| why.contains("C7-e")));
    }

    #[test]
    fn slices_of_all_numbers_hold_all_bugs() {
        let some = || (1..=74).map(|number| bug(&format!("A{number}-x"))).collect::<Vec<_>>();
        let mut met = Vec::new();
        for number in 0..19 {
            let few = slice(some(), number);
            assert!((3..=4).contains(&few.len()), "{} bugs", few.len());
            met.extend(few.into_iter().map(|bug| bug.name));
        }
        met.sort_by_key(|name| order(name));
        assert_eq!(met, names(&some()));
        assert!(slice(Vec::new(), 5).is_empty());
    }

    #[test]
    fn a_bug_has_a_line_for_each_search() {
        let (build, run) = (Duration::from_millis(1_300), Duration::from_secs(12));
        let found = Ok("seed 4\tone\n9 actions\ttwo\n".to_owned());
        let text = lines("B1-x", &Outcome { build, run, found });
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let first = vec!["B1-x", "seed", "4", "1.3", "12.0", "one"];
        assert_eq!(words, [first, vec!["9", "actions", "two"]]);
        let missing = lines("B1-x", &Outcome { build, run, found: Err("why".to_owned()) });
        assert!(missing.contains("NOT FOUND") && missing.ends_with("\nwhy\n"), "{missing}");
    }
}
