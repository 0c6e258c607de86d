//! One of anything, for proptest.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{
    Body, ClusterTime, Configuration, Entry, EntryId, FlowKind, Incarnation, LogIndex, Majority,
    Member, Message, NodeId, Payload, ReadRound, ReadTicket, RoleKind, Term, Verdict, Vote, Voters,
};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use protocol::{
    Applied, BootstrapRecord, CertificateId, Consistency, EntryKind, ErrorCode, ErrorReply,
    FormerReport, Generation, Hello, HelloReply, LeaderHint, LeaseReport, LogDetail, LogEntry,
    LogPage, NodeStatus, Outcome, Passage, PeerReport, ReadThrough, RefusalCode, Request, Response,
    RoundReport, Trouble, TroubleReport,
};

pub fn text() -> impl Strategy<Value = String> {
    "[a-z0-9\u{e4}.-]{0,20}"
}

pub fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 5_000..5_001)].prop_map(Bytes::from)
}

pub fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![1..=u64::MAX, 1_u64..4].prop_map(|id| NodeId::new(id).unwrap())
}

pub fn id() -> impl Strategy<Value = EntryId> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(term, index)| EntryId { term: Term::new(term), index: LogIndex::new(index) })
}

pub fn generation() -> impl Strategy<Value = Generation> {
    any::<[u8; 32]>().prop_map(Generation::new)
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation::new)
}

pub fn configuration() -> impl Strategy<Value = Configuration> {
    let sets = (btree_set(node(), 1..5), of(btree_set(node(), 1..5)), btree_set(node(), 0..5));
    let known =
        (sets, any::<u64>(), text()).prop_map(|((incoming, outgoing, learners), n, name)| {
            let learners: BTreeSet<NodeId> = learners.difference(&incoming).copied().collect();
            let incoming = Majority::new(incoming);
            let voters = match outgoing {
                Some(outgoing) => Voters::Joint { outgoing: Majority::new(outgoing), incoming },
                None => Voters::Stable(incoming),
            };
            let member = |id: NodeId| {
                let incarnation = Incarnation::new(n ^ id.get());
                (id, Member { incarnation, name: name.clone(), address: format!("{name}{id}:1") })
            };
            let members: BTreeMap<NodeId, Member> =
                voters.iter().chain(learners.iter().copied()).map(member).collect();
            Configuration::new(voters, learners, members).unwrap()
        });
    prop_oneof![9 => known, 1 => Just(Configuration::unknown())]
}

pub fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Noop),
        bytes().prop_map(Payload::Command),
        configuration().prop_map(Payload::Configuration),
    ]
}

pub fn entry() -> impl Strategy<Value = Entry> {
    (id(), any::<u64>(), payload())
        .prop_map(|(id, stamp, payload)| Entry::new(id, ClusterTime::new(stamp), payload))
}

fn verdict() -> impl Strategy<Value = Verdict> {
    select(vec![
        Verdict::Granted,
        Verdict::StaleTerm,
        Verdict::AlreadyVoted,
        Verdict::LogBehind,
        Verdict::LeaderAlive,
        Verdict::NotEligible,
    ])
}

pub fn body() -> BoxedStrategy<Body> {
    let round = || any::<u64>().prop_map(ReadRound::new);
    let ticket = || any::<u64>().prop_map(ReadTicket::new);
    let index = || any::<u64>().prop_map(LogIndex::new);
    prop_oneof![
        id().prop_map(|last| Body::RequestPreVote { last }),
        verdict().prop_map(|verdict| Body::PreVote { verdict }),
        (id(), any::<bool>()).prop_map(|(last, transfer)| Body::RequestVote { last, transfer }),
        (any::<u64>(), verdict()).prop_map(|(candidate, verdict)| Body::Vote {
            candidate: Incarnation::new(candidate),
            verdict
        }),
        (id(), vec(entry(), 0..6), index(), round()).prop_map(|(prev, entries, commit, round)| {
            Body::AppendEntries { prev, entries, commit, round }
        }),
        (index(), round()).prop_map(|(matched, round)| Body::Appended { matched, round }),
        (id(), id(), round()).prop_map(|(refused, hint, round)| Body::Conflict {
            refused,
            hint,
            round
        }),
        id().prop_map(|last| Body::SnapshotInstalled { last }),
        id().prop_map(|last| Body::TimeoutNow { last }),
        ticket().prop_map(|ticket| Body::ReadIndex { ticket }),
        (ticket(), of(index())).prop_map(|(ticket, index)| Body::ReadIndexReply { ticket, index }),
        (index(), any::<u64>(), any::<bool>()).prop_map(|(index, digest, judged)| Body::Effects {
            index,
            digest,
            judged
        }),
        any::<bool>().prop_map(|lacks| Body::Room { lacks }),
    ]
    .boxed()
}

