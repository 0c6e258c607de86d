//! Reads at any node (§6.4): forwarded to the leader, answered once, never from an earlier round,
//! term or leader.

use crate::kit::{self, Cluster, Letter, hard_state, id, read_at};
use consensus::*;

fn refused(request: u64, reason: Rejection) -> Reply {
    Reply::Rejected { request: RequestId::new(request), reason }
}

fn led() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster
}

fn ticket(letter: &Letter) -> Option<ReadTicket> {
    match letter.message.body {
        Body::ReadIndex { ticket } => Some(ticket),
        _ => None,
    }
}

/// The questions that a node has sent: the receiver of each, and its ticket.
fn asked(cluster: &mut Cluster, number: u64) -> Vec<(NodeId, ReadTicket)> {
    let letters = cluster.take_from(number);
    letters.iter().filter_map(|letter| Some((letter.to, ticket(letter)?))).collect()
}

fn answer(ticket: ReadTicket, index: u64) -> Body {
    Body::ReadIndexReply { ticket, index: Some(LogIndex::new(index)) }
}

#[test]
fn a_forwarded_read_waits_for_the_first_commit_of_the_term_museum_f1_f6() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.pass(1_000);
    cluster.time_out(1);
    cluster.say(2, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    cluster.say(2, 1, 2, kit::granted(1));
    cluster.say(1, 2, 2, kit::heartbeat(kit::at(1, 1), 1));
    cluster.read(2, 5);
    let (_, ticket) = asked(&mut cluster, 2)[0];
    cluster.say(2, 1, 2, Body::ReadIndex { ticket });
    let round = |matched| Body::Appended { matched, round: ReadRound::ZERO };
    cluster.say(2, 1, 2, round(LogIndex::new(1)));
    assert_eq!((cluster.role(1), cluster.commit(1)), (RoleKind::Leader, 0));
    cluster.settle();
    assert_eq!(cluster.take_replies(2), [read_at(5, 2)]);
}

#[test]
fn a_lost_question_is_asked_again_under_its_name() {
    let mut cluster = led();
    cluster.read(2, 5);
    let first = asked(&mut cluster, 2);
    cluster.read(2, 6);
    assert_eq!(asked(&mut cluster, 2), [], "one question is under way, the next read waits");
    cluster.pass(50);
    assert_eq!(cluster.node(2).raft.deadline(), Some((cluster.now, Timer::ReadIndex)));
    cluster.tick(2);
    assert_eq!(asked(&mut cluster, 2), first);
    cluster.say(1, 2, 2, answer(first[0].1, 2));
    assert_eq!(cluster.take_replies(2), [read_at(5, 2)]);
    let second = asked(&mut cluster, 2);
    assert_eq!(second.len(), 1);
    assert_ne!(second, first, "a name is used once (museum F3)");
}

#[test]
fn names_of_reads_differ_from_run_to_run_museum_f3() {
    let mut cluster = led();
    cluster.read(2, 5);
    let (_, before) = asked(&mut cluster, 2)[0];
    cluster.crash(2);
    cluster.run(60);
    cluster.pass(1);
    cluster.read(2, 5);
    let (_, after) = asked(&mut cluster, 2)[0];
    assert_ne!(before, after, "or a late answer would be taken for one to the new question");
}

#[test]
fn a_leader_keeps_one_question_of_each_follower_museum_f12() {
    let mut cluster = led();
    cluster.isolate(3);
    for number in 1..=50 {
        cluster.say(2, 1, 2, Body::ReadIndex { ticket: ReadTicket::new(number) });
    }
    let round = Body::Appended { matched: LogIndex::new(2), round: ReadRound::new(50) };
    cluster.say(2, 1, 2, round);
    let mut sent = kit::bodies(&cluster.take_from(1), 2);
    sent.retain(|body| matches!(body, Body::ReadIndexReply { .. }));
    assert_eq!(sent, [answer(ReadTicket::new(50), 2)], "who asks anew has given up the old");
}

