//! The parts of BackendConfigPolicy that choose endpoints: load balancing, health checks, outlier detection.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{exactly_one, go_duration};

const ALGORITHMS: &[(&str, &str)] =
    &[("leastRequest", ""), ("roundRobin", ""), ("ringHash", ""), ("maglev", ""), ("random", "")];
const HASHED: &[(&str, &str)] = &[("header", ""), ("cookie", ""), ("sourceIP", "")];
const CHECKS: &[(&str, &str)] = &[("http", ""), ("grpc", "")];

/// How requests are spread over the endpoints of a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(ALGORITHMS))]
pub struct LoadBalancer {
    /// While less than this percentage of the endpoints is well, requests go to all of them. Defaults to 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub healthy_panic_threshold: Option<u32>,
    /// Changes of health and metadata within this time are taken in together. Defaults to 1s; 0s means at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub update_merge_window: Option<String>,
    /// The less loaded of some endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_request: Option<LeastRequest>,
    /// One after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_robin: Option<RoundRobin>,
    /// By the hash of something of the request; few requests move when endpoints come and go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_hash: Option<RingHash>,
    /// By the hash of something of the request; faster than ringHash, and more requests move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maglev: Option<Maglev>,
    /// By chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<RandomChoice>,
    /// How zones are weighed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality_type: Option<LocalityType>,
    /// Whether all connections are closed when endpoints come and go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_connections_on_host_set_change: Option<bool>,
}

open_enum! {
    /// How zones are weighed.
    pub enum LocalityType {
        /// By the weights that they have: that of a zone is the number of its endpoints.
        WeightedLb,
    }
}

/// The less loaded of some endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeastRequest {
    /// How many endpoints are compared, at least 2. Defaults to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub choice_count: Option<u32>,
    /// Fewer requests for endpoints that are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

/// One after the other.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundRobin {
    /// Fewer requests for endpoints that are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

/// By chance.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RandomChoice {}

/// Fewer requests for endpoints that are new.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowStart {
    /// How long an endpoint is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub window: Option<String>,
    /// How the share grows, a number above 0: with 1 by the time that passed, with more it is faster. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub aggression: Option<String>,
    /// The share at first, in percent of the full one. Defaults to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_weight_percent: Option<u32>,
}

/// By the place of a hash on a ring.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minimumRingSize) || !has(self.maximumRingSize) || self.minimumRingSize <= self.maximumRingSize").message("minimumRingSize must not be more than maximumRingSize: lower it, or raise maximumRingSize"))]
pub struct RingHash {
    /// Least number of places on the ring, at most 8388608. Defaults to 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 8_388_608))]
    pub minimum_ring_size: Option<u64>,
    /// Greatest number of places on the ring, at most 8388608, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 8_388_608))]
    pub maximum_ring_size: Option<u64>,
    /// Whether the names of endpoints count, not their addresses: a pod of a StatefulSet keeps its place when it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_hostname_for_hashing: Option<bool>,
    /// What of a request is hashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub hash_policies: Vec<HashPolicy>,
}

/// By the place of a hash in a table.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Maglev {
    /// Whether the names of endpoints count, not their addresses: a pod of a StatefulSet keeps its place when it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_hostname_for_hashing: Option<bool>,
    /// What of a request is hashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub hash_policies: Vec<HashPolicy>,
}

/// What of a request is hashed.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(HASHED))]
pub struct HashPolicy {
    /// A header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HashedHeader>,
    /// A cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<HashedCookie>,
    /// The IP address of the client.
    #[serde(rename = "sourceIP", default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<HashedSourceIp>,
    /// Whether those behind this one count only where the request does not have this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<bool>,
}

/// A header that is hashed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashedHeader {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}

/// A cookie that is hashed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashedCookie {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Path of the cookie that clients get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,
    /// How long clients keep it. Without this, clients that do not send the cookie get none; 0s is until they end their session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub ttl: Option<String>,
    /// Whether clients send it over TLS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// Whether scripts do not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_only: Option<bool>,
    /// Whether clients send it with requests that other sites make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
}

open_enum! {
    /// Whether clients send a cookie with requests that other sites make.
    pub enum SameSite {
        /// Never.
        Strict,
        /// When the user goes there.
        Lax,
        /// Always.
        None,
    }
}

/// The IP address of the client is hashed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct HashedSourceIp {}

/// Requests that find out which endpoints are well.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(CHECKS))]
pub struct BackendHealthCheck {
    /// How long an endpoint may take to answer.
    #[schemars(schema_with = "go_duration")]
    pub timeout: String,
    /// Time between two checks of an endpoint.
    #[schemars(schema_with = "go_duration")]
    pub interval: String,
    /// So many checks in a row must fail before an endpoint gets no requests.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub unhealthy_threshold: u32,
    /// So many checks in a row must succeed before an endpoint gets requests again.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub healthy_threshold: u32,
    /// Checks by HTTP: 200 is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHealthCheck>,
    /// Checks by the health service of gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealthCheck>,
}

/// Checks by HTTP.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHealthCheck {
    /// Host header. Defaults to the name of the backend in its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub host: Option<String>,
    /// Path.
    #[schemars(length(min = 1, max = 2048))]
    pub path: String,
    /// Method. Defaults to GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HealthCheckMethod>,
}

open_enum! {
    /// Method of a health check.
    pub enum HealthCheckMethod, default Get {
        /// GET
        Get = "GET",
        /// HEAD
        Head = "HEAD",
        /// POST
        Post = "POST",
        /// PUT
        Put = "PUT",
        /// DELETE
        Delete = "DELETE",
        /// OPTIONS
        Options = "OPTIONS",
        /// TRACE
        Trace = "TRACE",
        /// PATCH
        Patch = "PATCH",
    }
}

/// Checks by the health service of gRPC (`grpc.health.v1.Health`).
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcHealthCheck {
    /// The service that is asked about. Without it, the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub service_name: Option<String>,
    /// The `:authority` of the call. Defaults to the name of the backend in its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub authority: Option<String>,
}

/// Leaving out endpoints that fail.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// So many failures in a row take an endpoint out; 0 means that none do. Defaults to 5.
    #[serde(rename = "consecutive5xx", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub consecutive_5xx: Option<u32>,
    /// How often it is looked who may come back. Defaults to 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub interval: Option<String>,
    /// How long an endpoint is out, times how often it was. Defaults to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub base_ejection_time: Option<String>,
    /// How many of the endpoints may be out, in percent. Defaults to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: Option<u32>,
}
