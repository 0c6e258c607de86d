//! A connection to one of the systems, and how it is asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{Client, ClientConfig, Consistency, Credentials};
use serde_json::Value;
use state_machine::{KvCommand, KvQuery};

use super::etcd::{self, Etcd};
use super::nats::{self, Nats};
use crate::certificates::Certificates;

/// The most connections of the clients of etcd and NATS: a single one holds them up.
const CONNECTIONS_MAX: usize = 16;

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection; copies share it.
#[derive(Clone)]
pub(super) enum Connection {
    Raftd(Client),
    Etcd(Etcd),
    Nats(Arc<Nats>),
}

impl Connection {
    /// Opens as many as so many clients share: to the leader, where it matters.
    pub(super) async fn open(target: &Value, clients: usize) -> Result<Vec<Self>, String> {
        let listed = target["endpoints"].as_array().cloned().unwrap_or_default();
        let text = |one: &Value| one.as_str().unwrap_or_default().to_owned();
        let endpoints: Vec<String> = listed.iter().map(text).collect();
        let directory = target["certificates"].as_str().unwrap_or_default();
        let directory = Path::new(directory);
        let count = clients.clamp(1, CONNECTIONS_MAX);
        let mut open = Vec::new();
        match target["system"].as_str() {
            Some("raftd") => open.push(Self::Raftd(raftd(endpoints, directory)?)),
            Some("etcd") => {
                let files = Certificates::at(directory);
                let leader = etcd::leader_of(&files, &endpoints).await?;
                for _ in 0..count {
                    open.push(Self::Etcd(Etcd::connect(&files, &leader).await?));
                }
            }
            _ => {
                let files = Certificates::at(directory);
                let leader = nats::leader_of(&files, &endpoints).await?;
                for _ in 0..count {
                    open.push(Self::Nats(Arc::new(Nats::connect(&files, &leader).await?)));
                }
            }
        }
        Ok(open)
    }

    /// Writes a key.
    pub(super) async fn put(&self, key: Bytes, value: Bytes) -> Result<(), String> {
        match self {
            Self::Raftd(client) => {
                let command = KvCommand::Put { key, value }.encode();
                client.propose(command).await.map(drop).map_err(|error| error.to_string())
            }
            Self::Etcd(etcd) => etcd.put(&key, &value).await,
            Self::Nats(nats) => nats.publish(&key, &value).await,
        }
    }

    /// Writes many keys: in a message, where the system knows that.
    pub(super) async fn put_all(&self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), String> {
        if let Self::Raftd(client) = self {
            let put = |(key, value)| KvCommand::Put { key, value }.encode();
            let done = client.propose_all(pairs.into_iter().map(put).collect()).await;
            return done.into_iter().try_for_each(|one| one.map(drop)).map_err(|e| e.to_string());
        }
        for (key, value) in pairs {
            self.put(key, value).await?;
        }
        Ok(())
    }

    /// Reads a key, linearizably.
    pub(super) async fn get(&self, key: Bytes) -> Result<(), String> {
        match self {
            Self::Raftd(client) => {
                let query = KvQuery::Get { key }.encode();
                let answer = client.query(query, Consistency::Linearizable).await;
                answer.map(drop).map_err(|error| error.to_string())
            }
            Self::Etcd(etcd) => etcd.get(&key).await,
            Self::Nats(_) => Err("NATS has no linearizable reads".into()),
        }
    }
}

fn raftd(endpoints: Vec<String>, directory: &Path) -> Result<Client, String> {
    let credentials =
        Credentials::load_from(directory, "operator").map_err(|error| error.to_string())?;
    let (deadline, connect_timeout) = (DEADLINE, Duration::from_secs(2));
    let config = ClientConfig { endpoints, credentials, deadline, connect_timeout };
    Client::new(config).map_err(|error| error.to_string())
}
