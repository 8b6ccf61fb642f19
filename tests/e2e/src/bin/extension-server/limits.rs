//! Rate limits. A descriptor with the entry `limit` may be seen so often, others as often as anybody likes; what was counted is
//! in the header `x-counted` of answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit, rate_limit::Unit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf;
use tonic::{Request, Response, Status};

use super::authority;

/// The service: how often each descriptor of each domain was seen.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    counts: Mutex<BTreeMap<String, u32>>,
}

#[tonic::async_trait]
impl RateLimitService for Limiter {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let asked_as = authority(&request);
        let request = request.into_inner();
        let mut statuses = Vec::new();
        let mut counted = Vec::new();
        for descriptor in &request.descriptors {
            let entries: Vec<String> =
                descriptor.entries.iter().map(|entry| format!("{}={}", entry.key, entry.value)).collect();
            let of = |key: &str| descriptor.entries.iter().find(|entry| entry.key == key);
            if of("wait").is_some() {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            let entries = entries.join(",");
            let limit: Option<u32> = of("limit").and_then(|entry| entry.value.parse().ok());
            statuses.push(self.count(&format!("{}:{entries}", request.domain), limit));
            counted.push(entries);
        }
        let over = statuses.iter().any(|status| status.code == i32::from(Code::OverLimit));
        let header = envoy_types::pb::envoy::config::core::v3::HeaderValue {
            key: "x-counted".to_owned(),
            value: format!("{asked_as} {} {}", request.domain, counted.join(";")),
            ..Default::default()
        };
        Ok(Response::new(RateLimitResponse {
            overall_code: if over { Code::OverLimit } else { Code::Ok }.into(),
            statuses,
            response_headers_to_add: vec![header],
            ..RateLimitResponse::default()
        }))
    }
}

impl Limiter {
    fn count(&self, name: &str, limit: Option<u32>) -> DescriptorStatus {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        let Some(limit) = limit else {
            return DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
        };
        DescriptorStatus {
            code: if *count > limit { Code::OverLimit } else { Code::Ok }.into(),
            current_limit: Some(RateLimit {
                requests_per_unit: limit,
                unit: Unit::Hour.into(),
                ..RateLimit::default()
            }),
            limit_remaining: limit.saturating_sub(*count),
            duration_until_reset: Some(protobuf::Duration { seconds: 60, nanos: 0 }),
            ..DescriptorStatus::default()
        }
    }
}
