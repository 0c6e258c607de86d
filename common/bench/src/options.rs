//! The command line.

use std::path::PathBuf;

use crate::work::{ALL, Kind, QUICK, Work};

pub(crate) const HELP: &str = "\
Measures puts and linearizable gets on three nodes of raftd, and of etcd and NATS JetStream where
these are on the PATH: in turns, with one generator, with mutual TLS and synced writes everywhere.

Usage: bench [--seconds 5] [--rounds 3] [--quick] [--only raftd,etcd] [--works put:64:4096]
             [--keys 10000] [--out DIR]
       bench growth ..    what raftd alone costs as keys, values, nodes, clients, log and state
                          grow; bench growth --help says more

  --seconds N   measures each work for so long, behind a second that does not count
  --rounds N    runs all works so often on each system, on new clusters; figures are medians
  --quick       three works, 3 s, one round
  --only NAMES  only these of raftd, etcd, nats
  --works LIST  these works in place of all: put:CLIENTS:BYTES or get:CLIENTS:BYTES, by commas
  --keys N      the number of keys
  --out DIR     where bench.json and latencies.svg go (default: the directory of this program)

All of it takes about ten minutes with three systems, a minute with --quick.";

/// The most seconds of one work.
const SECONDS_MAX: u64 = 600;

/// The most rounds.
const ROUNDS_MAX: u64 = 20;

/// The most keys.
const KEYS_MAX: u64 = 10_000_000;

/// The most clients of a work, and the most bytes of a value.
const CLIENTS_MAX: u32 = 4_096;
const SIZE_MAX: u32 = 1_000_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) rounds: u64,
    pub(crate) works: Vec<Work>,
    /// Names of systems; none is all that are there.
    pub(crate) only: Option<Vec<String>>,
    pub(crate) keys: u64,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A sentence that names the wrong one.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, String> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let (seconds, rounds) = if quick { (3, 1) } else { (5, 3) };
        let works = if quick { QUICK.to_vec() } else { ALL.to_vec() };
        let mut options = Self { seconds, rounds, works, only: None, keys: 10_000, out: None };
        let mut rest = arguments.iter().filter(|argument| *argument != "--quick");
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--seconds" => options.seconds = number(flag, value()?, (1, SECONDS_MAX))?,
                "--rounds" => options.rounds = number(flag, value()?, (1, ROUNDS_MAX))?,
                "--keys" => options.keys = number(flag, value()?, (1, KEYS_MAX))?,
                "--works" => options.works = chosen(value()?)?,
                "--only" => options.only = Some(names(value()?)?),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                _ => return Err(format!("unknown argument: {flag}")),
            }
        }
        Ok(options)
    }

    /// Says whether a system is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|one| one == name))
    }
}

pub(crate) fn number(flag: &str, text: &str, (min, max): (u64, u64)) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(_) | Err(_) => {
            Err(format!("{flag} wants a number from {min} to {max}, found \"{text}\""))
        }
    }
}

fn names(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !crate::systems::NAMES.contains(&name.as_str())) {
        None => Ok(names),
        Some(name) => {
            Err(format!("no system is called \"{name}\": {}", crate::systems::NAMES.join(", ")))
        }
    }
}

fn chosen(text: &str) -> Result<Vec<Work>, String> {
    let work = |text: &str| {
        let mut parts = text.split(':');
        let kind = parts.next().and_then(Kind::parse)?;
        let clients =
            parts.next()?.parse().ok().filter(|count| (1..=CLIENTS_MAX).contains(count))?;
        let size = parts.next()?.parse().ok().filter(|bytes| (1..=SIZE_MAX).contains(bytes))?;
        parts.next().is_none().then_some(Work { kind, clients, size })
    };
    let read = |text: &str| {
        work(text).ok_or_else(|| {
            format!(
                "--works wants put:CLIENTS:BYTES or get:CLIENTS:BYTES, with up to {CLIENTS_MAX} \
                 clients and {SIZE_MAX} bytes, found \"{text}\""
            )
        })
    };
    text.split(',').map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::read(&words)
    }

    #[test]
    fn what_is_said_goes_before_what_quick_means() {
        let all = read("").expect("the defaults");
        assert_eq!((all.seconds, all.rounds, all.works.len()), (5, 3, ALL.len()));
        let quick = read("--seconds 9 --quick --only raftd,nats").expect("all are known");
        assert_eq!((quick.seconds, quick.rounds, quick.works.len()), (9, 1, QUICK.len()));
        let chosen = read("--works put:64:4096,get:1:256").expect("both are known").works;
        let words: Vec<String> = chosen.iter().map(|work| work.title()).collect();
        assert_eq!(words, ["put 4 KiB, 64 clients", "get 256 B, 1 client"]);
        assert!(quick.wants("raftd") && quick.wants("nats") && !quick.wants("etcd"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, why) in [
            ("--seconds 0", "--seconds wants a number from 1 to 600, found \"0\""),
            ("--rounds x", "--rounds wants a number from 1 to 20, found \"x\""),
            ("--keys", "--keys needs a value"),
            ("--only zookeeper", "no system is called \"zookeeper\": raftd, etcd, nats"),
            (
                "--works put:64",
                "--works wants put:CLIENTS:BYTES or get:CLIENTS:BYTES, with up to 4096 clients and \
                 1000000 bytes, found \"put:64\"",
            ),
            ("--fast", "unknown argument: --fast"),
        ] {
            assert_eq!(read(line).expect_err(line), why);
        }
    }
}
