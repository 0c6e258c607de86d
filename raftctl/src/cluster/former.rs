//! Nodes of a history that was followed before the present one: after a restore they are no
//! members, and whoever dials them and knows no history is still served by them.

use client::{Client, Common};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout_at};

use crate::cluster::survey::{Row, Survey, ask_one};
use crate::context::Node;

/// How much longer than the members others may take to answer, at least.
const GRACE_MIN: Duration = Duration::from_millis(100);

/// What becomes of a node whose history ended with a restore.
const LEFT_BEHIND: &str = "it was left behind by a restore: stop raftd there, move its data \
                           directory away, and let it join: raftctl member add";

/// Asks all nodes that are known, and those that were before, at the same time. Of these only they
/// are shown that answer with another history; nobody waits for one that is gone.
pub(crate) async fn ask_with_former(client: &Client, nodes: &[Node], former: &[Node]) -> Survey {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for node in former.iter().cloned() {
        let client = client.clone();
        asking.spawn(async move { (ask_one(&client, &node.address).await, node) });
    }
    let mut survey = Survey::ask(client, nodes).await;
    let now = Instant::now();
    let until = now + GRACE_MIN.max(now - began);
    while let Ok(Some(joined)) = timeout_at(until, asking.join_next()).await {
        let Ok((Err(mut silence), node)) = joined else { continue };
        // A restore from here has left it behind: that much is known of no other one. Where nobody
        // leads what is followed here, another restore may have been made since.
        if silence.common == Common::Generation && survey.leading().is_some() {
            silence.why = format!("{}; {LEFT_BEHIND}", silence.why);
        }
        let is_shown = survey.rows.iter().any(|row| row.address == node.address);
        if silence.common == Common::Generation && !is_shown {
            survey.rows.push(row(&survey, node, silence));
        }
    }
    survey
}

/// Makes a row that cannot be mistaken for a member's.
fn row(survey: &Survey, node: Node, silence: crate::cluster::Silence) -> Row {
    let Node { name, address } = node;
    let is_taken = |name: &String| survey.rows.iter().any(|row| row.name == *name);
    let name = name.filter(|name| !is_taken(name)).unwrap_or_else(|| address.clone());
    Row { name, id: None, address, answer: Err(silence) }
}