pub fn message() -> impl Strategy<Value = Message> {
    (any::<u64>(), body()).prop_map(|(term, body)| Message { term: Term::new(term), body })
}

pub fn record() -> impl Strategy<Value = BootstrapRecord> {
    (any::<[u8; 16]>(), configuration(), text(), any::<u32>(), of(generation())).prop_map(
        |(cluster, configuration, machine, machine_version, parent)| BootstrapRecord {
            cluster,
            configuration,
            machine,
            machine_version,
            parent,
        },
    )
}

pub fn hello() -> impl Strategy<Value = Hello> {
    let who = (any::<[u8; 16]>(), of(generation()), of(node()), incarnation());
    let lease = (1_u32.., any::<u32>());
    let lease = of(lease.prop_map(|(clock_error_ppm, stands_ms)| protocol::LeaseTerms {
        clock_error_ppm,
        stands_ms,
    }));
    (any::<u32>(), who, any::<u64>(), text(), lease).prop_map(
        |(protocol, who, boot, software, lease)| {
            let (cluster, generation, node, incarnation) = who;
            let promises = protocol::Promises {
                starts: boot.rotate_left(5),
                term: Term::new(boot.rotate_left(9)),
                vote: node.map(|candidate| Vote { candidate, incarnation }),
                last: LogIndex::new(boot.rotate_left(13)),
            };
            Hello {
                protocol,
                cluster,
                generation,
                node,
                incarnation,
                boot,
                software,
                lease,
                promises,
            }
        },
    )
}

pub fn hello_reply() -> impl Strategy<Value = HelloReply> {
    let code = select(vec![
        RefusalCode::Version,
        RefusalCode::Cluster,
        RefusalCode::Generation,
        RefusalCode::Identity,
        RefusalCode::Uninitialised,
        RefusalCode::Role,
        RefusalCode::Lease,
        RefusalCode::Removed,
    ]);
    prop_oneof![
        hello().prop_map(HelloReply::Accepted),
        (code, text()).prop_map(|(code, reason)| HelloReply::Refused { code, reason }),
    ]
}

fn consistency() -> impl Strategy<Value = Consistency> {
    prop_oneof![
        Just(Consistency::Linearizable),
        Just(Consistency::Stale),
        any::<u64>().prop_map(Consistency::AtLeast),
    ]
}

pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        bytes().prop_map(|command| Request::Propose { command }),
        (bytes(), consistency())
            .prop_map(|(query, consistency)| Request::Query { query, consistency }),
        Just(Request::Status),
        (any::<u64>(), any::<u32>(), detail()).prop_map(|(from, entries_max, detail)| {
            Request::ReadLog { from, entries_max, detail }
        }),
        record().prop_map(|record| Request::Bootstrap { record }),
        record().prop_map(|record| Request::Join { record }),
        (configuration(), any::<u64>())
            .prop_map(|(target, expected_index)| Request::Reconfigure { target, expected_index }),
        any::<u64>().prop_map(|to| Request::Transfer { to }),
        (bytes(), any::<bool>()).prop_map(|(query, stale)| Request::SystemQuery { query, stale }),
        bytes().prop_map(|command| Request::Note { command }),
        vec(bytes(), 1..5).prop_map(|commands| Request::Batch { commands }),
    ]
}

fn certificate() -> impl Strategy<Value = CertificateId> {
    any::<(u64, [u8; 32])>().prop_map(|(not_before_s, key)| CertificateId { not_before_s, key })
}

