//! Whose a command or a question is: by the certificate that it came with, never by what it says.

use bytes::Bytes;
use certs::{Role, RoleKind};
use protocol::{ErrorCode, ErrorReply};
use state_machine::{Envelope, Owner, Owners, Viewer};

use crate::answer;

/// Returns whose the requests of a certificate are.
pub(crate) fn owner(role: &Role) -> Owner {
    Owner { name: role.to_string(), is_operator: role.kind() == RoleKind::Operator }
}

/// Says what an owner may know about sessions.
pub(crate) fn viewer(owner: &Owner) -> Viewer<'_> {
    if owner.is_operator { Viewer::Operator } else { Viewer::Own(&owner.name) }
}

/// Writes into a command whose it is, where that matters, before it is in any log.
///
/// # Errors
/// The refusal, if it is a command of another one's session.
pub(crate) fn claim(role: &Role, command: Bytes, owners: &Owners) -> Result<Bytes, ErrorReply> {
    // What is no envelope has no meaning on any node.
    let Ok(envelope) = Envelope::decode(&command) else {
        return Ok(command);
    };
    let owner = if envelope.has_owner() { owner(role) } else { Owner::default() };
    if envelope.session != 0 && owners.is_foreign(envelope.session, &owner.name) {
        let message = format!("{role} has no session {}", envelope.session);
        return Err(answer::refusal(ErrorCode::Unauthorised, message));
    }
    if envelope.owner == owner {
        return Ok(command);
    }
    Ok(Envelope { owner, ..envelope }.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::SystemCommand;

    fn role(name: &str) -> Role {
        Role::Client(name.parse().expect("a name"))
    }

    #[test]
    fn what_a_command_says_of_its_owner_does_not_count() {
        let claimed = Owner { name: "client victim".into(), is_operator: true };
        let owners = Owners::default();
        let right = owner(&role("eve"));
        assert_eq!(right, Owner { name: "client eve".into(), is_operator: false });
        let close = Envelope::system(&SystemCommand::CloseSession { session: 7 });
        for (envelope, expected) in [
            (Envelope::in_session(7, 1, 0, Bytes::new()), &right),
            (close, &right),
            (Envelope::sessionless(Bytes::new()), &Owner::default()),
        ] {
            let forged = Envelope { owner: claimed.clone(), ..envelope.clone() };
            for sent in [envelope, forged] {
                let taken = claim(&role("eve"), sent.encode(), &owners).expect("nobody's so far");
                let taken = Envelope::decode(&taken).expect("an envelope");
                assert_eq!(&taken.owner, expected);
                assert_eq!(taken.body, sent.body);
            }
        }
    }
}
