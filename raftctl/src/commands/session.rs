//! `raftctl session`: clients' sessions, in which a command takes effect exactly once.

use clap::{Args, Subcommand};
use client::{Client, Consistency};
use consensus::ClusterTime;
use serde_json::{Map, Value, json};
use state_machine::{
    SESSION_TIMEOUT, SESSIONS_PAGE_MAX, Session as Found, SessionAnswers, SystemAnswer, SystemQuery,
};

use crate::commands::session::found::{below, find, name, owner, ranges, unexpected};
use crate::invocation::Invocation;
use crate::newest::{Lister, Newest};
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::table::Rows;
use crate::output::{View, units};
use crate::report::Result;

mod close;
mod found;

const SESSIONS: Kind = Kind {
    kind: "SessionList",
    field: "sessions",
    items: "sessions",
    header: &["ID", "NAME", "OWNER", "OPEN", "IDLE", "ANSWERED", "HIGHEST"],
};

/// Clients' sessions.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Lists the open sessions; with a certificate that is no operator's, its own
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Shows one session: which commands were applied, and which may still come
    ///
    /// A command that was not applied may still be on its way, so what is shown is not final. What
    /// `raftctl session close` says is.
    Show {
        /// Its id
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// Takes what any node has applied, however old; works without a leader
        #[arg(long)]
        stale: bool,
    },
    /// Closes a session; then what was not applied never will be
    ///
    /// Sessions belong to the certificate's name that registered them; an operator may close any.
    /// A client that is gone may have left commands on their way. Behind the close none of them is
    /// applied, so what it says of them is final. A client that lives gets an error for all that it
    /// still sends in the session.
    Close(close::CloseArgs),
}

/// What `list` is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListArgs {
    /// At most so many; 0 is all
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: u64,
    /// Takes what any node has applied, however old; works without a leader
    #[arg(long)]
    stale: bool,
}

/// Runs the command.
///
/// # Errors
/// If the cluster does not answer, or there is no such session.
pub(crate) async fn run(invocation: &Invocation, command: SessionCommand) -> Result<()> {
    match command {
        SessionCommand::List(args) => list(invocation, args).await,
        SessionCommand::Show { id, stale } => show(invocation, id, stale).await,
        SessionCommand::Close(args) => close::run(invocation, args).await,
    }
}

/// A session as it is listed at a moment of cluster time.
struct Item<'a>(u64, &'a Found, ClusterTime);

impl Listed for Item<'_> {
    fn name(&self) -> String {
        self.0.to_string()
    }

    fn row(&self) -> Vec<String> {
        let Self(id, one, now) = self;
        vec![
            id.to_string(),
            name(one),
            owner(one).to_owned(),
            units::age(since_ms(*now, one.registered)),
            units::age(since_ms(*now, one.active)),
            answered(one),
            one.highest.to_string(),
        ]
    }

    fn data(&self) -> Value {
        fields(self.0, self.1, self.2)
    }
}

async fn list(invocation: &Invocation, args: ListArgs) -> Result<()> {
    let (target, client) = invocation.client()?;
    let Newest { how, mut warnings } = Newest::of(&client, &target.nodes, args.stale).await?;
    let mut stream = Stream::new(&invocation.output, SESSIONS);
    let ended = pages(&client, (args.limit, how), &mut stream).await;
    client.close().await;
    let more = ended.map_err(|why| stream.cut_off(why))?;
    if more {
        let count = stream.written();
        warnings.push(format!("only the first {count} sessions are shown; --limit 0 shows all"));
    }
    stream.end(Map::from_iter([("more".to_owned(), more.into())]), &warnings).await
}

/// Writes page after page, and says whether there are more sessions than were wanted.
async fn pages(
    client: &Client,
    (limit, how): (u64, Consistency),
    stream: &mut Stream,
) -> Result<bool> {
    let wanted = if limit == 0 { u64::MAX } else { limit };
    let (mut after, mut lister) = (0, Lister::new(client, how));
    loop {
        let missing = wanted - stream.written();
        let limit = u32::try_from(missing).unwrap_or(u32::MAX).min(SESSIONS_PAGE_MAX);
        let query = SystemQuery::Sessions { after, limit };
        let SystemAnswer::Sessions { items, more, last, time } = lister.ask(&query).await? else {
            return Err(unexpected());
        };
        // A node that begins anew would be asked for ever.
        if (more && last <= after) || items.len() as u64 > missing {
            return Err(unexpected());
        }
        after = last;
        let items: Vec<Item<'_>> = items.iter().map(|(id, one)| Item(*id, one, time)).collect();
        stream.page(&items).await?;
        if !more || stream.written() >= wanted {
            return Ok(more);
        }
    }
}

