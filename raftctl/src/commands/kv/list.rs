//! `raftctl kv list`: keys in order, asked for and written a page at a time.
//!
//! Each page is a question of its own, and the next one begins behind the last key of the one
//! before. So every key that was there all the time is listed, once and in order, whoever leads
//! meanwhile; what is put or deleted while the list goes on may be in it or not.

use std::ffi::OsString;

use bytes::Bytes;
use clap::Args;
use client::Client;
use serde_json::{Map, Value, json};
use state_machine::{KvQuery, KvResponse, PAGE_KEYS_MAX};

use super::consistency::{Age, ConsistencyArgs};
use super::pairs::{key_of, pair, prefix_of, unexpected};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::form::Form;
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::units;
use crate::report::{Report, Result};

/// The longest value that a table shows, in characters; `-o wide` shows all of it.
const SHOWN_CHARS_MAX: usize = 60;

const KEYS: Kind =
    Kind { kind: "KeyList", field: "keys", items: "keys", header: &["KEY", "REVISION", "VALUE"] };

/// What `list` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// What the keys begin with
    #[arg(default_value = "")]
    prefix: OsString,
    /// At most so many; 0 is all
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: u64,
    /// Begins behind this key; what a list that was cut off prints
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    after: Option<OsString>,
    /// Writes lines for `kv load --quoted`: KEY<TAB>VALUE
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    consistency: ConsistencyArgs,
}

/// A key with its value.
struct Item<'a> {
    key: &'a Bytes,
    value: &'a Bytes,
    revision: u64,
    wide: bool,
    lines: bool,
}

impl Listed for Item<'_> {
    fn name(&self) -> String {
        match self.lines {
            true => format!("{}\t{}", units::name(self.key), units::name(self.value)),
            false => units::key(self.key),
        }
    }

    fn row(&self) -> Vec<String> {
        let value = match self.value.as_ref() {
            // Nothing else is shown as nothing.
            [] => String::new(),
            value => shorten(units::name(value), self.wide),
        };
        vec![units::key(self.key), self.revision.to_string(), value]
    }

    fn data(&self) -> Value {
        pair(self.key, self.value, self.revision)
    }
}

/// Lists keys.
///
/// # Errors
/// If the cluster does not answer; then it says how far it came.
pub(super) async fn run(invocation: &Invocation, args: ListArgs) -> Result<()> {
    let mut output = invocation.output.clone();
    if args.lines {
        if !matches!(output.form, Form::Table) {
            return Err(Report::new(codes::USAGE, "--lines is a form of its own, without -o"));
        }
        output.form = Form::Name;
    }
    let prefix = prefix_of(&args.prefix)?;
    let after = args.after.as_ref().map(|after| key_of(after)).transpose()?.unwrap_or_default();
    let (_, client) = invocation.client()?;
    let mut stream = Stream::new(&output, KEYS);
    let mut age = Age::default();
    let mut pages = Pages { prefix, after, age: &mut age, args: &args };
    let ended = pages.write(&client, &mut stream, output.wide()).await;
    let last = pages.after;
    client.close().await;
    let more = ended.map_err(|why| {
        let goes_on = stream.written() > 0 && !why.message.is_empty();
        let why = stream.cut_off(why);
        if goes_on { why.help(again(&args, &last, stream.written())) } else { why }
    })?;
    let mut warnings = Vec::new();
    if more {
        let count = stream.written();
        warnings.push(format!("only the first {count} keys are shown; --limit 0 shows all"));
    }
    let mut rest = json!({ "more": more });
    age.add_to(&mut rest);
    let rest = rest.as_object().cloned().unwrap_or_else(Map::new);
    stream.end(rest, &warnings).await?;
    age.tell(&invocation.output);
    Ok(())
}

/// Where the list is.
struct Pages<'a> {
    prefix: Bytes,
    after: Bytes,
    age: &'a mut Age,
    args: &'a ListArgs,
}

impl Pages<'_> {
    /// Writes page after page, and says whether there are more keys than were wanted.
    async fn write(&mut self, client: &Client, stream: &mut Stream, wide: bool) -> Result<bool> {
        let wanted = if self.args.limit == 0 { u64::MAX } else { self.args.limit };
        loop {
            let missing = wanted - stream.written();
            let limit = u32::try_from(missing).unwrap_or(u32::MAX).min(PAGE_KEYS_MAX);
            let (prefix, after) = (self.prefix.clone(), self.after.clone());
            let query = KvQuery::List { prefix, after, limit };
            let answer = self.args.consistency.ask(client, &query, self.age).await?;
            let KvResponse::Page { items, more } = answer else {
                return Err(unexpected(answer));
            };
            let Some((last, _, _)) = items.last() else {
                return Ok(false);
            };
            // A node that begins anew would be asked for ever.
            if *last <= self.after || items.len() as u64 > missing {
                let message = "the node lists keys again that it has listed before";
                return Err(Report::new(codes::UNEXPECTED, message));
            }
            let lines = self.args.lines;
            let listed: Vec<Item<'_>> = items
                .iter()
                .map(|(key, value, revision)| Item { key, value, revision: *revision, wide, lines })
                .collect();
            let before = stream.written();
            let ended = stream.page(&listed).await;
            // As far as it was written: that is where the list goes on.
            let whole = usize::try_from(stream.written() - before).unwrap_or(usize::MAX);
            if let Some((key, _, _)) = whole.checked_sub(1).and_then(|place| items.get(place)) {
                self.after = key.clone();
            }
            ended?;
            if !more || stream.written() >= wanted {
                return Ok(more);
            }
        }
    }
}

/// Returns the command that goes on behind the last key.
fn again(args: &ListArgs, last: &Bytes, written: u64) -> String {
    let mut command = "raftctl kv list".to_owned();
    if !args.prefix.is_empty() {
        let prefix = prefix_of(&args.prefix).unwrap_or_default();
        command.push_str(&format!(" {}", units::typed(&prefix)));
    }
    let left = if args.limit == 0 { 0 } else { args.limit.saturating_sub(written) };
    command.push_str(if args.lines { " --lines" } else { "" });
    command.push_str(&format!(" --limit {left} --after {}    (goes on)", units::typed(last)));
    command
}

fn shorten(text: String, wide: bool) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) if !wide => format!("{}..", &text[..end]),
        _ => text,
    }
}
