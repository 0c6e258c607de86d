use super::*;
use crate::error::Common;
use proptest::prelude::*;
use protocol::{ErrorCode, ErrorReply, LeaderHint, Outcome};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::timeout;

/// What comes of dialling a node.
#[derive(Clone, Copy, Debug)]
enum Dial {
    Connects(u64),
    Refuses(u64),
    Denies,
    Silent,
    Breaks,
}

/// What a node answers.
#[derive(Clone, Copy, Debug)]
enum Says {
    Done,
    Names(usize),
    Nobody,
    Busy,
    Lost(u64),
    Silent,
}

#[derive(Clone, Debug)]
struct Node {
    dial: Dial,
    says: Says,
    forwards: bool,
    told: bool,
}

struct World {
    nodes: Vec<Node>,
    known: Mutex<Option<Lead>>,
    calls: Arc<AtomicUsize>,
    calls_max: usize,
}

fn name(number: usize) -> String {
    format!("n{number}:1")
}

impl World {
    fn new(nodes: Vec<Node>, deadline: Duration) -> Self {
        // A round asks each node once or twice and looks around in between; after the first few
        // rounds, each one waits for a quarter of a second at least.
        let rounds = 12 + usize::try_from(deadline.as_millis() / 250).unwrap_or(usize::MAX);
        let calls_max = rounds * (nodes.len() * 2 + 12) * 8;
        Self { nodes, known: Mutex::new(None), calls: Arc::default(), calls_max }
    }

    /// A loop that goes round without waiting would never end: this ends it.
    fn count(&self) {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(calls < self.calls_max, "{calls} calls: {:?}", self.nodes);
    }

    fn node(&self, endpoint: &str) -> &Node {
        let number = (0..).find(|number| name(*number) == endpoint);
        &self.nodes[number.expect("it has a number")]
    }
}

fn why(text: &str, precision: Precision, reached: bool) -> Why {
    Why { text: text.into(), precision, reached }
}

async fn dialled(dial: Dial, until: Instant) -> Result<(), Why> {
    let attempt = async {
        match dial {
            Dial::Connects(ms) => {
                sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            Dial::Refuses(ms) => {
                sleep(Duration::from_millis(ms)).await;
                Err(why("connection refused", Precision::Rejected, false))
            }
            Dial::Denies => Err(why("another cluster", Precision::Identity, false)),
            Dial::Silent => pending().await,
            Dial::Breaks => panic!("a task may"),
        }
    };
    let cut = Err(why("no answer", Precision::Nothing, false));
    timeout_at(until, attempt).await.unwrap_or(cut)
}

impl Nodes for World {
    fn endpoints(&self) -> (Vec<String>, Vec<String>) {
        self.count();
        let all = || (0..self.nodes.len()).map(name);
        let told = all().filter(|endpoint| self.node(endpoint).told);
        (told.collect(), all().collect())
    }

    fn dial(
        &self,
        endpoint: String,
        until: Instant,
    ) -> impl Future<Output = Result<(), Why>> + Send + 'static {
        self.count();
        dialled(self.node(&endpoint).dial, until)
    }

    async fn ask(
        &self,
        endpoint: &str,
        _request: &Request,
        manner: Manner,
    ) -> Result<Attempt, ClientError> {
        self.count();
        let node = self.node(endpoint);
        if matches!(node.dial, Dial::Breaks) {
            let why = why("it broke", Precision::Nothing, false);
            return Ok(Attempt::Failed { why, reply: None });
        }
        if let Err(why) = dialled(node.dial, manner.connected_by).await {
            return Ok(Attempt::Failed { why, reply: None });
        }
        let refuses = |code, leader| {
            let (message, outcome) = ("no".to_owned(), Outcome::NotApplied);
            let why = why("it says no", Precision::Refused, true);
            let reply = Some(ErrorReply { code, message, leader, outcome });
            Ok(Attempt::Failed { why, reply })
        };
        let hint = |leader| {
            let (id, name, address) = (1, String::new(), name(leader % self.nodes.len()));
            Some(LeaderHint { id, name, address })
        };
        let answer = async {
            match node.says {
                Says::Done => Ok(Attempt::Done(Response::Done)),
                Says::Names(leader) if manner.forward => {
                    match self.nodes.get(leader).map(|leader| leader.says) {
                        Some(Says::Done) if node.forwards => Ok(Attempt::Done(Response::Done)),
                        Some(_) | None => refuses(ErrorCode::NoLeader, hint(leader)),
                    }
                }
                Says::Names(leader) => refuses(ErrorCode::NotLeader, hint(leader)),
                Says::Nobody => refuses(ErrorCode::NoLeader, None),
                Says::Busy => refuses(ErrorCode::Busy, None),
                Says::Lost(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    Ok(Attempt::Failed { why: why("lost", Precision::Mute, true), reply: None })
                }
                Says::Silent => pending().await,
            }
        };
        let late = Ok(Attempt::Failed { why: why("late", Precision::Mute, true), reply: None });
        timeout(manner.left(), answer).await.unwrap_or(late)
    }

    async fn answered(&self, endpoint: String, _response: &Response, _manner: Manner) {
        self.remember(Some(Lead::At(endpoint)));
    }

    fn known(&self) -> Option<Lead> {
        self.count();
        self.known.lock().expect("nobody panics with it").clone()
    }

    fn remember(&self, lead: Option<Lead>) {
        *self.known.lock().expect("nobody panics with it") = lead;
    }

    fn is_at_hand(&self, endpoint: &str) -> bool {
        matches!(self.node(endpoint).dial, Dial::Connects(_))
    }
}

