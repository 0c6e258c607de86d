//! A session that was looked up, and how it is written.

use client::{Client, Consistency};
use consensus::ClusterTime;
use state_machine::{Session as Found, SessionAnswers, SystemAnswer, SystemQuery};

use crate::codes;
use crate::output::units;
use crate::report::{Report, Result};

/// Looks a session up; also says which cluster time it is.
pub(crate) async fn find(
    client: &Client,
    id: u64,
    how: Consistency,
) -> Result<(SessionAnswers, ClusterTime)> {
    let query = SystemQuery::Session { session: id };
    let SystemAnswer::Session { found, time } = client.system(&query, how).await? else {
        return Err(unexpected());
    };
    let found = found.ok_or_else(|| match how {
        // What one node has not applied may be all the same.
        Consistency::Stale => {
            let message = format!("the node that answered knows no session {id}: it may be open");
            Report::new(codes::NO_SESSION_HERE, message).help("raftctl status    (who leads)")
        }
        Consistency::Linearizable | Consistency::Follower | Consistency::AtLeast(_) => {
            let message =
                format!("there is no session {id}: it was closed, has expired or never was");
            Report::new(codes::NO_SESSION, message).help("raftctl session list")
        }
    })?;
    Ok((found, time))
}

/// Makes a report of an answer that does not belong to what was asked.
pub(crate) fn unexpected() -> Report {
    Report::new(codes::UNEXPECTED, "the node answered something else than was asked")
}

/// Writes ascending numbers as ranges: `3, 5-9`.
pub(crate) fn ranges(numbers: &[u64]) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let part = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Writes the name that a client gave its session.
pub(crate) fn name(one: &Found) -> String {
    match one.name.as_str() {
        "" => "-".to_owned(),
        // Only a session without a name is shown as a dash.
        name => units::key(name.as_bytes()),
    }
}

/// Writes whose a session is.
pub(crate) fn owner(one: &Found) -> &str {
    if one.owner.is_empty() { "-" } else { &one.owner }
}

/// Writes the numbers below a low-water mark.
pub(crate) fn below(low_water: u64) -> String {
    match low_water {
        0 | 1 => "-".to_owned(),
        low_water => format!("1-{}", low_water - 1),
    }
}
