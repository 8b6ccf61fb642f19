//! From the desired infrastructure of a Gateway to objects in the cluster.