/// Searches in a world whose clock jumps; returns what came of it, and how long it took.
fn search(
    nodes: Vec<Node>,
    known: Option<Lead>,
    deadline: Duration,
) -> (Result<Response, ClientError>, Duration) {
    search_for(&Request::Status, nodes, known, deadline)
}

fn search_for(
    request: &Request,
    nodes: Vec<Node>,
    known: Option<Lead>,
    deadline: Duration,
) -> (Result<Response, ClientError>, Duration) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::new(nodes, deadline);
        world.remember(known);
        let began = Instant::now();
        let ended = on_leader(&world, request, Patience::until(began + deadline)).await;
        (ended, began.elapsed())
    })
}

fn node(dial: Dial, says: Says) -> Node {
    Node { dial, says, forwards: true, told: true }
}

fn any_node() -> impl Strategy<Value = Node> {
    let dial = prop_oneof![
        (0_u64..3_000).prop_map(Dial::Connects),
        (0_u64..3_000).prop_map(Dial::Refuses),
        Just(Dial::Denies),
        Just(Dial::Silent),
        Just(Dial::Breaks),
    ];
    let says = prop_oneof![
        Just(Says::Done),
        (0_usize..5).prop_map(Says::Names),
        Just(Says::Nobody),
        Just(Says::Busy),
        (0_u64..3_000).prop_map(Says::Lost),
        Just(Says::Silent),
    ];
    (dial, says, any::<bool>(), any::<bool>()).prop_map(|(dial, says, forwards, told)| Node {
        dial,
        says,
        forwards,
        told,
    })
}

fn any_lead() -> impl Strategy<Value = Option<(usize, Option<usize>)>> {
    proptest::option::of((0_usize..5, proptest::option::of(0_usize..5)))
}

proptest! {
    /// Whatever the nodes do, the search ends at its deadline and goes round a bounded number of
    /// times.
    #[test]
    fn every_search_ends_in_time_and_in_few_rounds(
        nodes in proptest::collection::vec(any_node(), 1..5),
        lead in any_lead(),
        deadline_ms in prop_oneof![Just(0), Just(1), 2_u64..400, 400_u64..8_000],
    ) {
        let count = nodes.len();
        let known = lead.map(|(at, by)| match by {
            None => Lead::At(name(at % count)),
            Some(by) => {
                let (by, leader) = (name(by % count), name(at % count));
                Lead::Through { by, leader, since: Instant::now() }
            }
        });
        let deadline = Duration::from_millis(deadline_ms);
        let (ended, took) = search(nodes, known, deadline);
        prop_assert!(took <= deadline + Duration::from_millis(2), "{took:?}: {ended:?}");
    }
}

#[test]
fn a_deadline_shorter_than_the_dial_ends_the_search_and_names_every_endpoint() {
    // One that was told, two that were learnt; nothing comes back from any.
    let learnt = Node { told: false, ..node(Dial::Silent, Says::Done) };
    let nodes = vec![node(Dial::Silent, Says::Done), learnt.clone(), learnt];
    for deadline in [0, 1, 300, 3_000].map(Duration::from_millis) {
        let (ended, took) = search(nodes.clone(), None, deadline);
        assert!(took <= deadline + Duration::from_millis(2), "{took:?}");
        let Err(ClientError::Unreachable { causes, common: Common::Nothing }) = ended else {
            panic!("{ended:?}");
        };
        assert!(causes.iter().any(|cause| cause.endpoint == name(0)), "{causes:?}");
        assert!(causes.len() == 3 || deadline <= DIAL_PATIENCE, "{deadline:?}: {causes:?}");
    }
}

#[test]
fn who_was_not_told_is_tried_before_the_deadline_of_who_was() {
    let learnt = Node { told: false, ..node(Dial::Connects(2), Says::Done) };
    let nodes = vec![node(Dial::Silent, Says::Done), learnt];
    let (ended, took) = search(nodes, None, Duration::from_secs(1));
    assert_eq!(ended.ok(), Some(Response::Done));
    assert!(took < DIAL_PATIENCE * 2, "{took:?}");
}

