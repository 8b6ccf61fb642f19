//! The watches against a real API server: its definitions come and go, it dies and comes back, it refuses.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used)]

mod definitions;
mod forbidden;
mod invalid;
mod outage;
mod references;
mod scope;
mod server;
mod sync;
mod watched;

/// An HTTPRoute.
fn route(namespace: &str, name: &str, port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{namespace: {namespace}, name: {name}}}\nspec:\n  \
         parentRefs: [{{name: web}}]\n  rules: [{{backendRefs: [{{name: echo, port: {port}}}]}}]\n"
    )
}

/// A Secret.
fn secret(namespace: &str, name: &str, word: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{namespace: {namespace}, name: {name}}}\nstringData: {{word: {word}}}\n"
    )
}
