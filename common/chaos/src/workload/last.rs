//! The last look: every key through the cluster, and all of each member's own state.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Answer, Client, ClientError, Consistency};
use state_machine::{KvQuery, KvResponse};

use super::{Shared, now_ns, values};
use crate::failure::{Failure, Result};
use crate::history::{Action, Operation, Outcome, Reply};

/// Who reads last, in the history.
const READER: u32 = 9_999;

/// How many keys are read at a time.
const PAGE: u32 = 500;

/// How long members may take until they have all applied the same.
const CONVERGING: Duration = Duration::from_secs(60);

/// Whose state is read.
enum From<'a> {
    Cluster,
    Member(&'a str),
}

/// A state: keys with the name of their value, and revision.
type State = BTreeMap<Bytes, (String, u64)>;

/// Reads all keys, linearizably, and notes each as a read.
pub(super) async fn read_all(
    client: &Client,
    shared: &Shared,
    keys: &BTreeSet<String>,
) -> Result<()> {
    let invoked_ns = now_ns();
    let began = Instant::now();
    let (state, index) = loop {
        match read(client, &From::Cluster).await {
            Ok(read) => break read,
            Err(error) if began.elapsed() > CONVERGING => {
                return Err(Failure::Cluster(format!("the last read failed: {error}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    let returned_ns = now_ns();
    for key in keys {
        let value = state.get(key.as_bytes()).map(|(value, _)| value.clone());
        let reply = value.map_or(Reply::Missing, Reply::Value);
        let outcome = Outcome::Answered { reply, index };
        let (key, action) = (key.clone(), Action::Get);
        shared.note(&Operation { client: READER, key, action, invoked_ns, returned_ns, outcome });
    }
    Ok(())
}

/// Reads each member's own state until all are equal, and says on stdout what each has.
pub(super) async fn compare(client: &Client, members: &[String]) {
    let began = Instant::now();
    loop {
        let mut states = Vec::new();
        for member in members {
            states.push(read(client, &From::Member(member)).await.map(|(state, _)| state));
        }
        let digests: Vec<Option<u64>> =
            states.iter().map(|state| state.as_ref().ok().map(digest)).collect();
        let equal = digests.iter().all(|one| one.is_some() && *one == digests[0]);
        if equal || began.elapsed() > CONVERGING {
            for (member, state) in members.iter().zip(&states) {
                match state {
                    Ok(state) => println!("state {member} {:016x} {}", digest(state), state.len()),
                    Err(error) => println!("silent {member} {error}"),
                }
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn digest(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

async fn read(client: &Client, from: &From<'_>) -> std::result::Result<(State, u64), ClientError> {
    let mut state = State::new();
    let mut after = Bytes::new();
    loop {
        let list = KvQuery::List { prefix: Bytes::new(), after, limit: PAGE }.encode();
        let Answer { index, response, .. } = match from {
            From::Cluster => client.query(list, Consistency::Linearizable).await?,
            From::Member(endpoint) => client.query_of(endpoint, list).await?,
        };
        let Ok(KvResponse::Page { items, more }) = KvResponse::decode(&response) else {
            return Err(ClientError::Unexpected { endpoint: "a member".to_owned() });
        };
        let last = items.last().map(|(key, _, _)| key.clone());
        let named =
            |(key, value, revision): (Bytes, Bytes, u64)| (key, (values::name(&value), revision));
        state.extend(items.into_iter().map(named));
        match last {
            Some(last) if more => after = last,
            Some(_) | None => return Ok((state, index)),
        }
    }
}
