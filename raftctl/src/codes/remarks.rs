//! What `status` remarks upon.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
MEMBER_SILENT 401 Degraded "a member does not answer"
"The member does not answer status requests, or the leader does not hear from it. The cluster serves
as long as a majority of the voters is alive; `status` says how many more failures it tolerates.
Check the machine, then raftd there (`systemctl status raftd`, `journalctl -u raftd`; a process that
is paused or hangs on its disk holds the port open and says nothing), then the way (UDP). What other
nodes say of their way to it stands behind our own reason. It catches up by itself when it is back."

NO_QUORUM 402 Unhealthy "no quorum"
"Fewer than a majority of the voters answer. Nothing can be written and no linearizable read is
served; nothing that was acknowledged is lost. Bring back enough voters with their data
directories: then it goes on by itself. Wiped nodes do not count."

CERTIFICATE_ENDS 403 Done "a certificate ends soon"
"The node's certificate ends within 30 days (a short one: within a third of its time), or has ended.
Nodes whose certificate has expired are refused by all others. `raftctl cert renew --all`, where the
authority is, renews the nodes' over the wire, without a restart, and the operator's. For a node
that does not answer it says which file goes where; after `systemctl reload-or-restart raftd` there
the node uses it. Files that were replaced are also noticed within ten seconds."

DISK_FILLS 404 Done "a disk fills up"
"A database writes before it deletes: a flush or a compaction needs room for its whole result. A
node adds up what its own may need (`status -o json`: diskNeededBytes), and less than twice of that
is free on the file system with its data directory. With less than that it takes no new data
(R0409). Free space there, or enlarge the file system: the node notices by itself."

MEMBER_FAILED 405 Degraded "a member does not serve"
"The node runs, but does not serve; the message says why, mostly that its disk failed. It claims
nothing durable any more. Replace the disk or the node."

MEMBER_FOREIGN 406 Degraded "a node that does not take part"
"The node answers, but has no history, or another one than the rest: it neither votes nor counts.
A wiped node does not rejoin by itself."

WAITED 407 Unknown "waited in vain"
"`status --wait` looked until --timeout passed, and the cluster was never as wanted. The message
says how it was last."

MISPLACED 408 Done "nodes are not where the others look for them"
"A node answers, but at another address than the configuration in the log has, and other nodes do
not reach it at that one. It has moved, with its data directory, and nothing is lost.
While a majority serves, tell the cluster: `raftctl member update NAME --address HOST:PORT`.
Where nobody leads, no change can be made before the nodes find each other. Write the new addresses
into the raftd.toml of every node, a line for each member:
    [peers]
    n1 = \"10.1.0.1:7400\"
    n2 = \"10.1.0.2:7400\"
and `systemctl reload raftd` (SIGHUP). A leader is elected; then make it permanent with `raftctl
member update` for each member, with -e for the new addresses, and remove the table. raft(7), MOVING
NODES, has every step. If the node only answers here under another name, it is the way between the
nodes that is broken: the remark says what the other one met."

NO_ROOM 409 Refused "a disk has no room for more data"
"The free space on the leader's disk is what its next flushes and compactions need by themselves.
It refuses what would add data, for certain without effect, and hands over within a second or so to
a voter that has room, if those with room are a majority; else it goes on to answer and to delete. A
follower in this state takes no more entries, and votes. Nothing that was acknowledged is lost, and
no process ends. Free space on the file system with the data directory, enlarge it, or delete keys
(what they took is free some seconds later, when it is compacted): then the node goes on by itself.
`raftctl status` says for each node how much is free and how much is needed. Leadership goes away
once a minute at most; `raftctl leader transfer` does the same at once."

OUT_OF_REACH 412 Degraded "a member that this client cannot reach"
"The member serves: other members hear from it. Only this machine has no answer from it, so the way
from here is cut: a firewall, a route, a name that means another address here, or a certificate that
only this client has trouble with. The line says how far it came. If it is the leader, followers can
tell who leads, and changes have to be made from a machine that reaches it. Compare with `raftctl
status` on one of the nodes."

NO_WAY 413 Degraded "members that do not reach each other"
"Each node dials every other one, and sends on what it dialled. The node that the line begins with
has no connection to the other one, and says why: the name does not resolve there, nothing comes
back (the machine is down, or UDP is blocked in this direction), the port is closed, or a
certificate is refused (expired, another cluster's, not valid yet by that machine's clock). A
restarted node is dialled anew within moments. The cluster serves as long as the leader reaches a
majority and they reach it; but voters that do not reach each other are no help if the leader fails,
so `tolerates` does not count them. Look at that node's log (journalctl -u raftd), its resolver,
its firewall and its clock."

MISFIT 414 Degraded "a member in a role that does not fit"
"One node leads, and this one does not follow it: it asks for votes, follows nobody or another node,
is in a newer term, or goes by other members. For a moment around an election or a change of members
that is normal. If it lasts, the leader's messages do not arrive there, in time or at all: see what
the lines say about the ways between the two, and whether the machine is overloaded or was paused.
It does not count as long as it does not follow."

TWO_LEADERS 415 Degraded "two nodes claim to lead"
"The one in the older term has been succeeded and has not noticed: it is cut off from a majority, or
was paused. It acknowledges no write and serves no linearizable read any more, and steps down by
itself within an election timeout, or as soon as it hears from a node of the newer term."

STUCK 416 Degraded "something stands still"
"Entries wait, and nothing has moved for seconds: the leader commits nothing (too few disks confirm
its entries), a member's log does not grow (its disk hangs, or the way to it loses large packets),
or its state machine applies nothing. Look at the disk there first (`iostat -x`, `dmesg`), then at
raftd's log, then at the MTU on the way."

BEHIND 417 Degraded "a voter is behind"
"The voter takes part, but lacks entries that are committed: it was away, or its disk or its way is
slower than the writes. It catches up by itself; LAG in `raftctl status` shows how far it is. Until
then the cluster does not count on it: if another voter fails, writes wait until it has caught up."

NO_MEMBER 418 Done "a node that is no member"
"The node is not in the configuration in force: it was removed, or has not been added yet; or the
address is another one of a member's. It neither votes nor counts. A removed node stops by itself
with exit code 77 once it hears of it; if it runs on, stop it: systemctl disable --now raftd. If
only the list of nodes here is old, mend the context: raftctl context show, raftctl context add."

FEW_VOTERS 419 Done "no failure is tolerated, or a voter too many"
"A write needs a majority of the voters. One voter or two tolerate no failure: when one is down,
service ends until it is back. Three tolerate one failure, five two. An even number tolerates as few
as the odd number below it and waits for one more machine each time. Add voters on machines that
fail independently: `raftctl member add n3=HOST:PORT` (a learner first: it becomes a voter when it
has caught up). If a voter is down for good, `raftctl member replace OLD NEW=HOST:PORT` while a
majority is there."
}