#[test]
fn reads_during_a_transfer_see_what_the_successor_has_acknowledged_museum_e4() {
    let mut cluster = led();
    cluster.read(1, 1);
    let before = cluster.take_from(1);
    cluster.step(1, Input::Transfer { request: RequestId::new(kit::CHANGE), to: id(2) });
    cluster.read(1, 2);
    let told = cluster.take_from(1);
    cluster.cut.insert((id(3), id(1)));
    cluster.cut.insert((id(2), id(1)));
    cluster.cut.insert((id(1), id(3)));
    told.into_iter().for_each(|letter| cluster.deliver(letter));
    cluster.settle();
    assert_eq!(cluster.role(2), RoleKind::Leader);
    cluster.propose(2, 3, "newer");
    cluster.settle();
    assert_eq!(cluster.commit(2), 4);
    // The answers to the round from before the transfer arrive now; only the first read is served.
    cluster.heal();
    let round = Body::Appended { matched: LogIndex::new(2), round: ReadRound::new(1) };
    cluster.say(3, 1, 2, round);
    assert_eq!(before.len(), 2);
    assert_eq!(cluster.take_replies(1), [read_at(1, 2)]);
}

#[test]
fn a_leader_whose_disk_failed_refuses_forwarded_reads_by_silence() {
    let mut cluster = led();
    cluster.held_disks.insert(id(1));
    cluster.propose(1, 1, "x");
    let write = cluster.node(1).writes[0].id;
    cluster.step(1, Input::WriteFailed { write });
    cluster.letters.clear();
    cluster.say(2, 1, 2, Body::ReadIndex { ticket: ReadTicket::new(9) });
    assert_eq!(cluster.take_from(1), []);
    cluster.read(1, 5);
    assert_eq!(cluster.take_replies(1).last(), Some(&refused(5, Rejection::DiskFailed)));
}

#[test]
fn a_restarted_node_forwards_again_as_soon_as_it_hears_its_leader() {
    let mut cluster = led();
    let disk = hard_state(2, Some(1));
    cluster.start(3, &[2], disk);
    cluster.read(3, 4);
    assert_eq!(cluster.take_replies(3), [refused(4, Rejection::NotLeader { leader: None })]);
    cluster.run(60);
    cluster.read(3, 5);
    cluster.settle();
    assert_eq!(cluster.take_replies(3), [read_at(5, 2)]);
}

/// A question that waits for its round is no reason to begin another: what comes meanwhile joins
/// the next one, so that a leader with many readers does not send a heartbeat for each.
#[test]
fn one_round_at_a_time_travels_for_forwarded_reads_s6_4() {
    let mut cluster = led();
    cluster.say(2, 1, 2, Body::ReadIndex { ticket: ReadTicket::new(8) });
    assert_eq!(cluster.take_from(1).len(), 2, "a heartbeat for each follower");
    cluster.read(1, 5);
    assert_eq!(cluster.take_from(1), []);
    let (matched, first) = (LogIndex::new(2), ReadRound::ZERO.next());
    cluster.say(3, 1, 2, Body::Appended { matched, round: first });
    let sent = cluster.take_from(1);
    let round = |letter: &Letter| match letter.message.body {
        Body::AppendEntries { round, .. } => Some(round),
        _ => None,
    };
    let rounds: Vec<ReadRound> = sent.iter().filter_map(round).collect();
    assert_eq!(rounds, [first.next(); 2]);
    assert_eq!(kit::bodies(&sent, 2)[0], answer(ReadTicket::new(8), 2));
    assert_eq!(cluster.take_replies(1), [], "this read arrived later");
}

#[test]
fn a_single_voters_read_asks_no_learner_museum_f10() {
    let mut cluster = Cluster::with(kit::configuration(&[1], &[2]), Config::new(1));
    cluster.campaign(1);
    cluster.read(1, 5);
    assert_eq!(cluster.take_replies(1), [read_at(5, 2)]);
    assert_eq!(cluster.take_from(1), []);
}
