//! `raftd enroll`: a new host gets a node's certificate for a key that it makes itself.
//!
//! The host waits where the node will be reached. Whoever dials must prove first that it made the
//! token, over a value that only the two ends of this connection share; then the host does the
//! same, and asks for a certificate. Who proves nothing learns nothing but that a host waits here.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use certs::{NewKey, TOKEN_BYTES_MAX, Token};
use clap::Args;
use protocol::Enrolment;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use transport::{EnrolmentCaller, EnrolmentHost, EnrolmentLine};

use crate::exit::{Exit, Failure};

mod place;

use place::{Place, Present};

/// Callers who have proven nothing yet, at a time; beyond it the oldest gives way.
const CALLERS_MAX: usize = 16;

/// With so many of them, others must show first that their address is theirs: anybody may write any
/// number of addresses.
const CALLERS_UNPROVEN_MAX: usize = 4;

/// How long a caller may take to prove who it is.
const PROOF_WITHIN: Duration = Duration::from_secs(5);

/// How long the operator's side may take to sign, and to take leave.
const SIGNED_WITHIN: Duration = Duration::from_secs(60);
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What `enroll` is told.
#[derive(Clone, Debug, Args)]
pub struct EnrollArgs {
    /// The file with the token, which nobody else may read; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,

    /// Where certificates, key and raftd.toml are put
    #[arg(long, value_name = "DIR", default_value = "/etc/raftd")]
    pub dir: PathBuf,

    /// Where the operator's side is awaited [default: all addresses, at the port of the node]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// How long the operator's side is awaited, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wait_s: u64,

    /// Goes on as the node, in this process, when its files are in place
    #[arg(long)]
    pub run: bool,
}

/// Callers that do not prove who they are are told of so often.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// So many reasons are told; one of strangers may be anything.
const SAID_MAX: usize = 16;

/// Enrols this host; returns the raftd.toml to go on with, if it is to run.
///
/// # Errors
/// If the token is none, files cannot be written, or the operator's side refuses or does not come.
pub(crate) fn enroll(args: &EnrollArgs) -> Result<Option<PathBuf>, Failure> {
    let token = read_token(&args.token_file)?;
    if let Err(error) = certs::forbid_core_dumps() {
        say(&format!("warning: a core dump of this process would hold a key: {error}"));
    }
    let place = Place::new(&args.dir, &token);
    if let Present::Enrolled(until) = place.present()? {
        let dir = args.dir.display();
        say(&format!("{} is enrolled already: {dir}, valid until {until}", token.name));
        return Ok(args.run.then(|| place.configuration()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Io, "the runtime", &error))?;
    let until = runtime.block_on(wait(args, &token, &place))?;
    let (name, node, dir) = (&token.name, token.node, args.dir.display());
    say(&format!(
        "{name} (node {node}): certificate valid until {until}, key and raftd.toml in {dir}"
    ));
    if args.run {
        return Ok(Some(place.configuration()));
    }
    say("start it:  systemctl enable --now raftd    (the operator's side waits for that)");
    Ok(None)
}

/// Waits for the operator's side, and returns when the files are in place, and until when the
/// certificate counts.
async fn wait(args: &EnrollArgs, token: &Token, place: &Place) -> Result<String, Failure> {
    let key = place.key()?;
    let request = key.request().map_err(|error| credentials("a key", &error))?;
    let listen = match args.listen {
        Some(listen) => listen,
        None => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port(&token.address)?)),
    };
    let host = EnrolmentHost::listen(listen).map_err(|error| {
        let failure = Failure::from_error(Exit::Io, &format!("cannot wait at {listen}"), &error);
        failure.hint("does raftd run here already? another place: --listen ADDRESS:PORT")
    })?;
    let at = host.local_addr().unwrap_or(listen);
    let (name, id, address) = (&token.name, token.id, &token.address);
    say(&format!("{name}: waiting at {at} with token {id}; meanwhile, where the authority is:"));
    say(&format!("    raftctl member add {name}={address}"));
    let until = Instant::now() + Duration::from_secs(args.wait_s);
    let mut said = Vec::new();
    let proven = timeout_at(until, proven(&host, token, &request, &mut said)).await;
    let proven = proven.map_err(|_| match said.last() {
        Some((why, _)) => {
            let message = format!("nobody proved to have made the token; the last one: {why}");
            Failure::new(Exit::Io, message)
                .hint("raftctl token list    (where the authority is: has it made another since?)")
        }
        None => {
            let message = format!("the operator's side did not come within {} s", args.wait_s);
            Failure::new(Exit::Io, message).hint(format!(
                "is {address} this host, and UDP open? `raftctl member add {name}={address}` \
                 dials it"
            ))
        }
    })?;
    let mut line = proven?;
    let stored = finish(&mut line, place, &key).await;
    let told = match &stored {
        Ok(_) => Enrolment::Stored,
        Err(failure) => Enrolment::Refused { reason: failure.message.clone() },
    };
    // Whether it hears of that or not: it finds out, and may be asked again.
    let _ = line.say(&told).await;
    let _ = timeout(LEAVE_WITHIN, line.finish()).await;
    let _ = timeout(LEAVE_WITHIN, host.close()).await;
    stored
}

