//! How long certificates count.

use std::time::Duration;

use certs::DEFAULT_LEAF_VALIDITY;
use clap::Args;

use crate::values;

/// A day, in seconds.
pub(super) const DAY_S: u64 = 86_400;

/// How long a certificate counts from now on.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Lifetime {
    /// How long they count from now on; never longer than the authority's own
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_LEAF_VALIDITY.as_secs() / DAY_S)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=36_525))]
    days: u64,

    /// The same for less than a day, as 10m: for certificates that are renewed by a program
    #[arg(long, value_name = "DURATION", conflicts_with = "days", value_parser = values::duration)]
    lifetime: Option<Duration>,
}

impl Lifetime {
    /// Returns it.
    pub(super) fn duration(self) -> Duration {
        self.lifetime.unwrap_or(Duration::from_secs(self.days * DAY_S))
    }
}
