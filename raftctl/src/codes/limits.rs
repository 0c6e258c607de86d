//! What keeps a client out though the cluster may serve others.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
CROWDED 460 NoLeader "a node takes no more connections"
"The node runs and serves others, and has no place for another connection; the message says which
limit is reached. limits.connections_per_identity_max: this certificate has as many connections as
one certificate gets, which are those of all programs that use it; close some, or give programs
certificates of their own. limits.connections_max: all places for clients are taken; operators have
64 more that nobody else gets. Both are keys of raftd.toml. Nothing is wrong with the certificate,
and whether the cluster has a leader is not known from here."

HISTORY 461 Refused "a node with another history than the context's"
"Each history of a cluster has a name, its generation: `raftctl init` begins one, `raftctl snapshot
restore` begins the next. A context records the one that it follows, every connection names it, and
a node with another one refuses: or what is answered there would be lost with that history.
Find out first which of the two is dead: the one that was begun last lives, and whoever restored it
knows; `raftctl context show` names the one that is followed here, `raftctl status -e HOST:PORT`
with a context of its own the other.
A node of the old history that still runs after a restore holds nothing that counts: stop raftd
there, move its data directory away, and let it join again: `raftctl member add NAME=HOST:PORT`.
If it is the context that is old, since the restore was made with another one: look with `raftctl
status --context NAME` where the restore was made, then add the context anew: `raftctl context
remove NAME`, then `raftctl context add NAME -e HOST:PORT --ca ca.crt --cert operator.crt --key
operator.key` with the files that `raftctl context show NAME` named. It learns the history of the
first node that answers."

STILL_SERVES 462 Refused "the cluster serves, and a restore would begin another one"
"`raftctl snapshot restore` is for a cluster whose majority is lost for good: it begins a new
history with one member, in which all is missing that was written behind the snapshot, and the
contexts follow that one from then on. This cluster has a leader that answers. A member that lost
its data directory comes back through the log: `raftctl member heal NAME`. To look into a snapshot,
restore it on another machine, with a copy of the cluster's directory and a context of its own. If
the history that serves is to be given up: stop raftd on its members, or say `--while-serving`."

RESTORED_BEFORE 463 Refused "the history was restored on another node already"
"`raftctl snapshot restore` begins a new history with one member. Restored on a second node, the
same history would go on twice, side by side, and each would acknowledge what the other lacks. Other
nodes join the one that was restored: start raftd there, then `raftctl member add NAME=HOST:PORT`
for each of the others, with an empty data directory. The records beside the authority tell, also
if what was restored went on as yet another history. If it is lost or to be given up,
`--while-serving` begins another one; nothing of the first one may run any more.
Where the message says that it was only begun, it was interrupted: run it again on that machine,
with the same data directory, and it ends there."

OTHER_RECORD 464 Refused "the record beside the authority is of another history"
"Newcomers get the bootstrap record from the directory with the authority, and belong to its history
from then on. This record is not the one of the cluster that answers: they would belong to no
cluster, and their data directories would have to be emptied. Nothing was sent. `raftctl snapshot
restore` stores the record of the history that it begins before it fills the data directory, so
this is what a restore leaves behind that was interrupted, or whose node does not run while members
of the old history do. If the restore is to go on, run it again where it was begun, and stop raftd
on the members of the old history. If it is given up, put the record from before back with the
command that the message names, and empty the data directory that was to be filled. Or the directory
is a copy from before a restore that was made elsewhere: take the one from there."
}
