//! Types of the Gateway API and of the extension resources.
