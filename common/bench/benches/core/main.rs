//! Our core beside raft-rs (the crate `raft`) and openraft: three nodes in one process, messages
//! and storage in memory, one thread.
//!
//! ```text
//! cargo bench -p bench --features rivals --bench core [-- FILTER]
//! ```
//!
//! Without `rivals` only our core is measured, and nothing of the others is compiled. In a run a
//! leader is elected, and is then given [`ENTRIES`] values of 256 bytes: one at a time, each when
//! the one before is committed and applied at the leader, or in batches of 64, of which four are
//! under way. The time is that from the first proposal until all three nodes have applied all
//! values, each once and in order: each state machine asserts it. Elections, starting and stopping
//! are not in it. Throughput is in entries; below it stands how many steps were taken, which are
//! messages that a node was handed.
//!
//! What is alike: each value is an allocation of its own and is shared by reference from then on;
//! logs are vectors; a write is durable at once; no time passes, so that there are no heartbeats
//! but one at the end, from which followers learn of the last commit.
//!
//! What cannot be compared:
//!
//! - raft-rs and our core are values, and one loop ([`lockstep`]) drives them. openraft is tasks
//!   with channels between them, on a tokio runtime of one thread, and gives each call a timeout:
//!   its figures hold what a driver around the others would cost in addition.
//! - openraft tells followers of a commit by calls of their own, so it takes eight steps where the
//!   others, of which each tells it with the next values, take four. A call is counted as two.
//! - Our core is told the time, so its loop reads the clock for each message and turn, as the
//!   daemon does. The others count ticks.
//! - Our core's invariants are checked at every turn, as in the daemon.
//! - raft-rs keeps entries until they are stored, and reads them through its `MemStorage`, which
//!   has a lock. Our core keeps no bytes at all: what fetches them is in the loop's half
//!   ([`ours`]), and so is measured as well. The chain of checksums that the daemon adds is not.
//! - Settings: raft-rs as TiKV has it (pre-vote, quorum check, 1 MiB a message, no messages only
//!   for a commit), and appends batched, which is faster here. openraft as it comes.
//!
//! A durable write takes no time here. How much of its time each system uses for other work does
//! not show, nor what threads, sockets and codecs cost.
#![allow(missing_docs)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

use self::lockstep::Trio;
use self::ours::Ours;
use self::work::{Done, ENTRIES, WORKS, Work};

mod lockstep;
#[cfg(feature = "rivals")]
mod open_raft;
mod ours;
#[cfg(feature = "rivals")]
mod raft_rs;
mod work;

const SAMPLES: usize = 20;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASUREMENT: Duration = Duration::from_secs(6);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for work in WORKS {
        measure(&mut criterion, work, "raftd", |work| Trio::<Ours>::elected().run(work));
        #[cfg(feature = "rivals")]
        {
            use self::open_raft::OpenRaft;
            use self::raft_rs::RaftRs;

            measure(&mut criterion, work, "raft-rs", |work| Trio::<RaftRs>::elected().run(work));
            measure(&mut criterion, work, "openraft", |work| OpenRaft::elected().run(work));
        }
    }
    criterion.final_summary();
}

/// Measures runs of new clusters, and says how many steps they took.
fn measure(criterion: &mut Criterion, work: Work, system: &str, run: impl Fn(Work) -> Done) {
    let (mut all, mut runs) = (Done::default(), 0);
    let mut group = criterion.benchmark_group(format!("core/{}", work.name));
    group.throughput(Throughput::Elements(ENTRIES)).sampling_mode(SamplingMode::Flat);
    group.sample_size(SAMPLES).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    group.bench_function(BenchmarkId::from_parameter(system), |bencher| {
        bencher.iter_custom(|rounds| {
            let before = all.took;
            for _ in 0..rounds {
                let done = run(work);
                all.took += done.took;
                all.steps += done.steps;
                runs += 1;
            }
            all.took - before
        });
    });
    group.finish();
    // Nothing is run for a list of benchmarks, or if a filter leaves this one out.
    if runs > 0 {
        let (steps, entries) = (all.steps as f64, (runs * ENTRIES) as f64);
        let per_s = steps / all.took.as_secs_f64();
        println!("{:24}steps:  {:.3} an entry, {per_s:.0}/s", "", steps / entries);
    }
}
