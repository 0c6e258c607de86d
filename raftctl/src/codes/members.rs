//! Bootstrapping, members and local clusters.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
OTHER_PLAN 301 Refused "another list of nodes"
"This cluster was bootstrapped with another list of nodes. `init` never edits a cluster after
that: change it with `raftctl member` (`member update NAME --address HOST:PORT` for a node that has
moved), or prepare another one with another name or --dir. Until it is bootstrapped, `init` with
another list corrects the plan: who keeps the name keeps id and certificate, raftd.toml follows."

OTHER_GENERATION 302 Refused "a node with another history"
"A node already belongs to another history of this or another cluster: its generation is not the
one of the bootstrap record beside the authority. It was bootstrapped from elsewhere, or has a data
directory of an earlier attempt. Nothing was changed. If its data is not needed, stop raftd there,
move its data directory away, and run init again."

INIT_WAITED 303 Unknown "not all nodes answered"
"`init` waited for every node, because the bootstrap record names their data directories; `member
add` waited for a new node to enrol and to start. Start the missing ones and run the same command
again: it goes on where it was."

IN_THE_WAY 304 Refused "something is in the way"
"A context, directory or file that the command would write exists and belongs to something else."

OTHER_NODE 305 Refused "another node answers there"
"At the address of one node another node of the same cluster answers; the message names both. Either
that machine has the other node's bundle: `raftd --check-config` there prints whose it is; put the
right bundle there, with an empty data directory. Or the address leads to the other machine: a name
with the other's address (`getent hosts NAME`, here and on the nodes), a copied or old DNS record,
localhost or an address of all machines, one port forwarded for two. `raftctl status -e HOST:PORT`
shows who answers. Addresses are part of the plan and of the bootstrap record; those of a running
cluster are changed with `raftctl member update`."

WIPED 306 Refused "a data directory was wiped or replaced"
"The cluster knows the data directory with which each member joined, and this node has another one
now. It lost what it may have promised, so it is not let in again like that: it would vote as if
nothing had happened. Nothing was changed. `raftctl member heal NAME` lets it back in through the
log, where a majority of the other voters is there. Or
Let a new node take its place, under a name that is free, at the same address if you like:
`raftctl member replace OLD NEW=HOST:PORT`. On the machine stop raftd, empty its data directory,
move ca.crt, node.crt and node.key away, run `raftd enroll` with the token that the command makes,
and start raftd; with --bundle, put what is in the new bundle in their place instead.
If the cluster has never been used, `raftctl init NAME` with another name starts afresh."

NO_RECORD 307 Refused "the bootstrap record is missing"
"A node is bootstrapped, but the record beside the authority is not there, so nobody can tell
whether it is the same history. Restore the directory of the cluster from a backup, or make a
context by hand: `raftctl context add --help` says how."

NO_RAFTD 308 Absent "raftd is not found"
"`dev` starts raftd from the directory of raftctl itself. Build it (`cargo build --release`), or
name it with --raftd PATH."

NODE_ENDED 309 Failed "a local node ended"
"A raftd process that `dev` started has ended. The message shows the end of its log."

PORT_TAKEN 310 Refused "a port is taken"
"Another process listens on a UDP port that a local node needs; perhaps another `raftctl dev`.
Choose others with --port, and another directory with --dir."

WOULD_LOSE_QUORUM 311 Refused "the change would lose the quorum"
"A change of voters goes through a joint configuration in which a majority of the old voters and a
majority of the new ones must agree (§4.3). One of the two would not be reachable during the change
or after it, so that nothing could be decided any more, and the change could not be taken back.
`raftctl status` shows who is missing. Bring it back, or replace it (`raftctl member replace`) while
a majority is there."

NOT_CAUGHT_UP 312 Refused "a learner has not caught up"
"A new voter must have almost all of the log first, or every write would wait for it (§4.2.1). It
stays a learner and does no harm. `raftctl status` shows how far it is; the message says how fast.
If it does not get closer, its machine or the way to it is slower than the writes. Run the command
again to go on."

NOT_MET 313 Refused "the leader did not meet the node"
"Before a node enters the configuration, or gets another address there, the leader itself dials it
and checks its certificate, its cluster and its data directory: a mistyped address could cost the
cluster its quorum. The check failed, the message says how, and nothing was changed.
No answer: raftd does not run there, listens elsewhere, or UDP is blocked between the leader's
machine and that one; that this machine reaches the node proves nothing for the leader. Another
node's certificate: bundles were mixed up, or the address leads elsewhere. Another data directory:
it was wiped or replaced since it was asked; run the command again. Other leases or another
generation: the node itself refuses, and says what differs."

SAME_MEMBER 314 Refused "a member cannot take its own place"
"Who is replaced leaves for ever: its id is never given again and its certificate is refused, so who
comes needs a name of its own. Machine and address may be the same. The help shows the command. On
the machine stop raftd, empty its data directory, move ca.crt, node.crt and node.key away, run
`raftd enroll` with the token that the command makes, and start raftd; with --bundle, put what is in
the new bundle in their place instead. Nothing was changed."

CHANGE_REFUSED 315 Refused "this cannot be done with these members"
"The members are as they are, and do not allow it; the message says why: nobody would vote, there
would be too many, who is to lead does not vote or is not heard, another change is under way or was
made meanwhile. Nothing was changed. `raftctl member list` shows who is what."

NO_ADDRESS 317 Refused "an address that no other machine can dial"
"The address of a node is written into the configuration, and all other nodes and clients dial it.
0.0.0.0 and [::] mean all addresses of the machine that uses them; multicast, broadcast and
link-local addresses are no machine's own. Give a name or an address that leads to this node from
everywhere. Where raftd listens is another thing: that is `listen` in raftd.toml."

LOOPBACK 318 Refused "loopback beside other hosts"
"localhost, 127.0.0.0/8 and [::1] lead each machine to itself, so that a node which is reached there
is reached by nobody else. A cluster on one machine may use them for all nodes (`raftctl dev` does);
among several machines none may."

ONE_PLACE 319 Refused "two nodes at one place"
"Two nodes are to be reached at one address and port, perhaps under two names. One process listens
there, so that one of the two nodes would never answer, and count as failed from the beginning. If
only this machine finds one address under both names, --yes goes on."
}
