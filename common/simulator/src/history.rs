//! The history of all runs that count, in a file that is committed: each line is one run of seeds
//! that were never run before.
//!
//! `cargo xtask sim --seeds N --record` appends; a test reads all of it and says what is wrong.

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it ended, as `2026-11-28`.
    pub date: String,
    /// The commit that was run, which had no changes.
    pub commit: String,
    /// The first seed.
    pub first: u64,
    /// How many seeds there were.
    pub seeds: u64,
    /// Whole virtual hours.
    pub hours: u64,
    /// Seeds that broke something: a run ends with the first.
    pub failures: u64,
}

/// What stands before each value, in this order, behind date and commit.
const WORDS: [&str; 4] = ["first", "seeds", "hours", "failures"];

/// The least and the most virtual seconds that a seed takes: thirty with faults, and until service
/// is back and has shown itself.
const SEED_S: (u64, u64) = (30, 300);

/// Reads all runs. Empty lines and those that begin with `#` are for people.
///
/// # Errors
/// If a line is not understood, a seed was run twice, or figures do not belong together.
pub fn parse(text: &str) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let run = parse_line(line).ok_or_else(|| format!("line {number} is not understood"))?;
        let why = |why: &str| Err(format!("line {number}: {why}"));
        if let Some(last) = runs.last() {
            if run.first < last.first + last.seeds {
                return why("some of these seeds were run before");
            }
            if run.date < last.date {
                return why("it is older than the line above");
            }
        }
        let (least, most) = (run.seeds * SEED_S.0 / 3_600, run.seeds * SEED_S.1 / 3_600);
        if run.failures == 0 && !(least..=most).contains(&run.hours) {
            return why("so many seeds do not take so many hours");
        }
        runs.push(run);
    }
    Ok(runs)
}

fn parse_line(line: &str) -> Option<Run> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [date, commit, rest @ ..] = words.as_slice() else {
        return None;
    };
    let is_date = date.len() == 10 && date.split('-').all(|part| part.parse::<u64>().is_ok());
    let is_commit = commit.len() == 12 && commit.chars().all(|c| c.is_ascii_hexdigit());
    if !is_date || !is_commit || rest.len() != 2 * WORDS.len() {
        return None;
    }
    let mut values = [0; WORDS.len()];
    for (place, pair) in rest.chunks(2).enumerate() {
        if pair[0] != WORDS[place] {
            return None;
        }
        values[place] = pair[1].parse().ok()?;
    }
    let [first, seeds, hours, failures] = values;
    let (date, commit) = ((*date).to_owned(), (*commit).to_owned());
    Some(Run { date, commit, first, seeds, hours, failures })
}

/// Appends a run.
pub fn append(text: &str, run: &Run) -> String {
    let Run { date, commit, first, seeds, hours, failures } = run;
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!(
        "{text}{end}{date} {commit} first {first} seeds {seeds} hours {hours} failures {failures}\n"
    )
}

/// Returns the date of a time, in seconds since 1970, in the Gregorian calendar and UTC.
pub fn date(unix_s: u64) -> String {
    // Years begin in March, so that the day that is left out now and then is their last.
    let days = unix_s / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Run {
        Run {
            date: "2026-11-28".to_owned(),
            commit: "0123456789ab".to_owned(),
            first: 1,
            seeds: 1_000,
            hours: 10,
            failures: 0,
        }
    }

    #[test]
    fn what_is_appended_is_read() {
        let next = Run { first: 1_001, failures: 1, hours: 0, ..some() };
        let text = append(&append("# runs", &some()), &next);
        assert_eq!(parse(&text), Ok(vec![some(), next]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (run, why) in [
            (Run { first: 1_000, ..some() }, "run before"),
            (Run { first: 1_001, date: "2026-11-27".to_owned(), ..some() }, "older"),
            (Run { first: 1_001, hours: 7, ..some() }, "hours"),
            (Run { first: 1_001, hours: 90, ..some() }, "hours"),
            (Run { first: 1_001, commit: "0123456789ab+".to_owned(), ..some() }, "understood"),
        ] {
            let text = append(&append("", &some()), &run);
            let refused = parse(&text).expect_err("it cannot be");
            assert!(refused.contains("line 2") && refused.contains(why), "{refused}");
        }
        assert!(parse("2026-11-28 0123456789ab first 1 seeds 2 hours").is_err());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_s, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_764_288_000, "2025-11-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(unix_s), expected);
        }
    }
}
