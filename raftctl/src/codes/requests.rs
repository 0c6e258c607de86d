//! What becomes of requests.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
UNREACHABLE 101 NoLeader "no node could be reached"
"No endpoint answered. Per endpoint, and for each address of its name, the message says how far it
came: the name did not resolve; the port is closed (raftd does not run there, or listens elsewhere);
a firewall or a route rejects it; nothing came back (the machine is down, raftd hangs there, or UDP
is blocked on the way: raftd speaks QUIC over UDP, a ping or a TCP test proves nothing); or the
handshake failed.
Look at `systemctl status raftd` on a node, and at firewalls for UDP on the node's port. If the
nodes have moved, name the new addresses with -e: R0408 says how they find each other again.
If the message names a node that has stopped answering, that one alone was asked, as for a snapshot:
run the command again, which asks the leader of then, or name another node."

CERTIFICATES 102 Denied "the certificates do not match"
"The nodes refuse this certificate, or this side does not trust the nodes'. Per endpoint the message
says whose certificate failed which check, and since when.
A certificate of a node has expired: `raftctl cert renew --all`, where the authority is, renews all,
also after the end; put each node.crt on its machine, and `systemctl reload-or-restart raftd` there.
`raftctl cert list` shows all ends. A certificate is not valid before some time: a clock is wrong.
A certificate was revoked: the message says by whom, why, and by which log entry, of which `raftctl
audit` says when it was; `raftctl cert renew ROLE/NAME --new-key`, where the authority is, makes
another, with a key of its own: a key is revoked with its file. A node whose data directory was
wiped has the files of its bundle only, which a rotation of the authority has outlived: put ca.crt,
node.crt and node.key for it on its machine, from where the authority is, start raftd there, and
heal it. Otherwise the usual causes are the context of another cluster and an authority made anew:
both sides must have certificates of one authority; `raftctl context show` names the files."

NO_LEADER 103 NoLeader "no leader"
"Nodes answered, but no leader did within the deadline. Three things look like this from here:
A leader was being elected, which takes an election timeout (raft.election_timeout_ms in raftd.toml)
or a few: run the command again.
A leader serves, and this client cannot reach it: a firewall or a route between here and that one
machine, or a name that means another address here.
Nobody can win: fewer than a majority of the voters run and reach each other, or those with the
newest log are away.
`raftctl status` says which of them it is: which nodes hear each other, which cannot reach which and
why, how many voters are needed, and why each does not lead. Nothing is lost: as soon as a majority
is back, a leader is elected without anybody's help. Never wipe a data directory to hurry it. Where
the directories of a majority are lost for good, `raftctl snapshot save FILE --node NAME` saves what
a node that is left has applied, and `raftctl snapshot restore` begins anew with that.
Something that takes longer than --timeout (a large value over a slow line) ends like this as well,
where no node has said in time who leads."

UNKNOWN 104 Unknown "the outcome is unknown"
"The request was sent and no answer came: the change may have been made, may still be made, or never
will be. It is not reported as failed, because nobody knows. Read the value back before you try
again; a put may simply be repeated, a compare-and-swap tells by itself."

UNAUTHORISED 105 Denied "this certificate may not do this"
"The certificate names a role (operator, client, reader, backup) that does not allow the request.
raft(7) has the table under ROLES. Use another certificate with --cert and --key, or another
context; an operator makes one by `raftctl cert issue NAME --role client`."

BUSY 106 NoLeader "a limit is reached"
"The leader has as many requests, bytes or entries under way as its limits allow; or a change of
members, or handing leadership over, takes longer than was waited. The message says which. The
request had no effect: fewer at a time, or later. The limits are those of [limits] in
raftd.toml(5)."

UNEXPECTED 107 Failed "an answer that makes no sense"
"A node answered something else than was asked: a much older or newer version, or a bug."

NO_NODE 108 Absent "no such member"
"No member of this cluster has this name or id. `raftctl member list` shows all."

