//! Kubernetes Events on the objects that people look at.
