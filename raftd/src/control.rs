//! The line between a node and its owner, who may be `main` or any program that embeds it: what is
//! asked of the node, and what the node says of itself while it runs.

use std::time::Duration;

use protocol::{BootstrapRecord, Generation, NodeStatus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::observe::board::{Board, Load};

/// Commands that wait for the loop.
const COMMANDS_MAX: usize = 16;

/// What an owner asks of a node.
pub(crate) enum Command {
    /// Stop in good order. A second one does not wait until leadership is handed over.
    Stop,
    /// Tell the status.
    Status(oneshot::Sender<NodeStatus>),
    /// Bootstrap a cluster by this record, or say why not.
    Bootstrap(Box<BootstrapRecord>, oneshot::Sender<Result<Generation, String>>),
}

/// The owner's end. Dropping it asks the node to stop.
pub(crate) struct Owner {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) heartbeats: watch::Receiver<Heartbeat>,
}

/// The node's end.
pub(crate) struct Control {
    commands: mpsc::Receiver<Command>,
    /// The owner is gone, and the node has been told to stop for that.
    abandoned: bool,
    heartbeats: watch::Sender<Heartbeat>,
    interval: Duration,
    board: Board,
}

/// What a node says of itself again and again while its loop turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// Another number each time.
    pub(crate) number: u64,
    /// In a few words, what the node does.
    pub(crate) line: String,
    /// The node is stopping.
    pub(crate) is_stopping: bool,
}

/// Makes both ends; the node's loop shows that it is alive at this interval.
pub(crate) fn control(interval: Duration) -> (Owner, Control) {
    let (to, commands) = mpsc::channel(COMMANDS_MAX);
    let (heartbeats, heard) = watch::channel(Heartbeat::default());
    let board = Board::default();
    let control = Control { commands, abandoned: false, heartbeats, interval, board };
    (Owner { commands: to, heartbeats: heard }, control)
}

impl Control {
    /// Waits for the next command. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Command {
        if self.abandoned {
            return std::future::pending().await;
        }
        match self.commands.recv().await {
            Some(command) => command,
            None => {
                self.abandoned = true;
                Command::Stop
            }
        }
    }

    /// Returns how often the owner wants to hear that the loop is alive.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns what ticks as often, at once for the first time. Whoever waits for several things
    /// keeps it: one that is made anew with each of them does not tick while they come oftener.
    pub(crate) fn ticks(&self) -> Interval {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Returns where the node is watched.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Tells those who watch in what state the node is.
    pub(crate) fn post(&self, report: impl FnOnce() -> (NodeStatus, Load)) {
        self.board.post(report);
    }

    /// Says that the loop is alive, and what the node does.
    pub(crate) fn beat(&self, line: String) {
        self.board.turned(&line);
        self.heartbeats.send_modify(|beat| {
            beat.number += 1;
            beat.line = line;
        });
    }

    /// Says that the node is about to stop.
    pub(crate) fn stopping(&self) {
        self.board.stopping();
        self.heartbeats.send_modify(|beat| beat.is_stopping = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_owner_who_goes_asks_to_stop_once() {
        let (owner, mut control) = control(Duration::from_secs(1));
        drop(owner);
        assert!(matches!(control.next().await, Command::Stop));
        let again = tokio::time::timeout(Duration::from_millis(1), control.next()).await;
        assert!(again.is_err(), "a second one would mean: at once");
    }

    #[tokio::test]
    async fn every_heartbeat_is_another() {
        let (mut owner, control) = control(Duration::from_secs(1));
        control.beat("leads".to_owned());
        owner.heartbeats.changed().await.expect("the node lives");
        let first = owner.heartbeats.borrow_and_update().clone();
        control.beat("leads".to_owned());
        owner.heartbeats.changed().await.expect("the node lives");
        assert_ne!(first, *owner.heartbeats.borrow());
    }
}
