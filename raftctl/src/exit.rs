//! How the process ends.

/// The exit codes of every command, as in the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exit {
    /// 0: done, healthy.
    Done,
    /// 1: unexpected failure.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: no such member, key or file.
    Absent,
    /// 4: TLS, authentication or authorisation.
    Denied,
    /// 5: refused by a safety rule or a changed precondition.
    Refused,
    /// 6: the deadline passed, the outcome is unknown.
    Unknown,
    /// 7: no leader or no quorum.
    NoLeader,
    /// 8: not confirmed.
    NotConfirmed,
    /// 9: verification failed.
    Corrupt,
    /// 10: the cluster is unhealthy.
    Unhealthy,
    /// 11: degraded but serving.
    Degraded,
    /// 12: partial success.
    Partial,
    /// 130: interrupted.
    Interrupted,
    /// 143: terminated.
    Terminated,
    /// As raftd would end with the configuration that was looked at.
    OfRaftd(u8),
}

impl Exit {
    /// 78: raftd would not start with this configuration.
    #[allow(non_upper_case_globals, reason = "it is named like the variants")]
    pub(crate) const BadConfiguration: Self = Self::OfRaftd(78);

    /// Returns the number that the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Absent => 3,
            Self::Denied => 4,
            Self::Refused => 5,
            Self::Unknown => 6,
            Self::NoLeader => 7,
            Self::NotConfirmed => 8,
            Self::Corrupt => 9,
            Self::Unhealthy => 10,
            Self::Degraded => 11,
            Self::Partial => 12,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::OfRaftd(code) => code,
        }
    }
}
