//! A way to a node that can be cut for some and stays open for others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Passes datagrams on; dropping it ends it.
pub struct Relay {
    /// Where it listens.
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: Mutex<BTreeSet<SocketAddr>>,
    /// All are cut but these, if there are any.
    admitted: Mutex<Option<BTreeSet<SocketAddr>>>,
    ended: AtomicBool,
}

impl Relay {
    /// Leads to a node.
    pub fn to(node: &str) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        front.set_read_timeout(Some(LOOK)).unwrap();
        let address = front.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (node, passing) = (node.parse().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || pass_on(&front, node, &passing));
        Self { address, shared }
    }

    /// Drops what comes from these addresses, and what goes there.
    pub fn cut(&self, addresses: &[String]) {
        let cut = addresses.iter().map(|address| address.parse().unwrap());
        *self.shared.cut.lock().unwrap() = cut.collect();
    }

    /// Drops all that does not come from these addresses, or go there.
    pub fn admit_only(&self, addresses: &[String]) {
        let admitted = addresses.iter().map(|address| address.parse().unwrap());
        *self.shared.admitted.lock().unwrap() = Some(admitted.collect());
    }

    /// Passes on everything again.
    pub fn mend(&self) {
        self.shared.cut.lock().unwrap().clear();
        *self.shared.admitted.lock().unwrap() = None;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn is_cut(&self, address: SocketAddr) -> bool {
        let admitted = self.admitted.lock().unwrap();
        let refused = admitted.as_ref().is_some_and(|some| !some.contains(&address));
        refused || self.cut.lock().unwrap().contains(&address)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Passes on what comes in, from a socket of its own for each sender.
fn pass_on(front: &Arc<UdpSocket>, node: SocketAddr, shared: &Arc<Shared>) {
    let mut ways: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut datagram = vec![0; 65_536];
    while !shared.has_ended() {
        let Ok((size, sender)) = front.recv_from(&mut datagram) else {
            continue;
        };
        let way = ways.entry(sender).or_insert_with(|| {
            let way = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
            way.connect(node).unwrap();
            way.set_read_timeout(Some(LOOK)).unwrap();
            let (front, back, shared) = (Arc::clone(front), Arc::clone(&way), Arc::clone(shared));
            std::thread::spawn(move || pass_back(&front, sender, &back, &shared));
            way
        });
        if !shared.is_cut(sender) {
            // Nobody may listen there: datagrams get lost.
            let _ = way.send(&datagram[..size]);
        }
    }
}

/// Passes on what the node answers.
fn pass_back(front: &UdpSocket, to: SocketAddr, back: &UdpSocket, shared: &Shared) {
    let mut datagram = vec![0; 65_536];
    while !shared.has_ended() {
        match back.recv(&mut datagram) {
            Ok(size) if !shared.is_cut(to) => {
                let _ = front.send_to(&datagram[..size], to);
            }
            Ok(_) | Err(_) => {}
        }
    }
}
