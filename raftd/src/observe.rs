//! What monitoring sees of a node: counts and histograms that are kept while it runs, the state as
//! its loop last posted it, and the HTTP port that shows both.
//!
//! The loop, the lanes and the handshakes count with atomic additions, and the loop posts its state
//! about once a second. A scrape reads what is there, on a thread of its own: it asks the loop
//! nothing, so that no scrape can hold up a heartbeat, and a loop that hangs is still reported.

pub(crate) mod board;
pub(crate) mod catalogue;
pub(crate) mod counted;
mod exposition;
mod histogram;
pub(crate) mod http;
mod probe;
mod shown;

pub use catalogue::Row;

/// Returns a row for each metric, in the order in which they are shown: the page of the manual and
/// the tests are made of it.
pub fn metrics() -> Vec<Row> {
    exposition::Exposition::new(&board::Board::default()).into_rows()
}
