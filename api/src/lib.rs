//! Types of the Kubernetes Gateway API v1.7.0, and of the extension kinds of `gateway.kgateway.dev/v1alpha1`.
//!
//! [`gateway_api`] has every kind of both channels, written by hand so that one struct serves wherever upstream has
//! one: one [`gateway_api::ParentReference`], one [`gateway_api::BackendRef`], one tree of filters. Nothing is
//! rejected that a newer API server could admit: enums are open and keep values that they do not know. Strings that
//! have a grammar of their own (regular expressions, durations, header names) stay strings here; whoever uses them
//! parses them at its border. Only [`duration`] is here, because both dialects of the extension kinds need it.
//!
//! [`kgateway`] has the extension kinds, and [`crds`] the CRDs that are generated from them. [`kubernetes`] has kinds of
//! Kubernetes itself that are served in several versions, [`multicluster`] those of the Multi-Cluster Services API.

#[macro_use]
mod macros;

pub mod crds;
pub mod duration;
pub mod gateway_api;
pub mod kgateway;
pub mod kubernetes;
pub mod multicluster;
