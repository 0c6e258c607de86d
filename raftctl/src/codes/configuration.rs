//! Configurations of nodes.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
CONFIG_REFUSED 560 Refused "a configuration that was read again is refused"
"The node has read raftd.toml and raftd.d/*.toml again, and something in them is wrong; the message
names the file, the line and the key. The node goes on with the configuration that it had, and says
so in its log and in `systemctl status`. But it would not start with these files: mend them before
anything restarts it. `raftctl config reload NODE --dry-run` looks at them again and changes
nothing, and on the node's machine `raftd --check-config` checks the certificates as well."

CONFIG_PARTIAL 561 Partial "not every node has answered about its configuration"
"What the others have answered stands above, and was done there. A node that does not answer has
changed nothing; `raftctl status` says why it is silent. Ask again when it is back: asking twice
does no harm."

CONFIG_INVALID 562 BadConfiguration "raftd would not start with this configuration"
"The file, or one of the directory beside it (raftd.toml has raftd.d/*.toml), was read by raftd
itself, and is wrong; the message names the file, the line and the key, and the exit code is the one
that raftd would end with at a start: 78 for what an operator must mend here, 74 for what may pass
by itself, such as a certificate that is not valid yet. raftd.toml(5) has all keys with their
bounds. Certificates are looked for where the file says; if they are on the node's machine only,
leave them out with --without-certificates, and let the node itself look with `raftctl config reload
NODE --dry-run`."

ADVERTISED 563 Done "a node advertises another address than it is dialled at"
"raftd.toml of the node says with `advertise` where others reach it, and the configuration in the
log, by which the other nodes and clients go, has another address for it. One of the two is wrong.
If the node has moved: `raftctl member update NAME --address HOST:PORT`, by which the leader dials
it at the new address before it writes anything. If the file is old: mend `advertise`, or leave it
out, and restart raftd there. A node that the others reach at the old address serves all the
while."
}
