//! Postern in a real cluster, whichever `KUBECONFIG` names. `make e2e` brings one up, and runs these.
//!
//! Tests run side by side: one that keeps to a namespace of its own takes `Cluster::shared()`, one that disturbs
//! others `Cluster::alone()`.

// A helper of tests has nobody to return an error to: it fails the test.
#![allow(clippy::unwrap_used)]

mod authority;
mod connections;
mod deploy;
mod events;
mod first_steps;
mod gateway_parameters;
mod gateway_parameters_fields;
mod gateways;
mod harness;
mod kgateway;
mod lease;
mod listener_sets;
mod outage;
mod provisioner;
mod proxies;
mod proxy_tokens;
mod rbac;
mod relay;
mod replicas;
mod status_writer;
