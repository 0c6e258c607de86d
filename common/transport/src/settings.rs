//! How connections are set: windows, silences, and when a packet counts as lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, MtuDiscoveryConfig, TransportConfig, VarInt};
use tokio::time::sleep;

use crate::limits::{
    CONNECTION_WINDOW_BYTES, DATAGRAM_BYTES_MAX, IDLE_TIMEOUT, KEEP_ALIVE, STREAM_WINDOW_BYTES,
    STREAMS_MAX,
};

/// A packet counts as lost when so many that were sent behind it have arrived.
///
/// RFC 9002 §6.1.1 begins with three. Where a way is a bundle of several, packets overtake each
/// other by more than that: nearly all then count as lost, everything is sent twice, and congestion
/// control keeps the connection at a packet or two in flight. Beyond it, time tells what is lost.
const OVERTAKEN_PACKETS_MAX: u32 = 16;

/// A packet counts as lost when one that was sent behind it has arrived, and it was sent so many
/// round trips ago (RFC 9002 §6.1.2 begins with 9/8, which a way with jitter exceeds all the time).
const OVERTAKEN_ROUND_TRIPS_MAX: f32 = 1.5;

/// QUIC holds so many times what its congestion window lets it have under way, so that the window
/// can grow by itself.
const CARRIED_MULTIPLE: u64 = 2;

/// QUIC holds no less than this, so that a fast way is full from the first moment on.
const SEND_WINDOW_BYTES_MIN: u64 = 64 * 1024;

/// How often the congestion window is looked at.
const FOLLOW: Duration = Duration::from_millis(50);

/// The settings of connections on which so many bytes may be under way, in each direction.
pub(crate) fn transport(window_bytes: u32) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    let idle = IDLE_TIMEOUT.try_into().expect("two seconds fit");
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(window_bytes))
        .send_window(u64::from(window_bytes))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(discovery))
        .packet_threshold(OVERTAKEN_PACKETS_MAX)
        .time_threshold(OVERTAKEN_ROUND_TRIPS_MAX)
        // Lost handshake packets are sent again soon: the default assumes a third of a second.
        .initial_rtt(Duration::from_millis(30));
    Arc::new(config)
}

/// Keeps what QUIC holds of a connection near to what its way carries, as long as it lives; the
/// rest waits where it is known that it has not left yet.
pub(crate) async fn follow(connection: &Connection) -> Infallible {
    let mut held = Held::default();
    loop {
        held.suit(connection);
        sleep(FOLLOW).await;
    }
}

/// How much QUIC was told to hold of a connection.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<u64>);

impl Held {
    /// Lets QUIC hold what the way carries now.
    pub(crate) fn suit(&mut self, connection: &Connection) {
        let carried = connection.stats().path.cwnd.saturating_mul(CARRIED_MULTIPLE);
        let most = u64::from(CONNECTION_WINDOW_BYTES);
        let window = carried.clamp(SEND_WINDOW_BYTES_MIN, most);
        // To set it wakes the connection.
        if self.0.replace(window) != Some(window) {
            connection.set_send_window(window);
        }
    }
}

#[cfg(test)]
mod tests;
