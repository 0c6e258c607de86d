//! What is refused here, at once and before anything is sent; and, in the modules below, what is
//! made of the answers of a node that keeps to a script.

mod node;
mod scripted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use bytes::Bytes;
use transport::certs::{Authority, ClusterId, Identity, Role};

use crate::error::ClientError;
use crate::limits::{PROPOSAL_BYTES_MAX, QUERY_BYTES_MAX};
use crate::requests::Consistency;
use crate::session::Session;
use crate::{
    Client, ClientConfig, Configuration, Incarnation, Majority, Member, NodeId, SnapshotRequest,
    SystemQuery, Voters,
};

/// Longer than any refusal takes, and shorter than any deadline here.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An address at which somebody listens and never answers.
pub(crate) struct Deaf(UdpSocket);

impl Deaf {
    pub(crate) fn listen() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// Returns how to reach it, with a deadline that nobody waits for.
    pub(crate) fn config(&self) -> ClientConfig {
        let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
        let identity = Identity::new(authority.cluster(), Role::Operator("ada".parse().unwrap()));
        ClientConfig {
            endpoints: vec![self.0.local_addr().unwrap().to_string()],
            credentials: authority.issue(&identity, DAY).unwrap().credentials().unwrap(),
            deadline: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(2),
        }
    }

