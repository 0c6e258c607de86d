//! What each role may do: the one table, in front of every protocol and every request. What is not
//! in it is denied.

use crate::{Role, RoleKind};

/// A row of the table, as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The right.
    pub right: Right,
    /// What it allows, for sentences such as "the certificate does not allow to read data".
    pub action: &'static str,
    /// Who has it.
    pub roles: &'static [RoleKind],
}

macro_rules! rights {
    ($($(#[$doc:meta])* $right:ident $action:literal [$($role:ident)*];)*) => {
        /// Something that a certificate allows, or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Right { $($(#[$doc])* $right),* }

        /// All rights, with who has them.
        pub const RIGHTS: &[Row] = &[$(Row {
            right: Right::$right,
            action: $action,
            roles: &[$(RoleKind::$role),*],
        }),*];
    };
}

rights! {
    /// The protocol between nodes.
    Peer "connect as a peer (raft-peer/1)" [Node];
    /// The protocol in which nodes ask for others.
    Forward "pass on requests of others (raft-forward/1)" [Node];
    /// The protocol of everybody else.
    Ask "connect as a client (raft-client/1)" [Operator Client Reader Backup];
    /// Reports of one node.
    ReadStatus "read the status" [Operator Client Reader Backup];
    /// Questions to the machine.
    Query "read data" [Operator Client Reader];
    /// Questions about the system's part of the state; of sessions everybody sees his own.
    ReadSystem "read the system's state" [Operator Client Reader Backup];
    /// Commands to the machine.
    Propose "change data" [Operator Client];
    /// Opening sessions and closing one's own.
    UseSessions "open and close sessions" [Operator Client];
    /// Ids for new nodes.
    ReserveId "reserve node ids" [Operator];
    /// Alarms: only leaders do, by themselves.
    SetAlarm "raise and clear alarms" [];
    /// Acts that were done elsewhere, of one's own; nodes tell what they have seen.
    NoteActs "note administrative acts" [Node Operator];
    /// Notes as leaders write them, by themselves.
    WriteAudit "write the audit" [];
    /// Who did what, and from where.
    ReadAudit "read the audit" [Operator];
    /// Terms, kinds and sizes of entries.
    ReadLog "read the log" [Node Operator Reader Backup];
    /// What is in the entries. A reader gets the log without it.
    ReadPayloads "read the log's contents" [Node Operator];
    /// Making a node one of a cluster's.
    Bootstrap "bootstrap a cluster" [Operator];
    /// Adding, removing and promoting.
    Reconfigure "change the members" [Operator];
    /// Naming the next leader.
    Transfer "hand leadership over" [Operator];
    /// A new snapshot. A node whose state is lost asks for one.
    TakeSnapshot "make snapshots" [Node Operator Backup];
    /// Listing and fetching them, which is all data.
    ReadSnapshots "list and read snapshots" [Node Operator Backup];
    /// Certificates that count no more.
    Revoke "revoke certificates" [Operator];
    /// New certificates for a node.
    RenewCertificates "renew a node's certificates" [Operator];
    /// What a node is configured with.
    ReadConfiguration "read a node's configuration" [Operator];
    /// Reading its files again.
    ReloadConfiguration "reload a node's configuration" [Operator];
}

impl Right {
    /// Returns the right's row.
    #[must_use]
    pub const fn row(self) -> &'static Row {
        &RIGHTS[self as usize]
    }

    /// What it allows, in words.
    #[must_use]
    pub const fn action(self) -> &'static str {
        self.row().action
    }
}

impl Role {
    /// Whether a certificate of this role has a right.
    #[must_use]
    pub const fn may(&self, right: Right) -> bool {
        self.kind().may(right)
    }
}

impl RoleKind {
    /// Whether certificates of this role have a right.
    #[must_use]
    pub const fn may(self, right: Right) -> bool {
        let roles = right.row().roles;
        let mut place = 0;
        while place < roles.len() {
            if roles[place] as u8 == self as u8 {
                return true;
            }
            place += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_has_its_own_row() {
        for (place, row) in RIGHTS.iter().enumerate() {
            assert_eq!((row.right as usize, row.right.row()), (place, row));
        }
    }

    #[test]
    fn a_protocol_belongs_to_nodes_or_to_others_and_never_to_both() {
        for role in RoleKind::ALL {
            let is_node = role == RoleKind::Node;
            let found = [Right::Peer, Right::Forward, Right::Ask].map(|right| role.may(right));
            assert_eq!(found, [is_node, is_node, !is_node], "{role}");
        }
    }

    #[test]
    fn what_nobody_is_named_for_nobody_may() {
        for right in [Right::SetAlarm, Right::WriteAudit] {
            assert!(RoleKind::ALL.iter().all(|role| !role.may(right)), "{right:?}");
        }
    }
}
