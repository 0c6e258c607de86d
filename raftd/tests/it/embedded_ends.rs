//! What a program's machine, or what others say, does to nodes in its process.

use std::num::NonZeroU64;

use raftd::certs::{Authority, ClusterId, Identity, Role};
use raftd::client::Consistency;
use raftd::{Config, Exit, NodeId, Server};

use crate::embedded::{DAY, Fragile, Three, ended, propose, until};

/// It ended the node, and the client asked the next one, and ended that.
#[tokio::test]
async fn a_question_that_panics_is_answered_so_and_ends_nobody() {
    let three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let asked = three.nodes[1].local_address().to_string();
    let refused = client.query_of(&asked, "panic".into()).await.expect_err("it panics");
    assert!(refused.to_string().contains("the machine panicked"), "{refused}");
    let refused = client.query("panic".into(), Consistency::Linearizable).await;
    let refused = refused.expect_err("it panics");
    assert!(refused.to_string().contains("as it was told"), "{refused}");
    for node in &three.nodes {
        assert!(node.status().await.is_some(), "it runs");
    }
    propose(&client, "two").await;
    let answer = client.query("".into(), Consistency::Linearizable).await.unwrap();
    assert_eq!(answer.response, "two");
    client.close().await;
    three.stop().await;
}

/// It is asked on the leader's loop, before anything is in a log: one node after the other ended.
#[tokio::test]
async fn a_machine_that_panics_where_it_says_whether_a_command_frees_space_ends_nobody() {
    let three = Three::start().await;
    let client = three.client();
    propose(&client, "frees it space?").await;
    for node in &three.nodes {
        assert!(node.status().await.is_some(), "it runs");
    }
    client.close().await;
    three.stop().await;
}

/// What it says decides what is done next: one that was removed is not started again, and one that
/// has forgotten what it promised must not speak in its name any more.
#[tokio::test]
async fn a_node_that_cannot_finish_in_time_still_says_why_it_ends() {
    let three = Three::start().await;
    let client = three.client();
    let status = until(&three.nodes[0], |status| status.leader.is_some()).await;
    let slow = (1..=3).find(|id| NodeId::new(*id) != status.leader).unwrap();
    propose(&client, &format!("sleep {slow}")).await;
    let gone = NodeId::new(slow).unwrap();
    let mut members = status.configuration.members().clone();
    members.remove(&gone);
    let voters = consensus::Majority::new(members.keys().copied());
    let voters = consensus::Voters::Stable(voters);
    let target = consensus::Configuration::new(voters, Default::default(), members).unwrap();
    client.reconfigure(&target, status.configuration_index).await.unwrap();
    let failure = ended(&three.nodes[usize::try_from(slow - 1).unwrap()]).await;
    assert_eq!(failure.exit, Exit::Removed, "{failure}");
    client.close().await;
}

/// Those that come before the one that takes no part would have their record for ever.
#[tokio::test]
async fn nodes_with_different_machines_are_told_so_before_any_has_a_history() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let place = tempfile::tempdir().unwrap();
    let config = |id| {
        let role = Role::Node(NonZeroU64::new(id).unwrap());
        let issued = authority.issue(&Identity::new(authority.cluster(), role), DAY).unwrap();
        let listen = ([127, 0, 0, 1], 0).into();
        Config::new(place.path().join(id.to_string()), issued.credentials().unwrap()).listen(listen)
    };
    let one = Server::new(Fragile::new(1)).start(config(1)).await.unwrap();
    let two = Server::new(state_machine::Kv).start(config(2)).await.unwrap();
    let refused = raftd::bootstrap(&[&one, &two]).await.unwrap_err();
    assert!(refused.message.contains("node 2 has another"), "{refused}");
    raftd::bootstrap(&[&one]).await.unwrap();
    raftd::bootstrap(&[&two]).await.unwrap();
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}
