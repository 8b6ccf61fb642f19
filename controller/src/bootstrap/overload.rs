//! What Envoy does when there is too much, and, by the same means, when it is about to end
//! ([ADR 7](../../../docs/adr/0007-ending-a-proxy.md)).

use serde_json::{Value, json};

/// Where a proxy in a cluster has a directory that the program which drains it can write.
pub const RUN_DIRECTORY: &str = "/run/postern";

/// The file in [`RUN_DIRECTORY`] that makes Envoy end idle connections. What it says is a pressure: 0, as at first and when there is no
/// file, or 1.
pub const IDLE_SIGNAL_FILE: &str = "end-idle-connections";

const IDLE_SIGNAL: &str = "envoy.resource_monitors.injected_resource";

pub(super) fn manager(idle_signal: Option<&str>) -> Value {
    let mut manager = json!({"resource_monitors": [{
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": 50_000,
        },
    }]});
    if let (Some(file), Some(monitors)) = (idle_signal, manager["resource_monitors"].as_array_mut()) {
        monitors.push(json!({
            "name": IDLE_SIGNAL,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
                "filename": file,
            },
        }));
        // An idle HTTP/1.1 connection is closed, an HTTP/2 connection gets GOAWAY first; a request that comes meanwhile is
        // answered.
        manager["actions"] = json!([{
            "name": "envoy.overload_actions.reduce_timeouts",
            "triggers": [{"name": IDLE_SIGNAL, "threshold": {"value": 0.9}}],
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                "timer_scale_factors": [{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "1s"}],
            },
        }]);
    }
    manager
}
