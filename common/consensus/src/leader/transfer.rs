//! Handing leadership over (§3.10).

use super::{Leader, Transfer};
use crate::core::Core;
use crate::vocabulary::actions::{Rejection, Reply};
use crate::vocabulary::ids::{NodeId, RequestId, Timestamp};
use crate::vocabulary::message::Body;

impl Leader {
    /// Begins to hand over to a voter; anything else is refused.
    pub(crate) fn transfer(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        request: RequestId,
        to: NodeId,
    ) {
        if to == core.id() {
            core.reply(Reply::Done { request });
        } else if !core.configuration().is_voter(to) {
            core.reject(request, Rejection::Invalid);
        } else if self.is_transferring() {
            core.reject(request, Rejection::Transferring);
        } else {
            let until = now.after(core.patience_ns());
            self.transfer = Some(Transfer { to, until, request: Some(request), told: false });
            self.advance_transfer(core);
        }
    }

    /// Tells the successor to campaign as soon as it has everything.
    pub(super) fn advance_transfer(&mut self, core: &mut Core) {
        let last = core.log().last();
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.told) else {
            return;
        };
        let matched = self.progress.get(&transfer.to).map(|progress| progress.matched());
        if matched == Some(last.index) {
            transfer.told = true;
            self.handed_over = true;
            core.send(transfer.to, Body::TimeoutNow { last });
        }
    }

    /// Tells the successor once more: the order, or its request for votes, may be lost.
    pub(super) fn repeat_order(&self, core: &mut Core) {
        if let Some(transfer) = self.transfer.as_ref().filter(|transfer| transfer.told) {
            core.send(transfer.to, Body::TimeoutNow { last: core.log().last() });
        }
    }

    /// The successor did not take over within an election timeout: go on leading.
    pub(crate) fn abort_transfer(&mut self, core: &mut Core, now: Timestamp) {
        let Some(transfer) = self.transfer.take_if(|transfer| now >= transfer.until) else {
            return;
        };
        match transfer.request {
            Some(request) => core.reject(request, Rejection::TransferTimedOut),
            None => self.evaded_in_vain(core, now),
        }
    }

    /// Says whether this node hands leadership over, and takes no writes meanwhile.
    pub(crate) fn is_transferring(&self) -> bool {
        self.transfer.is_some()
    }
}
