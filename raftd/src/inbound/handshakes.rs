//! Handshakes under way, with people of whom nothing is known yet: whoever comes without end must
//! not keep others out, nor take the loop's time.
//!
//! - Beyond a few at a time or a second, everybody must first show that it receives what is sent to
//!   its address. That keeps nothing here and costs next to nothing.
//! - When there are too many, the oldest gives way: of the address that has most of them, so that
//!   one address pushes out its own. A handshake that is meant is over long before its turn.
//! - Only so many are begun a second; what is too much is dropped without a word, and whoever means
//!   it comes again by itself.
//! - Addresses at which this node has reached other nodes have room and pace of their own.
//!
//! Addresses of IPv6 count by their /64: one machine has as many as it likes below that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Handshakes under way, with strangers, and as many with other nodes.
const HANDSHAKES_MAX: usize = 256;

/// With so many of either under way, addresses must be proven.
const UNPROVEN_MAX: usize = 32;

/// Handshakes begun a second, with strangers, and as many with other nodes.
const PER_S_MAX: f64 = 1_000.0;

/// So many of them may come at once.
const BURST: f64 = 250.0;

/// When so much of the burst is used, addresses must be proven.
const UNPROVEN_BURST: f64 = 64.0;

/// What is to become of somebody who comes.
pub(crate) enum Admission {
    /// The handshake begins.
    Begin(Ticket),
    /// It must prove its address first.
    Prove,
    /// It is not answered, and comes again if it means it.
    Drop,
}

/// All handshakes under way.
#[derive(Clone, Default)]
pub(crate) struct Handshakes {
    rooms: Arc<[Mutex<Room>; 2]>,
}

/// Those with strangers, or those with other nodes.
struct Room {
    last: u64,
    all: BTreeMap<u64, (Origin, Arc<Notify>)>,
    by_origin: BTreeMap<Origin, BTreeSet<u64>>,
    burst: f64,
    filled: Option<Instant>,
}

impl Default for Room {
    fn default() -> Self {
        let (all, by_origin) = (BTreeMap::new(), BTreeMap::new());
        Self { last: 0, all, by_origin, burst: BURST, filled: None }
    }
}

/// Where somebody comes from: an address of IPv4, or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl Origin {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// A handshake's place; dropping it gives it back.
pub(crate) struct Ticket {
    rooms: Arc<[Mutex<Room>; 2]>,
    room: usize,
    number: u64,
    leave: Arc<Notify>,
}

impl Ticket {
    /// Waits until this handshake must give way.
    pub(crate) async fn gives_way(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.rooms[self.room]).forget(self.number);
    }
}

impl Handshakes {
    /// Decides about somebody who comes from an address, which may be proven, and at which another
    /// node may have been reached.
    pub(crate) fn admit(
        &self,
        now: Instant,
        from: SocketAddr,
        (is_proven, is_node): (bool, bool),
    ) -> Admission {
        let index = usize::from(is_node);
        let mut room = lock(&self.rooms[index]);
        room.fill(now);
        let is_crowded = room.all.len() >= UNPROVEN_MAX || room.burst <= BURST - UNPROVEN_BURST;
        if is_crowded && !is_proven {
            return Admission::Prove;
        }
        if room.burst < 1.0 {
            return Admission::Drop;
        }
        room.burst -= 1.0;
        if room.all.len() >= HANDSHAKES_MAX {
            room.push_one_out();
        }
        let (number, leave) = room.enter(Origin::of(from.ip()));
        Admission::Begin(Ticket { rooms: Arc::clone(&self.rooms), room: index, number, leave })
    }
}

impl Room {
    fn fill(&mut self, now: Instant) {
        let since = self
            .filled
            .replace(now)
            .map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        self.burst = (self.burst + since * PER_S_MAX).min(BURST);
    }

