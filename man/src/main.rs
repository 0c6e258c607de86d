//! man.
fn main() {}
