//! What a host that enrols and the operator's side say to each other, as bytes.

use bytes::Bytes;
use protocol::limits::ENROLMENT_BYTES_MAX;
use protocol::{Enrolment, ProtocolError};

fn messages() -> [(Enrolment, &'static str); 5] {
    [
        (
            Enrolment::Greeting {
                token: [7; 8],
                proof: Bytes::from_static(b"p"),
                clock_s: 5,
                software: "v".into(),
            },
            "140000000a120a0807070707070707071201701805220176",
        ),
        (
            Enrolment::Application {
                request: Bytes::from_static(b"r"),
                proof: Bytes::from_static(b"p"),
                clock_s: 5,
                software: "v".into(),
            },
            "0d000000120b0a01721201701805220176",
        ),
        (
            Enrolment::Bundle {
                authority: "a".into(),
                certificate: "b".into(),
                configuration: "c".into(),
            },
            "0b0000001a090a01611201621a0163",
        ),
        (Enrolment::Stored, "020000002001"),
        (Enrolment::Refused { reason: "no".into() }, "040000002a026e6f"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_message_has_its_bytes_and_comes_back() {
    for (message, expected) in messages() {
        let bytes = message.encode().unwrap();
        assert!(hex(&bytes).starts_with(expected), "{message:?}: {}", hex(&bytes));
        let (length, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(Enrolment::announced(*length).unwrap(), body.len());
        assert_eq!(Enrolment::decode(body).unwrap(), message);
    }
}

#[test]
fn what_is_too_long_or_makes_no_sense_is_refused_before_memory_is_taken() {
    let limit = u32::try_from(ENROLMENT_BYTES_MAX).unwrap();
    assert!(Enrolment::announced(limit.to_le_bytes()).is_ok());
    let over = Enrolment::announced((limit + 1).to_le_bytes());
    assert!(matches!(over, Err(ProtocolError::TooLarge { .. })), "{over:?}");
    let reason = "x".repeat(ENROLMENT_BYTES_MAX);
    assert!(matches!(Enrolment::Refused { reason }.encode(), Err(ProtocolError::TooLarge { .. })));
    assert!(Enrolment::decode(b"").is_err(), "nothing is said");
    let short = [0x0a, 0x03, 0x0a, 0x01, 0x07];
    assert!(matches!(Enrolment::decode(&short), Err(ProtocolError::Invalid { .. })));
    for (message, _) in messages() {
        let bytes = message.encode().unwrap();
        for at in 4..bytes.len() {
            for value in 0..=u8::MAX {
                let mut other = bytes[4..].to_vec();
                other[at - 4] = value;
                let _ = Enrolment::decode(&other);
                let _ = Enrolment::decode(&other[..at - 4]);
            }
        }
    }
}
