//! Whose a session is: to others it is not there, and they do not crowd it out (§6.3).

use crate::kit::bytes;
use crate::sessions::World;
use state_machine::{
    Envelope, Owner, SESSIONS_MAX, SystemAnswer, SystemCommand, SystemQuery, SystemResponse, Viewer,
};

/// Whose a command is, by a client's or an operator's name.
fn owner(name: &str) -> Owner {
    Owner { name: name.into(), is_operator: name.starts_with("operator") }
}

fn of(name: &str, envelope: Envelope) -> Envelope {
    Envelope { owner: owner(name), ..envelope }
}

impl World {
    fn say(&mut self, envelope: &Envelope) -> SystemResponse {
        SystemResponse::decode(&self.apply(envelope)).unwrap()
    }

    fn register_as(&mut self, name: &str, nonce: u8) -> u64 {
        let register = SystemCommand::RegisterSession { nonce: [nonce; 16], name: String::new() };
        match self.say(&of(name, Envelope::system(&register))) {
            SystemResponse::Registered { session } => session,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn to_others_than_its_owner_a_session_is_not_there() {
    let mut world = World::new();
    let session = world.register_as("client a", 1);
    let write = |name, sequence| of(name, Envelope::in_session(session, sequence, 0, bytes("x")));
    let close = Envelope::system(&SystemCommand::CloseSession { session });
    let expired = SystemResponse::SessionExpired { session };
    for stranger in ["client b", "operator a", "client", ""] {
        assert_eq!(world.say(&write(stranger, 1)), expired, "{stranger}");
    }
    for stranger in ["client b", ""] {
        assert_eq!(world.say(&of(stranger, close.clone())), SystemResponse::Closed, "{stranger}");
    }
    assert_eq!(world.journal(), "");
    assert!(matches!(world.say(&write("client a", 1)), SystemResponse::Answer { .. }));
    assert_ne!(world.register_as("client b", 1), session, "its nonce is no key to it");
    assert_eq!(world.register_as("client a", 1), session);
    let seen = |world: &World, viewer| match world
        .host
        .view()
        .system(viewer, &SystemQuery::Sessions { after: 0, limit: 1 })
    {
        Ok(SystemAnswer::Sessions { items, last, more, .. }) => (items.len(), last, more),
        other => panic!("{other:?}"),
    };
    assert_eq!(seen(&world, Viewer::Own("client a")), (1, session, false));
    assert_eq!(seen(&world, Viewer::Own("client c")), (0, 0, false));
    assert_eq!(seen(&world, Viewer::Operator), (1, session, true));
    let owners = world.host.owners();
    assert!(owners.is_foreign(session, "client b") && !owners.is_foreign(session, "client a"));
    assert!(!owners.is_foreign(9_999, "client b"), "perhaps it is not applied here yet");
    let ended = world.say(&of("operator root", close));
    assert!(matches!(ended, SystemResponse::Ended { highest: 1, .. }), "{ended:?}");
}

#[test]
fn nobody_crowds_out_the_sessions_of_others() {
    let mut world = World::new();
    let quiet = world.register_as("client quiet", 0);
    let flood = |world: &mut World, nonce: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_le_bytes());
        world.time += 1;
        let command = SystemCommand::RegisterSession { nonce: bytes, name: String::new() };
        world.say(&of("client flood", Envelope::system(&command)));
    };
    for nonce in 0..SESSIONS_MAX + 5 {
        flood(&mut world, nonce);
    }
    let late = world.register_as("client late", 0);
    assert!([quiet, late].iter().all(|session| world.session(*session).is_some()));
    assert_eq!(world.sessions(quiet, 1).0, [quiet + 8], "the flood lost its oldest seven");
}

/// Each of so many owners has one session: nobody crowds the others, and the bound holds.
#[test]
fn as_many_sessions_as_may_be_are_a_bound_for_as_many_owners() {
    let mut world = World::new();
    let first = world.register_as("client 0", 0);
    let second = world.register_as("client 1", 0);
    for owner in 2..SESSIONS_MAX {
        world.register_as(&format!("client {owner}"), 0);
    }
    assert!(world.session(first).is_some(), "as many as may be");
    for (late, gone) in [("client z", first), ("client y", second)] {
        let session = world.register_as(late, 0);
        assert!(world.session(session).is_some() && world.session(gone).is_none(), "{late}");
    }
}
