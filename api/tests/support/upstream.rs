//! The upstream Gateway API that tests compare with, and our types by the name of their kind.

#![allow(dead_code, reason = "not every test that includes this file needs all of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use postern_api::gateway_api::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant, TcpRoute,
    TlsRoute, UdpRoute, XBackend, XBackendTrafficPolicy, XTelemetryPolicy,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The module `sigs.k8s.io/gateway-api`.
pub(crate) fn gateway_api() -> PathBuf {
    env::var_os("POSTERN_GATEWAY_API_DIR").map_or_else(|| cache().join("gateway-api"), PathBuf::from)
}

/// The module `sigs.k8s.io/gateway-api/conformance`.
pub(crate) fn conformance() -> PathBuf {
    env::var_os("POSTERN_CONFORMANCE_DIR").map_or_else(|| cache().join("conformance"), PathBuf::from)
}

/// What the set-up script fetched. It runs once in a process.
fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/setup/gateway-api.sh");
        let output = Command::new(&script).output().expect("tests/setup/gateway-api.sh starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} failed: {errors}", script.display());
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
    })
}

/// All YAML files below a directory, sorted.
pub(crate) fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries =
            fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// What became of an object that was read into our type and written again.
pub(crate) struct Passed {
    /// The object as it was written.
    pub(crate) written: Value,
    /// Paths of fields that the type does not have.
    pub(crate) unknown_fields: Vec<String>,
    /// The type's `Debug` form, which shows values that an open enum does not know as `Unknown("…")`.
    pub(crate) debug: String,
}

fn pass<T: DeserializeOwned + Serialize + std::fmt::Debug>(
    object: &Value,
) -> Result<Passed, serde_json::Error> {
    let mut unknown_fields = Vec::new();
    let read: T = serde_ignored::deserialize(object, |path| unknown_fields.push(path.to_string()))?;
    Ok(Passed { written: serde_json::to_value(&read)?, unknown_fields, debug: format!("{read:?}") })
}

/// A kind of the Gateway API, as our type has it.
pub(crate) struct Kind {
    /// API group.
    pub(crate) group: &'static str,
    /// Kind.
    pub(crate) kind: &'static str,
    /// Versions that the type reads.
    pub(crate) versions: &'static [&'static str],
    /// Passes an object through the type.
    pub(crate) pass: fn(&Value) -> Result<Passed, serde_json::Error>,
}

macro_rules! kinds {
    ($($type:ident),+) => {
        &[$( Kind { group: $type::GROUP, kind: $type::KIND, versions: $type::SERVED_VERSIONS, pass: pass::<$type> } ),+]
    };
}

/// The kinds of both channels.
pub(crate) const KINDS: &[Kind] = kinds![
    BackendTlsPolicy,
    Gateway,
    GatewayClass,
    GrpcRoute,
    HttpRoute,
    ListenerSet,
    ReferenceGrant,
    TcpRoute,
    TlsRoute,
    UdpRoute,
    XBackend,
    XBackendTrafficPolicy,
    XTelemetryPolicy
];

/// Our type for a kind, when there is one.
pub(crate) fn find(group: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| (known.group, known.kind) == (group, kind))
}
