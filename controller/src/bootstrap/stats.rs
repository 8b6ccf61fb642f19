//! Which of Envoy's stats are kept.

/// The stats of one upstream cluster that are *not* kept.
///
/// Envoy makes about 115 stats for every cluster, 26 KB each time, and nobody reads most of them. Kept are those that answer a
/// question about a backend: requests by class of status, retries, timeouts and resets, connections and connect failures,
/// health and size, open circuit breakers, TLS errors. Named are the ones to leave out, so that the stats of extensions
/// and of later Envoys stay.
pub(super) const CLUSTER_NOISE: &str = concat!(
    r"cluster\..*\.(",
    r"assignment_.*|bind_errors|client_ssl_socket_factory\..*|default\.total_match_count|(ex|in)ternal\..*|http[123]\..*|",
    r"circuit_breakers\.(high\..*|default\.(cx_pool_open|remaining_.*|rq_pending_open))|",
    r"lb_.*|max_host_weight|original_dst_.*|retry_or_shadow_abandoned|version|warming_state|(canary|zone)\..*|",
    r"outlier_detection\.ejections_(consecutive_5xx|detected_.*|enforced_[^t].*|success_rate|total)|",
    r"ssl\.((ciphers|curves|sigalgs|versions)\..*|no_certificate|ocsp_.*|session_reused|was_key_usage_invalid)|",
    r"update_(attempt|duration|empty|failure|no_rebuild|success)|",
    r"upstream_cx_(close_notify|connect_(attempts_exceeded|ms|with_0_rtt)|destroy.*|http[123]_total|idle_timeout|length_ms|",
    r"max_.*|none_healthy|overflow|pool_overflow|preconnect_skipped|[rt]x_bytes_.*)|",
    r"upstream_(flow_control_.*|http3_broken|internal_redirect_.*|queue_overloaded)|",
    r"upstream_rq_(0rtt|cancelled|completed|maintenance_mode|max_duration_reached|pending_(active|failure_eject|total)|",
    r"per_cx|per_try_idle_timeout|retry_backoff_.*|rx_reset_no_error)",
    r")",
);
