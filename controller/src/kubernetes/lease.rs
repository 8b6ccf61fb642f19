//! Leader election: of several replicas, one writes.
