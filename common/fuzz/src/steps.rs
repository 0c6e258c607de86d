//! A cluster of cores that does what the bytes say, and is sent what no honest node would send.
//!
//! The bytes are a schedule: timeouts, writes that finish or are lost in a crash, messages that
//! arrive, get lost or arrive twice, proposals, reads, changes of members. So the cores reach
//! states that a real cluster can reach. In between, messages are altered or invented, as a member
//! with faulty memory could send them. A core may halt of those, where they contradict what it has
//! promised: the sentences with which it does are listed in `halts`. It may not fall over in any
//! other way; and without such messages it may not even halt.

mod bytes;
mod cluster;
mod halts;

use self::bytes::Source;
use self::cluster::Cluster;

/// Runs the schedule to its end.
///
/// # Panics
/// If a core panics with anything but the announcement of a contradiction.
pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut cluster = Cluster::new();
    while let Some(choice) = source.byte() {
        cluster.step(choice, &mut source);
    }
}
