//! Logging: what each level means, where lines go, and changing the level while running.
//!
//! | level | means |
//! |---|---|
//! | error | this node cannot do its work, and an operator must act |
//! | warn | something is wrong that will not mend itself, or a peer is refused |
//! | info | what belongs in last month's log: start, stop, role, leader, members |
//! | debug | one line an unusual event: a lost connection, a refused vote, a dropped message |
//! | trace | one line a message; for a test cluster |
//!
//! Below a service manager, lines go to the journal with their fields; else to stderr, for people.

use std::fmt;
use std::io::IsTerminal as _;
use std::os::linux::fs::MetadataExt as _;

use clap::ValueEnum;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

/// What is logged: this level and the graver ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// This node cannot do its work, and an operator must act
    Error,
    /// Something is wrong that will not mend itself, or a peer is refused
    Warn,
    /// Start, stop, role, leader, members
    #[default]
    Info,
    /// One line an unusual event
    Debug,
    /// One line a message
    Trace,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&LevelFilter::from(*self), f)
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Changes what is logged.
#[derive(Clone, Debug)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
}

impl Logging {
    /// Starts logging for the whole process. A second call changes nothing and its handle nothing.
    pub fn start(level: Level) -> Self {
        let (filter, handle) = reload::Layer::new(LevelFilter::from(level));
        let journal = stderr_is_journal().then(tracing_journald::layer).and_then(Result::ok);
        let registry = tracing_subscriber::registry();
        // Fails only if the embedding program logs already, which then has its way.
        let _ = match journal {
            Some(journal) => registry.with(journal.with_filter(filter)).try_init(),
            None => {
                let stderr = std::io::stderr();
                let color = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
                let lines = tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(color)
                    .with_target(false);
                registry.with(lines.with_filter(filter)).try_init()
            }
        };
        Self { level: handle }
    }

    /// Changes what is logged from now on.
    pub fn set_level(&self, level: Level) {
        // Fails only if another subscriber is in force.
        let _ = self.level.modify(|filter| *filter = level.into());
    }
}

/// Says whether stderr is the stream that the service manager connected to the journal, by the
/// device and inode that `JOURNAL_STREAM` names (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev(), stat.st_ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_spelled_alike_everywhere() {
        for level in Level::value_variants() {
            let spelled = level.to_string();
            let flag = Level::from_str(&spelled, false).expect("clap knows it");
            assert_eq!(flag, *level);
            #[derive(Deserialize)]
            struct File {
                level: Level,
            }
            let file: File = toml::from_str(&format!("level = \"{spelled}\"")).expect("serde too");
            assert_eq!(file.level, *level);
        }
    }

    #[test]
    fn a_pipe_is_not_the_journal() {
        assert!(!stderr_is_journal(), "tests do not run below a service manager");
    }
}
