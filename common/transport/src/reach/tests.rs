use super::*;
use crate::error::Rejection;
use std::sync::atomic::{AtomicUsize, Ordering};

const WITHIN: Duration = Duration::from_secs(2);

fn place(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 7400).into()
}

/// What a place does, and after which time.
#[derive(Clone, Copy)]
enum Place {
    Answers(u64),
    Refuses(u64),
    Silent,
}

/// Tries places in a world whose clock jumps; returns what came of it, and how long it took.
async fn tried(world: Vec<Place>) -> (Result<u8, ConnectError>, Duration, usize) {
    let trail = Trail::new("n1.example:7400");
    trail.lock().resolved = true;
    let (began, attempts) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let places = (1..).map(place).take(world.len()).collect();
    let attempt = |place: SocketAddr| {
        attempts.fetch_add(1, Ordering::Relaxed);
        let SocketAddr::V4(v4) = place else { panic!("{place}") };
        let number = v4.ip().octets()[3];
        let what = world[usize::from(number) - 1];
        async move {
            match what {
                Place::Answers(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Place::Refuses(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    let address = called("n1.example:7400", place);
                    return Err(ConnectError::Rejected { address, how: Rejection::Closed });
                }
                Place::Silent => std::future::pending().await,
            }
            Ok(number)
        }
    };
    let ended = race(places, began + WITHIN, &trail, attempt).await;
    let took = began.elapsed();
    (ended.map(|(_, number)| number), took, attempts.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_at_once_after_a_refusal() {
    let (reached, took, _) = tried(vec![Place::Refuses(1), Place::Answers(5)]).await;
    assert_eq!(reached, Ok(2));
    assert!(took < Duration::from_millis(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_beside_a_silent_one() {
    let (reached, took, _) = tried(vec![Place::Silent, Place::Answers(5)]).await;
    assert_eq!(reached, Ok(2));
    assert!(took >= NEXT_AFTER && took < NEXT_AFTER * 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_address_still_wins_over_silent_ones() {
    let (reached, took, attempts) =
        tried(vec![Place::Answers(900), Place::Silent, Place::Silent]).await;
    assert_eq!((reached, attempts), (Ok(1), 3));
    assert!(took < WITHIN / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn every_address_is_named_and_the_most_precise_reason_comes_first() {
    let (reached, took, attempts) = tried(vec![Place::Silent, Place::Refuses(3)]).await;
    assert_eq!(attempts, 2);
    assert!(took <= WITHIN + Duration::from_millis(5), "{took:?}");
    let why = reached.unwrap_err().to_string();
    let wanted = "connection refused at n1.example:7400 (192.0.2.2:7400) (UDP); \
                  no answer from n1.example:7400 (192.0.2.1:7400) within 2s";
    assert!(why.starts_with(wanted), "{why}");
}

#[tokio::test(start_paused = true)]
async fn when_all_have_refused_nobody_waits() {
    let (reached, took, _) = tried(vec![Place::Refuses(1); 4]).await;
    assert!(reached.is_err());
    assert!(took < Duration::from_millis(50), "{took:?}");
}

#[test]
fn families_take_turns_and_what_worked_comes_first() {
    let v6 = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 7400));
    let found = vec![v6(1), v6(2), place(1), place(2), place(1)];
    assert_eq!(in_turn(&found, None), [v6(1), place(1), v6(2), place(2)]);
    assert_eq!(in_turn(&found, Some(place(2))), [place(2), v6(1), place(1), v6(2)]);
    assert_eq!(in_turn(&found, Some(place(9))), [v6(1), place(1), v6(2), place(2)], "it moved");
    assert_eq!(in_turn(&(1..=20).map(place).collect::<Vec<_>>(), None).len(), ADDRESSES_MAX);
}

#[tokio::test]
async fn a_name_that_nobody_can_resolve_leads_where_it_led() {
    let (places, name) = (Places::default(), "nobody.invalid:7400");
    let error = places.resolve(name, WITHIN, system).await.unwrap_err();
    assert!(error.to_string().contains("nobody.invalid"), "{error}");
    for doubtful in [false, true] {
        lock(&places.good).insert(name.into(), Good { place: place(7), doubtful });
        assert_eq!(places.resolve(name, WITHIN, system).await, Ok(vec![place(7)]));
    }
}

#[tokio::test]
async fn what_worked_is_remembered_and_doubted_when_it_does_not() {
    let (places, name) = (Places::default(), "127.0.0.1:7400");
    let good = || lock(&places.good).get(name).copied();
    let closed = |place: SocketAddr| async move {
        let (address, how) = (place.to_string(), Rejection::Closed);
        Err::<(), _>(ConnectError::Rejected { address, how })
    };
    let open = |_| async { Ok(()) };
    assert!(places.reach(&Trail::new(name), WITHIN, closed).await.is_err());
    assert_eq!(good(), None);
    assert_eq!(places.reach(&Trail::new(name), WITHIN, open).await, Ok(()));
    let place: SocketAddr = name.parse().expect("an address");
    assert_eq!(good(), Some(Good { place, doubtful: false }));
    assert!(places.reach(&Trail::new(name), WITHIN, closed).await.is_err());
    assert_eq!(good(), Some(Good { place, doubtful: true }));
}

#[test]
fn a_resolver_that_had_no_time_is_not_said_to_fail() {
    let trail = Trail::new("n1.example:7400");
    let began = trail.lock().began;
    let after = |ms| trail.so_far(began + Duration::from_millis(ms)).to_string();
    assert_eq!(after(20), "no answer from n1.example:7400 within 20ms: then the time was up");
    assert!(after(1_500).ends_with("the resolver has not answered within 1.5s"));
}

/// A resolver whose first name server is dead.
async fn slow(_: String) -> Found {
    tokio::time::sleep(Duration::from_secs(5)).await;
    Ok(vec![place(9)])
}

/// Each attempt asked anew and threw the answer away: a node that was restarted dialled nobody.
#[tokio::test(start_paused = true)]
async fn a_name_that_takes_longer_than_an_attempt_is_known_at_a_later_one() {
    let (places, name) = (Places::default(), "n1.example:7400");
    let attempt = || timeout(WITHIN, places.resolve(name, WITHIN / 2, slow));
    assert!(attempt().await.is_err());
    assert!(attempt().await.is_err());
    assert_eq!(attempt().await.expect("it is there"), Ok(vec![place(9)]));
    assert!(attempt().await.is_err(), "who has had the answer asks anew");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_moved_is_found_though_its_name_takes_long() {
    let (places, name) = (Places::default(), "n1.example:7400");
    lock(&places.good).insert(name.into(), Good { place: place(7), doubtful: true });
    let resolve = || places.resolve(name, WITHIN / 2, slow);
    assert_eq!(resolve().await, Ok(vec![place(7)]));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(resolve().await, Ok(vec![place(9)]));
    assert_eq!(resolve().await, Ok(vec![place(7)]), "it is asked about again");
    tokio::time::sleep(FRESH + Duration::from_secs(5)).await;
    assert_eq!(resolve().await, Ok(vec![place(7)]), "an old answer does not count");
}
