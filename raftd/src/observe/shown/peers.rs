//! Gauges of the other members, as this node sees them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use protocol::{NodeStatus, PeerReport};

use crate::observe::catalogue::{About, Catalogue, seconds_of};

/// A member.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Peer {
    peer: u64,
    name: String,
}

type Numbers = Family<Peer, Gauge>;
type Seconds = Family<Peer, Gauge<f64, std::sync::atomic::AtomicU64>>;

pub(super) struct PeerGauges {
    connected: Numbers,
    round_trip: Seconds,
    matched: Numbers,
    lag: Numbers,
    heard: Seconds,
    stalled: Seconds,
    snapshot_sent: Numbers,
    snapshot_size: Numbers,
    differs: Numbers,
    alarm: Numbers,
}

impl PeerGauges {
    pub(super) fn new(all: &mut Catalogue) -> Self {
        let labels: &[&str] = &["peer", "name"];
        let is_so = "1 if it is so, else 0";
        let mut numbers =
            |unit: &'static str, about: About| all.add((unit, labels), about, Numbers::default());
        let connected = numbers(is_so, CONNECTED);
        let matched = numbers("log index", MATCH);
        let lag = numbers("entries", LAG);
        let snapshot_sent = numbers("bytes", SNAPSHOT_SENT);
        let snapshot_size = numbers("bytes", SNAPSHOT_SIZE);
        let differs = numbers(is_so, DIFFERS);
        let alarm = numbers(is_so, ALARM);
        let mut seconds = |about: About| all.add(("seconds", labels), about, Seconds::default());
        let (round_trip, heard, stalled) = (seconds(ROUND_TRIP), seconds(HEARD), seconds(STALLED));
        Self {
            connected,
            round_trip,
            matched,
            lag,
            heard,
            stalled,
            snapshot_sent,
            snapshot_size,
            differs,
            alarm,
        }
    }

    pub(super) fn show(&self, status: &NodeStatus, since_s: f64) {
        self.clear();
        let name = |id| {
            let member = status.configuration.member(id);
            member.map(|member| member.name.clone()).unwrap_or_default()
        };
        for report in &status.peers {
            self.show_one(&Peer { peer: report.id.get(), name: name(report.id) }, report, since_s);
            if status.role == consensus::RoleKind::Leader {
                self.show_follower(report, &name(report.id), status.last);
            }
        }
        for id in status.configuration.members().keys() {
            let peer = Peer { peer: id.get(), name: name(*id) };
            self.alarm.get_or_create(&peer).set(i64::from(status.alarms.contains(id)));
        }
    }

    fn show_one(&self, peer: &Peer, report: &PeerReport, since_s: f64) {
        self.connected.get_or_create(peer).set(i64::from(report.connected));
        if let Some(us) = report.rtt_us.filter(|_| report.connected) {
            let round_trip = std::time::Duration::from_micros(us).as_secs_f64();
            self.round_trip.get_or_create(peer).set(round_trip);
        }
        if let Some(ms) = report.heard_ms {
            self.heard.get_or_create(peer).set(seconds_of(ms) + since_s);
        }
    }

    /// What only a leader knows.
    fn show_follower(&self, report: &PeerReport, name: &str, last: u64) {
        let peer = Peer { peer: report.id.get(), name: name.to_owned() };
        self.matched.get_or_create(&peer).set(signed(report.matched));
        self.lag.get_or_create(&peer).set(signed(last.saturating_sub(report.matched)));
        let stalled = report.stalled_ms.map_or(0.0, seconds_of);
        self.stalled.get_or_create(&peer).set(stalled);
        let (sent, size) = report.snapshot_bytes;
        self.snapshot_sent.get_or_create(&peer).set(signed(sent));
        self.snapshot_size.get_or_create(&peer).set(signed(size));
        self.differs.get_or_create(&peer).set(i64::from(report.differs_at.is_some()));
    }

    /// Members come and go.
    fn clear(&self) {
        for numbers in [
            &self.connected,
            &self.matched,
            &self.lag,
            &self.snapshot_sent,
            &self.snapshot_size,
            &self.differs,
            &self.alarm,
        ] {
            numbers.clear();
        }
        for seconds in [&self.round_trip, &self.heard, &self.stalled] {
            seconds.clear();
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const CONNECTED: (&str, &str) =
    ("raftd_peer_connected", "Whether this node has a connection to the member");
const ROUND_TRIP: (&str, &str) =
    ("raftd_peer_round_trip_seconds", "The round-trip time to the member; left out if unknown");
const MATCH: (&str, &str) = (
    "raftd_peer_match_index",
    "The last entry that the leader knows to be on the member's disk; at a leader only",
);
const LAG: (&str, &str) = (
    "raftd_peer_lag_entries",
    "Entries of the leader's log that are not known to be on the member's disk; at a leader only",
);
const HEARD: (&str, &str) =
    ("raftd_peer_heard_age_seconds", "How long ago the leader heard from the member");
const STALLED: (&str, &str) = (
    "raftd_peer_stalled_seconds",
    "For how long the member has acknowledged nothing though it is behind; at a leader only",
);
const SNAPSHOT_SENT: (&str, &str) = (
    "raftd_peer_snapshot_sent_bytes",
    "How much of a snapshot the member has been sent; 0 if it is sent none",
);
const SNAPSHOT_SIZE: (&str, &str) =
    ("raftd_peer_snapshot_size_bytes", "The size of that snapshot; 0 if it is sent none");
const DIFFERS: (&str, &str) = (
    "raftd_peer_differs",
    "Whether the member's state differs from the leader's: raftctl explain R0450",
);
const ALARM: (&str, &str) = (
    "raftd_member_alarm",
    "Whether the member's disk has no room for more data, as all members agree; this node's too",
);
