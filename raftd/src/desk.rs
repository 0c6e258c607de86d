//! Where requests about the node's certificate are handed in: the task that has the certificates
//! answers them, and the node's loop waits for no disk.

use protocol::{CertificateRequest, ErrorCode, Response};
use tokio::sync::mpsc;
use transport::Responder;

use crate::answer::refusal;

/// Requests that wait for the task that has the certificates.
const ASKED_MAX: usize = 4;

/// What was asked, and the way back.
pub(crate) type Asked = (CertificateRequest, Responder);

/// Where requests about certificates are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Desk(mpsc::Sender<Asked>);

impl Desk {
    /// Makes it, and the end for the task that has the certificates.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (desk, asked) = mpsc::channel(ASKED_MAX);
        (Self(desk), asked)
    }

    /// Hands a request in; never blocks.
    pub(crate) fn ask(&self, request: CertificateRequest, responder: Responder) {
        if let Err(error) = self.0.try_send((request, responder)) {
            let (_, responder) = error.into_inner();
            let busy = "other requests about certificates are under way";
            responder.send(Response::Error(refusal(ErrorCode::Busy, busy)));
        }
    }
}
