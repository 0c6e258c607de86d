//! Rows of the museum in which service ends and no promise breaks, or in which something outside of
//! the core has failed: each is played here, event by event.
use crate::kit::*;
use consensus::*;

fn appended(matched: u64) -> Body {
    Body::Appended { matched: LogIndex::new(matched), round: ReadRound::ZERO }
}

fn led(voters: u64) -> Cluster {
    let mut cluster = Cluster::new(&(1..=voters).collect::<Vec<u64>>());
    cluster.campaign(1);
    assert_eq!(cluster.leaders(), [1]);
    cluster
}

fn peer(cluster: &Cluster, number: u64) -> PeerStatus {
    *cluster.status(1).peers.iter().find(|peer| peer.id == id(number)).unwrap()
}

/// A heartbeat named the commit index as the place where the logs agree; a follower that was not
/// there yet refused it, and when that arrived late, the leader believed that its log had shrunk.
#[test]
fn a_heartbeat_is_never_refused_and_a_late_refusal_is_no_loss_museum_b26() {
    let mut cluster = led(3);
    cluster.cut.insert((id(1), id(2)));
    for request in 1..=4 {
        cluster.propose(1, request, "x");
    }
    cluster.settle();
    cluster.heal();
    assert_eq!((cluster.commit(1), cluster.ids(2).len()), (6, 2));
    cluster.pass(50);
    cluster.tick(1);
    let beat = bodies(&cluster.take_from(1), 2).remove(0);
    let Body::AppendEntries { prev, commit, .. } = beat.clone() else { panic!("{beat:?}") };
    assert_eq!((prev, commit.get()), (at(2, 2), 2), "no more than is known to agree");
    cluster.say(1, 2, 2, beat);
    assert_eq!(bodies(&cluster.take_from(2), 1), [appended(2)]);
    cluster.run(400);
    assert_eq!(peer(&cluster, 2).matched, LogIndex::new(6));
    for refused in 2..=6 {
        let round = ReadRound::ZERO;
        cluster.say(2, 1, 2, Body::Conflict { refused: at(2, refused), hint: at(2, 2), round });
        assert_eq!(peer(&cluster, 2).matched, LogIndex::new(6));
    }
    cluster.run(400);
    assert_eq!((cluster.leaders(), cluster.term(1)), (vec![1], 2));
    assert_eq!(cluster.ids(2), cluster.ids(1));
}

/// A leader whose write was still under way lost its office, and its successor gave it the same
/// entry back; and answers to what it had sent as a leader moved its commit index.
#[test]
fn who_leads_no_more_counts_no_answers_and_takes_its_own_entry_back_museum_b31() {
    let mut cluster = led(3);
    cluster.held_disks.insert(id(1));
    cluster.propose(1, 1, "its own");
    let own = cluster.node(1).writes[0].append[0].clone();
    let (sent, last) = (cluster.take_from(1), own.id);
    assert_eq!((last, sent.len()), (at(2, 3), 2));
    // 2 leads with that entry while the write is under way here and letters with it are in flight.
    cluster.say(2, 1, 3, append(at(2, 2), vec![own.clone()], 2));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Follower, 3));
    assert_eq!(cluster.ids(1).last(), Some(&last), "it stays where it is");
    assert_eq!(cluster.take_from(1), [], "and is acknowledged when it is on the disk");
    cluster.persist(1);
    assert_eq!(bodies(&cluster.take_from(1), 2), [appended(3)]);
    // What is still answered to the leader of term 2, or in the new term to nobody.
    let answers = [
        appended(3),
        Body::Conflict { refused: at(2, 3), hint: at(2, 2), round: ReadRound::ZERO },
        Body::SnapshotInstalled { last },
    ];
    for (term, answer) in [2, 3].into_iter().flat_map(|t| answers.clone().map(|a| (t, a))) {
        for from in [2, 3] {
            cluster.say(from, 1, term, answer.clone());
            assert_eq!((cluster.commit(1), cluster.role(1)), (2, RoleKind::Follower));
        }
    }
    // It leads again, in another term: answers to the first one are not for this.
    cluster.held_disks.clear();
    cluster.cut.extend([2, 3].map(|other| (id(other), id(1))));
    cluster.pass(1_000);
    cluster.time_out(1);
    cluster.cut.clear();
    cluster.say(2, 1, 4, Body::PreVote { verdict: Verdict::Granted });
    cluster.say(2, 1, 4, granted(1));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 4));
    for from in [2, 3] {
        for term in [2, 3] {
            cluster.say(from, 1, term, appended(4));
        }
    }
    assert_eq!(cluster.commit(1), 2);
    cluster.say(2, 1, 4, appended(4));
    assert_eq!(cluster.commit(1), 4);
}

