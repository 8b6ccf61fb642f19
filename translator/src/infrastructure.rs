//! What has to exist in a cluster for the proxies of a Gateway.
