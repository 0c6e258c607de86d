//! The operator's side of an enrolment: dials a host that waits with a token, proves to have made
//! the token, has the host prove to have it, and signs. The authority's key stays here, the node's
//! key there.

use std::time::Duration;

use bytes::Bytes;
use certs::{CheckedRequest, TokenId};
use client::{Client, EnrolmentLine};
use protocol::Enrolment;
use tokio::time::timeout;

use crate::bundle::{Bundles, KeptToken, NodeSettings, now_unix_s};
use crate::codes::{self, Code};
use crate::invocation::Invocation;
use crate::output::units;
use crate::report::{Report, Result};

/// How long a host may take to be reached: it is tried again and again.
const DIAL_WITHIN: Duration = Duration::from_secs(1);

/// How long a host may take for each answer, and for writing its files.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const STORED_WITHIN: Duration = Duration::from_secs(30);

/// How far the clocks of both sides may be apart: certificates count from five minutes before they
/// are signed.
const CLOCKS_APART_MAX_S: u64 = 300;

/// What became of an attempt.
pub(super) enum Attempt {
    /// The host has its certificate, in place.
    Enrolled,
    /// Nobody waits for this side.
    Nobody,
    /// Somebody does, but it led to nothing.
    NotYet(Code, String),
}

/// Tries once to enrol the host at the token's address.
///
/// # Errors
/// If the token counts no longer, the clocks are apart, or it broke off when it was signed.
pub(super) async fn attempt(
    invocation: &Invocation,
    (bundles, client): (&Bundles, &Client),
    token: &KeptToken,
    settings: &NodeSettings,
) -> Result<Attempt> {
    let Ok(mut line) = EnrolmentLine::dial(&token.node.address, DIAL_WITHIN).await else {
        return Ok(Attempt::Nobody);
    };
    let id = token.id()?;
    let (request, clock_s) = match introduce(&mut line, id, token).await? {
        Ok(applied) => applied,
        Err(not_yet) => return Ok(not_yet),
    };
    let signed = match judge(bundles, token, &request, clock_s, settings).await {
        Ok(signed) => signed,
        Err(report) => {
            let refused = Enrolment::Refused { reason: report.message.clone() };
            // It hears of it, or finds out by itself.
            let _ = line.say(&refused).await;
            let _ = timeout(ANSWER_WITHIN, line.finish()).await;
            return Err(report);
        }
    };
    let (name, node) = (&token.node.name, token.node.id);
    let what = format!("cert issue {name} (node {node}) by token {id}, key {}", signed.1);
    if let Err(error) = client.note(&what).await {
        invocation.output.remark(&format!("warning: not in the audit: {what}: {error}"));
    }
    let broken = |why: String| {
        let why = units::printable(why.as_bytes());
        let message = format!("the enrolment of {name} broke off: {why}");
        Report::new(codes::ENROL_BROKEN, message)
    };
    line.say(&signed.0).await.map_err(broken)?;
    match timeout(STORED_WITHIN, line.hear()).await {
        Ok(Ok(Enrolment::Stored)) => Ok(Attempt::Enrolled),
        Ok(Ok(Enrolment::Refused { reason })) => Err(broken(reason)),
        Ok(Ok(_)) => Err(broken("it answered something else than that it has its files".into())),
        Ok(Err(why)) => Err(broken(why)),
        Err(_) => Err(broken(format!("it has not stored its files within {STORED_WITHIN:?}"))),
    }
}

/// Says who is here, and hears who is there: the checked request and the host's clock.
async fn introduce(
    line: &mut EnrolmentLine,
    id: TokenId,
    token: &KeptToken,
) -> Result<std::result::Result<(CheckedRequest, u64), Attempt>> {
    let stranger = |why: &str| {
        let why = units::printable(why.as_bytes());
        Ok(Err(Attempt::NotYet(codes::ENROL_PROOF, why)))
    };
    let binding = match line.binding(id) {
        Ok(binding) => binding,
        Err(why) => return stranger(&why),
    };
    let proof = token.verifier().prove_operator(id, &binding);
    let proof = proof.map_err(|error| Report::new(codes::LOCAL_FILE, error.to_string()))?;
    let greeting = Enrolment::Greeting {
        token: id.to_bytes(),
        proof: Bytes::from(proof),
        clock_s: now_unix_s(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
    };
    if let Err(why) = line.say(&greeting).await {
        return stranger(&why);
    }
    match timeout(ANSWER_WITHIN, line.hear()).await {
        Ok(Ok(Enrolment::Application { request, proof, clock_s, software: _ })) => {
            if !token.verifier().accepts_host(id, &binding, (&request, &proof)) {
                return stranger("whoever answers there does not prove that it has the token");
            }
            match CheckedRequest::from_der(&request) {
                Ok(request) => Ok(Ok((request, clock_s))),
                Err(error) => stranger(&error.to_string()),
            }
        }
        Ok(Ok(Enrolment::Refused { reason })) => stranger(&format!("it says: {reason}")),
        Ok(Ok(_)) => stranger("whoever answers there says something else than was asked"),
        Ok(Err(why)) => stranger(&why),
        Err(_) => stranger("whoever answers there does not go on"),
    }
}

/// Signs, unless the clocks are apart or the token counts no longer; also returns the key.
async fn judge(
    bundles: &Bundles,
    token: &KeptToken,
    request: &CheckedRequest,
    clock_s: u64,
    settings: &NodeSettings,
) -> Result<(Enrolment, String)> {
    let now = now_unix_s();
    if clock_s.abs_diff(now) > CLOCKS_APART_MAX_S {
        let name = &token.node.name;
        let apart = certs::span_nearest(clock_s.abs_diff(now));
        let way = if clock_s < now { "behind" } else { "ahead of" };
        let message = format!(
            "the clock of {name} is {apart} {way} this machine's: {} there, {} here",
            certs::utc(clock_s),
            certs::utc(now)
        );
        return Err(Report::new(codes::ENROL_CLOCK, message)
            .help("timedatectl    (on both machines: which one is wrong?)"));
    }
    let id = token.id()?.to_string();
    let signed = bundles.sign_by_token(&id, request, settings).await?;
    Ok((signed, request.key()))
}
