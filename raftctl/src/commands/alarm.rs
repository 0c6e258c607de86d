//! `raftctl alarm`: members whose disks have no room for more data.

use clap::{Args, Subcommand};
use client::{Client, Consistency};
use consensus::ClusterTime;
use serde_json::{Map, Value, json};
use state_machine::{Alarm, SystemAnswer, SystemQuery};

use crate::codes;
use crate::invocation::Invocation;
use crate::newest::Newest;
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::units;
use crate::report::{Report, Result};

const ALARMS: Kind = Kind {
    kind: "AlarmList",
    field: "alarms",
    items: "alarms",
    header: &["MEMBER", "NAME", "ALARM", "SINCE", "INDEX"],
};

/// What all alarms are about.
const NO_ROOM: &str = "no-room";

/// Alarms.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AlarmCommand {
    /// Lists the members whose disks have no room for more data
    ///
    /// A leader raises and clears alarms by itself. If the voters without one are no majority, it
    /// refuses what adds data; reads and deletions go on. `raftctl explain R0490` says more.
    #[command(visible_alias = "ls")]
    List(ListArgs),
}

/// What `list` is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListArgs {
    /// Takes what any node has applied, however old; works without a leader
    #[arg(long)]
    stale: bool,
}

/// Runs the command.
///
/// # Errors
/// If the cluster does not answer.
pub(crate) async fn run(invocation: &Invocation, command: AlarmCommand) -> Result<()> {
    match command {
        AlarmCommand::List(args) => list(invocation, args).await,
    }
}

/// An alarm as it is listed at a moment of cluster time.
struct Item(Alarm, ClusterTime);

impl Item {
    fn since_ms(&self) -> u64 {
        self.1.get().saturating_sub(self.0.time.get()) / 1_000_000
    }
}

impl Listed for Item {
    fn name(&self) -> String {
        self.0.id.to_string()
    }

    fn row(&self) -> Vec<String> {
        let Alarm { id, name, index, time: _ } = &self.0;
        let since = units::age(self.since_ms());
        let name = units::printable(name.as_bytes());
        vec![id.to_string(), name, NO_ROOM.to_owned(), since, index.to_string()]
    }

    fn data(&self) -> Value {
        let Alarm { id, name, index, time } = &self.0;
        json!({
            "id": id.to_string(),
            "name": name,
            "alarm": NO_ROOM,
            "sinceMs": self.since_ms(),
            "index": index.to_string(),
            "clusterTimeNs": time.get().to_string(),
        })
    }
}

async fn list(invocation: &Invocation, args: ListArgs) -> Result<()> {
    let (target, client) = invocation.client()?;
    let Newest { how, warnings } = Newest::of(&client, &target.nodes, args.stale).await?;
    let found = ask(&client, how).await;
    client.close().await;
    let mut stream = Stream::new(&invocation.output, ALARMS);
    stream.page(&found?).await?;
    stream.end(Map::new(), &warnings).await
}

async fn ask(client: &Client, how: Consistency) -> Result<Vec<Item>> {
    let SystemAnswer::Alarms { items, time } = client.system(&SystemQuery::Alarms, how).await?
    else {
        return Err(Report::new(codes::UNEXPECTED, "a node answered something else than alarms"));
    };
    Ok(items.into_iter().map(|alarm| Item(alarm, time)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{LogIndex, NodeId};

    #[test]
    fn an_alarm_is_listed_with_its_age_and_its_entry() {
        let id = NodeId::new(2).expect("not 0");
        let (index, time) = (LogIndex::new(17), ClusterTime::new(5_000_000_000));
        let alarm = Alarm { id, name: "n\u{1b}2".into(), index, time };
        let item = Item(alarm, ClusterTime::new(65_000_000_000));
        assert_eq!(item.name(), "2");
        assert_eq!(item.row(), ["2", "n\\x1b2", "no-room", "1 m", "17"]);
        assert_eq!(item.data()["sinceMs"], 60_000);
        assert_eq!(item.data()["index"], "17");
    }
}