/// Votes of a round of questions that came after all was decided started another campaign.
#[test]
fn late_grants_of_a_pre_vote_disturb_neither_a_leader_nor_a_follower_museum_d8() {
    for leads in [true, false] {
        let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
        cluster.pass(1_000);
        cluster.time_out(1);
        cluster.letters.clear();
        assert_eq!(cluster.role(1), RoleKind::PreCandidate);
        let grant = |term| {
            move |from, cluster: &mut Cluster| {
                cluster.say(from, 1, term, Body::PreVote { verdict: Verdict::Granted });
            }
        };
        if leads {
            [2, 3].into_iter().for_each(|from| grant(2)(from, &mut cluster));
            for from in [2, 3] {
                cluster.say(from, 1, 2, granted(1));
            }
        } else {
            cluster.say(2, 1, 2, heartbeat(at(1, 1), 0));
        }
        let role = cluster.role(1);
        assert_eq!(role == RoleKind::Leader, leads);
        cluster.letters.clear();
        // Of the first round, or as if there had been another.
        for term in [2, 3] {
            (2..=5).for_each(|from| grant(term)(from, &mut cluster));
        }
        assert_eq!((cluster.role(1), cluster.term(1)), (role, 2));
        assert_eq!(cluster.take_from(1), []);
    }
}

/// A new leader looked through all that was uncommitted for a change of members, for longer than
/// the others' patience. This one has more than any time would be enough for.
#[test]
fn a_tail_of_a_million_million_entries_delays_no_leader_museum_d11() {
    let (term, last) = (Term::new(1), LogIndex::new(1_000_000_000_000));
    let runs = vec![TermRun { term, first: LogIndex::new(1) }];
    let below = (LogIndex::ZERO, Configuration::unknown());
    let configurations = vec![(LogIndex::new(1), configuration(&[1, 2, 3], &[]))];
    let disk = Restored {
        incarnation: incarnation(1),
        hard_state: hard_state(1, None),
        log: LogView::restore(EntryId::ZERO, runs, last).unwrap(),
        membership: Membership::restore(below, configurations).unwrap(),
        applied: LogIndex::new(1),
        stamp: ClusterTime::ZERO,
    };
    let now = Timestamp::new(1_000 * MS);
    let mut raft = Raft::restore(id(1), Config::new(1), disk, now).unwrap();
    let now = now.after(1_000 * MS);
    raft.step(now, Input::Timeout(Timer::Election));
    for body in [Body::PreVote { verdict: Verdict::Granted }, granted(1)] {
        let message = Message { term: Term::new(2), body };
        raft.step(now, Input::Receive { from: id(2), incarnation: incarnation(2), message });
        if let Some(write) = raft.drain(now).write {
            raft.step(now, Input::Persisted { write: write.id });
        }
    }
    assert_eq!(raft.status().role, RoleKind::Leader);
    assert_eq!(raft.status().last, EntryId { term: Term::new(2), index: last.next() });
}

/// All nodes started at once, and each waited half a minute so as not to disturb anybody.
#[test]
fn a_cluster_that_restarts_as_a_whole_has_a_leader_soon_museum_d13() {
    for leases in [None, Some(200)] {
        let config = Config { lease_clock_error_ppm: leases, ..Config::new(7) };
        let mut cluster = Cluster::with(configuration(&[1, 2, 3, 4, 5], &[]), config);
        cluster.run(1_000);
        cluster.propose(cluster.leaders()[0], 1, "x");
        cluster.settle();
        (1..=5).for_each(|number| cluster.crash(number));
        assert_eq!(cluster.leaders(), []);
        // The longest timeout, and as much again should the first campaign split the votes.
        cluster.run(600);
        let leaders = cluster.leaders();
        assert_eq!(leaders.len(), 1, "leases: {leases:?}");
        assert_eq!(cluster.commit(leaders[0]), cluster.status(leaders[0]).last.index.get());
    }
}