pub fn passage() -> impl Strategy<Value = Passage> {
    prop_oneof![
        Just(Passage::Direct),
        any::<u32>().prop_map(|within_ms| Passage::Within { within_ms }),
        any::<u32>().prop_map(|within_ms| Passage::MayForward { within_ms }),
        ("[a-z:/]{0,40}", "[0-9.:]{0,40}", of(certificate())).prop_map(
            |(identity, from, certificate)| Passage::OnBehalf { identity, from, certificate }
        ),
    ]
}

fn error() -> impl Strategy<Value = ErrorReply> {
    let code = select(vec![
        ErrorCode::NotLeader,
        ErrorCode::NoLeader,
        ErrorCode::Busy,
        ErrorCode::Unauthorised,
        ErrorCode::BadRequest,
        ErrorCode::TooLarge,
        ErrorCode::Uninitialised,
        ErrorCode::AlreadyInitialised,
        ErrorCode::ShuttingDown,
        ErrorCode::Superseded,
        ErrorCode::DiskFailed,
        ErrorCode::Abandoned,
        ErrorCode::Internal,
        ErrorCode::Forbidden,
        ErrorCode::NotMet,
        ErrorCode::NoRoom,
    ]);
    let leader = (any::<u64>(), text(), text()).prop_map(|(id, name, address)| LeaderHint {
        id,
        name,
        address,
    });
    let outcome = select(vec![Outcome::NotApplied, Outcome::Unknown]);
    (code, text(), of(leader), outcome).prop_map(|(code, message, leader, outcome)| ErrorReply {
        code,
        message,
        leader,
        outcome,
    })
}

fn outcome() -> impl Strategy<Value = Result<Applied, ErrorReply>> {
    let applied = (any::<u64>(), bytes()).prop_map(|(index, response)| Applied { index, response });
    prop_oneof![applied.prop_map(Ok), error().prop_map(Err)]
}

fn detail() -> impl Strategy<Value = LogDetail> {
    select(vec![LogDetail::Sizes, LogDetail::Commands, LogDetail::Values])
}

fn page() -> impl Strategy<Value = LogPage> {
    let kind = select(vec![EntryKind::Noop, EntryKind::Command, EntryKind::Configuration]);
    let entry = (any::<[u64; 3]>(), kind, any::<u32>(), of(bytes()), of(text())).prop_map(
        |([index, term, stamp_ns], kind, payload_bytes, payload, text)| LogEntry {
            index,
            term,
            stamp_ns,
            kind,
            payload_bytes,
            payload,
            text,
        },
    );
    (any::<[u64; 3]>(), vec(entry, 0..5)).prop_map(|([first, last, commit], entries)| LogPage {
        first,
        last,
        commit,
        entries,
    })
}

pub fn response() -> BoxedStrategy<Response> {
    prop_oneof![
        (any::<u64>(), bytes()).prop_map(|(index, response)| Response::Applied { index, response }),
        (any::<u64>(), bytes(), of(any::<u64>()))
            .prop_map(|(index, response, age_ms)| { Response::Answer { index, response, age_ms } }),
        status().prop_map(|status| Response::Status(Box::new(status))),
        page().prop_map(Response::Log),
        generation().prop_map(|generation| Response::Bootstrapped { generation }),
        error().prop_map(Response::Error),
        vec(outcome(), 0..5).prop_map(|outcomes| Response::Batch { outcomes }),
    ]
    .boxed()
}

fn peer() -> impl Strategy<Value = PeerReport> {
    let flow = of(select(vec![FlowKind::Probe, FlowKind::Replicate, FlowKind::Snapshot]));
    let some = || of(any::<u64>());
    let times = (some(), some(), some(), some(), some());
    let rounds = of((1..u32::MAX, of(any::<u64>())));
    let rounds =
        rounds.prop_map(|some| some.map(|(round, last_ms)| RoundReport { round, last_ms }));
    (node(), any::<[u64; 2]>(), flow, times, any::<bool>(), text(), rounds).prop_map(
        |(id, [matched, next], flow, times, connected, trouble, catch_up)| {
            let (heard_ms, rtt_us, boot, since_ms, stalled_ms) = times;
            PeerReport {
                boot,
                incarnation: boot.map(|boot| Incarnation::new(boot.rotate_left(3))),
                doubled_ms: since_ms.map(|ms: u64| ms.rotate_left(4)),
                since_ms,
                stalled_ms,
                differs_at: stalled_ms.map(|ms: u64| ms.rotate_left(5)),
                catch_up,
                snapshot_bytes: (matched, next),
                id,
                matched,
                next,
                flow,
                heard_ms,
                rtt_us,
                connected,
                trouble,
            }
        },
    )
}

