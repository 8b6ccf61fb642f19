//! What a running controller knows, for people to look at.
