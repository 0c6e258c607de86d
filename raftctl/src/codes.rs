//! Every error code with its page: what `raftctl explain` prints and which exit code it means.

use std::fmt;

use crate::report::Exit;

/// An error's code, printed as `R0103`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{:04}", self.0)
    }
}

impl Code {
    /// Reads `R0103`, `r103` or `103`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['R', 'r']).unwrap_or(text);
        let code = Self(digits.parse().ok()?);
        PAGES.iter().any(|page| page.code == code).then_some(code)
    }
}

/// What is said about a code.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The code.
    pub code: Code,
    /// How a command with this error ends.
    pub exit: Exit,
    /// A few words.
    pub title: &'static str,
    /// What it means, what causes it, what to do.
    pub text: &'static str,
}

/// Returns a code's page.
pub fn page(code: Code) -> &'static Page {
    PAGES.iter().find(|page| page.code == code).expect("every code is in the table")
}

macro_rules! pages {
    ($($name:ident $number:literal $exit:ident $title:literal $text:literal)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*

        /// All pages, in order of their codes.
        pub const PAGES: &[Page] = &[
            $(Page { code: $name, exit: Exit::$exit, title: $title, text: $text }),*
        ];
    };
}

pages! {
INTERNAL 1 Failed "unexpected failure"
"Something failed that raftctl did not expect. Run the command again with -v and report what it
prints."

USAGE 2 Usage "the command line makes no sense"
"A flag, argument or environment variable is missing, unknown or out of range. `raftctl COMMAND
--help` shows what a command takes; each flag has a RAFTCTL_ variable."

LOCAL_FILE 3 Failed "a local file or directory cannot be used"
"A file or directory on this machine could not be read or written. The message names it and says
why: permissions, a full disk, something else in its place."

NO_CLUSTER 4 Usage "no cluster is named"
"The command needs to know where the cluster is. Use a context (`raftctl context use NAME`; `raftctl
init` and `raftctl dev` write one), or name endpoints and certificates with -e, --ca, --cert and
--key."

NO_CONTEXT 5 Absent "no such context"
"No context has this name. `raftctl context list` shows all."

BAD_CONTEXTS 6 Failed "the file of contexts is damaged"
"The file contexts.toml in raftctl's configuration directory is no valid list of contexts. Mend it
or move it away; `raftctl init NAME` writes the context of a cluster again."

CREDENTIALS 7 Denied "the certificate or key cannot be used"
"A certificate or key file is malformed, expired, not valid yet, of another cluster, or readable by
others. The message names the file, whose it is, and the check with its times.
Expired: `raftctl cert renew --all`, where the authority is (the machine where `raftctl init` was
run), renews the operator's and the nodes' certificates, before and after their end, and says what
to do next. It needs no connection. Not valid yet: this machine's clock is behind, or that of the
machine on which the certificate was made was ahead. A key that is not the certificate's: `raftctl
cert renew NAME --new-key` makes both anew."

NO_FILE 8 Absent "no such file"
"A file that the command needs does not exist. The message names it."

NOT_CONFIRMED 9 NotConfirmed "not confirmed"
"The command changes something that is not easily undone, and was not confirmed. On a terminal it
asks; elsewhere give --yes."

NO_PAGE 10 Absent "no such code"
"No error has this code. `raftctl explain` lists all."

EXISTS 11 Refused "something has this name already"
"A file would be written where something is: a file, which is replaced with --force only, or a link,
a directory, a pipe or a device, which are never written to by their names. Nothing was changed.
Choose another name; into a pipe or a device write by stdout (`raftctl snapshot save - > PIPE`)."

LOCKED 12 Refused "another raftctl is changing the same file"
"Files that several raftctl share, such as contexts.toml, are changed by one at a time. Another one
held the lock for longer than this one waits; nothing was changed. Run the command again. If that
does not help, a raftctl is stopped or hangs while it holds the lock: the message names the lock
file, and `fuser -v` its process."

BAD_VARIABLE 13 Usage "an environment variable makes no sense"
"The message names the variable, its text, and what may be there. Blanks and newlines around a text,
and empty items of a list, are ignored; a variable without a text is not set; switches are 1, true,
yes or on, or 0, false, no or off. A flag goes before its variable, whatever that says."

UNREACHABLE 101 NoLeader "no node could be reached"
"No endpoint answered. Per endpoint, and for each address of its name, the message says how far it
came: the name did not resolve; the port is closed (raftd does not run there, or listens elsewhere);
a firewall or a route rejects it; nothing came back (the machine is down, raftd hangs there, or UDP
is blocked on the way: raftd speaks QUIC over UDP, a ping or a TCP test proves nothing); or the
handshake failed.
Look at `systemctl status raftd` on a node, and at firewalls for UDP on the node's port. If the
nodes have moved, name the new addresses with -e: R0408 says how they find each other again."

CERTIFICATES 102 Denied "the certificates do not match"
"The nodes refuse this certificate, or this side does not trust the nodes'. Per endpoint the message
says whose certificate failed which check, and since when.
A certificate of a node has expired: `raftctl cert renew --all`, where the authority is, renews all,
also after the end; put each node.crt on its machine, and `systemctl reload-or-restart raftd` there.
`raftctl cert list` shows all ends. A certificate is not valid before some time: a clock is wrong.
Otherwise the usual causes are the context of another cluster and an authority made anew: both sides
must have certificates of one authority; `raftctl context show` names the files."

NO_LEADER 103 NoLeader "no leader"
"Nodes answered, but no leader did within the deadline. Three things look like this from here:
A leader was being elected, which takes an election timeout (raft.election_timeout_ms in raftd.toml)
or a few: run the command again.
A leader serves, and this client cannot reach it: a firewall or a route between here and that one
machine, or a name that means another address here.
Nobody can win: fewer than a majority of the voters run and reach each other, or those with the
newest log are away.
`raftctl status` says which of them it is: who hears from whom, which node cannot reach which and
why, how many voters are needed, and why each does not lead. Nothing is lost: as soon as a majority
is back, a leader is elected without anybody's help. Never wipe a data directory to hurry it."

UNKNOWN 104 Unknown "the outcome is unknown"
"The request was sent and no answer came: the change may have been made, may still be made, or never
will be. It is not reported as failed, because nobody knows. Read the value back before you try
again; a put may simply be repeated, a compare-and-swap tells by itself."

UNAUTHORISED 105 Denied "this certificate may not do this"
"The certificate names a role (operator, client, reader) that does not allow the request. Use
another one with --cert and --key, or another context."

BUSY 106 NoLeader "a limit is reached"
"The leader has as many requests, bytes or entries under way as its limits allow. Fewer at a time,
or later."

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

LEADER_CUT_OFF 120 NoLeader "the leader cannot be reached"
"Nodes answer and name a leader, but there is no way to it from this machine, and no node that this
machine reaches could pass the request on. Per endpoint the message says how far it came. The
cluster may serve others all the while: look at the network and the firewalls (UDP) between this
machine and the leader's, and between the nodes. If the leader's machine has just died or hangs,
another node leads within seconds: try again. Nothing was changed."

NO_KEY 201 Absent "no such key"
"The key does not exist."

DIFFERS 202 Refused "the value is another one"
"A compare-and-swap found another value than expected, and changed nothing. The message shows the
revision of the last change."

TOO_LARGE 203 Usage "a key or value over its limit"
"Keys have 1 to 1,024 bytes, values at most 1,044,480 bytes."

BAD_LINE 204 Usage "a bad line in the file"
"A line of the file is not KEY<TAB>VALUE, or a key or value is over its limit. A plain file is
checked as a whole before anything is sent; of a pipe or device, which can be read only once, this
was the first line. Nothing was changed."

LOAD_STOPPED 205 Partial "the load stopped on the way"
"Some lines are loaded and acknowledged, others not. Every line before the one that the message
names is in the cluster. Go on with --from-line; loading a line twice does no harm. What came
through a pipe is gone: give the same lines once more, --from-line skips those that are loaded."

NO_INDEX 206 Absent "no such log index"
"The node's log has no entry at this index: it is not written yet, or compacted away."

INPUT_CHANGED 208 Partial "the file was changed meanwhile"
"The file was checked as a whole, and was another one when it was read once more: somebody writes to
it. The message says what was done with it. Run the command again when the file is complete; loading
a line twice does no harm."

BAD_KEY 212 Usage "a key in quotes that cannot be read"
"Where a key is typed, $'..' is read as shells read it, because keys that do not show themselves are
printed so: a newline is \\n, a tab \\t, any byte \\xHH, a character \\uHHHH, a backslash \\\\, a
quote \\'. Every other text stands for itself, backslashes and all. A key that really begins with $'
is typed in such quotes, too; the help shows it."

LIST_CUT_OFF 213 Partial "the list was cut off"
"Some items are printed, and then the cluster did not answer any more, as the message says: the list
is not complete, and JSON and YAML end in the middle. What is printed is right. The same command
begins anew; a list of keys goes on with --after."

OTHER_PLAN 301 Refused "another list of nodes"
"This cluster was founded with another list of nodes. `init` never edits a founded cluster: change
it with `raftctl member` (`member update NAME --address HOST:PORT` for a node that has moved), or
prepare another one with another name or --dir. Until the cluster is founded, `init` with another
list corrects the plan: who keeps the name keeps id and certificate, and raftd.toml follows."

OTHER_GENERATION 302 Refused "a node with another history"
"A node already belongs to another history of this or another cluster: its generation is not the
one of the bootstrap record beside the authority. It was bootstrapped from elsewhere, or has a data
directory of an earlier attempt. Nothing was changed. If its data is not needed, stop raftd there,
move its data directory away, and run init again."

INIT_WAITED 303 Unknown "not all nodes answered"
"`init` waited for every node, because the bootstrap record names their data directories. Start the
missing ones and run the same command again: it goes on where it was."

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
now. It lost what it may have promised, so it is not let in again as the same member: it would vote
as if nothing had happened. Nothing was changed.
Let a new node take its place, under a name that is free, at the same address if you like:
`raftctl member replace OLD NEW=HOST:PORT`. It makes the bundle of NEW and says where. On the
machine stop raftd, empty its data directory, put that bundle in the place of the old one, and start
raftd.
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
comes needs a name of its own. Machine and address may be the same. The help shows the command; it
makes the bundle of the new node and says where. On the machine stop raftd, empty its data
directory, put that bundle in the place of the old one, and start raftd. Nothing was changed."

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

CERTIFICATE_ENDS 403 Degraded "a certificate ends soon"
"The node's certificate ends within 30 days, or has ended. Nodes whose certificate has expired are
refused by all others. `raftctl cert renew --all`, where the authority is, renews the nodes' and the
operator's certificates, and says which file goes where; after `systemctl reload-or-restart raftd`
there the node uses it, without a restart where it runs. Files that were replaced are also noticed
within ten seconds."

DISK_FILLS 404 Degraded "a disk fills up"
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

MISPLACED 408 Degraded "nodes are not where the others look for them"
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
It refuses what would add data, for certain without effect, and goes on to lead, to answer and to
delete; a follower in this state takes no more entries, and votes. Nothing that was acknowledged is
lost, and no process ends. Free space on the file system with the data directory, enlarge it, or
delete keys (what they took is free some seconds later, when it is compacted): then the node goes on
by itself. `raftctl status` says for each node how much is free and how much is needed. If only the
leader's disk is full, `raftctl leader transfer` to another one helps until it is mended."

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

DAMAGED 501 Corrupt "a file is not as it was written"
"A snapshot or the data directory of a stopped node is damaged: bytes have changed, are missing, or
were never written. The message names the place. Nothing was repaired or cut off. Take another
snapshot; replace a damaged node (`raftctl member replace`), so that it gets everything anew from
the others. The disk deserves a look."

FOREIGN_FILE 502 Refused "a file of another cluster or history"
"The snapshot or data directory belongs to another cluster, another node, or another generation of
this cluster, as the message says. Histories are never mixed: `snapshot restore` begins a new
generation from a snapshot of this cluster, and of no other."

NOT_EMPTY 503 Refused "the data directory is not empty"
"A snapshot is restored into an empty data directory only, because nothing that a node has promised
may be overwritten. If the directory's contents are not needed any more, move them away and run the
command again."

RUNNING 504 Refused "raftd is running"
"The command reads or writes the data directory of a stopped node, and a process uses this one. Stop
raftd first. Of a running node, `raftctl log list` and `raftctl status` show the same."

NEWER_FORMAT 505 Failed "written by a newer version"
"The file has a format that this version does not know. Use the raftctl of the version that wrote
it, or a newer one."

NO_RIGHT 506 Failed "no right to a file"
"The system refused a file or directory to the user who runs the command. The message names it, its
owner, group and mode, that user, and what mends it. Files that root has made in a data directory
belong to root: the daemon's user must own all of them. `raftctl snapshot restore`, run by root,
gives them to the owner of the directory."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_unique() {
        assert!(PAGES.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn codes_are_read_in_every_spelling() {
        for text in ["R0103", "r0103", "103", "0103"] {
            assert_eq!(Code::parse(text), Some(NO_LEADER), "{text}");
        }
        for text in ["", "R", "R9999", "-1", "99999", "leader"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
        assert_eq!(NO_LEADER.to_string(), "R0103");
    }

    #[test]
    fn pages_fit_a_terminal() {
        for page in PAGES {
            assert!(page.text.lines().all(|line| line.len() <= 100), "{}", page.code);
            assert!(!page.title.ends_with('.'), "{}", page.code);
        }
    }
}
