//! What clients asked and were told, with the times of one clock; and its file.

use std::fmt::Write as _;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To read a key, linearizably.
    Get,
    /// To set it.
    Put(String),
    /// To delete it.
    Delete,
    /// To change it if it has this value; `None` is no value.
    Swap {
        /// What it must have.
        expected: Option<String>,
        /// What it gets.
        new: Option<String>,
    },
    /// To add to it.
    Add(i64),
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The change was made.
    Done,
    /// There is no such key.
    Missing,
    /// It has this value and not the expected one.
    Differs(String),
    /// It has this value (now).
    Value(String),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// What it was told.
        reply: Reply,
        /// Where it stands in the log; of a read, an index that was applied.
        index: u64,
    },
    /// It certainly had no effect, and never will, as the client was told.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// An operation of a client on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// The key.
    pub key: String,
    /// What was asked.
    pub action: Action,
    /// When, in nanoseconds of the machine's monotonic clock.
    pub invoked_ns: u64,
    /// When the outcome was there.
    pub returned_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// Writes it as a line, with tabs.
    pub fn line(&self) -> String {
        let mut line =
            format!("{}\t{}\t{}\t{}\t", self.client, self.key, self.invoked_ns, self.returned_ns);
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        // Writing to a string cannot fail.
        let _ = match &self.action {
            Action::Get => write!(line, "get"),
            Action::Put(value) => write!(line, "put {value}"),
            Action::Delete => write!(line, "delete"),
            Action::Swap { expected, new } => {
                write!(line, "swap {} {}", or_none(expected), or_none(new))
            }
            Action::Add(delta) => write!(line, "add {delta}"),
        };
        let _ = match &self.outcome {
            Outcome::Failed => write!(line, "\tfailed"),
            Outcome::Unknown => write!(line, "\tunknown"),
            Outcome::Answered { reply, index } => match reply {
                Reply::Done => write!(line, "\tdone\t{index}"),
                Reply::Missing => write!(line, "\tmissing\t{index}"),
                Reply::Differs(actual) => write!(line, "\tdiffers {actual}\t{index}"),
                Reply::Value(value) => write!(line, "\tvalue {value}\t{index}"),
            },
        };
        line
    }

    /// Reads such a line; `None` if it is none.
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [client, key, invoked, returned, action, ended, index @ ..] = &fields[..] else {
            return None;
        };
        Some(Self {
            client: client.parse().ok()?,
            key: (*key).to_owned(),
            action: parse_action(action)?,
            invoked_ns: invoked.parse().ok()?,
            returned_ns: returned.parse().ok()?,
            outcome: parse_outcome(ended, index)?,
        })
    }
}

fn parse_action(text: &str) -> Option<Action> {
    let value = |text: &str| (text != "-").then(|| text.to_owned());
    Some(match text.split(' ').collect::<Vec<_>>()[..] {
        ["get"] => Action::Get,
        ["put", value] => Action::Put(value.to_owned()),
        ["delete"] => Action::Delete,
        ["swap", expected, new] => Action::Swap { expected: value(expected), new: value(new) },
        ["add", delta] => Action::Add(delta.parse().ok()?),
        _ => return None,
    })
}

fn parse_outcome(text: &str, index: &[&str]) -> Option<Outcome> {
    let reply = match text.split(' ').collect::<Vec<_>>()[..] {
        ["failed"] => return Some(Outcome::Failed),
        ["unknown"] => return Some(Outcome::Unknown),
        ["done"] => Reply::Done,
        ["missing"] => Reply::Missing,
        ["differs", actual] => Reply::Differs(actual.to_owned()),
        ["value", value] => Reply::Value(value.to_owned()),
        _ => return None,
    };
    Some(Outcome::Answered { reply, index: index.first()?.parse().ok()? })
}
