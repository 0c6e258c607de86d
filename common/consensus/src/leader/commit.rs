//! Committing what a quorum holds on its disks (§3.6.2).

use super::Leader;
use super::progress::Progress;
use crate::core::Core;
use crate::rules::commit;

impl Leader {
    /// Commits what a quorum holds on its disks. The leader counts itself only for what is durable
    /// here (museum B20).
    pub(crate) fn advance_commit(&self, core: &mut Core) {
        let reached = self.quorum(core, core.durable(), Progress::matched);
        core.commit_to(commit::by_counting(core.log(), core.term(), core.commit(), reached));
    }
}
