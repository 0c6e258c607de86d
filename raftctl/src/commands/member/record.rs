//! The bootstrap record that newcomers get: the one of the cluster that they come to.

use protocol::BootstrapRecord;

use crate::bundle::Bundles;
use crate::change::Present;
use crate::codes;
use crate::report::{Report, Result};

/// Returns the bootstrap record of the cluster.
///
/// # Errors
/// If there is none beside the authority, or it is not the one of the cluster that answers: whoever
/// got it would belong to a history that may be nowhere.
pub(super) fn record(bundles: &Bundles, present: &Present) -> Result<BootstrapRecord> {
    let shown = bundles.directory().display();
    let record = bundles
        .record()?
        .ok_or_else(|| Report::new(codes::NO_RECORD, format!("{shown} has no bootstrap record")))?;
    let theirs = present.survey.leader().and_then(|leader| leader.generation);
    let Some(theirs) = theirs.filter(|theirs| *theirs != record.generation()) else {
        return Ok(record);
    };
    let place = bundles.record_path();
    let (place, ours) = (place.display(), record.generation().short());
    let why = match bundles.is_begun(&record) {
        true => "it was stored for a restore that has not ended",
        false => "it is that of a restore whose node does not lead here, or of before one",
    };
    let message = format!(
        "{place} is the record of generation {ours}, and the cluster that answers is of {}: {why}",
        theirs.short()
    );
    let report = Report::new(codes::OTHER_RECORD, message);
    let report = match bundles.former_of(theirs)? {
        Some(former) => {
            let former = former.display();
            report.help(format!("mv {former} {place}    (if that restore is given up)"))
        }
        None => report.help(format!("bring the record of generation {theirs} to {place}")),
    };
    Err(report.help("raftctl explain R0464    (what else it may be)"))
}