fn troubles(known: bool, number: u64) -> Vec<TroubleReport> {
    let report = |what: Trouble| TroubleReport {
        what,
        why: format!("{} and {number}", what.name()),
        for_ms: number.rotate_left(13),
    };
    let all = Trouble::ALL.into_iter().chain([Trouble::Other]);
    all.filter(|_| known).map(report).collect()
}

fn read_through(number: u64) -> ReadThrough {
    ReadThrough { ago_ms: number.rotate_left(21), bytes: number.rotate_left(23) }
}

/// Each number differs from all others, so that no two fields can be taken for each other.
pub fn status() -> impl Strategy<Value = NodeStatus> {
    let role = select(vec![
        RoleKind::Follower,
        RoleKind::PreCandidate,
        RoleKind::Candidate,
        RoleKind::Leader,
    ]);
    let lease = of((1..u32::MAX, of(any::<u64>())));
    let lease = lease.prop_map(|some| {
        some.map(|(clock_error_ppm, left_ms)| LeaseReport { clock_error_ppm, left_ms })
    });
    let who = (node(), hello(), role, of(node()), of(node()));
    let others = (vec(peer(), 0..4), vec((node(), verdict()), 0..4));
    let texts = (text(), text(), text(), lease);
    (who, any::<[u64; 22]>(), any::<bool>(), any::<i64>(), configuration(), others, texts).prop_map(
        |((node, hello, role, voted_for, leader), n, known, not_after, configuration, o, t)| {
            NodeStatus {
                node,
                name: t.0,
                address: t.1,
                cluster: hello.cluster,
                generation: hello.generation,
                incarnation: hello.incarnation,
                former: known.then(|| FormerReport {
                    incarnation: Incarnation::new(n[21].rotate_left(9)),
                    why: n[20].to_le_bytes()[0] | 1,
                }),
                starts: n[20].rotate_left(11),
                role,
                term: n[0],
                voted_for,
                leader,
                leading_ms: known.then_some(n[1]),
                heard_ms: (!known).then_some(n[2]),
                first: n[3],
                last: n[4],
                durable: n[5],
                commit: n[6],
                applied: n[7],
                configuration,
                configuration_index: n[8],
                peers: o.0,
                refusals: o.1.clone(),
                version: hello.software,
                uptime_ms: n[9],
                log_bytes: n[10],
                disk_total_bytes: n[11],
                disk_free_bytes: n[12],
                disk_reserve_bytes: n[12].rotate_left(9),
                disk_needed_bytes: n[13].rotate_left(7),
                no_room: t.2.chars().rev().collect(),
                alarms: o.1.iter().map(|(id, _)| *id).collect(),
                shortage: o.1.iter().rev().map(|(id, _)| *id).collect(),
                disk_waits_ms: known.then_some(n[20].rotate_left(9)),
                reads_wait_ms: known.then_some(n[20].rotate_left(11)),
                snapshot_damaged: t.2.to_uppercase(),
                log_read: known.then(|| read_through(n[19])),
                state_read: (!known).then(|| read_through(n[18])),
                mended: format!("{} mended", t.2),
                certificate_not_after: not_after,
                certificate_not_before: not_after.rotate_left(5),
                clock_unix_ms: n[12].rotate_left(6),
                fsync_p99_us: n[13],
                apply_p99_us: n[14],
                commit_p99_us: n[15],
                operations_per_second: n[16],
                failure: t.2,
                lease: t.3,
                boot: n[17],
                heartbeat_ms: n[18],
                election_timeout_ms: n[19],
                commit_stalled_ms: known.then_some(n[20]),
                applied_stalled_ms: (!known).then_some(n[21]),
                troubles: troubles(known, n[4]),
            }
        },
    )
}
