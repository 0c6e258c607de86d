//! Data directories that have forgotten what their nodes promised.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
NOT_ADOPTED 430 Refused "the data directory is not adopted"
"`raftctl adopt DIR` takes an operator's word that a data directory that was copied, or ran twice,
is the latest one of its node, and the only one. It is no answer to anything else: a directory that
has lost its log or the end of it, or term and vote, whose parts are of different times, or of which
another node knows that it promised more, has forgotten something for certain; and one that the
cluster has taken in under its new name needs nothing. Nothing was changed. A node that has
forgotten comes back by `raftctl member heal NAME` where a majority of the others is there; else
what is left is restored with `raftctl snapshot restore`."

FORGOTTEN 431 Degraded "a node that has forgotten what it promised"
"The node's data directory does not hold what the node has promised: it was rolled back, as a whole
or in parts; it has lost its log, the end of it, its term and vote, or the file that says where the
log ended; entries of its log are damaged that no other member has any more; or another process ran
with a copy of it. The line says which. So the node has given up its name (its incarnation): it
neither votes nor counts. Nothing that was acknowledged is lost as long as the other voters keep
their disks.
Where a majority of the others is there, the leader takes the node in again by itself within
seconds: demoted, recorded with its new name, promoted when it has caught up. `raftctl member heal
NAME` does the same and waits for it. What the directory held is kept in set-aside/ there, where the
node had to begin anew. Where that majority is missing and two processes ran with one directory, or
nothing is lost but the file that says where the log ended, see that one process is left, and give
your word for its directory: `raftctl adopt DATA_DIR`. Find out why it happened: a backup or a
snapshot of a machine that was put back, a disk that lies."

COPIED 432 Degraded "a data directory that is a copy"
"The data directory was copied, or restored from a backup: its files are others than those that the
node last ran with. The original may have promised more since, or may still run, so the node has
given up its name (its incarnation), and neither votes nor counts.
Where a majority of the other voters is there, the leader takes it in again by itself within
seconds; `raftctl member heal NAME` does the same and waits for it.
If this copy is the latest of its node and the only one, and no majority is there otherwise (a
node alone, or a whole cluster that was moved to new disks): on each such machine stop raftd, run
`raftctl adopt DATA_DIR`, and start raftd. If the copy is older than the original, or the original
still runs, that loses acknowledged writes. To move a data directory, move it (mv inside a file
system), or stop raftd, copy, and adopt the copy before the first start."

WIPED_MEMBER 433 Degraded "a member whose data directory was wiped or replaced"
"The cluster knows another data directory for this member than the one that the node has now: it is
new, or was replaced. The node has forgotten what it promised, so it neither votes nor counts.
`raftctl member heal NAME` lets it in again, where a majority of the other voters is there: it
gets the cluster's history, is recorded with its new directory, catches up, and votes. If it
should hold data (its file system was not mounted, say), stop raftd, put that right, and start it
again. Where a majority of the voters has lost its data, nobody can let them in: `raftctl snapshot
save FILE --node NAME` at one that has its own, and `raftctl snapshot restore` (raft(7),
GENERATIONS)."

HEAL_WAITS 434 Unknown "healing goes on"
"`member heal` waited until --wait passed, and the node is not back yet; the message says what was
last in the way. What was done stays and does no harm: run the same command again, or let the
leader go on by itself. Healing needs a majority of the other voters: with two of three nodes down
or wiped there is none."

RUNS_TWICE 435 Degraded "two processes connect as one member"
"Another process runs with the certificate of this member than the one at its address, and both are
connected: somebody has copied a bundle, or a whole machine. Only the data directory that the
cluster knows votes and counts, and where both run with that, both give up its name. Stop the one
that is not at the member's address; if two machines share that name or address, mend that first."

RETURNING 436 Degraded "a member that comes back"
"The member had forgotten what it promised, and is being taken in again: it learns under its new
name until it has caught up, and votes then. Until it does, one failure less is tolerated. The
leader does that by itself, whoever leads and however often nodes are restarted meanwhile; `raftctl
member heal NAME` waits for it. If it does not come: `raftctl status` shows how far it is behind.
If it is not to come back: `raftctl member remove NAME`."
}
