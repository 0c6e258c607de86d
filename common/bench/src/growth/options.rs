//! The command line of `growth`.

use std::path::PathBuf;

use crate::growth::curve::Part;
use crate::options::number;

pub(crate) const HELP: &str = "\
Measures what raftd costs as work grows: each part lets one thing grow and leaves all others.

Usage: bench growth [--only keys,log] [--quick] [--seconds 8] [--entries 10000000]
                    [--state-mib 4096] [--memory-mib 1024] [--out DIR]

  keys      10,000 to 1,000,000 keys that are there
  value     values of 256 B to 640 KiB
  voters    1, 3, 5 and 7 nodes
  clients   1 to 4,096 clients, puts and gets
  log       one node with a log of up to so many entries: how fast it starts, what memory it takes
  state     one node with a state larger than its memory: snapshot, restart, a new member's catch-up

  --only PARTS    only these; the files hold only these as well
  --quick         a look at each: smaller sizes, 2 s each
  --seconds N     loads each size for so long, behind a second that does not count; keys thrice
  --entries N     the longest log
  --state-mib N   the largest state; needs about five times as much of the disk
  --memory-mib N  the memory of each node meanwhile (a control group; takes root)
  --out DIR       where growth.json and growth.svg go (default: the directory of this program)

All of it takes about 20 minutes, five with --quick.";

/// The most seconds of one load.
const SECONDS_MAX: u64 = 600;

/// The longest log.
const ENTRIES_MAX: u64 = 1_000_000_000;

/// The largest state, and the least and most memory, in MiB: a node has caches and queues that take
/// some 200 MiB when it is loaded, whatever its state.
const STATE_MIB_MAX: u64 = 1 << 20;
const MEMORY_MIB_MIN: u64 = 256;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) seconds: u64,
    /// Each in turn.
    pub(crate) keys: Vec<u64>,
    pub(crate) sizes: Vec<u32>,
    pub(crate) voters: Vec<usize>,
    pub(crate) clients: Vec<u32>,
    /// The longest log.
    pub(crate) entries: u64,
    /// The largest state, and the memory for it, in bytes.
    pub(crate) state_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A sentence that names the wrong one.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, String> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = if quick { Self::quick() } else { Self::whole() };
        let mut rest = arguments.iter().filter(|argument| *argument != "--quick");
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--only" => options.parts = parts(value()?)?,
                "--seconds" => options.seconds = number(flag, value()?, (1, SECONDS_MAX))?,
                "--entries" => options.entries = number(flag, value()?, (1, ENTRIES_MAX))?,
                "--state-mib" => {
                    options.state_bytes = number(flag, value()?, (1, STATE_MIB_MAX))? << 20;
                }
                "--memory-mib" => {
                    let bounds = (MEMORY_MIB_MIN, STATE_MIB_MAX);
                    options.memory_bytes = number(flag, value()?, bounds)? << 20;
                }
                "--out" => options.out = Some(PathBuf::from(value()?)),
                _ => return Err(format!("unknown argument: {flag}")),
            }
        }
        Ok(options)
    }

    fn whole() -> Self {
        Self {
            parts: Part::ALL.to_vec(),
            seconds: 8,
            keys: vec![10_000, 100_000, 1_000_000],
            sizes: vec![256, 4 << 10, 64 << 10, 640 << 10],
            voters: vec![1, 3, 5, 7],
            clients: vec![1, 4, 16, 64, 256, 1_024, 4_096],
            entries: 10_000_000,
            state_bytes: 4 << 30,
            memory_bytes: 1 << 30,
            out: None,
        }
    }

    fn quick() -> Self {
        Self {
            seconds: 2,
            keys: vec![1_000, 10_000, 100_000],
            clients: vec![1, 64, 1_024],
            entries: 100_000,
            state_bytes: 768 << 20,
            memory_bytes: 384 << 20,
            ..Self::whole()
        }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let part = |name: &str| {
        let all = Part::ALL.map(Part::name).join(", ");
        Part::parse(name).ok_or_else(|| format!("no part is called \"{name}\": {all}"))
    };
    text.split(',').map(part).collect()
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
        assert_eq!((all.parts.len(), all.seconds, all.entries), (6, 8, 10_000_000));
        assert!(all.state_bytes > all.memory_bytes);
        let quick = read("--state-mib 500 --quick --only log,keys").expect("all are known");
        assert_eq!(quick.parts, [Part::Log, Part::Keys]);
        assert_eq!((quick.seconds, quick.state_bytes), (2, 500 << 20));
        assert!(quick.state_bytes > quick.memory_bytes);
        assert!(quick.keys.last() < all.keys.last() && quick.entries < all.entries);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let parts = "no part is called \"disk\": keys, value, voters, clients, log, state";
        for (line, why) in [
            ("--seconds 0", "--seconds wants a number from 1 to 600, found \"0\""),
            ("--memory-mib 1", "--memory-mib wants a number from 256 to 1048576, found \"1\""),
            ("--entries", "--entries needs a value"),
            ("--only disk", parts),
            ("--rounds 3", "unknown argument: --rounds"),
        ] {
            assert_eq!(read(line).expect_err(line), why);
        }
    }

    #[test]
    fn the_help_names_every_part() {
        for part in Part::ALL {
            assert!(HELP.contains(&format!("\n  {} ", part.name())), "{}", part.name());
        }
    }
}
