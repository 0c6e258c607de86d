//! The HTTP port for monitoring: `/metrics`, `/livez` and `/readyz`, on this machine's loopback
//! interface only, on a thread of its own.
//!
//! It has no TLS and no passwords, so that it is not offered to a network: a proxy or an agent on
//! this machine passes it on. Everything is bounded: connections (the oldest gives way), what is
//! read of a request, and how long all of it may take. Each connection serves one request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::Trouble;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::config::Http;
use crate::exit::{Exit, Failure};
use crate::observe::board::Board;
use crate::observe::exposition::{Exposition, Format};
use crate::observe::probe;
use crate::troubles::Troubles;

/// The most bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, until the answer is read.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an address that cannot be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);

const HELP: &str = "raftd\n\
    /metrics  for Prometheus; raftd(8) describes each metric\n\
    /livez    200 while the consensus loop turns, else 503: restart it\n\
    /readyz   200 while this node serves, else 503 and why not\n";

/// The port; dropping it closes it.
pub(crate) struct Port {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Port {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked serves nobody any more; the node goes on.
            let _ = thread.join();
        }
    }
}

/// Opens the port if there is to be one, as soon as its address can be had. A node without it goes
/// on: who watches it sees that nobody answers.
///
/// # Errors
/// If the system starts no thread.
pub(crate) fn open(
    config: &Http,
    board: &Board,
    troubles: &Troubles,
) -> Result<Option<Port>, Failure> {
    let no_thread = |error: io::Error| Failure::from_error(Exit::Io, "a thread", &error);
    let Http { listen: Some(listen), connections_max } = *config else {
        return Ok(None);
    };
    board.will_be_read();
    let (board, troubles) = (board.clone(), troubles.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(no_thread)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let run = move || {
        let serving = async move {
            tokio::select! {
                () = serve(listen, connections_max as usize, (board, troubles)) => {}
                _ = stopped => {}
            }
        };
        LocalSet::new().block_on(&runtime, serving);
    };
    let thread = std::thread::Builder::new().name("http".to_owned()).spawn(run);
    let thread = thread.map_err(no_thread)?;
    Ok(Some(Port { stop: Some(stop), thread: Some(thread) }))
}

async fn serve(listen: SocketAddr, connections_max: usize, (board, troubles): (Board, Troubles)) {
    let listener = patiently(listen, &troubles).await;
    let exposition = Exposition::new(&board);
    let page = Rc::new(Pages { exposition, board });
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // There are no more file descriptors, for instance: that passes.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        open.retain(|task| !task.is_finished());
        if open.len() >= connections_max
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let page = Rc::clone(&page);
        let task = spawn_local(async move {
            // Whoever is late, or sends what is no HTTP, is not answered.
            let _ = timeout(CONNECTION_TIMEOUT, connection(stream, &page)).await;
        });
        open.push_back(task.abort_handle());
    }
}

/// Waits until the address can be had.
async fn patiently(listen: SocketAddr, troubles: &Troubles) -> TcpListener {
    let mut waits = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                let address = listener.local_addr().unwrap_or(listen);
                troubles.end(Trouble::Metrics);
                tracing::info!(name: "metrics-open", "metrics are at http://{address}/metrics");
                return listener;
            }
            Err(error) => {
                let why = format!("cannot listen on TCP {listen} (http.listen): {error}");
                troubles.note(Trouble::Metrics, &why);
                if !std::mem::replace(&mut waits, true) {
                    tracing::warn!(
                        name: "metrics-refused",
                        "no metrics: {why}; it is tried again, and the node goes on"
                    );
                }
            }
        }
        sleep(AGAIN).await;
    }
}

async fn connection(stream: TcpStream, pages: &Rc<Pages>) -> Result<(), hyper::Error> {
    let answer = service_fn(|request: Request<Incoming>| {
        let pages = Rc::clone(pages);
        async move { Ok::<_, Infallible>(pages.answer(&request)) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

/// What is answered.
struct Pages {
    exposition: Exposition,
    board: Board,
}

impl Pages {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            refused
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let (posted, now) = (self.board.read(), Instant::now());
        match request.uri().path() {
            "/" => text(StatusCode::OK, HELP.to_owned()),
            "/livez" => match probe::hangs(&posted, now) {
                None => text(StatusCode::OK, "it lives\n".to_owned()),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/readyz" => match &probe::reasons(&posted, now)[..] {
                [] => text(StatusCode::OK, format!("it serves: {}\n", posted.line)),
                why => text(StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n"),
            },
            "/metrics" => {
                let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
                let format = Format::accepted(accept.unwrap_or_default());
                let is_ready = probe::reasons(&posted, now).is_empty();
                let page = self.exposition.page(format, &posted, now, is_ready);
                reply(StatusCode::OK, format.content_type(), page)
            }
            _ => text(StatusCode::NOT_FOUND, HELP.to_owned()),
        }
    }
}

fn text(status: StatusCode, page: String) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", page)
}

fn reply(status: StatusCode, kind: &'static str, page: String) -> Response<Full<Bytes>> {
    let reply = Response::builder().status(status).header(CONTENT_TYPE, kind);
    let reply = reply.header(CACHE_CONTROL, "no-store").body(Full::new(Bytes::from(page)));
    reply.expect("these headers are valid")
}
