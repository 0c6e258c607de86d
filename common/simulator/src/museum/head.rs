//! The head of a bug's diff: its rows in the museum, how it is searched, and what must break.
//!
//! Lines of the form `Key: value` come first, then a free text, then the diff:
//!
//! ```text
//! Rows: B1, B2
//! Find: seeds 500
//! Falls: leaders have all that is committed (§3.6)
//!
//! What happened, to whom, and what is right.
//!
//! --- a/common/consensus/src/commit.rs
//! ```

use std::error::Error;
use std::fmt;

use crate::explorer::Budget;

/// The fewest letters of a free text: less cannot say what happened and what is right.
const TEXT_MIN: usize = 150;

/// A bug of the museum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bug {
    /// The rows that it shows; none if no other implementation is known to have had it.
    pub rows: Vec<String>,
    /// The searches, each of which must find it.
    pub searches: Vec<Search>,
    /// What happened, to whom, and what is right.
    pub text: String,
}

/// A search, and what it must find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// How it searches.
    pub how: How,
    /// How the words begin that name what is broken; one of these must be found.
    pub falls: Vec<String>,
}

/// A way to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Runs seeds of the simulated world, this many at most.
    Seeds(u64),
    /// Visits states in the order of their distance: the trace is the shortest there is.
    Breadth(Scope),
    /// Walks at random.
    Walks(Scope),
    /// Visits all states in which messages may be lost, late or repeated at will.
    Exhaust(Scope),
}

/// What the explorer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Where it begins.
    pub start: Start,
    /// How often the costly actions may happen.
    pub budget: Budget,
    /// The most actions that the trace may have when none in it is superfluous.
    pub actions_max: usize,
    /// How many random walks there are.
    pub walks: u64,
    /// How many actions each of them has.
    pub length: usize,
}

/// Where the explorer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A cluster that has just been started.
    Started {
        /// Its voters.
        voters: usize,
        /// Its learners.
        learners: usize,
    },
    /// The same with a leader.
    Led {
        /// Its voters.
        voters: usize,
        /// Its learners.
        learners: usize,
    },
    /// Voters 1, 2 and 3 begin to give way to these.
    Changing(Vec<u64>),
}

/// Why a head cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadError(String);

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for HeadError {}

impl Bug {
    /// Parses the head of a diff; what follows the first line of the diff is not looked at.
    ///
    /// # Errors
    /// If a line is not understood, or something is missing.
    pub fn parse(file: &str) -> Result<Self, HeadError> {
        let end = file.find("\n--- a/").ok_or_else(|| wrong("there is no diff"))?;
        let head = &file[..end + 1];
        let (keys, text) = head.split_once("\n\n").ok_or_else(|| wrong("there is no text"))?;
        let (mut rows, mut searches) = (None, Vec::<Search>::new());
        for line in keys.lines() {
            let (key, value) = line.split_once(": ").ok_or_else(|| not_understood(line))?;
            match key {
                "Rows" if rows.is_none() => rows = Some(parse_rows(value)?),
                "Find" => searches.push(Search { how: parse_how(value)?, falls: Vec::new() }),
                "Falls" => {
                    let search = searches.last_mut().ok_or_else(|| wrong("Find comes first"))?;
                    search.falls.push(value.to_owned());
                }
                _ => return Err(not_understood(line)),
            }
        }
        let rows = rows.ok_or_else(|| wrong("Rows is missing"))?;
        if searches.is_empty() {
            return Err(wrong("Find is missing"));
        }
        if searches.iter().any(|search| search.falls.is_empty()) {
            return Err(wrong("each Find needs a Falls"));
        }
        let text = text.trim().to_owned();
        if text.chars().count() < TEXT_MIN {
            return Err(wrong("the text is too short to say what happened and what is right"));
        }
        Ok(Self { rows, searches, text })
    }
}

/// Parses `B1, B2` or `none`.
fn parse_rows(value: &str) -> Result<Vec<String>, HeadError> {
    if value == "none" {
        return Ok(Vec::new());
    }
    value
        .split(", ")
        .map(|row| is_row(row).then(|| row.to_owned()))
        .collect::<Option<_>>()
        .ok_or_else(|| {
            wrong("Rows wants names such as B1, with a comma and a space between them, or none")
        })
}

/// Says whether this is the name of a row: a letter from A to J, and a number.
fn is_row(name: &str) -> bool {
    let number = name.strip_prefix(|first: char| ('A'..='J').contains(&first));
    number.is_some_and(|number| {
        number.parse::<u8>().is_ok_and(|parsed| parsed > 0 && parsed.to_string() == number)
    })
}

/// Parses `seeds 500`, or an explorer's search and its scope.
fn parse_how(value: &str) -> Result<How, HeadError> {
    let (kind, rest) = value.split_once(' ').ok_or_else(|| not_understood(value))?;
    match kind {
        "seeds" => Ok(How::Seeds(number(rest)?)),
        "breadth" => parse_scope(rest).map(How::Breadth),
        "walks" => parse_scope(rest).map(How::Walks),
        "exhaust" => parse_scope(rest).map(How::Exhaust),
        _ => Err(not_understood(value)),
    }
}

