use std::time::{Duration, Instant};

use consensus::{Incarnation, Majority, Member, Voters};

use super::*;
use crate::tests::{AT_ONCE, Deaf, refused, zeros};

const WANTED: &str = "this client has ended: it was made before a fork, and stays with the parent";

const MOMENT: Duration = Duration::from_millis(20);

fn session(client: &Client) -> Session {
    let session = crate::Session::new(client.client.get().clone(), 7);
    Session { session: Bound::new(session, Arc::clone(&client.client.runtime)) }
}

/// Takes a client over to another process, as a fork does.
fn forked(mut client: Client) -> Client {
    let runtime = Arc::get_mut(&mut client.client.runtime).unwrap();
    runtime.process = runtime.process.wrapping_add(1);
    client
}

#[test]
fn in_a_forked_child_calls_end_at_once_and_say_so() {
    let (deaf, began) = (Deaf::listen(), Instant::now());
    let client = forked(Client::new(deaf.config()).unwrap());
    assert_eq!(refused(client.propose(zeros(1))), WANTED);
    assert_eq!(refused(client.query(zeros(1), Consistency::Stale)), WANTED);
    assert_eq!(refused(client.session("a").map(|session| session.id())), WANTED);
    let ended = client.propose_all(vec![zeros(1), zeros(2)]);
    let ended: Vec<String> = ended.into_iter().map(refused).collect();
    assert_eq!(ended, [WANTED, WANTED]);

    assert_eq!(refused(client.replace_credentials(&deaf.config().credentials)), WANTED);
    client.follow(Generation::new([1; 32]));
    assert_eq!((client.generation(), client.endpoints().len()), (None, 1));

    let session = session(&client);
    session.forget(1);
    assert_eq!(session.unanswered(), [] as [u64; 0]);
    assert_eq!(session.id(), 7);
    assert_eq!(refused(session.propose(zeros(1))), WANTED);
    let ended = session.propose_all(vec![zeros(1)]);
    assert_eq!(ended.into_iter().map(refused).collect::<Vec<_>>(), [WANTED]);
    assert_eq!(refused(session.outcome(3)), WANTED);
    assert_eq!(refused(session.outcomes(vec![3]).remove(&3).unwrap()), WANTED);
    assert_eq!(refused(session.clone().close()), WANTED);
    client.close();
    // Nobody waits for a thread that is not there.
    drop((session, client));
    assert!(began.elapsed() < AT_ONCE && deaf.has_heard_nothing());
}

#[test]
fn commands_without_an_answer_are_known_and_can_be_given_up() {
    let deaf = Deaf::listen();
    let client = Client::new(deaf.config()).unwrap();
    let session = session(&client);
    let left = session.session.run(async |session| {
        tokio::time::timeout(MOMENT, session.propose(zeros(1))).await.is_err()
    });
    assert!(left.unwrap());
    assert_eq!(session.unanswered(), [1]);
    session.forget(1);
    assert_eq!(session.unanswered(), [] as [u64; 0]);
}

#[test]
fn a_history_is_followed() {
    let client = Client::new(Deaf::listen().config()).unwrap();
    assert_eq!(client.generation(), None);
    let generation = Generation::new([1; 32]);
    client.clone().follow(generation);
    assert_eq!(client.generation(), Some(generation));
}

#[test]
fn each_call_reaches_the_client_and_brings_its_word_back() {
    let client = Client::new(Deaf::listen().config()).unwrap();
    client.close();
    let (endpoint, one) = (&client.endpoints()[0], NodeId::new(1).unwrap());
    let (name, address) = ("n1".to_owned(), "a:1".to_owned());
    let member = Member { incarnation: Incarnation::new(1), name, address };
    let voters = Voters::Stable(Majority::new([one]));
    let target = Configuration::new(voters, [].into(), [(one, member)].into()).unwrap();
    let sizes = LogDetail::Sizes;
    for ended in [
        refused(client.status_of(endpoint)),
        refused(client.query_of(endpoint, zeros(1))),
        refused(client.read_log(Some(endpoint), 1, 1, sizes)),
        refused(client.read_log(None, 1, 1, sizes)),
        refused(client.query_any(zeros(1))),
        refused(client.read_log_any(1, 1, sizes)),
        refused(client.reconfigure(&target, 1)),
        refused(client.transfer(one)),
        refused(client.snapshot(endpoint, SnapshotRequest::List)),
        refused(client.close_session(7)),
    ] {
        assert_eq!(ended, "this client has ended: it was closed");
    }
}
