//! `postern controller`: everything wired together, until told to stop.
