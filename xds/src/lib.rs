//! Delta xDS.
