//! A client of etcd: its calls of gRPC, written by hand over HTTP/2.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;

use super::tls::secured;
use crate::certificates::Certificates;

/// What may be under way unread, in bytes.
const WINDOW_BYTES: u32 = 8 << 20;

/// The frame of gRPC around a message: a flag and a length.
const PREFIX_BYTES: usize = 5;

/// A connection to a node.
#[derive(Clone)]
pub(crate) struct Etcd {
    requests: SendRequest<Bytes>,
}

/// Finds the node that leads, from a program without a runtime.
pub(crate) fn leader(files: &Certificates, endpoints: &[String]) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(leader_of(files, endpoints))
}

/// Finds the node that leads, as all of them say.
pub(super) async fn leader_of(
    files: &Certificates,
    endpoints: &[String],
) -> Result<String, String> {
    let mut found = None;
    for endpoint in endpoints {
        let (member, leader) = Etcd::connect(files, endpoint).await?.status().await?;
        if leader == 0 {
            return Err(format!("{endpoint} knows no leader"));
        }
        if member == leader {
            found = Some(endpoint.clone());
        }
    }
    found.ok_or_else(|| "no node leads".to_owned())
}

impl Etcd {
    pub(super) async fn connect(files: &Certificates, endpoint: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(endpoint).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream = secured(files, stream, Some(b"h2")).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (requests, connection) =
            builder.handshake(stream).await.map_err(|error| error.to_string())?;
        // Its end is seen by the requests.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests })
    }

    pub(super) async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let message = fields(&[(1, key), (2, value)]);
        self.call("/etcdserverpb.KV/Put", &message).await.map(drop)
    }

    /// Reads a key: linearizable, for nothing else is asked for.
    pub(super) async fn get(&self, key: &[u8]) -> Result<(), String> {
        let answer = self.call("/etcdserverpb.KV/Range", &fields(&[(1, key)])).await?;
        // Field 2 is what was found.
        parts(&answer).any(|(field, _)| field == 2).then_some(()).ok_or("no such key".into())
    }

    /// Returns which member it is, and which one leads; 0 is none.
    async fn status(&self) -> Result<(u64, u64), String> {
        let answer = self.call("/etcdserverpb.Maintenance/Status", &[]).await?;
        let of = |message: &[u8], wanted: u64| {
            let found = parts(message).find(|(field, _)| *field == wanted);
            found.map_or(0, |(_, part)| if let Part::Number(number) = part { number } else { 0 })
        };
        let header = parts(&answer).find_map(|(field, part)| match part {
            Part::Bytes(bytes) if field == 1 => Some(bytes.to_vec()),
            Part::Bytes(_) | Part::Number(_) => None,
        });
        Ok((of(&header.unwrap_or_default(), 2), of(&answer, 4)))
    }

    async fn call(&self, path: &str, message: &[u8]) -> Result<Bytes, String> {
        let said = |error: h2::Error| error.to_string();
        let request = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let mut ready = self.requests.clone().ready().await.map_err(said)?;
        let (answer, mut sending) = ready.send_request(request, false).map_err(said)?;
        let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).map_err(|error| error.to_string())?);
        frame.put_slice(message);
        sending.send_data(frame.freeze(), true).map_err(said)?;
        let (head, mut body) = answer.await.map_err(said)?.into_parts();
        let mut found = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(said)?;
            body.flow_control().release_capacity(chunk.len()).map_err(said)?;
            found.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.map_err(said)?.unwrap_or(head.headers);
        if trailers.get("grpc-status").is_none_or(|status| status != "0") {
            return Err(format!("{path}: {trailers:?}"));
        }
        let message = found.freeze();
        Ok(message.slice(PREFIX_BYTES.min(message.len())..))
    }
}

/// Encodes fields of bytes as protobuf does.
fn fields(all: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (field, bytes) in all {
        message.push(field << 3 | 2);
        let mut size = bytes.len();
        while size >= 0x80 {
            message.push((size & 0x7f) as u8 | 0x80);
            size >>= 7;
        }
        message.push(size as u8);
        message.extend_from_slice(bytes);
    }
    message
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message, up to one that is none.
fn parts(mut message: &[u8]) -> impl Iterator<Item = (u64, Part<'_>)> {
    std::iter::from_fn(move || {
        let tag = varint(&mut message)?;
        let part = match tag & 7 {
            0 => Part::Number(varint(&mut message)?),
            2 => {
                let size = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(size)?;
                message = rest;
                Part::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, part))
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_written() {
        let long = vec![7; 300];
        let message = fields(&[(1, b"ab"), (2, &long), (3, b"")]);
        assert_eq!(message[..7], [0x0a, 2, b'a', b'b', 0x12, 0xac, 2]);
        let found: Vec<_> = parts(&message).collect();
        let expected = [(1, Part::Bytes(b"ab")), (2, Part::Bytes(&long)), (3, Part::Bytes(b""))];
        assert_eq!(found, expected);
        assert_eq!(parts(&[0x20, 0xac, 2]).next(), Some((4, Part::Number(300))));
        assert_eq!(parts(&[0x0a, 9, 1]).next(), None, "it is cut off");
    }
}
