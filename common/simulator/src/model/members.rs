//! Who is a member, and the ids that are reserved for who shall be one. There are never as many
//! here that one has to give way to another.

use std::collections::BTreeMap;

use consensus::{ClusterTime, Configuration, LogIndex, Member, NodeId};
use state_machine::{Alarm, Reservation, SystemResponse, Tombstone};

use super::past::Past;
use super::says::{Expected, Says};
use crate::coverage::Met;

const RESERVED: &str = "an id is reserved for one node (§4.4)";
const ALARMS: &str = "alarms are raised and cleared by leaders alone";

/// The longest name, in bytes.
const NAME_BYTES: usize = 64;

/// Members and reserved ids.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Members, and those that leave while a change goes on.
    present: BTreeMap<NodeId, Member>,
    /// The highest id that was ever a member's, or reserved.
    highest: u64,
    pub(super) reserved: Past<String, Reservation>,
    pub(super) tombstones: Past<NodeId, Tombstone>,
    pub(super) alarms: Past<NodeId, Alarm>,
}

impl Members {
    /// A configuration is in force from this entry on.
    pub(super) fn configure(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        configuration: &Configuration,
    ) {
        let members = configuration.members();
        for (id, member) in members {
            self.highest = self.highest.max(id.get());
            self.present.insert(*id, member.clone());
            self.tombstones.set(index, *id, None);
        }
        if configuration.voters().is_joint() {
            return;
        }
        let (stay, leave) = std::mem::take(&mut self.present)
            .into_iter()
            .partition(|(id, _)| members.contains_key(id));
        self.present = stay;
        let leave: BTreeMap<NodeId, Member> = leave;
        for (id, Member { incarnation, name, .. }) in leave {
            let stone = Tombstone { id, incarnation, name, index, time };
            self.tombstones.set(index, id, Some(stone));
            self.alarms.set(index, id, None);
            let reserved = self.reserved.at(index).find(|(_, one)| one.id == id.get());
            if let Some(name) = reserved.map(|(name, _)| name.clone()) {
                self.reserved.set(index, name, None);
            }
        }
    }

    /// Somebody wants an id for a node of this name, above one that it knows of.
    pub(super) fn reserve(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        name: String,
        above: u64,
    ) -> Expected {
        let met = Some(Met::IdReserved);
        let expected = |says| Expected { says: Says::System(says), rule: RESERVED, met };
        if let Some(known) = self.reserved.get(&name) {
            return expected(SystemResponse::Reserved { id: known.id });
        }
        let is_called_so = self.present.values().any(|member| member.name == name);
        if is_called_so || name.is_empty() || name.len() > NAME_BYTES {
            let refused = SystemResponse::Refused { reason: String::new() };
            return Expected { met: Some(Met::NameTaken), ..expected(refused) };
        }
        let id = self.highest.max(above) + 1;
        self.highest = id;
        self.reserved.set(index, name.clone(), Some(Reservation { name, id, index, time }));
        expected(SystemResponse::Reserved { id })
    }

    /// A leader raises or clears an alarm, or somebody else who may not.
    pub(super) fn alarm(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        by: &str,
        (id, raised): (NodeId, bool),
    ) -> Expected {
        let says = match by.is_empty() {
            true => SystemResponse::Noted,
            false => SystemResponse::Refused { reason: String::new() },
        };
        let expected = Expected { says: Says::System(says), rule: ALARMS, met: None };
        if !by.is_empty() {
            return expected;
        }
        let known = self.present.get(&id);
        if !raised {
            self.alarms.set(index, id, None);
        } else if let (Some(Member { name, .. }), None) = (known, self.alarms.get(&id)) {
            let alarm = Alarm { id, name: name.clone(), index, time };
            self.alarms.set(index, id, Some(alarm));
        }
        expected
    }
}
