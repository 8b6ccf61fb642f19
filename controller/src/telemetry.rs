//! Health, metrics and the servers that show them.
