//! What is wrong here, before any node is asked.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
INTERNAL 1 Failed "unexpected failure"
"Something failed that raftctl did not expect. Run the command again with -v and report what it
prints."

USAGE 2 Usage "the command line makes no sense"
"A flag, argument or environment variable is missing, unknown or out of range. `raftctl COMMAND
--help` shows what a command takes, and which variables stand for flags."

LOCAL_FILE 3 Failed "a local file or directory cannot be used"
"A file or directory on this machine could not be read or written. The message names it and says
why: permissions, a full disk, something else in its place."

NO_CLUSTER 4 Usage "no cluster is named"
"The command needs to know where the cluster is. Use a context (`raftctl context use NAME`; `raftctl
init` and `raftctl dev` write one), or name endpoints and certificates with -e, --ca, --cert and
--key. `snapshot restore` needs the directory that `raftctl init` made, with the cluster's authority
(--dir): a backup is restored into the cluster that it is of, and a copy of that directory belongs
to every backup."

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

LOCKED 12 Refused "another raftctl is changing the same files"
"Files that several raftctl share, such as contexts.toml or a cluster's directory, are changed by
one at a time. Another one held the lock for longer than this one waits; nothing was changed. Run
the command again. One that waits for nodes (`raftctl init`, `raftctl member add`) keeps others from
adding some, and from replacing the authority, until it ends. If nothing helps, a raftctl is stopped
or hangs while it holds the lock: the message names the file or its directory, and `fuser -v` the
process."

BAD_VARIABLE 13 Usage "an environment variable makes no sense"
"The message names the variable, its text, and what may be there. Blanks and newlines around a text,
and empty items of a list, are ignored; a variable without a text is not set; switches are 1, true,
yes or on, or 0, false, no or off. A flag goes before its variable, whatever that says."
}
