//! The durable log, the hard state and the ordered store.
