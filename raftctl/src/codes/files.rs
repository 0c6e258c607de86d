//! Snapshots and data directories.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
DAMAGED 501 Corrupt "a file is not as it was written"
"A snapshot or the data directory of a stopped node is damaged: bytes have changed, are missing, or
were never written. The message names the place. Nothing was repaired or cut off. Take another
snapshot; replace a damaged node (`raftctl member replace`), so that it gets everything anew from
the others. The disk deserves a look."

FOREIGN_FILE 502 Refused "a file of another cluster or history"
"The snapshot or data directory belongs to another cluster, another node, or another generation of
this cluster, as the message says. Histories are never mixed: `snapshot restore` begins a new
generation from a snapshot of this cluster, and of no other. A cluster that `raftctl init` makes
anew is another one, whatever its name: `snapshot restore` needs the directory that `init` made the
first time, so keep a copy of it with the backups."

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