    pub(crate) fn has_heard_nothing(&self) -> bool {
        let heard = self.0.recv(&mut [0; 1]);
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

pub(crate) fn zeros(bytes: usize) -> Bytes {
    Bytes::from(vec![0; bytes])
}

pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn what_is_too_large_is_refused_at_once_with_its_size_and_the_limit() {
    let (deaf, began) = (Deaf::listen(), Instant::now());
    let client = Client::new(deaf.config()).unwrap();
    let session = Session::new(client.clone(), 1);
    for bytes in [PROPOSAL_BYTES_MAX + 1, 9 << 20] {
        let wanted = format!("the command has {bytes} bytes, 1048544 at most");
        assert_eq!(refused(client.propose(zeros(bytes)).await), wanted);
        assert_eq!(refused(session.propose(zeros(bytes)).await), wanted);
        let all = vec![zeros(bytes), zeros(1)];
        for ended in [client.propose_all(all.clone()).await, session.propose_all(all).await] {
            assert!(matches!(ended[0], Err(ClientError::TooLarge { .. })), "{ended:?}");
            assert!(matches!(ended[1], Err(ClientError::Behind { .. })), "{ended:?}");
        }
    }
    assert_eq!(session.unanswered(), [] as [u64; 0], "it takes no number");
    let large = zeros(QUERY_BYTES_MAX + 1);
    let wanted = "the question has 1048577 bytes, 1048576 at most";
    for how in [Consistency::Linearizable, Consistency::Follower, Consistency::Stale] {
        assert_eq!(refused(client.query(large.clone(), how).await), wanted);
    }
    assert_eq!(refused(client.query_of(&client.endpoints()[0], large).await), wanted);
    assert_eq!(
        refused(client.note(&"x".repeat(9 << 20)).await),
        "the request has 9437231 bytes, 1048576 at most"
    );
    assert!(began.elapsed() < AT_ONCE && deaf.has_heard_nothing());
}

#[test]
fn the_largest_command_in_its_envelope_is_what_a_node_takes() {
    let command = state_machine::Envelope::in_session(1, 2, 1, zeros(PROPOSAL_BYTES_MAX));
    assert_eq!(command.encode().len(), protocol::limits::COMMAND_BYTES_MAX);
}

#[test]
fn the_longest_answer_fits_into_a_frame_also_in_a_session() {
    let index = u64::MAX;
    let response = zeros(protocol::limits::ANSWER_BYTES_MAX);
    let in_session = state_machine::SystemResponse::Answer { index, response: response.clone() };
    for response in [
        protocol::Response::Answer { index, response, age_ms: Some(u64::MAX) },
        protocol::Response::Applied { index, response: in_session.encode() },
    ] {
        assert!(response.encode(u64::MAX).is_ok());
    }
}

fn configuration(members: &[(&str, &str)]) -> Configuration {
    let member = |(name, address): &(&str, &str)| Member {
        incarnation: Incarnation::new(1),
        name: (*name).to_owned(),
        address: (*address).to_owned(),
    };
    let ids = (1..).map_while(NodeId::new);
    let members: BTreeMap<NodeId, Member> = ids.zip(members.iter().map(member)).collect();
    let voters = Voters::Stable(Majority::new(members.keys().copied()));
    Configuration::new(voters, BTreeSet::new(), members).unwrap()
}

#[tokio::test]
async fn members_that_no_node_takes_are_refused_at_once_and_named() {
    let (deaf, began) = (Deaf::listen(), Instant::now());
    let client = Client::new(deaf.config()).unwrap();
    let (name, address) = ("n".repeat(65), format!("{}:4001", "a".repeat(295)));
    let long = format!("the name of member 2, {name:?}, has 65 bytes, 64 at most");
    for (members, wanted) in [
        ([("n1", "a:1"), ("n1", "b:1")], "members 1 and 2 are both called \"n1\""),
        ([("n1", "a:1"), ("", "b:1")], "member 2 has no name"),
        ([("n1", "a:1"), (&name, "b:1")], &long),
        (
            [("n1", &address), ("n2", "b:1")],
            "the address of member 1, n1, has 300 bytes, 260 at most",
        ),
    ] {
        assert_eq!(refused(client.reconfigure(&configuration(&members), 1).await), wanted);
    }
    assert!(began.elapsed() < AT_ONCE && deaf.has_heard_nothing());
}

#[tokio::test]
async fn a_duration_without_end_counts_as_a_year() {
    let deaf = Deaf::listen();
    for (deadline, connect_timeout) in [(Duration::MAX, DAY), (DAY, Duration::MAX)] {
        let config = ClientConfig { deadline, connect_timeout, ..deaf.config() };
        let client = Client::new(config).unwrap();
        let session = Session::new(client.clone(), 1);
        let endpoint = client.endpoints()[0].clone();
        // Nobody answers: each still waits when it is left.
        let waits = async {
            let (propose, query) = (client.propose(zeros(1)), |how| client.query(zeros(1), how));
            tokio::select! {
                ended = propose => panic!("{ended:?}"),
                ended = session.propose(zeros(1)) => panic!("{ended:?}"),
                ended = session.propose_all(vec![zeros(1)]) => panic!("{ended:?}"),
                ended = query(Consistency::Linearizable) => panic!("{ended:?}"),
                ended = query(Consistency::Follower) => panic!("{ended:?}"),
                ended = query(Consistency::Stale) => panic!("{ended:?}"),
                ended = client.status_of(&endpoint) => panic!("{ended:?}"),
            }
        };
        let left = tokio::time::timeout(Duration::from_millis(200), waits).await;
        assert!(left.is_err());
    }
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_when_the_client_is_made() {
    let config = Deaf::listen().config();
    for wrong in ["", "db1", ":4001", "db1:", "db1:0", "db1:99999", "http://db1:4001/", "a b:1"] {
        let endpoints = vec!["db1:4001".to_owned(), wrong.to_owned()];
        let wrong = format!("the endpoint {wrong:?} is no host and port, such as \"db1:4001\"");
        let made = Client::new(ClientConfig { endpoints, ..config.clone() });
        assert_eq!(refused(made.map(|_| ())), wrong);
    }
    let endpoints = ["db1.example:4001", "127.0.0.1:1", "[::1]:65535", "[fe80::1%eth0]:4001"];
    let endpoints = endpoints.map(str::to_owned).to_vec();
    assert!(Client::new(ClientConfig { endpoints, ..config.clone() }).is_ok());
    let none = Client::new(ClientConfig { endpoints: Vec::new(), ..config });
    assert_eq!(refused(none.map(|_| ())), "no endpoint is named");
}

#[test]
fn outside_of_a_runtime_no_client_is_made_and_nothing_panics() {
    let made = Client::new(Deaf::listen().config());
    assert_eq!(
        refused(made.map(|_| ())),
        "cannot open an endpoint: a client is made inside of a tokio runtime, a blocking one \
         anywhere"
    );
}

#[tokio::test]
async fn a_closed_client_and_its_copies_say_so_at_once() {
    let (deaf, began) = (Deaf::listen(), Instant::now());
    let client = Client::new(deaf.config()).unwrap();
    let (copy, session) = (client.clone(), Session::new(client.clone(), 1));
    client.close().await;
    let (wanted, one) = ("this client has ended: it was closed", || vec![zeros(1)]);
    assert_eq!(refused(copy.propose(zeros(1)).await), wanted);
    assert_eq!(refused(session.propose(zeros(1)).await), wanted);
    for all in [copy.propose_all(one()).await, session.propose_all(one()).await] {
        assert_eq!(all.into_iter().map(refused).collect::<Vec<_>>(), [wanted]);
    }
    assert_eq!(session.unanswered(), [] as [u64; 0]);
    for how in [Consistency::Linearizable, Consistency::Follower, Consistency::Stale] {
        assert_eq!(refused(copy.query(zeros(1), how).await), wanted);
    }
    let endpoint = &copy.endpoints()[0];
    assert_eq!(refused(copy.status_of(endpoint).await), wanted);
    assert_eq!(refused(copy.snapshot(endpoint, SnapshotRequest::List).await), wanted);
    assert_eq!(refused(copy.system_of(endpoint, &SystemQuery::History).await), wanted);
    assert_eq!(refused(copy.session("a").await.map(|session| session.id())), wanted);
    assert!(began.elapsed() < AT_ONCE && deaf.has_heard_nothing());
}

#[tokio::test]
async fn a_snapshot_is_waited_for_until_the_deadline() {
    let (deaf, began) = (Deaf::listen(), Instant::now());
    let deadline = Duration::from_millis(200);
    let client = Client::new(ClientConfig { deadline, ..deaf.config() }).unwrap();
    let endpoint = &client.endpoints()[0];
    let taken = client.snapshot(endpoint, SnapshotRequest::Take).await;
    assert!(matches!(taken, Err(ClientError::Unreachable { .. })), "{taken:?}");
    assert!(began.elapsed() >= deadline && began.elapsed() < AT_ONCE);
}