/// Waits until somebody has proven to have made the token, and has been told what this host asks.
async fn proven(
    host: &EnrolmentHost,
    token: &Token,
    request: &[u8],
    said: &mut Vec<(String, Instant)>,
) -> Result<EnrolmentLine, Failure> {
    let mut callers = JoinSet::new();
    let mut under_way = VecDeque::new();
    loop {
        tokio::select! {
            caller = host.accept() => {
                let Some(caller) = caller else {
                    return Err(Failure::new(Exit::Io, "the socket is closed"));
                };
                under_way.retain(|one: &AbortHandle| !one.is_finished());
                if under_way.len() >= CALLERS_UNPROVEN_MAX && !caller.is_proven() {
                    caller.prove();
                    continue;
                }
                if under_way.len() >= CALLERS_MAX && let Some(oldest) = under_way.pop_front() {
                    oldest.abort();
                }
                let (token, request) = (token.clone(), request.to_vec());
                let hears = callers.spawn(async move { hear(caller, &token, request).await });
                under_way.push_back(hears);
            }
            Some(done) = callers.join_next() => match done {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(why)) => {
                    // Who calls again and again from another port says nothing new.
                    let reason = |why: &str| why.split_once(": ").map(|(_, it)| it.to_owned());
                    let same = said.iter().position(|(it, _)| reason(it) == reason(&why));
                    let is_new = match same {
                        Some(place) => said[place].1.elapsed() >= SAID_EVERY,
                        None => said.len() < SAID_MAX,
                    };
                    if is_new {
                        same.map(|place| said.remove(place));
                        say(&why);
                        said.push((why, Instant::now()));
                    }
                }
                // It has given way.
                Err(error) if error.is_cancelled() => {}
                Err(error) => say(&format!("a caller was dropped: {error}")),
            }
        }
    }
}

/// Returns a stranger's text without what would move a terminal's cursor.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Lets a caller prove who it is, and answers with this host's proof and request.
///
/// # Errors
/// What is wrong with the caller, in a line.
async fn hear(
    caller: EnrolmentCaller,
    token: &Token,
    request: Vec<u8>,
) -> Result<EnrolmentLine, String> {
    let from = caller.remote();
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let refused =
        |why: &str| format!("{from} is not the operator's side: {}", without_controls(why));
    let spoken = timeout(PROOF_WITHIN, async {
        let mut line = caller.line().await?;
        let greeting = line.hear().await?;
        let Enrolment::Greeting { token: id, proof, .. } = greeting else {
            return Err("it says something else".to_owned());
        };
        if id != token.id.to_bytes() {
            let reason = format!("the token here is {}", token.id);
            line.say(&Enrolment::Refused { reason }).await?;
            line.finish().await;
            return Err("it has another token".to_owned());
        }
        let binding = line.binding(token.id)?;
        if !token.accepts_operator(&binding, &proof) {
            return Err("it does not prove that it made the token".to_owned());
        }
        let application = Enrolment::Application {
            proof: Bytes::from(token.prove_host(&binding, &request)),
            request: Bytes::from(request),
            clock_s: now_unix_s(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        };
        line.say(&application).await?;
        Ok(line)
    });
    match spoken.await {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(why)) => Err(refused(&why)),
        Err(_) => Err(refused(&format!("it has not proven it within {PROOF_WITHIN:?}"))),
    }
}

