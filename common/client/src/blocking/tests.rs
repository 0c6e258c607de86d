use std::time::Instant;

use super::*;
use crate::tests::{AT_ONCE, Deaf, refused, zeros};

const WANTED: &str = "this client has ended: it was made before a fork, and stays with the parent";

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

    let session = crate::Session::new(client.client.get().clone(), 7);
    let session = Session { session: Bound::new(session, Arc::clone(&client.client.runtime)) };
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