/// A single node came back with a state that was in memory only, and said that it had applied
/// all; nothing was applied again before the next write.
#[test]
fn a_node_that_restarts_alone_applies_everything_again_museum_h15() {
    let mut cluster = led(1);
    for request in 1..=5 {
        cluster.propose(1, request, "x");
    }
    let applied = cluster.node(1).applied.clone();
    assert_eq!(applied.len(), 7);
    cluster.crash(1);
    assert_eq!((cluster.status(1).applied, cluster.commit(1)), (LogIndex::ZERO, 0));
    // Nobody writes: its own time is enough.
    cluster.run(301);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    assert_eq!(cluster.node(1).applied[..7], applied);
    assert_eq!(cluster.status(1).applied, cluster.status(1).last.index);
}

/// An acknowledgement freed one message too few: the window closed, message by message.
#[test]
fn an_acknowledgement_frees_each_message_that_it_covers_and_no_other_museum_i2() {
    const WINDOW: u64 = 4;
    for step in 0..=WINDOW {
        let config = Config { inflight_max: 4, entries_max: 1, ..Config::new(1) };
        let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), config);
        cluster.campaign(1);
        for request in 0..100 {
            cluster.propose(1, request, "x");
        }
        let sent = |cluster: &mut Cluster| {
            let bodies = bodies(&cluster.take_from(1), 2);
            let entries = |body: &Body| match body {
                Body::AppendEntries { entries, .. } => entries.len() as u64,
                _ => 0,
            };
            bodies.iter().map(entries).sum::<u64>()
        };
        assert_eq!(sent(&mut cluster), WINDOW);
        // Twenty acknowledgements in a row, each as far as this one, and then each once more.
        let mut matched = 2;
        for _ in 0..20 {
            matched += step;
            for expected in [step, 0] {
                cluster.say(2, 1, 2, appended(matched));
                assert_eq!(sent(&mut cluster), expected, "{step} at a time, {matched}");
            }
            assert_eq!(peer(&cluster, 2).next.since(LogIndex::new(matched)), WINDOW + 1);
        }
    }
}

/// The window became smaller than what was under way, and an assertion failed.
#[test]
fn a_window_that_is_smaller_after_a_restart_is_kept_to_museum_i8() {
    let config = Config { inflight_max: 8, entries_max: 1, ..Config::new(1) };
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), config.clone());
    cluster.campaign(1);
    cluster.isolate(1);
    for request in 0..8 {
        cluster.propose(1, request, "x");
    }
    cluster.settle();
    assert_eq!(peer(&cluster, 2).next.since(peer(&cluster, 2).matched), 9);
    cluster.configure(Config { inflight_max: 2, ..config });
    cluster.crash(1);
    cluster.heal();
    cluster.campaign(1);
    assert_eq!(cluster.leaders(), [1]);
    for request in 0..8 {
        cluster.propose(1, request, "y");
        let peer = peer(&cluster, 2);
        assert!(peer.next.since(peer.matched) <= 3, "two messages of one entry");
    }
    cluster.settle();
    assert_eq!(cluster.commit(1), cluster.status(1).last.index.get());
}

/// The task that fed a hung follower was waited for when that follower was removed: all stood
/// still. Here nothing waits for anybody; what is due for a node that hangs is bounded.
#[test]
fn a_member_that_hangs_holds_up_neither_writes_nor_its_removal_museum_i11() {
    let config = Config { inflight_max: 4, entries_max: 1, ..Config::new(1) };
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), config);
    cluster.campaign(1);
    // 3 takes everything and answers nothing.
    cluster.cut.extend([(id(3), id(1)), (id(1), id(3))]);
    for request in 0..50 {
        cluster.propose(1, request, "x");
        cluster.settle();
        assert_eq!(cluster.commit(1), request + 3);
    }
    let hung = peer(&cluster, 3);
    assert!(hung.next.since(hung.matched) <= 5, "at most 4 messages are kept for it");
    let target = configuration(&[1, 2], &[]);
    let done = Reply::Done { request: RequestId::new(CHANGE) };
    assert_eq!(cluster.change(1, &target), [done], "within no time at all");
    assert_eq!(cluster.status(1).configuration, &target);
    cluster.propose(1, 99, "y");
    cluster.settle();
    assert_eq!(cluster.commit(1), cluster.status(1).last.index.get());
}
