//! External authorization. The header `x-do` of a request says what is answered: `allow`, `sign-in`, `slow`,
//! `elsewhere` or `fail`.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use envoy_types::pb::google::rpc;
use tonic::{Code, Request, Response, Status};

use super::{authority, set};

/// The service.
#[derive(Debug)]
pub(crate) struct Authorizer;

#[tonic::async_trait]
impl Authorization for Authorizer {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let asked_as = authority(&request);
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let context: BTreeMap<String, String> = attributes.context_extensions.into_iter().collect();
        let http = attributes.request.and_then(|it| it.http).unwrap_or_default();
        let wanted = http.headers.get("x-do").cloned().unwrap_or_default();
        let (kind, body) = if http.raw_body.is_empty() {
            ("text", http.body)
        } else {
            ("bytes", String::from_utf8_lossy(&http.raw_body).into_owned())
        };
        let mut seen = vec![
            set("x-auth-asked-as", &asked_as, false),
            set("x-auth-path", &http.path, false),
            set("x-auth-context", &format!("{context:?}"), false),
            set("x-auth-body", &format!("{kind}:{body}"), false),
        ];
        match wanted.as_str() {
            "allow" => Ok(Response::new(allow(seen))),
            "sign-in" => Ok(Response::new(deny(
                302,
                vec![
                    set("location", "https://login.example.com/?back=1", false),
                    set("set-cookie", "state=abc; HttpOnly", false),
                ],
            ))),
            "slow" => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Ok(Response::new(allow(seen)))
            }
            // What must not be believed, and what may be where routes are looked up anew.
            "elsewhere" => {
                seen.push(set("host", "evil.example", false));
                seen.push(set("x-tier", "gold", false));
                Ok(Response::new(allow(seen)))
            }
            "fail" => Err(Status::internal("as asked")),
            _ => Ok(Response::new(deny(401, vec![set("x-why", "no", false)]))),
        }
    }
}

fn answer(code: Code, response: check_response::HttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        http_response: Some(response),
        ..CheckResponse::default()
    }
}

fn allow(headers: Vec<HeaderValueOption>) -> CheckResponse {
    let response = OkHttpResponse { headers, ..OkHttpResponse::default() };
    let known = [("decided".to_owned(), Value { kind: Some(Kind::StringValue("yes".to_owned())) })];
    CheckResponse {
        dynamic_metadata: Some(Struct { fields: known.into_iter().collect() }),
        ..answer(Code::Ok, check_response::HttpResponse::OkResponse(response))
    }
}

fn deny(status: i32, headers: Vec<HeaderValueOption>) -> CheckResponse {
    let response =
        DeniedHttpResponse { status: Some(HttpStatus { code: status }), headers, body: "not you".to_owned() };
    answer(Code::PermissionDenied, check_response::HttpResponse::DeniedResponse(response))
}
