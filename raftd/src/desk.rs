//! Where requests about the node's certificate and its configuration are handed in: the task that
//! has the certificates, and the owner who reads the configuration, answer them, and the node's
//! loop waits for no disk.

use protocol::{CertificateRequest, ConfigurationRequest, ErrorCode, Response};
use tokio::sync::mpsc;
use transport::Responder;

use crate::answer::refusal;

/// Requests of one kind that wait.
const ASKED_MAX: usize = 4;

/// What was asked about certificates, and the way back.
pub(crate) type Asked = (CertificateRequest, Responder);

/// What was asked about the configuration, and the way back.
pub(crate) type AskedOwner = (ConfigurationRequest, Responder);

/// Where requests are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    certificates: mpsc::Sender<Asked>,
    /// `None` in a program whose configuration is its own business.
    owner: Option<mpsc::Sender<AskedOwner>>,
}

/// Makes the way to an owner who reads the configuration, and his end of it.
pub(crate) fn to_owner() -> (mpsc::Sender<AskedOwner>, mpsc::Receiver<AskedOwner>) {
    mpsc::channel(ASKED_MAX)
}

impl Desk {
    /// Makes it, and the end for the task that has the certificates.
    pub(crate) fn new(owner: Option<mpsc::Sender<AskedOwner>>) -> (Self, mpsc::Receiver<Asked>) {
        let (certificates, asked) = mpsc::channel(ASKED_MAX);
        (Self { certificates, owner }, asked)
    }

    /// Hands in a request about certificates; never blocks.
    pub(crate) fn ask(&self, request: CertificateRequest, responder: Responder) {
        if let Err(error) = self.certificates.try_send((request, responder)) {
            let (_, responder) = error.into_inner();
            let busy = "other requests about certificates are under way";
            responder.send(Response::Error(refusal(ErrorCode::Busy, busy)));
        }
    }

    /// Hands in a request about the configuration; never blocks.
    pub(crate) fn ask_owner(&self, request: ConfigurationRequest, responder: Responder) {
        let Some(owner) = &self.owner else {
            let why = "this node is part of a program that has its configuration: there is no file \
                       to be read";
            return responder.send(Response::Error(refusal(ErrorCode::Forbidden, why)));
        };
        if let Err(error) = owner.try_send((request, responder)) {
            let (_, responder) = error.into_inner();
            let busy = "other requests about the configuration are under way";
            responder.send(Response::Error(refusal(ErrorCode::Busy, busy)));
        }
    }
}
