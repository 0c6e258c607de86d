//! Bounds of connections, with their units.

use std::time::Duration;

/// A handshake, with name resolution and the exchange of hellos, takes no longer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection on which nothing arrives for so long is lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Something is sent at least this often.
pub const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// A connection carries no new request after its program stood still for so long. The other end
/// heard of it up to [`KEEP_ALIVE`] earlier, and gives it up by [`IDLE_TIMEOUT`].
pub const STANDSTILL_MAX: Duration = Duration::from_secs(1);

/// The first wait before dialling again; each failure doubles it.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// The longest wait before dialling again.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// An attempt to connect that has not succeeded so long after the peer has shown that it is there
/// is begun anew: longer than a handshake takes, shorter than quinn waits before it repeats itself.
pub const ARRIVED_PATIENCE: Duration = Duration::from_millis(250);

/// How often members tell each other what they keep, if that has changed.
pub const TOLD_EVERY: Duration = Duration::from_millis(500);

/// The longest wait before dialling again where the network says no at once: that costs next to
/// nothing, and a node that was down for a minute is not made to wait.
pub const BACKOFF_REJECTED_MAX: Duration = Duration::from_millis(500);

/// The largest datagram that is looked for on a way: ten of them, which the kernel takes at a time,
/// are less than the 65,507 bytes that it takes at most. The loopback and networks with jumbo
/// frames carry it, where values of some KiB then cost an eighth to a fifth less; others are found
/// out with a few probes.
pub const DATAGRAM_BYTES_MAX: u16 = 6_500;

/// Messages that may wait on a peer's control stream.
pub const CONTROL_MESSAGES_MAX: usize = 1_024;

/// Messages with entries that may wait on a peer's stream.
pub const ENTRY_MESSAGES_MAX: usize = 128;

/// Bytes of a stream that may be under way and unread.
pub const STREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Bytes of a connection that may be under way and unread.
pub const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;

/// Bytes of a client's connection that may be under way and unread, in each direction. It bounds
/// what a client that reads nothing makes a node keep, and still carries 5 MB/s over 50 ms.
pub const CLIENT_WINDOW_BYTES: u32 = 256 * 1024;

/// Streams that a client may have open at a time.
pub const CLIENT_STREAMS_MAX: u32 = 4;

/// Bytes that a frame is counted as beyond its own: what is noted about it, and a short answer.
pub const FRAME_OVERHEAD_BYTES: usize = 1024;

/// Bytes of requests, or of peers' messages, of one connection that are not answered or taken yet;
/// beyond it, the connection is not read.
pub const INTAKE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The same of all connections of one certificate.
pub const IDENTITY_INTAKE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The same of all users, of all operators, or of all nodes that pass requests on.
pub const KIND_INTAKE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Bytes of messages of all peers together that the loop has not taken yet.
pub const PEERS_INTAKE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of answers of one connection that are not written yet; beyond it, answers are refusals.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The same of all connections of one certificate.
pub const IDENTITY_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The same of all users, of all operators, or of all nodes that pass requests on.
pub const KIND_ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A client that takes nothing of its answers for so long is sent away.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Connections that are kept for operators, beyond those that anybody may have.
pub const OPERATORS_SEATS_MAX: usize = 64;

/// How many of these one operator's certificate gets.
pub const OPERATOR_SEATS_MAX: usize = 32;

/// Connections of nodes as peers, and as many that pass requests on.
pub const NODES_SEATS_MAX: usize = 256;

/// How many of these one node's certificate gets.
pub const NODE_SEATS_MAX: usize = 16;

/// Connections that wait until somebody looks at them.
pub const INCOMING_MAX: usize = 1_024;

/// Bytes that one of them, and all of them together, may have sent meanwhile.
pub const INCOMING_BYTES_MAX: u64 = 16 * 1024;
/// As [`INCOMING_BYTES_MAX`] says.
pub const INCOMING_TOTAL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Streams that a peer may have open at a time.
pub const STREAMS_MAX: u32 = 16;

/// The socket's buffers, in bytes: the kernel's default of 208 KiB loses packets.
pub const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Bytes taken from a stream at a time.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of messages written to a stream at a time, beyond the last message.
pub const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a snapshot that may be sent before the receiver has written them: far below a
/// connection's window, so that a slow disk there never holds up heartbeats and entries.
pub const SNAPSHOT_WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// A snapshot's stream on which the other side is silent for so long is given up.
pub const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(30);

/// So many bytes a second are read at least by a receiver that looks what it has of a snapshot.
pub const SNAPSHOT_READ_BYTES_PER_S_MIN: u64 = 32 * 1024 * 1024;

/// Requests that a node passes on to its leader at a time.
pub const FORWARDS_MAX: usize = 1_024;

/// Bytes of requests that a node passes on at a time.
pub const FORWARD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A node awaits the answer to what it has passed on no longer, whatever the client says.
pub const FORWARD_TIMEOUT_MAX: Duration = Duration::from_secs(600);
