//! What `postern run` tells.

use std::collections::BTreeSet;

use postern_translator::NamespacedName;
use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::publish::Blocked;
use crate::verdict::Verdict;

/// One thing to tell. Each is one line with `--output json`, named by its member `event`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// Everything was read and is on its way.
    Started {
        /// Postern's version.
        version: &'static str,
        /// Where xDS is served: `HOST:PORT` or `unix:PATH`.
        xds: Vec<String>,
        /// The version of the Envoys that are run; absent with `--no-envoy`.
        #[serde(skip_serializing_if = "Option::is_none")]
        envoy: Option<String>,
        /// The echo servers, as `NAME=ADDR:PORT`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        echo: Vec<String>,
        /// How many files are read.
        files: usize,
        /// How many objects they hold.
        objects: usize,
    },
    /// Files changed.
    Changed {
        /// The files.
        files: Vec<String>,
        /// How many objects changed.
        objects: usize,
        /// How many Envoy resources changed.
        resources: usize,
        /// Milliseconds for reading and parsing.
        read_ms: f64,
        /// Milliseconds for translating and publishing.
        translate_ms: f64,
    },
    /// Statuses that are new or changed.
    #[serde(rename = "status")]
    Statuses {
        /// The statuses.
        statuses: Vec<Verdict>,
        /// Objects that have no status any more.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        gone: Vec<String>,
        /// Objects of which a finding says more.
        #[serde(skip)]
        explained: BTreeSet<String>,
        /// True for the first statuses of this run.
        #[serde(skip)]
        first: bool,
    },
    /// Something is wrong with the input.
    Found(Diagnostic),
    /// Something is no longer wrong.
    Mended(Diagnostic),
    /// The Envoy of a Gateway has its configuration.
    Ready {
        /// The Gateway.
        gateway: String,
        /// Envoy's admin interface.
        admin: String,
    },
    /// A listener is served.
    Serving {
        /// The Gateway.
        gateway: String,
        /// The listener of the Gateway.
        listener: String,
        /// Its address, such as `http://127.0.0.1:8080`.
        url: String,
        /// The hostname that it serves, if not all.
        #[serde(skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
    },
    /// A listener is held back, because its port is taken.
    PortInUse {
        /// The Gateway.
        gateway: String,
        /// What is held back, and why.
        #[serde(flatten)]
        blocked: Blocked,
    },
    /// Envoy refused something. It keeps what it had under these names.
    Rejected {
        /// The Gateway.
        gateway: String,
        /// The type of the resources, such as `LDS`.
        resource_type: String,
        /// The names of the resources.
        names: Vec<String>,
        /// Envoy's words.
        error: String,
        /// What to do about it; may be empty.
        #[serde(skip_serializing_if = "String::is_empty")]
        remedy: String,
    },
    /// An Envoy process was started.
    EnvoyStarted {
        /// The Gateway.
        gateway: String,
        /// The process id.
        pid: u32,
    },
    /// An Envoy process ended without being asked to.
    EnvoyDied {
        /// The Gateway.
        gateway: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        last_lines: Vec<String>,
        /// When it is started again, in milliseconds.
        restart_in_ms: u64,
    },
    /// An Envoy wrote a warning or an error.
    EnvoyLog {
        /// The Gateway.
        gateway: String,
        /// `warning`, `error` or `critical`.
        level: &'static str,
        /// The component of Envoy.
        component: String,
        /// The text.
        text: String,
    },
    /// An Envoy connected.
    Connected {
        /// The node id, which is the Gateway.
        node: String,
        /// Its address; absent on a Unix socket.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// True if this Postern knows the Gateway.
        known: bool,
    },
    /// An Envoy disconnected.
    Disconnected {
        /// The node id.
        node: String,
    },
    /// A Gateway is gone, and so is its Envoy.
    GatewayRemoved {
        /// The Gateway.
        gateway: String,
    },
    /// A bug in Postern. What was good keeps serving.
    Bug {
        /// What went wrong.
        message: String,
    },
    /// The end has begun.
    Stopping {
        /// How many Envoys are to be drained.
        envoys: usize,
    },
    /// The end.
    Stopped,
}

impl RunEvent {
    /// The event that the Envoy of `gateway` refused `names`.
    pub fn rejected(
        gateway: &NamespacedName,
        resource_type: String,
        names: Vec<String>,
        error: &str,
    ) -> Self {
        let busy = error.contains("Address already in use") || error.contains("cannot bind");
        let remedy = if busy {
            "stop the process that has the port, or change the port of the listener in the Gateway"
        } else {
            "Postern should not have sent this: please report it, with the configuration from `postern translate`"
        };
        Self::Rejected {
            gateway: gateway.to_string(),
            resource_type,
            names,
            error: error.trim().to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}
