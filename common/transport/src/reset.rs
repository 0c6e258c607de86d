//! A node's word for connections that it does not know (any more): the stateless reset (RFC 9000
//! §10.3). With a key that outlives the process, a restarted node ends its peers' old connections
//! with the first packet that they send, where they would wait for their idle timeout.

use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use ring::hmac;

use crate::limits::DATAGRAM_BYTES_MAX;

/// Resets are sent no more often: strangers could ask for them. Quinn's default keeps the last of
/// a node's many peers and clients waiting for longer.
const RESET_INTERVAL: Duration = Duration::from_millis(5);

/// Bytes of a connection's id, as quinn's own have them.
const ID_BYTES: usize = 8;

/// Returns the settings of an endpoint with this key; without one, each process has its own.
pub(crate) fn config(key: Option<&[u8; 32]>) -> EndpointConfig {
    let mut config = match key {
        Some(key) => EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key))),
        None => EndpointConfig::default(),
    };
    config.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("more than QUIC's least, 1,200 bytes");
    if key.is_some() {
        // Quinn's ids are sealed by each process with a secret of its own: those of the process
        // before would be dropped in silence.
        config.cid_generator(|| Box::new(PlainIds)).min_reset_interval(RESET_INTERVAL);
    }
    config
}

/// Connection ids that any process of the node takes for its own.
struct PlainIds;

impl ConnectionIdGenerator for PlainIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).expect("the system has random bytes: the keys were made of them");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
