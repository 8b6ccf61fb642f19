//! The benchmark of the local mode; see the crate's documentation.

fn main() {}
