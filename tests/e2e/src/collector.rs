//! A real OpenTelemetry collector: what Envoy sends it, it hands on to an echo backend, in JSON.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::backend::Backend;
use crate::ports::Port;
use crate::wait::until;

/// A running collector; it stops when dropped.
pub struct Collector {
    child: Child,
    sink: Backend,
    port: Port,
    _directory: TempDir,
}

/// An entry of a log that the collector got.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Its body.
    pub body: String,
    attributes: Value,
    resource: Value,
}

impl LogRecord {
    /// An attribute as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        attribute(&self.attributes, key)
    }

    /// An attribute of its resource as text.
    pub fn of_resource(&self, key: &str) -> Option<String> {
        attribute(&self.resource, key)
    }
}

/// A span that the collector got.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// The attribute `service.name` of its resource.
    pub service: String,
    /// The identity of its trace, in hexadecimal.
    pub trace: String,
    /// The names of its events.
    pub events: Vec<String>,
    /// Its own attributes.
    attributes: Value,
    resource: Value,
}

impl Span {
    /// An attribute as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        attribute(&self.attributes, key)
    }

    /// An attribute of its resource as text.
    pub fn of_resource(&self, key: &str) -> Option<String> {
        attribute(&self.resource, key)
    }
}

impl Collector {
    /// Starts a collector that takes OTLP over gRPC.
    pub async fn start() -> Self {
        let sink = Backend::start("spans").await;
        let port = Port::reserve();
        let directory = tempfile::Builder::new().prefix("postern-otel-").tempdir().expect("a directory");
        let config = directory.path().join("config.yaml");
        let text = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{}'}}}}}}}}\n\
             exporters: {{otlphttp: {{endpoint: 'http://{}', encoding: json, compression: none}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines: {{traces: {{receivers: [otlp], exporters: [otlphttp]}}, logs: {{receivers: [otlp], exporters: [otlphttp]}}}}\n",
            port.number(),
            sink.address()
        );
        std::fs::File::create(&config).and_then(|mut file| file.write_all(text.as_bytes())).expect("write");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let child = Command::new(program())
            .arg(format!("--config={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the collector");
        let collector = Self { child, sink, port, _directory: directory };
        until("collector", || async {
            TcpStream::connect(collector.address()).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        collector
    }

    /// Where it takes spans.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    /// The entries of logs that it got so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        let seen = self.sink.seen();
        seen.iter().filter(|seen| seen.path == "/v1/logs").flat_map(|seen| logs(&seen.body)).collect()
    }

    /// The spans that it got so far.
    pub fn spans(&self) -> Vec<Span> {
        self.sink
            .seen()
            .iter()
            .filter(|seen| seen.path == "/v1/traces")
            .flat_map(|seen| spans(&seen.body))
            .collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `tests/setup/otel-collector.sh` builds.
fn program() -> PathBuf {
    let script = crate::postern::repository().join("tests/setup/otel-collector.sh");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().expect("run otel-collector.sh");
    assert!(output.status.success(), "{} failed", script.display());
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
}

/// The entries of an ExportLogsServiceRequest in JSON (OTLP specification).
fn logs(body: &str) -> Vec<LogRecord> {
    let request: Value = serde_json::from_str(body).expect("the collector sends JSON");
    let mut out = Vec::new();
    for resource in request["resourceLogs"].as_array().into_iter().flatten() {
        let scopes = resource["scopeLogs"].as_array().into_iter().flatten();
        for record in scopes.flat_map(|scope| scope["logRecords"].as_array().into_iter().flatten()) {
            out.push(LogRecord {
                body: record["body"]["stringValue"].as_str().unwrap_or_default().to_owned(),
                attributes: record["attributes"].clone(),
                resource: resource["resource"]["attributes"].clone(),
            });
        }
    }
    out
}

/// The spans of an ExportTraceServiceRequest in JSON (OTLP specification).
fn spans(body: &str) -> Vec<Span> {
    let request: Value = serde_json::from_str(body).expect("the collector sends JSON");
    let mut out = Vec::new();
    for resource in request["resourceSpans"].as_array().into_iter().flatten() {
        let service = attribute(&resource["resource"]["attributes"], "service.name").unwrap_or_default();
        let scopes = resource["scopeSpans"].as_array().into_iter().flatten();
        for span in scopes.flat_map(|scope| scope["spans"].as_array().into_iter().flatten()) {
            out.push(Span {
                name: span["name"].as_str().unwrap_or_default().to_owned(),
                service: service.clone(),
                trace: span["traceId"].as_str().unwrap_or_default().to_owned(),
                events: events(span),
                attributes: span["attributes"].clone(),
                resource: resource["resource"]["attributes"].clone(),
            });
        }
    }
    out
}

fn events(span: &Value) -> Vec<String> {
    let events = span["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["name"].as_str().map(str::to_owned)).collect()
}

fn attribute(list: &Value, key: &str) -> Option<String> {
    let entry = list.as_array()?.iter().find(|entry| entry["key"] == key)?;
    let value = entry["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
