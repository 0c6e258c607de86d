//! A client of NATS: lines over TLS, and publishing to a stream that answers when it has stored.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::client::TlsStream;

use super::tls::secured;
use crate::certificates::Certificates;

/// The stream, and what its subjects begin with.
const STREAM: &str = "bench";

/// How long the servers may take to answer a question about a stream.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that are written at once, if so many wait.
const WRITE_BYTES_MAX: usize = 64 * 1024;

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Bytes>>>>;

/// A connection to a server.
pub(crate) struct Nats {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Waiting,
    inbox: String,
    next: AtomicU64,
    /// The server's name.
    server: String,
}

/// Finds the server that leads the stream, from a program without a runtime; makes the stream if
/// there is none.
pub(crate) fn leader(files: &Certificates, endpoints: &[String]) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(leader_of(files, endpoints))
}

/// Finds the server that leads the stream; makes the stream if there is none.
pub(super) async fn leader_of(
    files: &Certificates,
    endpoints: &[String],
) -> Result<String, String> {
    let first = endpoints.first().ok_or("no server is named")?;
    let any = Nats::connect(files, first).await?;
    let wanted = json!({
        "name": STREAM, "subjects": [format!("{STREAM}.>")], "num_replicas": 3, "storage": "file",
        "retention": "limits", "discard": "old",
    });
    let make = format!("$JS.API.STREAM.CREATE.{STREAM}");
    any.ask(&make, wanted.to_string().as_bytes()).await?;
    let told = any.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), b"").await?;
    let told: Value = serde_json::from_slice(&told).map_err(|error| error.to_string())?;
    let leader = told["cluster"]["leader"].as_str().ok_or("the stream has no leader")?;
    for endpoint in endpoints {
        if Nats::connect(files, endpoint).await?.server == leader {
            return Ok(endpoint.clone());
        }
    }
    Err(format!("none of the servers is {leader}"))
}

impl Nats {
    pub(super) async fn connect(files: &Certificates, endpoint: &str) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(endpoint).await.map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        let told = first_line(&mut stream).await.map_err(said)?;
        let told: Value = told
            .strip_prefix("INFO ")
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or("it is no NATS server")?;
        let server = told["server_name"].as_str().unwrap_or_default().to_owned();
        let (reader, mut writer) = tokio::io::split(secured(files, stream, None).await?);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| error.to_string())?;
        let inbox = format!("_INBOX.{:016x}", u64::from_le_bytes(random));
        let hello = json!({
            "verbose": false, "pedantic": false, "tls_required": true, "lang": "rust",
            "version": "0", "protocol": 1, "headers": true, "no_responders": true,
        });
        let greeting = format!("CONNECT {hello}\r\nSUB {inbox}.* 1\r\n");
        writer.write_all(greeting.as_bytes()).await.map_err(said)?;
        let (queue, queued) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        tokio::spawn(write(writer, queued));
        tokio::spawn(read(reader, Arc::clone(&waiting), queue.clone()));
        Ok(Self { queue, waiting, inbox, next: AtomicU64::new(0), server })
    }

    /// Publishes to a subject of the stream, and waits until it is stored.
    pub(super) async fn publish(&self, subject: &[u8], value: &[u8]) -> Result<(), String> {
        let subject = std::str::from_utf8(subject).map_err(|error| error.to_string())?;
        let answer = self.request(subject, value).await?;
        if answer.windows(5).any(|part| part == b"\"seq\"") {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Asks the servers themselves. As long as they have no leader nobody answers, and nobody says
    /// so.
    async fn ask(&self, subject: &str, body: &[u8]) -> Result<Bytes, String> {
        let asked = tokio::time::timeout(ASK_TIMEOUT, self.request(subject, body)).await;
        asked.map_err(|_| format!("no answer to {subject}"))?
    }

    async fn request(&self, subject: &str, body: &[u8]) -> Result<Bytes, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(number, answer);
        let mut message =
            format!("PUB {subject} {}.{number} {}\r\n", self.inbox, body.len()).into_bytes();
        message.extend_from_slice(body);
        message.extend_from_slice(b"\r\n");
        let lost = || "the connection is lost".to_owned();
        self.queue.send(message).map_err(|_| lost())?;
        answered.await.map_err(|_| lost())
    }
}

/// Reads the line that comes before all security, and nothing behind it.
async fn first_line(stream: &mut TcpStream) -> std::io::Result<String> {
    const LINE_BYTES_MAX: usize = 64 * 1024;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < LINE_BYTES_MAX {
        line.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

async fn write(
    mut writer: WriteHalf<TlsStream<TcpStream>>,
    mut queued: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    while let Some(mut batch) = queued.recv().await {
        while batch.len() < WRITE_BYTES_MAX
            && let Ok(message) = queued.try_recv()
        {
            batch.extend_from_slice(&message);
        }
        // The reader sees the end as well, and tells who waits.
        if writer.write_all(&batch).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// Reads what comes, until the connection ends: then all that wait are dropped.
async fn read(
    reader: ReadHalf<TlsStream<TcpStream>>,
    waiting: Waiting,
    queue: mpsc::UnboundedSender<Vec<u8>>,
) {
    let mut reader = BufReader::with_capacity(WRITE_BYTES_MAX, reader);
    let mut line = String::new();
    loop {
        line.clear();
        if !matches!(reader.read_line(&mut line).await, Ok(1..)) {
            break;
        }
        match arrived(&line) {
            Arrived::Ping => _ = queue.send(b"PONG\r\n".to_vec()),
            Arrived::Message { number, head, bytes } => {
                let mut body = vec![0; bytes + 2];
                if reader.read_exact(&mut body).await.is_err() {
                    break;
                }
                body.truncate(bytes);
                if let Some(answer) = lock(&waiting).remove(&number) {
                    // Who asked may have gone.
                    let _ = answer.send(Bytes::from(body).slice(head..));
                }
            }
            Arrived::Other => {}
        }
    }
    lock(&waiting).clear();
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
enum Arrived {
    Ping,
    /// An answer to a request, the bytes of its headers, and its bytes with them.
    Message {
        number: u64,
        head: usize,
        bytes: usize,
    },
    Other,
}

fn arrived(line: &str) -> Arrived {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |subject: &str| subject.rsplit('.').next()?.parse().ok();
    let (subject, head, bytes) = match &words[..] {
        ["PING"] => return Arrived::Ping,
        ["MSG", subject, _, bytes] | ["MSG", subject, _, _, bytes] => (subject, "0", bytes),
        ["HMSG", subject, _, head, bytes] | ["HMSG", subject, _, _, head, bytes] => {
            (subject, *head, bytes)
        }
        _ => return Arrived::Other,
    };
    match (number(subject), head.parse(), bytes.parse()) {
        (Some(number), Ok(head), Ok(bytes)) if head <= bytes => {
            Arrived::Message { number, head, bytes }
        }
        _ => Arrived::Other,
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Bytes>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_all_else() {
        assert_eq!(arrived("PING\r\n"), Arrived::Ping);
        assert_eq!(arrived("+OK\r\n"), Arrived::Other);
        assert_eq!(
            arrived("MSG _INBOX.ab.7 1 28\r\n"),
            Arrived::Message { number: 7, head: 0, bytes: 28 }
        );
        assert_eq!(
            arrived("HMSG _INBOX.ab.8 1 16 16\r\n"),
            Arrived::Message { number: 8, head: 16, bytes: 16 }
        );
        assert_eq!(arrived("MSG other 1 x\r\n"), Arrived::Other);
    }
}
