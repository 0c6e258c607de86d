//! Certificates: issuing, revoking and renewing them.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
OWN_CERTIFICATE 500 Refused "the certificate in use would be revoked"
"Whoever revokes the certificate that he uses is cut off before he hears whether it is done. Use
another operator's certificate for it: `raftctl cert issue NAME --role operator` makes one where the
authority is. To revoke an older certificate of one's own, name its file: what was made later counts."
}
