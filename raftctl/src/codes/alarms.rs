//! Alarms in the replicated state.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
ALARM 490 Degraded "an alarm: disks have no room for more data"
"A member whose disk has no room for more data tells the leader, which raises an alarm for it
through the log: `raftctl alarm list`. One full disk stops nobody: the others take what it cannot,
and it catches up. If the voters without an alarm are no majority (while members change, of the old
or of the new voters), the leader refuses what adds data, and names them; the next leader does the
same. Reads, elections and deletions go on. Free space on those disks, enlarge them, or delete keys:
when there has been room for some seconds, the alarm is cleared, and data is taken again, by itself.
An alarm of a member that does not answer stays until it is heard again, or is removed."
}
