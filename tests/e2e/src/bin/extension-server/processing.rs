//! External processing. What it sees of a request or response it says in the headers that it adds: `x-proc-saw` on requests,
//! `x-proc-answer` on responses. Bodies become capitals. The header `x-do` says what else it does.

use std::pin::Pin;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValueOption};
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Told;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, ImmediateResponse,
    ProcessingRequest, ProcessingResponse, StreamedBodyResponse, TrailersResponse, body_mutation,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf;
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{authority, set};

/// The service.
#[derive(Debug)]
pub(crate) struct Processor;

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let asked_as = authority(&request);
        let mut messages = request.into_inner();
        let (answers, stream) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut exchange = Exchange { asked_as, ..Exchange::default() };
            while let Ok(Some(message)) = messages.message().await {
                for answer in exchange.answer(message).await {
                    let asks_for_time = answer.override_message_timeout.is_some();
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                    if asks_for_time {
                        tokio::time::sleep(Duration::from_millis(600)).await;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// What is known of one request.
#[derive(Default)]
struct Exchange {
    asked_as: String,
    /// Names of the messages so far.
    seen: Vec<String>,
    /// How bodies of requests and of responses come.
    modes: (i32, i32),
}

impl Exchange {
    async fn answer(&mut self, message: ProcessingRequest) -> Vec<ProcessingResponse> {
        if let Some(config) = message.protocol_config {
            self.modes = (config.request_body_mode, config.response_body_mode);
        }
        let metadata: Vec<String> = message
            .metadata_context
            .iter()
            .flat_map(|it| it.filter_metadata.keys().chain(it.typed_filter_metadata.keys()))
            .cloned()
            .collect();
        let Some(asked) = message.request else { return Vec::new() };
        match asked {
            Asked::RequestHeaders(headers) => {
                self.seen.push("request headers".to_owned());
                let map = headers.headers.unwrap_or_default();
                self.request_headers(&header(&map, "x-do"), &metadata.join(",")).await
            }
            Asked::ResponseHeaders(headers) => {
                self.seen.push("response headers".to_owned());
                let map = headers.headers.unwrap_or_default();
                let status = header(&map, ":status");
                let headers =
                    vec![set("x-proc-answer", &format!("{}; {status}", self.seen.join(", ")), true)];
                vec![told(Told::ResponseHeaders(headers_response(headers, false)))]
            }
            Asked::RequestBody(body) => {
                self.seen.push(format!("request body {}", body.body.len()));
                vec![told(Told::RequestBody(capitals(&body, self.modes.0)))]
            }
            Asked::ResponseBody(body) => {
                self.seen.push(format!("response body {}", body.body.len()));
                vec![told(Told::ResponseBody(capitals(&body, self.modes.1)))]
            }
            Asked::RequestTrailers(_) => {
                self.seen.push("request trailers".to_owned());
                vec![told(Told::RequestTrailers(trailers(&self.seen)))]
            }
            Asked::ResponseTrailers(_) => {
                self.seen.push("response trailers".to_owned());
                vec![told(Told::ResponseTrailers(trailers(&self.seen)))]
            }
        }
    }

    async fn request_headers(&self, wanted: &str, metadata: &str) -> Vec<ProcessingResponse> {
        let mut headers = vec![
            set("x-proc-saw", &self.asked_as, true),
            set("x-proc-metadata", metadata, true),
            // What must not be believed.
            set("host", "evil.example", true),
        ];
        let go_on = |headers, anew| told(Told::RequestHeaders(headers_response(headers, anew)));
        match wanted {
            "slow" => {
                tokio::time::sleep(Duration::from_millis(600)).await;
                vec![go_on(headers, false)]
            }
            "patience" => {
                let more = ProcessingResponse {
                    override_message_timeout: Some(protobuf::Duration { seconds: 2, nanos: 0 }),
                    ..ProcessingResponse::default()
                };
                // The time is used between the two.
                vec![more, go_on(headers, false)]
            }
            "stop" => vec![told(Told::ImmediateResponse(ImmediateResponse {
                status: Some(HttpStatus { code: 418 }),
                body: b"by the processor".to_vec(),
                ..ImmediateResponse::default()
            }))],
            "move" | "move-quietly" => {
                headers.push(set("x-tier", "gold", true));
                vec![go_on(headers, wanted == "move")]
            }
            // An answer to a question that was not asked.
            "spurious" => vec![told(Told::ResponseTrailers(TrailersResponse::default()))],
            _ => vec![go_on(headers, false)],
        }
    }
}

fn header(map: &HeaderMap, name: &str) -> String {
    let found = map.headers.iter().find(|header| header.key == name);
    found.map(|it| String::from_utf8_lossy(&it.raw_value).into_owned() + &it.value).unwrap_or_default()
}

fn told(response: Told) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn mutation(set_headers: Vec<HeaderValueOption>) -> HeaderMutation {
    HeaderMutation { set_headers, ..HeaderMutation::default() }
}

fn headers_response(headers: Vec<HeaderValueOption>, clear_route_cache: bool) -> HeadersResponse {
    HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(mutation(headers)),
            clear_route_cache,
            ..CommonResponse::default()
        }),
    }
}

fn trailers(seen: &[String]) -> TrailersResponse {
    TrailersResponse { header_mutation: Some(mutation(vec![set("x-proc-trailer", &seen.join(", "), true)])) }
}

/// The body in capitals: as long as it was, so that what headers say of it stays right.
fn capitals(body: &HttpBody, mode: i32) -> BodyResponse {
    let capitals = body.body.to_ascii_uppercase();
    let mutation = if mode == i32::from(BodySendMode::FullDuplexStreamed) {
        body_mutation::Mutation::StreamedResponse(StreamedBodyResponse {
            body: capitals,
            end_of_stream: body.end_of_stream,
            ..StreamedBodyResponse::default()
        })
    } else {
        body_mutation::Mutation::Body(capitals)
    };
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation { mutation: Some(mutation) }),
            ..CommonResponse::default()
        }),
    }
}
