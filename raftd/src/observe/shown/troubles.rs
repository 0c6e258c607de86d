//! Gauges of what a node cannot do at present, though it serves.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use protocol::{NodeStatus, Trouble};

use crate::observe::catalogue::Catalogue;

/// What cannot be done.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct What {
    what: &'static str,
}

pub(super) struct TroubleGauges(Family<What, Gauge>);

impl TroubleGauges {
    pub(super) fn new(all: &mut Catalogue) -> Self {
        Self(all.add(("1 if it is so, else 0", &["what"]), TROUBLE, Family::default()))
    }

    pub(super) fn show(&self, status: &NodeStatus) {
        for what in Trouble::ALL {
            let is_so = status.troubles.iter().any(|report| report.what == what);
            self.0.get_or_create(&What { what: what.name() }).set(i64::from(is_so));
        }
    }
}

const TROUBLE: (&str, &str) = (
    "raftd_trouble",
    "Whether the node serves and cannot do something else: take its `settings` or `certificates`, \
     make or receive `snapshots`, store others' `promises`, trust the `files` of its log, hold \
     room in `reserve`, listen for `metrics`, write in its data `directory`, take more clients \
     (`places`); raftctl status says why",
);
