//! What TLS to clients and TLS to backends have in common: certificates of authorities, names in certificates, options.

pub(crate) mod authorities;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod secret;
