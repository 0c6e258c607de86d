//! Keys, values and answers of the built-in machine: read, checked and shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;
use serde_json::{Value, json};
use state_machine::text::unquoted;
use state_machine::{KEY_BYTES_MAX, KvResponse, VALUE_BYTES_MAX};

use crate::codes;
use crate::output::units;
use crate::report::{Report, Result};

/// Reads the machine's answer.
///
/// # Errors
/// If it makes no sense.
pub(crate) fn decode(response: &Bytes) -> Result<KvResponse> {
    KvResponse::decode(response)
        .map_err(|error| Report::new(codes::UNEXPECTED, format!("the machine's answer: {error}")))
}

/// Makes a report of an answer that does not belong to what was asked.
pub(crate) fn unexpected(response: KvResponse) -> Report {
    match response {
        KvResponse::Refused { reason } => Report::new(codes::REFUSED, reason),
        KvResponse::Done { .. }
        | KvResponse::NotFound
        | KvResponse::Differs { .. }
        | KvResponse::Value { .. }
        | KvResponse::Page { .. } => {
            Report::new(codes::UNEXPECTED, "the machine answered something else than was asked")
        }
    }
}

/// Says what is wrong with a key or a value, before anything is sent.
///
/// # Errors
/// If one of them is over its limit, or the key is empty.
pub(crate) fn check(key: &[u8], value: &[u8]) -> std::result::Result<(), String> {
    match (key.len(), value.len()) {
        (0, _) => Err("the key is empty".to_owned()),
        (size, _) if size > KEY_BYTES_MAX => {
            Err(format!("the key has {size} bytes, at most {KEY_BYTES_MAX} are allowed"))
        }
        (_, size) if size > VALUE_BYTES_MAX => {
            Err(format!("the value has {size} bytes, at most {VALUE_BYTES_MAX} are allowed"))
        }
        _ => Ok(()),
    }
}

/// Reads a key as it was typed, or as it was printed: what stands in `$'..'` is read as shells do.
pub(crate) fn key_of(text: &OsStr) -> Result<Bytes> {
    let key = prefix_of(text)?;
    check(&key, &[]).map_err(|why| Report::new(codes::TOO_LARGE, why))?;
    Ok(key)
}

/// Reads what keys begin with: it may be empty.
pub(crate) fn prefix_of(text: &OsStr) -> Result<Bytes> {
    let bytes = text.as_bytes();
    let key = unquoted(bytes).map_err(|why| {
        let message = format!("not a key: {}: {why}", units::printable(bytes));
        let typed = units::typed(bytes);
        Report::new(codes::BAD_KEY, message)
            .help(format!("{typed}    (so the key is typed that is just this)"))
    })?;
    Ok(Bytes::from(key.into_owned()))
}

/// Writes bytes as JSON can hold them: text as it is, other bytes in hexadecimal.
pub(crate) fn text_of(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Says how [`text_of`] wrote them.
pub(crate) fn encoding(bytes: &Bytes) -> &'static str {
    if std::str::from_utf8(bytes).is_ok() { "utf-8" } else { "hex" }
}

pub(crate) fn pair(key: &Bytes, value: &Bytes, revision: u64) -> Value {
    json!({
        "key": text_of(key), "keyEncoding": encoding(key),
        "value": text_of(value), "valueEncoding": encoding(value),
        "revision": revision.to_string(),
    })
}
