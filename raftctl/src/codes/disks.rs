//! Disks: what they have damaged, and what they have no room for.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
MENDED 480 Done "damage that was mended"
"Something on this node's disk was not as it was written, and has been mended, since the process
began: entries of the log by copies from another member, or the state, which was made anew from the
log or another member's snapshot. Nothing was lost, and nothing need be done for the cluster. But a
disk that has changed what it stored once does so again: look at it (`smartctl -a`, `dmesg`), and
replace it in time. The remark goes away with the next start of raftd; the log of the process keeps
it. `raftctl status -o json` says when log and state were last read from the disk and were whole
(logRead, stateRead)."

ALARM 490 Degraded "an alarm: disks have no room for more data"
"A member whose disk has no room for more data tells the leader, which raises an alarm for it
through the log: `raftctl alarm list`. One full disk stops nobody: the others take what it cannot,
and it catches up. If the voters without an alarm are no majority (while members change, of the old
or of the new voters), the leader refuses what adds data, and names them; the next leader does the
same. Reads, elections and deletions go on. Free space on those disks, enlarge them, or delete keys:
when there has been room for some seconds, the alarm is cleared, and data is taken again, by itself.
An alarm of a member that does not answer stays until it is heard again, or is removed."
}