/// Parses pairs such as `voters=3 learners=1 led timeouts=2`.
fn parse_scope(pairs: &str) -> Result<Scope, HeadError> {
    let (mut voters, mut learners, mut led, mut change) = (3, 0, false, None);
    let (mut budget, mut walks, mut length, mut actions_max) = (Budget::NONE, 2_000, 300, None);
    for pair in pairs.split(' ') {
        if pair == "led" {
            led = true;
            continue;
        }
        let (name, value) = pair.split_once('=').ok_or_else(|| not_understood(pair))?;
        match name {
            "voters" => voters = number(value)?,
            "learners" => learners = number(value)?,
            "change" => change = Some(value.split(',').map(number).collect::<Result<_, _>>()?),
            "walks" => walks = number(value)?,
            "length" => length = number(value)?,
            "actions" => actions_max = Some(number(value)?),
            "timeouts" => budget.timeouts = number(value)?,
            "crashes" => budget.crashes = number(value)?,
            "rollbacks" => budget.rollbacks = number(value)?,
            "proposals" => budget.proposals = number(value)?,
            "reads" => budget.reads = number(value)?,
            "transfers" => budget.transfers = number(value)?,
            "changes" => budget.changes = number(value)?,
            "compactions" => budget.compactions = number(value)?,
            "repeats" => budget.repeats = number(value)?,
            "drops" => budget.drops = number(value)?,
            _ => return Err(not_understood(pair)),
        }
    }
    let start = match change {
        Some(voters) => Start::Changing(voters),
        None if led => Start::Led { voters, learners },
        None => Start::Started { voters, learners },
    };
    let actions_max = actions_max.ok_or_else(|| wrong("actions=N is missing"))?;
    Ok(Scope { start, budget, actions_max, walks, length })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, HeadError> {
    text.parse().map_err(|_| HeadError(format!("not a number: {text}")))
}

fn not_understood(line: &str) -> HeadError {
    HeadError(format!("not understood: {line}"))
}

fn wrong(why: &str) -> HeadError {
    HeadError(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str) -> Result<Bug, String> {
        let text = "Something happened to somebody. ".repeat(10);
        let file = format!("{keys}\n\n{text}\n\n--- a/x\n+++ b/x\n");
        Bug::parse(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_head_names_rows_and_searches() {
        let bug = parse(
            "Rows: B1, B2\nFind: seeds 500\nFalls: this\nFalls: that\n\
             Find: walks voters=5 learners=1 led reads=2 actions=9\nFalls: other",
        )
        .expect("it is complete");
        assert_eq!(bug.rows, ["B1", "B2"]);
        let start = Start::Led { voters: 5, learners: 1 };
        let budget = Budget { reads: 2, ..Budget::NONE };
        let scope = Scope { start, budget, actions_max: 9, walks: 2_000, length: 300 };
        let expected = [
            Search { how: How::Seeds(500), falls: vec!["this".to_owned(), "that".to_owned()] },
            Search { how: How::Walks(scope), falls: vec!["other".to_owned()] },
        ];
        assert_eq!(bug.searches, expected);
    }

    #[test]
    fn what_is_missing_or_not_understood_is_said() {
        let complete = "Rows: none\nFind: seeds 5\nFalls: this";
        assert_eq!(parse(complete).map(|bug| bug.rows), Ok(Vec::new()));
        for (keys, why) in [
            ("Find: seeds 5\nFalls: this", "Rows is missing"),
            ("Rows: B1", "Find is missing"),
            ("Rows: B1\nFind: seeds 5", "each Find needs a Falls"),
            ("Rows: B1\nFalls: this\nFind: seeds 5", "Find comes first"),
            ("Rows: B1\nFind: luck 5\nFalls: this", "not understood: luck 5"),
            ("Rows: B1\nFind: walks luck=5\nFalls: this", "not understood: luck=5"),
            ("Rows: B1\nFind: walks reads=1\nFalls: this", "actions=N is missing"),
            ("Rows: B1\nFind: seeds many\nFalls: this", "not a number: many"),
            ("Rows: B1\nSeeds: 5", "not understood: Seeds: 5"),
        ] {
            assert_eq!(parse(keys), Err(why.to_owned()), "{keys}");
        }
        for rows in ["B", "b1", "K1", "B01", "B0", "B1 B2", "B1,B2"] {
            assert!(parse(&complete.replace("none", rows)).is_err(), "{rows}");
        }
        assert!(Bug::parse(&format!("{complete}\n\nShort.\n\n--- a/x\n")).is_err());
        assert!(Bug::parse(&format!("{complete}\n\nNo diff.\n")).is_err());
    }
}
