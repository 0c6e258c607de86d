//! A follower's reads that wait for the leader.
//!
//! One question at a time is under way, for all reads that had arrived when it was first asked;
//! later ones wait for the next. It is asked again with every heartbeat interval, under the same
//! name, and given up after an election timeout.

use std::mem;

use crate::vocabulary::ids::{ReadTicket, RequestId, Timestamp};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Forwarding {
    /// Arrived since the question under way was asked.
    arrived: Vec<RequestId>,
    /// The question under way.
    asked: Option<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    ticket: ReadTicket,
    requests: Vec<RequestId>,
    /// When to ask again.
    again: Timestamp,
    /// When to give up.
    until: Timestamp,
}

impl Forwarding {
    /// Returns how many reads wait.
    pub(super) fn len(&self) -> usize {
        self.arrived.len() + self.asked.as_ref().map_or(0, |asked| asked.requests.len())
    }

    pub(super) fn push(&mut self, request: RequestId) {
        self.arrived.push(request);
    }

    /// Returns when something is to be done about the question under way.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.asked.as_ref().map(|asked| asked.again.min(asked.until))
    }

    /// Says whether a question is to be asked: reads have arrived, and none is under way.
    pub(super) fn is_due(&self) -> bool {
        self.asked.is_none() && !self.arrived.is_empty()
    }

    /// Notes that a question is asked, for all reads that have arrived.
    pub(super) fn ask(&mut self, ticket: ReadTicket, again: Timestamp, until: Timestamp) {
        let requests = mem::take(&mut self.arrived);
        self.asked = Some(Asked { ticket, requests, again, until });
    }

    /// Gives the question up if it is time; returns whose it was.
    pub(super) fn take_late(&mut self, now: Timestamp) -> Option<Vec<RequestId>> {
        self.asked.take_if(|asked| now >= asked.until).map(|asked| asked.requests)
    }

    /// Asks again if it is time, and next time at `again`; returns the question's name.
    pub(super) fn ask_again(&mut self, now: Timestamp, again: Timestamp) -> Option<ReadTicket> {
        let asked = self.asked.as_mut().filter(|asked| now >= asked.again)?;
        asked.again = again;
        Some(asked.ticket)
    }

    /// Ends the question under way if it has this name; returns whose it was.
    pub(super) fn take_answered(&mut self, ticket: ReadTicket) -> Option<Vec<RequestId>> {
        self.asked.take_if(|asked| asked.ticket == ticket).map(|asked| asked.requests)
    }

    /// Ends all reads, for the leader that was asked is no longer followed.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.asked.into_iter().flat_map(|asked| asked.requests).chain(self.arrived)
    }
}
