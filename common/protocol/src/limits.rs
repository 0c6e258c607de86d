//! Every bound of the protocol, with its unit. A frame or an entry beyond one is refused before
//! memory is taken for it.

/// A frame's protobuf header, in bytes.
pub const FRAME_HEADER_BYTES_MAX: usize = 256 * 1024;

/// A frame's body, in bytes.
pub const FRAME_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a client may have in one request, in bytes: a question, or a command in its envelope. The
/// command itself has 32 bytes less, the size of an envelope.
pub const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// A machine's answer to one command or question, in bytes: what is left of a frame's body when
/// everything around it is counted, also the answer of a session. All answers that a connection has
/// not taken yet have 8 MiB together, and what is beyond either is not sent.
pub const ANSWER_BYTES_MAX: usize = FRAME_BODY_BYTES_MAX - 64;

/// Commands in one request: as many as a session may have under way.
pub const BATCH_COMMANDS_MAX: usize = 1_024;

/// Bytes of the machine's answers in one answer to a batch: what is beyond it must be asked for
/// once more.
pub const BATCH_ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Entries in one frame.
pub const ENTRIES_PER_FRAME_MAX: usize = 8_192;

/// Entries in one answer to a `ReadLog`.
pub const LOG_PAGE_ENTRIES_MAX: u32 = 1_000;

/// Bytes of payloads in one answer to a `ReadLog`.
pub const LOG_PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Unanswered requests on one client connection.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4_096;

/// A member's name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A member's address, in bytes: a DNS name, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;

/// A payload up to this size is copied out of the frame that brought it, so that a cached entry
/// does not keep the whole frame alive, in bytes.
pub const PAYLOAD_COPY_BYTES_MAX: usize = 4 * 1024;

/// The head of a snapshot's file, in bytes: a configuration and names.
pub const SNAPSHOT_HEAD_BYTES_MAX: usize = 128 * 1024;

/// A piece of a snapshot in an answer to an operator, in bytes.
pub const SNAPSHOT_PIECE_BYTES_MAX: usize = 1024 * 1024;

/// The largest text of certificates in a request, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// A message of an enrolment, in bytes: three short PEM texts at most.
pub const ENROLMENT_BYTES_MAX: usize = 256 * 1024;

/// Settings in one answer: all keys there are, and many addresses of members.
pub const SETTINGS_MAX: usize = 1_000;

/// A text in an answer about a configuration, in bytes: a long path with every character escaped.
pub const SETTING_BYTES_MAX: usize = 32 * 1024;

/// Snapshots in one answer.
pub const SNAPSHOTS_LISTED_MAX: usize = 1_000;