async fn show(invocation: &Invocation, id: u64, stale: bool) -> Result<()> {
    let (target, client) = invocation.client()?;
    let Newest { how, warnings } = Newest::of(&client, &target.nodes, stale).await?;
    let found = find(&client, id, how).await;
    client.close().await;
    let (found, time) = found?;
    invocation.output.answer(&View {
        kind: "Session",
        data: details(id, &found, time),
        text: text(id, &found, time, invocation.output.headers).into_bytes(),
        names: vec![id.to_string()],
        warnings,
    })
}

fn text(id: u64, found: &SessionAnswers, now: ClusterTime, headers: bool) -> String {
    let one = &found.session;
    let missing = found.missing();
    let open = match missing.as_slice() {
        [] => "none".to_owned(),
        missing => format!("{}   (may still come)", ranges(missing)),
    };
    let mut text = format!(
        "session      {id}\nname         {}\nowner        {}\nopen for     {}\nidle for     {}\n\
         expires in   {}\nanswered     {}\nnot applied  {open}\n",
        name(one),
        owner(one),
        units::age(since_ms(now, one.registered)),
        units::age(since_ms(now, one.active)),
        units::age(expires_ms(now, one)),
        answered(one),
    );
    if !found.cached.is_empty() {
        let mut rows = Rows::new(&["APPLIED", "INDEX", "ANSWER"]);
        for cached in &found.cached {
            let size = cached.bytes.map(|bytes| units::size(u64::from(bytes)));
            let size = size.unwrap_or_else(|| "too long to keep".to_owned());
            rows.push(vec![cached.sequence.to_string(), cached.index.to_string(), size]);
        }
        text.push('\n');
        text.push_str(&rows.render(headers));
    }
    text
}

/// Says up to which command the client has all answers.
fn answered(one: &Found) -> String {
    below(one.low_water)
}

fn since_ms(now: ClusterTime, then: ClusterTime) -> u64 {
    now.get().saturating_sub(then.get()) / 1_000_000
}

fn expires_ms(now: ClusterTime, one: &Found) -> u64 {
    one.active.get().saturating_add(SESSION_TIMEOUT).saturating_sub(now.get()) / 1_000_000
}

fn fields(id: u64, one: &Found, now: ClusterTime) -> Value {
    json!({
        "id": id.to_string(),
        "name": one.name,
        "owner": one.owner,
        "openMs": since_ms(now, one.registered),
        "idleMs": since_ms(now, one.active),
        "expiresInMs": expires_ms(now, one),
        "lowWater": one.low_water,
        "highest": one.highest,
    })
}

fn details(id: u64, found: &SessionAnswers, now: ClusterTime) -> Value {
    let cached = |cached: &state_machine::CachedAnswer| {
        json!({
            "sequence": cached.sequence,
            "index": cached.index.to_string(),
            "answerBytes": cached.bytes,
        })
    };
    let mut data = fields(id, &found.session, now);
    data["applied"] = found.cached.iter().map(cached).collect();
    data["notApplied"] = json!(found.missing());
    data["final"] = json!(false);
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::CachedAnswer;

    const MINUTE: u64 = 60_000_000_000;

    fn found() -> SessionAnswers {
        let session = Found {
            owner: "client billing".to_owned(),
            name: "billing".to_owned(),
            registered: ClusterTime::new(MINUTE),
            active: ClusterTime::new(2 * MINUTE),
            low_water: 3,
            highest: 9,
        };
        let cached = vec![
            CachedAnswer { sequence: 4, index: 40, bytes: Some(10) },
            CachedAnswer { sequence: 9, index: 90, bytes: None },
        ];
        SessionAnswers { session, cached }
    }

    #[test]
    fn a_session_is_shown_with_what_was_applied_and_what_may_come() {
        let expected = "session      12\n\
                        name         billing\n\
                        owner        client billing\n\
                        open for     4 m\n\
                        idle for     3 m\n\
                        expires in   57 m\n\
                        answered     1-2\n\
                        not applied  3, 5-8   (may still come)\n\
                        \n\
                        APPLIED  INDEX  ANSWER\n\
                        4        40     10 B\n\
                        9        90     too long to keep\n";
        assert_eq!(text(12, &found(), ClusterTime::new(5 * MINUTE), true), expected);
    }

    #[test]
    fn sessions_are_rows_without_their_nonces() {
        let now = ClusterTime::new(5 * MINUTE);
        let expected = "ID  NAME     OWNER           OPEN  IDLE  ANSWERED  HIGHEST\n\
                        12  billing  client billing  4 m   3 m   1-2       9\n";
        let mut rows = Rows::new(SESSIONS.header);
        rows.push(Item(12, &found().session, now).row());
        assert_eq!(rows.render(true), expected);
        let data = details(12, &found(), now);
        assert_eq!(data["notApplied"], json!([3, 5, 6, 7, 8]));
        assert_eq!(data["final"], false);
        assert_eq!(data["applied"][1], json!({"sequence": 9, "index": "90", "answerBytes": null}));
        assert_eq!(data["expiresInMs"], json!(57 * 60_000));
        assert!(!data.to_string().contains("nonce"));
    }
}
