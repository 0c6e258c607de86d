//! What is answered to a command in a session and to a command of the system. (A machine's command
//! without a session is answered with the machine's own bytes.)

use bytes::Bytes;

use crate::codec::{CodecError, Writer, begin};

/// An answer of the system's part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemResponse {
    /// The machine has applied the command of a session, now or at an earlier attempt.
    Answer {
        /// Where the attempt that was applied stands in the log.
        index: u64,
        /// The machine's answer to it.
        response: Bytes,
    },
    /// The machine has applied the command at an earlier attempt; its answer was over
    /// [`crate::ANSWER_KEPT_BYTES_MAX`] and is not kept.
    AnswerNotKept {
        /// Where the attempt that was applied stands in the log.
        index: u64,
    },
    /// There is no such session (any more): this attempt has no effect, and no later one will
    /// (museum J3). What became of earlier attempts is not known here.
    SessionExpired {
        /// The session's id.
        session: u64,
    },
    /// The client itself has said that it has the answer to this command. This attempt has no
    /// effect.
    Forgotten {
        /// All below has been answered.
        low_water: u64,
    },
    /// The number is too far above the low-water mark: no effect so far. It is possible once the
    /// mark has moved.
    BeyondWindow {
        /// All below has been answered.
        low_water: u64,
    },
    /// The session is open.
    Registered {
        /// Its id.
        session: u64,
    },
    /// There is no such session: it was closed already, or never was.
    Closed,
    /// This entry has closed the session: what was not applied before it never will be (§6.3).
    Ended {
        /// All below has been answered, as the client said.
        low_water: u64,
        /// The highest number that was applied; 0 is none.
        highest: u64,
        /// The numbers between the two that were not applied, ascending; under
        /// [`crate::SESSION_WINDOW`] of them.
        missing: Vec<u64>,
    },
    /// This node id is reserved.
    Reserved {
        /// The id.
        id: u64,
    },
    /// It is as the command says, now or before.
    Noted,
    /// The command makes no sense or is over a limit: no effect.
    Refused {
        /// Why.
        reason: String,
    },
}

impl SystemResponse {
    /// Encodes the answer.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Answer { index, response } => Writer::new(1).u64(*index).bytes(response).done(),
            Self::AnswerNotKept { index } => Writer::new(2).u64(*index).done(),
            Self::SessionExpired { session } => Writer::new(3).u64(*session).done(),
            Self::Forgotten { low_water } => Writer::new(4).u64(*low_water).done(),
            Self::BeyondWindow { low_water } => Writer::new(5).u64(*low_water).done(),
            Self::Registered { session } => Writer::new(6).u64(*session).done(),
            Self::Closed => Writer::new(7).done(),
            Self::Reserved { id } => Writer::new(8).u64(*id).done(),
            Self::Ended { low_water, highest, missing } => {
                let count = u32::try_from(missing.len()).expect("a window of numbers");
                let writer = Writer::new(10).u64(*low_water).u64(*highest).u32(count);
                missing.iter().fold(writer, |writer, sequence| writer.u64(*sequence)).done()
            }
            Self::Noted => Writer::new(11).done(),
            Self::Refused { reason } => Writer::new(9).bytes(reason.as_bytes()).done(),
        }
    }

    /// Decodes an answer.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (kind, mut reader) = begin(bytes)?;
        let response = match kind {
            1 => Self::Answer { index: reader.u64()?, response: reader.bytes()? },
            2 => Self::AnswerNotKept { index: reader.u64()? },
            3 => Self::SessionExpired { session: reader.u64()? },
            4 => Self::Forgotten { low_water: reader.u64()? },
            5 => Self::BeyondWindow { low_water: reader.u64()? },
            6 => Self::Registered { session: reader.u64()? },
            7 => Self::Closed,
            8 => Self::Reserved { id: reader.u64()? },
            9 => Self::Refused { reason: reader.text()? },
            10 => {
                let (low_water, highest) = (reader.u64()?, reader.u64()?);
                let numbers = (0..reader.u32()?).map(|_| reader.u64());
                Self::Ended { low_water, highest, missing: numbers.collect::<Result<_, _>>()? }
            }
            11 => Self::Noted,
            kind => return Err(CodecError::Kind(kind)),
        };
        reader.end()?;
        Ok(response)
    }
}
