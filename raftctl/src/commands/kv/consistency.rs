//! How new an answer must be, and how old one says that it may be.

use clap::{Args, ValueEnum};
use client::{AGE_UNKNOWN_MS, Answer, Client, Consistency};
use serde_json::Value;
use state_machine::{KvQuery, KvResponse};

use super::pairs::decode;
use crate::output::{Output, units};
use crate::report::Result;

/// What reads are told about how new their answer must be.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConsistencyArgs {
    /// Who answers, and how new that is
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Linearizable)]
    consistency: Level,
    /// Any node answers, once it has applied the log up to this index: what a change has printed
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["consistency", "stale"])]
    at_least: Option<u64>,
    /// The same as --consistency stale
    #[arg(long, conflicts_with = "consistency")]
    stale: bool,
}

/// Who answers, and how new that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// The leader: everything that was acknowledged before
    Linearizable,
    /// Any node, and just as new: it asks the leader how far to go
    Follower,
    /// Any node: what it has applied, however old; works without a leader
    Stale,
}

/// What the answers to a command's questions have in common.
#[derive(Debug, Default)]
pub(crate) struct Age {
    /// The oldest one's, in milliseconds; `None` where only a leader answered linearizably.
    oldest_ms: Option<u64>,
    /// Whose state it is, where any node's will do.
    endpoint: Option<String>,
}

impl ConsistencyArgs {
    fn wanted(&self) -> Consistency {
        match (self.at_least, self.stale, self.consistency) {
            (Some(index), _, _) => Consistency::AtLeast(index),
            (None, true, _) | (None, false, Level::Stale) => Consistency::Stale,
            (None, false, Level::Follower) => Consistency::Follower,
            (None, false, Level::Linearizable) => Consistency::Linearizable,
        }
    }

    /// Asks the machine, and notes the answer's age where it may be old. Where any state will do,
    /// whoever answered first answers all: the next page of another one may end earlier.
    ///
    /// # Errors
    /// If the cluster does not answer, or refuses.
    pub(crate) async fn ask(
        &self,
        client: &Client,
        query: &KvQuery,
        age: &mut Age,
    ) -> Result<KvResponse> {
        let query = query.encode();
        let Answer { response, age_ms, .. } = match (self.wanted(), &age.endpoint) {
            (Consistency::Stale, Some(endpoint)) => client.query_of(endpoint, query).await?,
            (Consistency::Stale, None) => {
                let (endpoint, answer) = client.query_any(query).await?;
                age.endpoint = Some(endpoint);
                answer
            }
            (
                how @ (Consistency::Linearizable | Consistency::Follower | Consistency::AtLeast(_)),
                _,
            ) => client.query(query, how).await?,
        };
        match self.wanted() {
            Consistency::Stale | Consistency::AtLeast(_) => {
                age.oldest_ms = age.oldest_ms.max(age_ms);
            }
            Consistency::Linearizable | Consistency::Follower => {}
        }
        decode(&response)
    }
}

impl Age {
    /// Says on stderr how old the answer may be.
    pub(crate) fn tell(&self, output: &Output) {
        let Some(ms) = self.oldest_ms.filter(|_| output.for_people()) else {
            return;
        };
        output.remark(&match ms {
            0 => "the leader answered".to_owned(),
            AGE_UNKNOWN_MS => {
                "the node that answered has heard from no leader since it started".to_owned()
            }
            ms => format!("the node that answered heard from a leader {} ago", units::age(ms)),
        });
    }

    /// Adds it to an answer for programs; `null` if no leader was heard from.
    pub(crate) fn add_to(&self, data: &mut Value) {
        if let Some(ms) = self.oldest_ms {
            data["ageMs"] = if ms == AGE_UNKNOWN_MS { Value::Null } else { ms.into() };
        }
    }
}
