//! What `status` remarks upon of disks and states.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
DISK_HANGS 440 Degraded "a disk hangs"
"The node lives and answers, but its disk has not finished a write of the log for longer than an
election timeout: the storage behind it is gone or overloaded, the file system is frozen, or a
database waits for room. Nothing that was acknowledged is lost. The node does not count for what it
has not written; a leader hands over to a voter whose disk is known to be better, if there is one,
and no change of members is begun that would need this disk. Look at the machine: `dmesg`,
`iostat -x`, `df`; the service manager does not restart the node for that, since a restart would
wait for the same disk. When the disk comes back, the node goes on by itself. If it is gone for
good: `raftctl member replace`."

SNAPSHOT_DAMAGED 441 Degraded "a snapshot is damaged"
"A snapshot's file on this node was not as it was written when it was read: the disk has changed
what it stored. It was not sent. It was set aside beside the others, with the extension `damaged`,
and a new one is made when it is needed; the newest of those set aside is kept, to be looked at. The
cluster serves, and log and state are checked each on their own; but whoever changes one file may
change another: look at the disk (`smartctl -a`, `dmesg`), stop the node for a moment and run
`raftctl log verify --data-dir D`, replace the disk in time. When it is settled, remove the file
that the line names: then the remark goes away."

READS_HANG 442 Degraded "questions wait"
"The node has been answering one question for five seconds, and all others wait behind it. Either
its disk does not give what it is asked to read (`dmesg`, `iostat -x` on that machine), or the
machine that is replicated takes so long for this question: then ask it for less at a time. Writes,
votes and the log are not concerned, so the node goes on to lead: clients go on to other nodes with
what they ask, or hand over (`raftctl leader transfer`). When the answer comes, the node goes on by
itself."

SETTINGS_REFUSED 443 Degraded "a configuration is refused"
"The node was told to read its configuration again (SIGHUP, `systemctl reload raftd`, `raftctl
config reload`), found a mistake, and goes on with what it had. It serves as before; but it would
not start with what is written there now, so its next restart would be its end. The line says which
file, which line and why. Mend it and reload: `raftctl config validate` tells whether it is right
before anything is taken."

CERTIFICATES_REFUSED 444 Degraded "new certificates are refused"
"Files took the place of those in use that the node cannot use: they do not belong together, are
those of another node or authority, are not valid now, or cannot be read. It goes on with those that
it had read, for as long as those are valid; after a restart it would have none. The line says what
is wrong. `raftctl cert show FILE` says whose a certificate is and how long it is
valid; put the right ones in place, and the node
takes them within ten seconds."

NO_SNAPSHOTS 445 Degraded "a snapshot cannot be made or received"
"The node needs a snapshot and cannot write it: its directory `snapshots` cannot be written, is on
another file system that is full, or the disk fails. Until it can, its log is not cut and grows; on
a leader, members that are far behind cannot be brought level (they are shown as behind or standing
still, and are not to blame); on such a member, it cannot catch up. The line says why. It is tried
again by itself, more and more seldom; `raftctl snapshot create` tries at once. Ten minutes after
the last failure the remark goes away."

PROMISES_NOT_STORED 446 Degraded "promises are not stored"
"Each node keeps on its disk what the other members have promised: how often they were started, in
which term, what they acknowledged. So it recognises a member whose data directory is older than
that. This node cannot write that file (`peers`); it still knows all of it, but after a restart it
would take an old copy for the latest. Look at the file's directory: who may write there, whether
anything of that name is in the way. It is tried again every ten seconds."

FILES_NOT_SAFE 447 Degraded "the log's files cannot be trusted"
"The node looks every second whether the files of its log are where it has put them. They cannot be
looked at, or were touched and what they held cannot be written once more. All that was acknowledged
is in the memory of the process and on the other members; but if it ended now, this node might lack
what it has acknowledged. Do not stop it. Mend what the line names (room on the disk, permissions,
open files), and the node writes everything anew by itself. If it has to end, let the other nodes be
up, and let it come back as one that has forgotten (`raftctl member heal`)."

NO_RESERVE 448 Degraded "no room is held in reserve"
"The node holds some room on its disk in a file, and gives it back when others fill the disk, so
that it can truncate, vote and stop in good order. That file cannot be made: the line says why.
Nothing is wrong as long as the disk has room. It is tried again every few seconds."

NO_METRICS 449 Degraded "no metrics"
"The address of `http.listen` in raftd.toml cannot be had, mostly because another process listens
there (`ss -ltnp`). The node serves, but whoever watches it sees nothing. It is tried again every
five seconds."

STATES_DIFFER 450 Degraded "states that differ"
"All nodes apply the same entries in the same order, so their states must be the same. Each keeps a
running digest of what applying did, and reports it to the leader, which compares. A node that
differs from a majority answers nothing from its state any more and does not lead; its log is whole,
so it votes and stores entries on. Where there is no majority, both sides are named and go on. The
usual cause is a machine of one's own that is not deterministic (a clock, randomness, the order of a
hash table, another version of the program), seldom a fault of memory. `raftctl verify --bisect`
names the first entry behind which the states differ; `raftctl log show` shows it. Put the machine
right first, then start raftd again on the node that differs: its state is set aside and made anew
from the log or from another member. Do not take a snapshot of it, and do not make it lead."

TROUBLE_UNKNOWN 451 Degraded "something that this raftctl does not know"
"The node's raftd is newer than this raftctl and tells of something that it cannot do; the line says
what and why. Use a raftctl of the same version: its `explain` has the page."

DIRECTORY_NOT_WRITABLE 452 Degraded "a data directory cannot be written"
"The node looks every five seconds whether a file could be made in its data directory and in those
below it, and it could not: the file system has become read-only (after an error: `dmesg`), or
somebody has taken the right away (`ls -ld`, `lsattr -d`). It answers and votes for as long as it
has nothing to write; its next write ends it, so it is not counted on. Nothing that was acknowledged
is lost. Look at the disk first; then `mount -o remount,rw`, or give the directory back: the remark
goes away by itself. A file system that was shut off by an error (ext4: emergency_ro) is not mounted
so: stop raftd, `umount`, `fsck`, `mount`. If the node has ended meanwhile, start it again."

DISK_SLOW 453 Done "a slow disk"
"One write of the log in a hundred, of the last half to whole minute, took half a second or longer
on this node; of few writes, it is the slowest. A command waits for the disks of a majority, so one
slow disk delays nobody for as long as the others are faster; a leader with one hands over to a
better one when writes take as long as an election timeout. But all wait as soon as another member
is away. Look at the machine: `iostat -x`, `dmesg`, other programs on the same disk, the limits of a
rented one."

NO_PLACES 454 Degraded "clients are refused: all places are taken"
"In the last minute the node has refused connections of clients, since it has as many as it takes
(limits.connections_max in raftd.toml): those that have a place are served, all others are not.
Operators and nodes have places of their own. `raftd_connections` and the log (refused-crowd) show
who comes; one certificate gets a quarter of the places at most. End what holds connections that it
does not use, or give the node more places and restart it. The remark goes away by itself
a minute after the last refusal."
}
