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
}
