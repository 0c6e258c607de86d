//! Gauges: a node's state as its loop posted it last, put into metrics for each scrape.

use std::time::Instant;

use crate::observe::board::Posted;
use crate::observe::catalogue::Catalogue;
use crate::observe::shown::disk::DiskGauges;
use crate::observe::shown::node::NodeGauges;
use crate::observe::shown::peers::PeerGauges;
use crate::observe::shown::process::ProcessGauges;
use crate::observe::shown::raft::RaftGauges;
use crate::observe::shown::troubles::TroubleGauges;

mod disk;
mod node;
mod peers;
mod process;
mod raft;
mod troubles;

/// All gauges.
pub(crate) struct Shown {
    node: NodeGauges,
    raft: RaftGauges,
    peers: PeerGauges,
    disk: DiskGauges,
    troubles: TroubleGauges,
    process: ProcessGauges,
}

impl Shown {
    /// Adds all gauges to the list of metrics.
    pub(crate) fn new(all: &mut Catalogue) -> Self {
        Self {
            node: NodeGauges::new(all),
            raft: RaftGauges::new(all),
            peers: PeerGauges::new(all),
            disk: DiskGauges::new(all),
            troubles: TroubleGauges::new(all),
            process: ProcessGauges::new(all),
        }
    }

    /// Sets all gauges to what was posted.
    pub(crate) fn show(&self, posted: &Posted, now: Instant, is_ready: bool) {
        self.node.show(posted, now, is_ready);
        self.process.show();
        if let Some(report) = &posted.report {
            // What lasts when it was posted has lasted longer by now.
            let since_s = now.saturating_duration_since(report.at).as_secs_f64();
            self.raft.show(&report.status, since_s);
            self.peers.show(&report.status, since_s);
            self.disk.show(report, since_s);
            self.troubles.show(&report.status);
        }
    }
}