    fn enter(&mut self, origin: Origin) -> (u64, Arc<Notify>) {
        self.last += 1;
        let leave = Arc::new(Notify::new());
        self.all.insert(self.last, (origin, Arc::clone(&leave)));
        self.by_origin.entry(origin).or_default().insert(self.last);
        (self.last, leave)
    }

    /// Lets the oldest of the address that has most of them give way.
    fn push_one_out(&mut self) {
        let most = self.by_origin.values().max_by_key(|numbers| numbers.len());
        let Some(number) = most.and_then(|numbers| numbers.first().copied()) else {
            return;
        };
        if let Some((_, leave)) = self.all.get(&number) {
            leave.notify_one();
        }
        self.forget(number);
    }

    fn forget(&mut self, number: u64) {
        let Some((origin, _)) = self.all.remove(&number) else {
            return;
        };
        if let Some(numbers) = self.by_origin.get_mut(&origin) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_origin.remove(&origin);
            }
        }
    }
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PROVEN: (bool, bool) = (true, false);

    fn begin(handshakes: &Handshakes, now: Instant, from: &str) -> Option<Ticket> {
        let from = from.parse().expect("an address");
        match handshakes.admit(now, from, PROVEN) {
            Admission::Begin(ticket) => Some(ticket),
            Admission::Prove | Admission::Drop => None,
        }
    }

    fn has_to_go(ticket: &Ticket) -> bool {
        let mut waits = Box::pin(ticket.gives_way());
        let waker = std::task::Waker::noop();
        waits.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn whoever_fills_the_room_pushes_out_its_own() {
        let (handshakes, mut now) = (Handshakes::default(), Instant::now());
        let meant = begin(&handshakes, now, "192.0.2.1:1").expect("there is room");
        let mut crowd = Vec::new();
        for port in 1..=2 * HANDSHAKES_MAX {
            now += Duration::from_millis(2);
            // One machine has many addresses of IPv6, and one /64 of them.
            let from = format!("[2001:db8::{port:x}]:1");
            crowd.push(begin(&handshakes, now, &from).expect("it is let in"));
        }
        assert!(!has_to_go(&meant));
        let gone: Vec<bool> = crowd.iter().map(has_to_go).collect();
        assert_eq!(gone.iter().filter(|gone| **gone).count(), HANDSHAKES_MAX + 1);
        assert!(gone[0] && !gone[2 * HANDSHAKES_MAX - 1]);
        drop((crowd, meant));
        let room = lock(&handshakes.rooms[0]);
        assert_eq!((room.all.len(), room.by_origin.len()), (0, 0), "nothing is remembered");
    }

    #[test]
    fn a_few_need_no_proof_and_a_crowd_does_however_quickly_it_goes() {
        let now = Instant::now();
        let from = "192.0.2.1:1".parse().expect("an address");
        let let_in = |stays: bool| {
            let (handshakes, mut tickets) = (Handshakes::default(), Vec::new());
            let mut count = 0;
            while let Admission::Begin(ticket) = handshakes.admit(now, from, (false, false)) {
                count += 1;
                tickets.extend(stays.then_some(ticket));
            }
            count
        };
        assert_eq!(let_in(true), UNPROVEN_MAX);
        assert_eq!(let_in(false), UNPROVEN_BURST as usize);
    }

    #[test]
    fn strangers_take_nothing_from_other_nodes() {
        let (handshakes, now) = (Handshakes::default(), Instant::now());
        let mut crowd = Vec::new();
        while let Some(ticket) = begin(&handshakes, now, "192.0.2.1:1") {
            crowd.push(ticket);
        }
        assert_eq!(crowd.len(), BURST as usize);
        let node = "192.0.2.2:1".parse().expect("an address");
        let admitted = handshakes.admit(now, node, (false, true));
        assert!(matches!(admitted, Admission::Begin(_)));
        let later = now + Duration::from_millis(100);
        assert!(begin(&handshakes, later, "192.0.2.1:1").is_some(), "with time comes room");
    }
}
