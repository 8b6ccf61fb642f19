//! The status writer.

mod layout;
mod merge;
