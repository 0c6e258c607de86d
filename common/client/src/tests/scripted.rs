//! What is made of the answers of a node, and of its silence. What nobody knows the outcome of is
//! not sent again where that could do it twice; and what a later attempt is refused for says
//! nothing of it.

use std::future::Future;
use std::time::{Duration, Instant};

use protocol::{ErrorCode, Response};
use state_machine::SystemResponse;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use transport::limits::IDLE_TIMEOUT;

use super::node::{DAY, HISTORY, Node, Turn, refused, unknown};
use super::zeros;
use crate::attempt::Lead;
use crate::error::{ClientError, Common};
use crate::requests::Consistency;
use crate::session::Session;
use crate::{Generation, NodeId};

/// Longer than the deadline of the clients.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ways in which an attempt has an end that nobody knows.
fn unknown_ends() -> [Turn; 2] {
    [Turn::Cuts, Turn::Says(unknown())]
}

/// A refusal for which no other attempt is made.
fn forbids() -> Turn {
    Turn::Says(refused(ErrorCode::Forbidden))
}

async fn ends<T>(call: impl Future<Output = T>) -> T {
    timeout(PATIENCE, call).await.unwrap()
}

fn is_unknown<T>(result: &Result<T, ClientError>, number: Option<u64>) -> bool {
    matches!(result, Err(ClientError::Unknown { sequence, .. }) if *sequence == number)
}

#[tokio::test]
async fn a_command_of_unknown_outcome_is_never_sent_again() {
    for end in unknown_ends() {
        let node = Node::start([end.clone()]);
        let ended = ends(node.client().propose(zeros(1))).await;
        assert!(is_unknown(&ended, None), "{end:?}: {ended:?}");
        assert_eq!(node.asked(), 1, "{end:?}");
    }
}

#[tokio::test]
async fn a_batch_of_unknown_outcome_is_never_sent_again() {
    for end in unknown_ends() {
        let node = Node::start([end.clone()]);
        let all = ends(node.client().propose_all(vec![zeros(1), zeros(2)])).await;
        assert!(all.len() == 2 && all.iter().all(|one| is_unknown(one, None)), "{end:?}: {all:?}");
        assert_eq!(node.asked(), 1, "{end:?}");
    }
}

