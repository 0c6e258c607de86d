//! What a node cannot do though it serves, as it tells of it.

use client::{NodeStatus, Trouble, TroubleReport};

use crate::cluster::remarks::Remark;
use crate::codes;
use crate::output::units;

/// Says what a node of this name cannot do.
pub(crate) fn troubles(name: &str, status: &NodeStatus) -> Vec<Remark> {
    status.troubles.iter().map(|trouble| remark(name, trouble)).collect()
}

/// Says whether a node answers and votes, but will end with its next write.
pub(crate) fn is_about_to_end(status: &NodeStatus) -> bool {
    status.troubles.iter().any(|trouble| trouble.what == Trouble::Directory)
}

fn remark(name: &str, trouble: &TroubleReport) -> Remark {
    let (why, ago) = (units::printable(trouble.why.as_bytes()), units::age(trouble.for_ms));
    let (what, code) = match trouble.what {
        Trouble::Settings => {
            (format!("has refused its configuration for {ago}: {why}"), codes::SETTINGS_REFUSED)
        }
        Trouble::Certificates => {
            let text = format!("has refused its new certificates for {ago}: {why}");
            (text, codes::CERTIFICATES_REFUSED)
        }
        Trouble::Snapshots => (format!("for {ago}, {why}"), codes::NO_SNAPSHOTS),
        Trouble::Promises => {
            let text = format!("for {ago}, it has stored no promise of other members: {why}");
            (text, codes::PROMISES_NOT_STORED)
        }
        Trouble::Files => (
            format!("for {ago}, the files of its log cannot be looked at or made whole: {why}"),
            codes::FILES_NOT_SAFE,
        ),
        Trouble::Reserve => (format!("for {ago}, {why}"), codes::NO_RESERVE),
        Trouble::Metrics => (format!("for {ago}, it {why}"), codes::NO_METRICS),
        Trouble::Directory => {
            (format!("its next write will end it: for {ago}, {why}"), codes::DIRECTORY_NOT_WRITABLE)
        }
        Trouble::Places => (format!("for {ago}, it has refused clients: {why}"), codes::NO_PLACES),
        Trouble::Other => (
            format!("for {ago}, something that this raftctl does not know: {why}"),
            codes::TROUBLE_UNKNOWN,
        ),
    };
    (format!("{name}: {what}"), code)
}