/// A disk hangs: its node takes connections, and answers no question.
#[test]
fn a_question_that_a_node_does_not_answer_is_asked_of_another_one() {
    let hangs = || node(Dial::Connects(1), Says::Silent);
    let serves = || node(Dial::Connects(20), Says::Done);
    let query = Request::Query {
        query: bytes::Bytes::new(),
        consistency: protocol::Consistency::Linearizable,
    };
    let deadline = Duration::from_secs(10);
    for known in [None, Some(Lead::At(name(0)))] {
        let nodes = vec![hangs(), hangs(), serves()];
        let (ended, took) = search_for(&query, nodes, known.clone(), deadline);
        assert_eq!(ended.ok(), Some(Response::Done));
        assert!(took < deadline / 2, "{took:?}");
        // The last one has all the time that is left, and so has the only one.
        let (ended, took) = search_for(&query, vec![hangs(); 3], known.clone(), deadline);
        assert!(ended.is_err() && took >= deadline, "{took:?}");
        let (ended, took) = search_for(&query, vec![hangs()], known, deadline);
        assert!(ended.is_err() && took >= deadline, "{took:?}");
    }
    // What may have an effect waits: whatever becomes of it, it is not done twice.
    let nodes = vec![hangs(), serves()];
    let known = Some(Lead::At(name(0)));
    let propose = Request::Propose { command: bytes::Bytes::new() };
    let (ended, took) = search_for(&propose, nodes, known, deadline);
    assert!(ended.is_err() && took >= deadline, "{took:?}");
}

#[test]
fn a_precise_reason_outlives_a_deadline() {
    let nodes = vec![node(Dial::Refuses(1), Says::Done), node(Dial::Silent, Says::Done)];
    let (ended, _) = search(nodes, None, Duration::from_secs(3));
    let Err(ClientError::Unreachable { causes, .. }) = ended else { panic!("{ended:?}") };
    let whys: Vec<String> = causes.iter().map(ToString::to_string).collect();
    assert_eq!(whys, ["n0:1: connection refused", "n1:1: no answer"]);
}

#[test]
fn a_leader_without_a_way_is_reached_through_who_named_it() {
    for dial in [Dial::Silent, Dial::Refuses(1)] {
        let nodes = vec![node(dial, Says::Done), node(Dial::Connects(2), Says::Names(0))];
        let (ended, took) = search(nodes, None, Duration::from_secs(5));
        assert_eq!(ended.ok(), Some(Response::Done));
        assert!(took < DIAL_PATIENCE * 2, "{took:?}");
    }
}

#[test]
fn a_leader_that_nobody_reaches_is_named() {
    let follower = Node { forwards: false, ..node(Dial::Connects(2), Says::Names(0)) };
    let nodes = vec![node(Dial::Silent, Says::Done), follower];
    let (ended, took) = search(nodes, None, Duration::from_secs(2));
    let Err(ClientError::NoLeader { leader, causes, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!((leader, causes.len()), (Some(name(0)), 2), "{causes:?}");
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_leader_that_takes_nothing_is_told_from_one_that_nobody_found() {
    let nodes = |says| vec![node(Dial::Connects(1), says), node(Dial::Connects(1), Says::Names(0))];
    let (ended, took) = search(nodes(Says::Busy), None, Duration::from_secs(2));
    assert!(matches!(&ended, Err(ClientError::Busy { why, .. }) if why == "no"), "{ended:?}");
    assert!(took <= Duration::from_secs(2), "{took:?}");
    let (ended, _) = search(nodes(Says::Nobody), None, Duration::from_secs(2));
    assert!(matches!(ended, Err(ClientError::NoLeader { .. })), "{ended:?}");
}

#[test]
fn a_remembered_leader_that_answers_no_more_costs_a_moment() {
    let nodes = vec![node(Dial::Silent, Says::Done), node(Dial::Connects(2), Says::Done)];
    let (ended, took) = search(nodes, Some(Lead::At(name(0))), Duration::from_secs(5));
    assert_eq!(ended.ok(), Some(Response::Done));
    assert!(took < DIAL_PATIENCE * 2, "{took:?}");
}

/// The leader that could not be reached has gone, and who passed requests on follows another one.
#[tokio::test(start_paused = true)]
async fn a_way_through_another_node_is_left_after_a_while_for_a_direct_one() {
    let nodes = vec![
        node(Dial::Silent, Says::Done),
        node(Dial::Connects(50), Says::Names(2)),
        node(Dial::Connects(2), Says::Done),
    ];
    let world = World::new(nodes, Duration::from_secs(1));
    let (by, leader, since) = (name(1), name(0), Instant::now());
    world.remember(Some(Lead::Through { by, leader, since }));
    sleep(THROUGH_FOR + Duration::from_millis(1)).await;
    let deadline = Instant::now() + Duration::from_secs(1);
    assert!(on_leader(&world, &Request::Status, Patience::until(deadline)).await.is_ok());
    assert_eq!(world.known(), Some(Lead::At(name(2))), "it is asked itself");
}