#[tokio::test]
async fn a_command_of_a_session_is_sent_again_until_its_outcome_is_known() {
    let node = Node::start(unknown_ends());
    let session = Session::new(node.client(), 1);
    let ended = ends(session.propose(zeros(1))).await;
    assert!(matches!(&ended, Ok(answer) if answer.index == 7), "{ended:?}");
    let again = Node::start(unknown_ends());
    let session = Session::new(again.client(), 1);
    let all = ends(session.propose_all(vec![zeros(1), zeros(2)])).await;
    assert!(all.len() == 2 && all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!([node.asked(), again.asked()], [3, 3]);
    assert_eq!(session.unanswered(), [] as [u64; 0]);
}

#[tokio::test]
async fn a_refusal_after_an_attempt_of_unknown_outcome_is_not_certain() {
    for end in unknown_ends() {
        let node = Node::start([end.clone(), forbids()]);
        let session = Session::new(node.client(), 1);
        let ended = ends(session.propose(zeros(1))).await;
        assert!(is_unknown(&ended, Some(1)), "{end:?}: {ended:?}");
        assert_eq!(session.unanswered(), [1], "its outcome can still be asked for");
        let node = Node::start([end.clone(), forbids()]);
        let closed = ends(node.client().close_session(1)).await;
        assert!(is_unknown(&closed, None), "{end:?}: {closed:?}");
        assert_eq!(node.asked(), 2, "{end:?}");
    }
    // Without an earlier attempt, it is.
    let node = Node::start([forbids()]);
    let session = Session::new(node.client(), 1);
    let ended = ends(session.propose(zeros(1))).await;
    assert!(matches!(ended, Err(ClientError::Refused(_))), "{ended:?}");
    assert_eq!(session.unanswered(), [] as [u64; 0]);
}

/// What is undone once is refused the second time, and the caller was told of nothing else.
#[tokio::test]
async fn a_refusal_to_undo_after_an_attempt_of_unknown_outcome_is_not_certain() {
    let reason = "no certificate of client web is revoked";
    let refuses = || {
        let response = SystemResponse::Refused { reason: reason.to_owned() }.encode();
        Turn::Says(Response::Applied { index: 7, response })
    };
    for end in unknown_ends() {
        let node = Node::start([end.clone(), refuses()]);
        let ended = ends(node.client().forget_revocation("client web")).await;
        assert!(is_unknown(&ended, None), "{end:?}: {ended:?}");
        let said = ended.unwrap_err().to_string();
        assert!(said.ends_with(&format!("asked again, it was refused: {reason}")), "{said}");
        assert_eq!(node.asked(), 2, "{end:?}");
    }
    // Without an earlier attempt, it is.
    let ended = ends(Node::start([refuses()]).client().forget_revocation("client web")).await;
    assert!(matches!(&ended, Err(ClientError::Refused(reply)) if reply.message == reason));
}

#[tokio::test]
async fn a_refusal_of_the_question_how_a_command_ended_says_nothing_of_the_command() {
    let node = Node::start([Turn::Says(unknown()), forbids(), forbids()]);
    let session = Session::new(node.client(), 1);
    let proposed = ends(session.propose(zeros(1))).await;
    assert!(is_unknown(&proposed, Some(1)), "{proposed:?}");
    let ended = ends(session.outcome(1)).await;
    assert!(is_unknown(&ended, Some(1)), "{ended:?}");
    assert_eq!(session.unanswered(), [1], "it can be asked once more");
    let ended = ends(session.outcome(1)).await;
    assert!(matches!(&ended, Ok(answer) if answer.index == 7), "{ended:?}");
    assert_eq!((node.asked(), session.unanswered()), (4, Vec::new()));
}

#[tokio::test]
async fn a_refusal_of_the_question_how_commands_ended_says_nothing_of_any_of_them() {
    let node = Node::start([Turn::Says(unknown()), forbids(), forbids()]);
    let session = Session::new(node.client(), 1);
    let proposed = ends(session.propose_all(vec![zeros(1), zeros(2)])).await;
    assert!(is_unknown(&proposed[0], Some(1)) && is_unknown(&proposed[1], Some(2)), "{proposed:?}");
    let ended = ends(session.outcomes([1, 2])).await;
    let unknown = ended.iter().filter(|(number, one)| is_unknown(one, Some(**number)));
    assert_eq!(unknown.count(), 2, "{ended:?}");
    assert_eq!(session.unanswered(), [1, 2], "they can be asked for once more");
    let ended = ends(session.outcomes([1, 2])).await;
    assert!(ended.len() == 2 && ended.values().all(Result::is_ok), "{ended:?}");
    assert_eq!((node.asked(), session.unanswered()), (4, Vec::new()));
}

/// The command was applied after its caller had heard that it never will be.
#[tokio::test]
async fn a_refusal_is_not_certain_where_another_call_sent_the_same_command() {
    let late = || Turn::Late(refused(ErrorCode::Forbidden));
    for (script, is_known) in [(vec![late()], true), (vec![late(), forbids()], false)] {
        let node = Node::start(script);
        let session = Session::new(node.client(), 1);
        let other = async {
            while node.asked() == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            session.outcomes(session.unanswered()).await
        };
        let both = async { tokio::join!(session.propose(zeros(1)), other) };
        let (proposed, asked) = ends(both).await;
        assert!(is_unknown(&proposed, Some(1)), "{proposed:?}");
        assert_eq!(asked[&1].is_ok(), is_known, "{asked:?}");
        assert_eq!(session.unanswered().is_empty(), is_known, "else it can be asked once more");
    }
}

#[tokio::test]
async fn a_leader_that_has_handed_over_is_not_asked_first_any_more() {
    let node = Node::start([Turn::Says(Response::Done)]);
    let client = node.client();
    ends(client.transfer(NodeId::new(2).unwrap())).await.unwrap();
    assert_eq!(client.leader(), None);
}

/// It hangs, perhaps, or leads no more: the next attempt would wait there as long.
#[tokio::test]
async fn who_leaves_the_outcome_of_a_batch_unknown_is_not_asked_first_any_more() {
    let node = Node::start([Turn::Says(unknown())]);
    let client = node.client();
    client.remember(Some(Lead::At(client.endpoints()[0].clone())));
    let all = ends(client.propose_all(vec![zeros(1)])).await;
    assert!(is_unknown(&all[0], None), "{all:?}");
    assert_eq!(client.leader(), None);
}

/// Whoever answers in the leader's place may hang before it says who that is: what had come was
/// held back until the deadline.
#[tokio::test]
async fn an_answer_does_not_wait_for_who_leads() {
    let answer = Response::Answer { index: 7, response: zeros(1), age_ms: Some(5) };
    let node = Node::start([Turn::Last(answer)]);
    let began = Instant::now();
    let answer = ends(node.client().query(zeros(1), Consistency::Linearizable)).await.unwrap();
    assert_eq!(answer.index, 7);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// The pages of a list were asked of whoever could be connected to first, each page anew.
#[tokio::test]
async fn whoever_answers_first_is_named_and_can_be_asked_for_what_follows() {
    let answer = Response::Answer { index: 7, response: zeros(1), age_ms: Some(5) };
    let node = Node::start([Turn::Says(answer.clone()), Turn::Says(answer)]);
    let client = node.client();
    let (endpoint, first) = ends(client.query_any(zeros(1))).await.unwrap();
    assert_eq!(endpoint, client.endpoints()[0]);
    let next = ends(client.query_of(&endpoint, zeros(1))).await.unwrap();
    assert_eq!((first, node.asked()), (next, 2));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Makes what lives on a thread of its own from then on.
fn elsewhere<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> T {
    let (made, taken) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            made.send(make()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    taken.recv().unwrap()
}

/// The node has dropped the connection, and the client has not heard of it yet: what was written
/// into it was lost, with an outcome that nobody knew.
#[test]
fn a_client_that_stood_still_sends_nothing_into_a_connection_that_may_have_gone() {
    let node = elsewhere(|| Node::start([]));
    let runtime = runtime();
    let client = runtime.block_on(async { node.client() });
    let propose = || runtime.block_on(client.propose(zeros(1)));
    propose().unwrap();
    // Nothing drives the runtime meanwhile.
    std::thread::sleep(IDLE_TIMEOUT + Duration::from_secs(1));
    propose().unwrap();
    assert_eq!(node.asked(), 2);
}

/// Whether the command was applied, such an answer does not say; it was called a certain failure.
#[tokio::test]
async fn an_answer_to_something_else_leaves_the_outcome_unknown() {
    let done = || Turn::Says(Response::Done);
    let closed = || {
        let response = SystemResponse::Closed.encode();
        Turn::Says(Response::Applied { index: 7, response })
    };
    let node = Node::start([done(), done(), done(), closed()]);
    let client = node.client();
    assert!(is_unknown(&ends(client.propose(zeros(1))).await, None));
    assert!(is_unknown(&ends(client.propose_all(vec![zeros(1)])).await[0], None));
    let session = Session::new(client, 1);
    for number in [1, 2] {
        assert!(is_unknown(&ends(session.propose(zeros(1))).await, Some(number)));
    }
    assert_eq!((node.asked(), session.unanswered()), (4, vec![1, 2]));
    assert!(ends(session.outcomes([1, 2])).await.values().all(Result::is_ok));
}

/// The answer to whoever opens a session.
fn registers(session: u64) -> Turn {
    let response = SystemResponse::Registered { session }.encode();
    Turn::Says(Response::Applied { index: session, response })
}

/// The same id was given to another one after a restore, which had used the same numbers.
#[tokio::test]
async fn a_session_ends_with_the_history_in_which_it_was_opened() {
    let node = Node::start([registers(950)]);
    let client = node.client();
    let session = ends(client.session("a")).await.unwrap();
    client.follow(Generation::new(HISTORY));
    ends(session.propose(zeros(1))).await.unwrap();
    client.follow(Generation::new([8; 32]));
    let (one, all) = (ends(session.propose(zeros(1))), ends(session.propose_all(vec![zeros(1)])));
    let (one, all) = (one.await.map(|_| ()), all.await.remove(0).map(|_| ()));
    for ended in [one, all, ends(session.clone().close()).await] {
        assert!(matches!(ended, Err(ClientError::SessionExpired { session: 950 })), "{ended:?}");
    }
    assert_eq!((node.asked(), session.unanswered()), (2, Vec::new()));
}

/// The node was initialised under a connection that went on to be used: it never told its history.
#[tokio::test]
async fn a_session_of_a_node_that_had_no_history_yet_ends_with_its_first_one() {
    let old = Node::start([registers(950)]);
    old.has(None);
    let client = old.client();
    let endpoint = client.endpoints()[0].clone();
    ends(client.status_of(&endpoint)).await.unwrap_err();
    assert_eq!(client.generation(), None);
    old.has(Some(HISTORY));
    let session = ends(client.session("a")).await.unwrap();
    assert_eq!(client.generation(), Some(Generation::new(HISTORY)));
    ends(session.propose(zeros(1))).await.unwrap();
    client.follow(Generation::new([8; 32]));
    let ended = ends(session.propose(zeros(1))).await;
    assert!(matches!(ended, Err(ClientError::SessionExpired { session: 950 })), "{ended:?}");
}

#[tokio::test]
async fn a_command_under_way_is_not_sent_into_another_history() {
    let nobody_leads = std::iter::repeat_n(Turn::Says(refused(ErrorCode::NoLeader)), 1_000);
    let old = Node::start([registers(950)].into_iter().chain(nobody_leads));
    let new = old.start_beside([8; 32], [registers(951)]);
    let client = old.client_of([&old, &new]);
    client.follow(Generation::new(HISTORY));
    let session = ends(client.session("a")).await.unwrap();
    let restores = async {
        while old.asked() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        client.follow(Generation::new([8; 32]));
    };
    let both = async { tokio::join!(session.propose(zeros(1)), restores) };
    let (ended, ()) = ends(both).await;
    assert!(matches!(ended, Err(ClientError::SessionExpired { session: 950 })), "{ended:?}");
    assert_eq!((new.asked(), session.unanswered()), (0, Vec::new()));
    let another = ends(client.session("a")).await.unwrap();
    assert_eq!((another.id(), ends(another.propose(zeros(1))).await.is_ok()), (951, true));
}

#[tokio::test]
async fn a_client_goes_on_behind_the_end_of_its_certificate_with_another_one() {
    let node = Node::start([]);
    let short = node.credentials("eve", Duration::from_secs(1));
    let client = node.client_with([&node], short);
    let session = Session::new(client.clone(), 1);
    sleep(Duration::from_secs(3)).await;
    let ended = ends(session.propose(zeros(1))).await;
    let Err(ClientError::Unreachable { common: Common::Certificates, .. }) = ended else {
        panic!("{ended:?}");
    };
    let theirs = client.replace_credentials(&node.credentials("mallory", DAY)).unwrap_err();
    assert!(theirs.to_string().starts_with("the credentials are those of client mallory of"));
    client.replace_credentials(&node.credentials("eve", DAY)).unwrap();
    ends(session.propose(zeros(1))).await.unwrap();
}

/// Another runtime had begun to connect, and was not driven any more.
#[test]
fn connections_live_where_their_client_was_made_whoever_asks() {
    let (node, client) = elsewhere(|| {
        let node = Node::start([]);
        let client = node.client();
        (node, client)
    });
    let (visitor, own) = (runtime(), runtime());
    let within = async |patience| timeout(patience, client.propose(zeros(1))).await;
    visitor.block_on(within(Duration::ZERO)).unwrap_err();
    own.block_on(within(Duration::from_secs(10))).unwrap().unwrap();
    visitor.block_on(client.propose(zeros(1))).unwrap();
    drop(visitor);
    own.block_on(client.propose(zeros(1))).unwrap();
    assert!(node.asked() >= 3);
}

/// A restored cluster is another history: what the old one acknowledges is in a dead branch.
#[tokio::test]
async fn a_connection_to_another_history_is_not_used_any_more() {
    let old = Node::start([]);
    let client = old.client();
    ends(client.propose(zeros(1))).await.unwrap();
    client.follow(Generation::new([8; 32]));
    let answered = timeout(Duration::from_secs(2), client.propose(zeros(1))).await;
    assert!(!matches!(answered, Ok(Ok(_))), "nobody of that history is there");
    assert_eq!(old.asked(), 1, "it is not asked any more");
}
