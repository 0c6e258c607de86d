//! Certificates: issuing, revoking and renewing them.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
OWN_CERTIFICATE 510 Refused "the certificate in use would be revoked"
"Whoever revokes the certificate that he uses is cut off before he hears whether it is done. Use
another operator's certificate for it: `raftctl cert issue NAME --role operator` makes one where the
authority is. To revoke an older certificate of one's own, name its file: what was made later
counts."

NODES_MISSING 511 NoLeader "not every node has taken it"
"While the authority is replaced, every member must trust both before certificates of the new one
are used, and must have one of them before the old one is dropped; else a node would be cut off. The
message names the nodes and why. Bring them back, or remove those that are gone for good, and run
the same command: it goes on. `raftctl cert rotate abort` goes back instead. A member whose
certificates were revoked, and that the others refuse, would be let in again by another one: renew
it by its name if it is to be, `raftctl cert renew NAME`, or remove it. The cluster serves all the
while."

OLD_CERTIFICATES 512 Refused "certificates of an authority that is to be dropped are in use"
"Programs and persons have certificates that the old authority has issued: they would be refused
from the moment on in which it is dropped. `raftctl cert renew ROLE/NAME` renews each for the key
that it has, signed by the new authority; bring the certificate, and the ca.crt with both
authorities, to where they are used. What nobody uses any more is dropped by --drop-issued.
`raftctl cert rotate abort` drops the new authority: what that one has signed meanwhile is signed by
the old one again. Bring those certificates to where they are used, and run it once more."

NO_ROTATION 513 Refused "no rotation is that far"
"`raftctl cert rotate begin` makes a new authority and lets everybody trust it beside the old one;
`finish` drops the old one; `abort` goes back before that. `raftctl cert rotate status` shows how
far it is. Rotate when the authority's key may be known to others, or before its certificate ends."

CLOCKS 514 Degraded "clocks differ"
"Certificates are judged by the clock of the machine that looks at them. One that is behind refuses
those that were made lately (\"not valid before\"), one that is ahead those that still count
(\"expired\"). The remark compares the nodes' clocks, and that of this machine, with the leader's.
Set the clock there: `timedatectl`, `chronyc tracking`. Nothing in the log or the state depends on
it; a node that did not start for it (exit code 74) is started again by its unit."
}
