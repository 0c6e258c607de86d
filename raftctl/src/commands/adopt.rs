//! `raftctl adopt`: an operator's word that a copied data directory is the latest one of its node,
//! and the only one.

use std::path::PathBuf;

use clap::Args;
use consensus::{Incarnation, NodeId};
use serde_json::json;
use storage::{DataDirectory, StoppedNode};

use crate::codes;
use crate::invocation::Invocation;
use crate::output::View;
use crate::report::{Report, Result};

/// What `adopt` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct AdoptArgs {
    /// The data directory of a stopped node
    #[arg(value_name = "DATA_DIR")]
    data_dir: PathBuf,

    /// Shows what would be done, and whether it would be refused
    #[arg(long)]
    dry_run: bool,
}

/// Gives a copy the name back that it had.
///
/// # Errors
/// If it is no copy, has forgotten something else, is in use, or it is not confirmed.
pub(crate) fn run(invocation: &Invocation, args: &AdoptArgs) -> Result<()> {
    let path = &args.data_dir;
    let node = StoppedNode::open(path)?;
    let (id, shown) = (node.node(), path.display());
    if node.former().is_some() && node.generation().is_some() {
        let log = node.log()?;
        let latest = log.restored().membership.latest();
        if latest.recognises(id, node.incarnation()) {
            let message = format!(
                "data directory {shown} is not adopted: its cluster has taken it in under the name \
                 that it has now"
            );
            return Err(Report::new(codes::NOT_ADOPTED, message).help("raftctl status"));
        }
    }
    // Its lock would keep it from being changed.
    drop(node);
    if args.dry_run {
        let incarnation = DataDirectory::adoptable(path)?;
        let text = format!("would adopt {shown} as node {id}, under the name {incarnation}\n");
        return invocation.output.answer(&view("Plan", args, id, incarnation, text));
    }
    invocation.confirm(&format!(
        "Is {shown} the latest data directory of node {id}, and the only one? If the node ran \
         with another one since, acknowledged writes are lost"
    ))?;
    let incarnation = DataDirectory::adopt(path)?;
    let text = format!("node {id}  adopted   {shown}   its name is {incarnation}\n");
    invocation.output.answer(&view("Adopted", args, id, incarnation, text))
}

fn view(
    kind: &'static str,
    args: &AdoptArgs,
    id: NodeId,
    incarnation: Incarnation,
    text: String,
) -> View {
    let data = json!({
        "node": id.to_string(), "dataDir": args.data_dir, "incarnation": incarnation.to_string(),
    });
    let names = vec![id.to_string()];
    View { kind, data, text: text.into_bytes(), names, warnings: Vec::new() }
}
