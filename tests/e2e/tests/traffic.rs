//! What a user would notice, theme by theme, through a real Envoy.

#![allow(clippy::unwrap_used, clippy::format_collect)] // a test fails where it is surprised

#[path = "traffic/access_log_filters.rs"]
mod access_log_filters;
#[path = "traffic/access_logs.rs"]
mod access_logs;
#[path = "traffic/auto_host.rs"]
mod auto_host;
#[path = "traffic/backend_config.rs"]
mod backend_config;
#[path = "traffic/backend_tls.rs"]
mod backend_tls;
#[path = "traffic/backends.rs"]
mod backends;
#[path = "traffic/client_certificates.rs"]
mod client_certificates;
#[path = "traffic/cors.rs"]
mod cors;
#[path = "traffic/default_gateways.rs"]
mod default_gateways;
#[path = "traffic/delegation.rs"]
mod delegation;
#[path = "traffic/dialects.rs"]
mod dialects;
#[path = "traffic/ext_auth.rs"]
mod ext_auth;
#[path = "traffic/ext_proc.rs"]
mod ext_proc;
#[path = "traffic/extension_failures.rs"]
mod extension_failures;
#[path = "traffic/extensions.rs"]
mod extensions;
#[path = "traffic/external_auth.rs"]
mod external_auth;
#[path = "traffic/external_names.rs"]
mod external_names;
#[path = "traffic/forward_proxy.rs"]
mod forward_proxy;
#[path = "traffic/gateways.rs"]
mod gateways;
#[path = "traffic/grpc.rs"]
mod grpc;
#[path = "traffic/guards.rs"]
mod guards;
#[path = "traffic/headers.rs"]
mod headers;
#[path = "traffic/hostnames.rs"]
mod hostnames;
#[path = "traffic/https.rs"]
mod https;
#[path = "traffic/listener_policies.rs"]
mod listener_policies;
#[path = "traffic/listener_sets.rs"]
mod listener_sets;
#[path = "traffic/listener_tracing.rs"]
mod listener_tracing;
#[path = "traffic/log_services.rs"]
mod log_services;
#[path = "traffic/matching.rs"]
mod matching;
#[path = "traffic/mirrors.rs"]
mod mirrors;
#[path = "traffic/policies.rs"]
mod policies;
#[path = "traffic/policy_targets.rs"]
mod policy_targets;
#[path = "traffic/rate_limit_global.rs"]
mod rate_limit_global;
#[path = "traffic/rate_limit_redis.rs"]
mod rate_limit_redis;
#[path = "traffic/redirects.rs"]
mod redirects;
#[path = "traffic/references.rs"]
mod references;
#[path = "traffic/resilience.rs"]
mod resilience;
#[path = "traffic/rewrites.rs"]
mod rewrites;
#[path = "traffic/service_imports.rs"]
mod service_imports;
#[path = "traffic/sessions.rs"]
mod sessions;
#[path = "traffic/tcp.rs"]
mod tcp;
#[path = "traffic/telemetry.rs"]
mod telemetry;
#[path = "traffic/telemetry_calls.rs"]
mod telemetry_calls;
#[path = "traffic/tls_routes.rs"]
mod tls_routes;
#[path = "traffic/transformation.rs"]
mod transformation;
#[path = "traffic/udp.rs"]
mod udp;
#[path = "traffic/x_backends.rs"]
mod x_backends;