REFUSED 109 Refused "the node refuses the request"
"The node refuses the request as it is, and the message says why: it is over a limit, against a rule
of the cluster, or makes no sense to the node. Nothing was changed. The same request will be refused
again, unless what the message names has changed."

UNINITIALISED 110 NoLeader "the node belongs to no cluster yet"
"raftd runs, its data directory is empty, and it waits. `raftctl init`, run again where the
authority is, bootstraps the cluster when all nodes answer. A node of a running cluster whose
directory was lost does not rejoin by itself: a new node takes its place, on the same machine if you
like, by `raftctl member replace OLD NEW=HOST:PORT`."

NODE_FAILED 111 Failed "a node failed"
"A node met an error that stops it: a failed disk, a shutdown, a bug. Its log says more:
journalctl -u raftd."

SESSION_EXPIRED 112 Unknown "the session has expired"
"A command was given in a session that the cluster does not know (any more): it was idle for an
hour, was closed, or made room for others. No attempt has an effect any more; an earlier attempt may
have had one, so read the value back."

ANSWER_NOT_KEPT 113 Unknown "the answer was too long to be kept"
"The command was applied, exactly once, but the answer was lost on the way, and it was too long to
be kept for a retry. Read the value back."

NO_SESSION 114 Absent "no such session"
"The cluster has no session with this id: it never had, or the session was closed or has expired.
`raftctl session list` shows all. Nothing of such a session is applied any more."

BUNDLES_EXPIRED 115 Denied "certificates of nodes have expired"
"Bundles have certificates that count no more: nodes with them are refused by all others, and raftd
does not start with them. `raftctl cert renew --all` renews them and the operator's, also now, for
the keys that they have. It names each file and the machine where it belongs; after `systemctl
reload-or-restart raftd` there the node uses it. Nothing of the cluster's data is lost meanwhile.
Then run the same command again."

AUTHORITY_ENDS 116 Denied "the authority's certificate has ended, or ends soon"
"What an authority has signed does not outlive the authority's own certificate, which `init` makes
for ten years. `raftctl cert renew --authority --all` signs it anew, for the same name and key, and
renews everything else with it. Certificates from before stay valid, and in whatever order nodes get
their files, those with the old and those with the new ca.crt trust each other until the old one
ends. Every node needs the new ca.crt by then, and so does every program that holds a copy."

FOREIGN_CERTIFICATE 117 Refused "a certificate of another authority"
"Only the authority that has issued a certificate renews it. The one in the file was issued by
another: of another cluster, or of one that was lost and made anew. A node or operator without a
usable certificate gets a new pair by `raftctl cert renew NAME --new-key`."

NO_AUTHORITY 118 Absent "the authority is not here"
"Certificates are renewed with the authority's key, which `raftctl init` left in the directory of
the cluster, on the machine where it was run. Run the command there, or name the directory with
--dir. An operator who has only a copy of a certificate gets the renewed one from there."

NO_SESSION_HERE 119 NoLeader "a session that the node does not know"
"Nobody leads, or any state was asked for: a node answered from what it has applied, and there is no
such session in that. It may have been opened since, and be open: commands of it may still take
effect. Ask again when somebody leads (`raftctl status`)."

LEADER_CUT_OFF 120 NoLeader "the leader cannot be reached"
"Nodes answer and name a leader, but there is no way to it from this machine, and no node that this
machine reaches could pass the request on. Per endpoint the message says how far it came. The
cluster may serve others all the while: look at the network and the firewalls (UDP) between this
machine and the leader's, and between the nodes. If the leader's machine has just died or hangs,
another node leads within seconds: try again. Nothing was changed."

LAGGING 121 NoLeader "no node has come so far"
"A read with --at-least N is answered by a node that has applied entry N of the log. None of those
that were reached had, within the time: per endpoint the message says how far each is. The number
may be wrong (`raftctl status` shows how far the log goes), nobody may lead, so that nothing new is
applied, or the nodes catch up: try again, with a longer --timeout. A read without --at-least asks
the leader."
}