/// Takes what the operator's side has signed, and puts it in place.
async fn finish(line: &mut EnrolmentLine, place: &Place, key: &NewKey) -> Result<String, Failure> {
    match timeout(SIGNED_WITHIN, line.hear()).await {
        Ok(Ok(Enrolment::Bundle { authority, certificate, configuration })) => {
            place.store(key, (&authority, &certificate, &configuration))
        }
        Ok(Ok(Enrolment::Refused { reason })) => {
            let message = format!("the operator's side refuses: {}", reason.escape_debug());
            Err(Failure::new(Exit::Config, message))
        }
        Ok(Ok(_)) => Err(Failure::new(Exit::Io, "the operator's side says something else")),
        Ok(Err(why)) => Err(Failure::new(Exit::Io, format!("the operator's side is gone: {why}"))),
        Err(_) => {
            let message = format!("nothing was signed within {SIGNED_WITHIN:?}");
            Err(Failure::new(Exit::Io, message))
        }
    }
}

/// Reads the token. A file that others may read is refused: the token would be theirs, too.
fn read_token(file: &Path) -> Result<Token, Failure> {
    let shown = file.display();
    let failed =
        |error: std::io::Error| Failure::from_error(Exit::Config, &shown.to_string(), &error);
    let mut text = String::new();
    let limit = TOKEN_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(failed)?;
    } else {
        use std::os::unix::fs::MetadataExt as _;
        let opened = std::fs::File::open(file).map_err(failed)?;
        let mode = opened.metadata().map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = format!("{shown} has mode {mode:04o}: others may read the token");
            return Err(Failure::new(Exit::Config, message).hint(format!("chmod 600 {shown}")));
        }
        opened.take(limit).read_to_string(&mut text).map_err(failed)?;
    }
    text.parse().map_err(|error: certs::TokenError| {
        let failure = Failure::new(Exit::Config, format!("{shown}: {error}"));
        failure.hint("`raftctl token create NAME=HOST:PORT` makes one, one line of text")
    })
}

fn port(address: &str) -> Result<u16, Failure> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let bad =
        || Failure::new(Exit::Config, format!("the token is for \"{address}\", no HOST:PORT"));
    port.ok_or_else(bad)
}

fn credentials(what: &str, error: &certs::CertError) -> Failure {
    Failure::from_error(Exit::Config, what, error)
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Tells people; whether anybody reads it does not matter.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    /// They held all places, and whoever had made the token was turned away.
    #[tokio::test]
    async fn strangers_who_say_nothing_do_not_keep_the_operators_side_from_coming_in() {
        let cluster = certs::ClusterId::generate().expect("bits");
        let node = (NonZeroU64::MIN, "n1", "127.0.0.1:7400");
        let token = Token::generate((cluster, "sha256:00"), node, u64::MAX).expect("bits");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let host = EnrolmentHost::listen(listen).expect("a free port");
        let address = host.local_addr().expect("it is bound").to_string();
        let came = async {
            let mut silent = Vec::new();
            for _ in 0..CALLERS_MAX {
                let line = EnrolmentLine::dial(&address, PROOF_WITHIN).await;
                silent.push(line.expect("somebody is there"));
            }
            let dialled = EnrolmentLine::dial(&address, PROOF_WITHIN).await;
            let mut line = dialled.expect("there is a place");
            let binding = line.binding(token.id).expect("a value");
            let proof = token.verifier().prove_operator(token.id, &binding).expect("it is whole");
            let greeting = Enrolment::Greeting {
                token: token.id.to_bytes(),
                proof: proof.into(),
                clock_s: now_unix_s(),
                software: String::new(),
            };
            line.say(&greeting).await.expect("it is heard");
            line.hear().await
        };
        let mut said = Vec::new();
        let (proven, heard) = tokio::join!(proven(&host, &token, b"a request", &mut said), came);
        assert!(proven.is_ok(), "{said:?}");
        assert!(matches!(heard, Ok(Enrolment::Application { .. })), "{heard:?}");
    }
}
