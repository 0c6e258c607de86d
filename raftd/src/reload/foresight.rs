//! What would become of a configuration's certificates if they were taken now.

use certs::Credentials;
use protocol::CertificatesRead;
use transport::Presented;

use super::{again, stored};
use crate::config::{Certificates, Config};
use crate::exit::Failure;

/// Sees what a node would do with certificates, and does nothing. It outlives the node, and must
/// not keep its socket.
#[derive(Clone, Debug)]
pub(crate) struct Foresight(pub(super) Presented);

impl Foresight {
    /// Reads the certificates that a configuration names, and says what the node would do with
    /// them. Waits for the disk.
    pub(crate) fn look(&self, config: &Config) -> CertificatesRead {
        let present = self.0.now();
        match self.read(config, &present) {
            Ok(read) => {
                let until_s = i64::try_from(read.usable_until()).unwrap_or(i64::MAX);
                match read.is_same_as(&present) {
                    true => CertificatesRead::Unchanged(until_s),
                    false => CertificatesRead::Replaced(until_s),
                }
            }
            Err(why) => CertificatesRead::Refused(why),
        }
    }

    fn read(&self, config: &Config, present: &Credentials) -> Result<Credentials, String> {
        let stored = stored::place(&config.data_dir);
        let read =
            again(&config.certificates, &stored).map_err(|failure: Failure| failure.message)?;
        read.may_succeed(present)?;
        Ok(read)
    }
}

/// Says whether two configurations name the same certificates.
pub(crate) fn names_same(one: &Certificates, other: &Certificates) -> bool {
    super::paths(one) == super::paths(other)
}
