//! What an oracle reports.

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) why: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, why: impl Into<String>) -> Self {
        Self { invariant, why: why.into() }
    }
}
