//! Gauges of the node as a whole: who it is, whether it serves, and what waits in it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::logging::lost_lines;
use crate::observe::board::{Load, Posted};
use crate::observe::catalogue::{Catalogue, Reading, seconds_of};

/// Who a node is.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Who {
    cluster: String,
    generation: String,
    node: u64,
    name: String,
}

/// Bytes by kind: user, operator or node.
type Kept = Family<[(&'static str, &'static str); 1], Gauge>;

pub(super) struct NodeGauges {
    info: Family<Who, Gauge>,
    ready: Reading<u64>,
    initialised: Reading<u64>,
    failed: Reading<u64>,
    forgotten: Reading<u64>,
    loop_age: Reading<f64>,
    uptime: Reading<f64>,
    certificate: Reading<u64>,
    log_lines_lost: Counter,
    cache: Reading<u64>,
    unapplied: Reading<u64>,
    intake: Kept,
    answers: Kept,
    writes: Reading<u64>,
    reads: Reading<u64>,
    requests: Reading<u64>,
    connections: Family<[(&'static str, String); 1], Gauge>,
}

impl NodeGauges {
    pub(super) fn new(all: &mut Catalogue) -> Self {
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        let build: Family<[(&'static str, String); 1], Gauge> = Family::default();
        build.get_or_create(&version).set(1);
        all.add(("always 1", &["version"]), ("raftd_build_info", "The software's version"), build);
        let labels = ["cluster", "generation", "node", "name"];
        Self {
            info: all.add(("always 1", &labels), INFO, Family::default()),
            ready: all.flag(READY),
            initialised: all.flag(INITIALISED),
            failed: all.flag(FAILED),
            forgotten: all.flag(FORGOTTEN),
            loop_age: all.seconds(LOOP_AGE),
            uptime: all.seconds(("raftd_uptime_seconds", "For how long the node has run")),
            certificate: all.add(("seconds since 1970", &[]), CERTIFICATE, Reading::default()),
            log_lines_lost: all.add(("lines", &[]), LOST_LINES, Counter::default()),
            cache: all.number("bytes", CACHE),
            unapplied: all.number("bytes", UNAPPLIED),
            intake: all.add(("bytes", &["kind"]), INTAKE, Family::default()),
            answers: all.add(("bytes", &["kind"]), ANSWERS, Family::default()),
            writes: all.number("requests", WRITES),
            reads: all.number("requests", READS),
            requests: all.number("requests", REQUESTS),
            connections: all.add(("connections", &["kind"]), CONNECTIONS, Family::default()),
        }
    }

    pub(super) fn show(&self, posted: &Posted, now: Instant, is_ready: bool) {
        self.ready.set(u64::from(is_ready));
        let turned = posted.turned.map(|turned| now.saturating_duration_since(turned));
        self.loop_age.set(turned.map(|age| age.as_secs_f64()));
        self.log_lines_lost.inner().store(lost_lines(), Ordering::Relaxed);
        let Some(report) = &posted.report else {
            return;
        };
        let status = &report.status;
        let (uptime_ms, since) = (status.uptime_ms, now.saturating_duration_since(report.at));
        self.uptime.set(seconds_of(uptime_ms) + since.as_secs_f64());
        self.info.clear();
        let generation = status.generation.map(|generation| generation.to_string());
        let who = Who {
            cluster: status.cluster.iter().map(|byte| format!("{byte:02x}")).collect(),
            generation: generation.unwrap_or_default(),
            node: status.node.get(),
            name: status.name.clone(),
        };
        self.info.get_or_create(&who).set(1);
        self.initialised.set(u64::from(status.generation.is_some()));
        self.failed.set(u64::from(!status.failure.is_empty()));
        self.forgotten.set(u64::from(status.former.is_some()));
        self.certificate.set(u64::try_from(status.certificate_not_after).unwrap_or(0));
        self.load(&report.load);
    }

    fn load(&self, load: &Load) {
        self.cache.set(load.log_cache_bytes as u64);
        self.unapplied.set(load.unapplied_bytes as u64);
        for (kind, intake, answers) in &load.kept {
            for (family, bytes) in [(&self.intake, intake), (&self.answers, answers)] {
                let gauge = family.get_or_create_owned(&[("kind", *kind)]);
                gauge.set(i64::try_from(*bytes).unwrap_or(i64::MAX));
            }
        }
        self.writes.set(load.waiting.0 as u64);
        self.reads.set(load.waiting.1 as u64);
        self.requests.set(load.requests as u64);
        self.connections.clear();
        for (kind, count) in &load.connections {
            let gauge = self.connections.get_or_create_owned(&[("kind", kind.clone())]);
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }
}

const INFO: (&str, &str) = (
    "raftd_node_info",
    "Who this node is: the cluster's and its history's id, the node's id and its name; empty \
     before it belongs to a cluster",
);
const READY: (&str, &str) =
    ("raftd_ready", "Whether this node serves, as /readyz says, which also says why not");
const INITIALISED: (&str, &str) =
    ("raftd_initialised", "Whether this node has a history: it was bootstrapped or has joined");
const FAILED: (&str, &str) = (
    "raftd_failed",
    "Whether something is wrong that an operator must see to: raftctl status says what",
);
const FORGOTTEN: (&str, &str) = (
    "raftd_forgotten",
    "Whether this node has forgotten what it promised, and neither votes nor counts until it is \
     healed (raftctl member heal)",
);
const LOOP_AGE: (&str, &str) = (
    "raftd_loop_age_seconds",
    "How long ago the consensus loop turned last; it does so at least once a second",
);
const CERTIFICATE: (&str, &str) = (
    "raftd_certificate_expiry_timestamp_seconds",
    "When the certificate in use, or its authority's, ends: the earlier of the two",
);
const LOST_LINES: (&str, &str) =
    ("raftd_log_lines_lost_total", "Lines that the log did not take since the process began");
const CACHE: (&str, &str) = (
    "raftd_log_cache_bytes",
    "Entries that are kept in memory for members and the state machine \
     (limits.log_cache_bytes_max)",
);
const UNAPPLIED: (&str, &str) = (
    "raftd_writes_waiting_bytes",
    "Commands that are proposed here and not yet applied (limits.uncommitted_bytes_max)",
);
const INTAKE: (&str, &str) = (
    "raftd_intake_bytes",
    "Requests and messages that came in and are not done with, by kind: user, operator, node; each \
     kind has a limit of its own",
);
const ANSWERS: (&str, &str) = (
    "raftd_answers_waiting_bytes",
    "Answers that those who asked have not read yet, by kind: user, operator, node; each kind has \
     a limit of its own",
);
const WRITES: (&str, &str) =
    ("raftd_writes_waiting", "Writes that are admitted and not yet applied");
const READS: (&str, &str) =
    ("raftd_reads_waiting", "Questions that wait until it is right to answer them");
const REQUESTS: (&str, &str) = (
    "raftd_requests_waiting",
    "Requests that are admitted and not yet answered (limits.requests_max)",
);
const CONNECTIONS: (&str, &str) = (
    "raftd_connections",
    "Connections that others have made to this node, by kind: peer, forwarder (a node that passes \
     requests on), or the role of the certificate",
);
