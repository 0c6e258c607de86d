//! Random commands to the key/value machine, in batches, against a map that cannot be wrong.

use std::collections::BTreeMap;

use crate::kit::{Machine, command};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{Strategy, prop_oneof};
use proptest::test_runner::{Config, TestCaseError};
use proptest::{prop_assert_eq, proptest};
use state_machine::{KvCommand, KvQuery, KvResponse};

/// Few keys, so that they meet; some begin with each other.
fn key() -> impl Strategy<Value = Bytes> {
    "[ab]{1,3}".prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    "[xy]{0,2}".prop_map(Bytes::from)
}

fn any_command() -> impl Strategy<Value = KvCommand> {
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| KvCommand::Put { key, value }),
        key().prop_map(|key| KvCommand::Delete { key }),
        (key(), of(value()), of(value()))
            .prop_map(|(key, expected, new)| { KvCommand::CompareAndSwap { key, expected, new } }),
        (key(), -2_i64..3).prop_map(|(key, delta)| KvCommand::Increment { key, delta }),
    ]
}

fn any_query() -> impl Strategy<Value = KvQuery> {
    let part = || "[ab]{0,3}".prop_map(Bytes::from);
    prop_oneof![
        key().prop_map(|key| KvQuery::Get { key }),
        (part(), part(), 1_u32..12).prop_map(|(prefix, after, limit)| KvQuery::List {
            prefix,
            after,
            limit
        }),
    ]
}

/// What the machine must hold: values and revisions.
#[derive(Clone, Default)]
struct Model(BTreeMap<Bytes, (Bytes, u64)>);

impl Model {
    fn apply(&mut self, revision: u64, command: &KvCommand) -> KvResponse {
        let done = KvResponse::Done { revision };
        match command {
            KvCommand::Put { key, value } => {
                self.0.insert(key.clone(), (value.clone(), revision));
                done
            }
            KvCommand::Delete { key } => self.0.remove(key).map_or(KvResponse::NotFound, |_| done),
            KvCommand::CompareAndSwap { key, expected, new } => {
                let present = self.0.get(key).cloned();
                if present.as_ref().map(|(value, _)| value) != expected.as_ref() {
                    return present.map_or(KvResponse::NotFound, |(actual, revision)| {
                        KvResponse::Differs { revision, actual }
                    });
                }
                match new {
                    Some(value) => self.0.insert(key.clone(), (value.clone(), revision)),
                    None => self.0.remove(key),
                };
                done
            }
            // What is no number stays; "[xy]" never is one, so that only sums are.
            KvCommand::Increment { key, delta } => {
                let present = self.0.get(key).map(|(value, _)| value.as_ref());
                let digits = |value| std::str::from_utf8(value).unwrap().parse::<i64>().ok();
                let Some(present) = present.map_or(Some(0), digits) else {
                    let reason = "the value is no whole number of 64 bits in decimal digits";
                    return KvResponse::Refused { reason: reason.into() };
                };
                let value = Bytes::from((present + delta).to_string());
                self.0.insert(key.clone(), (value.clone(), revision));
                KvResponse::Value { revision, value }
            }
        }
    }

    fn query(&self, query: &KvQuery) -> KvResponse {
        match query {
            KvQuery::Get { key } => match self.0.get(key).cloned() {
                Some((value, revision)) => KvResponse::Value { revision, value },
                None => KvResponse::NotFound,
            },
            KvQuery::List { prefix, after, limit } => {
                let limit = *limit as usize;
                let mut items: Vec<(Bytes, Bytes, u64)> = self
                    .0
                    .iter()
                    .filter(|(key, _)| key.starts_with(prefix) && *key > after)
                    .map(|(key, (value, revision))| (key.clone(), value.clone(), *revision))
                    .collect();
                let more = items.len() > limit;
                items.truncate(limit);
                KvResponse::Page { items, more }
            }
        }
    }
}

fn run(batches: &[Vec<KvCommand>], queries: &[KvQuery]) -> Result<(), TestCaseError> {
    let (mut machine, mut model) = (Machine::new(), Model::default());
    let mut one_by_one = Machine::new();
    let mut index = 0;
    for batch in batches {
        let numbered: Vec<(u64, &KvCommand)> = (index + 1..).zip(batch).collect();
        let entries: Vec<_> = numbered.iter().map(|(at, one)| command(*at, one)).collect();
        let answers = machine.host.apply(&entries).unwrap();
        for ((at, one), (found_at, answer)) in numbered.into_iter().zip(answers) {
            index = at;
            prop_assert_eq!(found_at.get(), at);
            let expected = model.apply(at, one);
            prop_assert_eq!(KvResponse::decode(&answer).unwrap(), expected.clone());
            prop_assert_eq!(one_by_one.apply(one), expected);
        }
        for query in queries {
            prop_assert_eq!(machine.query(query), model.query(query), "{:?}", query);
        }
    }
    prop_assert_eq!(machine.digest(), one_by_one.digest(), "batches make no difference");
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 512, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_machine_answers_as_a_map_would(
        batches in vec(vec(any_command(), 0..12), 1..8),
        queries in vec(any_query(), 6),
    ) {
        run(&batches, &queries)?;
    }
}
