//! `envoy.service.ratelimit.v3.RateLimitService`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use limitador::errors::LimitadorError;
use limitador::limit::Context;
use limitador::{AsyncRateLimiter, CheckResult};
use tonic::{Request, Response, Status};

/// Answers with what limitador counts.
pub(crate) struct Limiter {
    limiter: Arc<AsyncRateLimiter>,
}

impl Limiter {
    pub(crate) fn new(limiter: AsyncRateLimiter) -> Self {
        Self { limiter: Arc::new(limiter) }
    }
}

#[tonic::async_trait]
impl RateLimitService for Limiter {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        if request.domain.is_empty() {
            return Err(Status::invalid_argument("the request has no domain"));
        }
        if request.descriptors.iter().any(|it| it.limit.is_some() || it.hits_addend.is_some()) {
            return Err(Status::unimplemented("limits and hits of single descriptors are not supported"));
        }
        let limiter = Arc::clone(&self.limiter);
        // limitador panics where a condition names a descriptor that the request does not have: that is this request's end only.
        let counted = tokio::spawn(async move { count(&limiter, request).await }).await;
        let result = counted.map_err(|error| Status::internal(error.to_string()))?;
        result.map(answer).map(Response::new)
    }
}

/// Counts a request, unless it is above a limit.
async fn count(limiter: &AsyncRateLimiter, request: RateLimitRequest) -> Result<CheckResult, Status> {
    let mut context = Context::default();
    context.list_binding("descriptors".to_owned(), request.descriptors.into_iter().map(entries).collect());
    // As the protocol says of 0.
    let hits = request.hits_addend.max(1);
    limiter.check_rate_limited_and_update(&request.domain.into(), &context, hits.into()).await.map_err(status)
}

fn entries(descriptor: RateLimitDescriptor) -> HashMap<String, String> {
    descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

fn status(error: LimitadorError) -> Status {
    match error {
        LimitadorError::StorageError(error) => Status::unavailable(error.to_string()),
        LimitadorError::InterpreterError(error) => Status::internal(error.to_string()),
    }
}

fn answer(mut result: CheckResult) -> RateLimitResponse {
    let headers: BTreeMap<String, String> = result.response_header().into_iter().collect();
    let header = |(key, value): (String, String)| HeaderValue {
        key: key.to_lowercase(),
        value,
        ..HeaderValue::default()
    };
    RateLimitResponse {
        overall_code: if result.limited { Code::OverLimit } else { Code::Ok }.into(),
        response_headers_to_add: headers.into_iter().map(header).collect(),
        ..RateLimitResponse::default()
    }
}
