//! The features of the conformance suite that Postern supports, in one table.
