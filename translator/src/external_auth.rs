//! External authorization (GEP-1494): a service is asked whether a request may pass.
//!
//! Whatever goes wrong, the request does not pass: a service that cannot be resolved closes what it protects, one that does
//! not answer costs the request.

use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use envoy_types::pb::envoy::config::core::v3::{GrpcService, HttpUri, grpc_service, http_uri};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{ListStringMatcher, StringMatcher};
use postern_api::gateway_api::{BackendRef, HttpExternalAuthFilter, HttpExternalAuthProtocol};

use crate::backend::ClusterId;
use crate::backend::resolve::{self, Unresolved};
use crate::dependency::Reader;
use crate::envoy::{ApiVersion, bool_value, duration, exact, ignoring_case, regex_matcher, safe_regex};
use crate::object::ObjectKey;
use crate::problem::Fault;
use crate::route::headers;

/// Envoy's name of the filter.
pub(crate) const FILTER: &str = "envoy.filters.http.ext_authz";

/// How long the service may take. The API has no field for it; Envoy's own default of 200 ms fails requests while a service
/// starts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What an answer of the service must not change in the request: whom it is for, how it is framed, and what only Envoy says.
const NOT_FROM_THE_SERVICE: &str =
    "host|:authority|:scheme|connection|content-length|transfer-encoding|te|trailer|upgrade|x-postern-.*";
/// Nor how it is routed, once its route is chosen.
const NOT_AFTER_ROUTING: &str = ":path|:method";

/// A service that is asked, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExternalAuth {
    pub(crate) cluster: ClusterId,
    protocol: Protocol,
    /// The most bytes of a body that the service gets; longer bodies are refused with 413. `None`: it gets no body.
    max_body: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
enum Protocol {
    Grpc {
        /// Names of request headers; empty means all.
        headers: Vec<String>,
    },
    Http {
        path_prefix: String,
        /// Names of request headers besides those that are always sent.
        headers: Vec<String>,
        /// Names of headers of the answer that the backend gets; empty means all.
        response_headers: Vec<String>,
    },
}

/// Why nobody can be asked.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    Invalid(Fault),
    Unresolved(Unresolved),
}

/// Reads the filter of `object`; fields of errors are relative to the filter's `externalAuth`.
pub(crate) fn parse(
    reader: &Reader<'_>,
    object: &ObjectKey,
    spec: &HttpExternalAuthFilter,
) -> Result<ExternalAuth, Error> {
    let protocol = protocol(spec).map_err(Error::Invalid)?;
    let reference = BackendRef::from(&spec.backend_ref);
    let grpc = matches!(protocol, Protocol::Grpc { .. });
    let cluster = if grpc {
        resolve::grpc_backend(reader, object, &reference)
    } else {
        resolve::known_backend(reader, object, &reference)
    };
    let max_body = spec.forward_body.as_ref().and_then(|body| body.max_size).filter(|size| *size > 0);
    Ok(ExternalAuth { cluster: cluster.map_err(Error::Unresolved)?, protocol, max_body })
}

fn protocol(spec: &HttpExternalAuthFilter) -> Result<Protocol, Fault> {
    let excluded = |field: &str| {
        Fault::new(
            format!(".{field}"),
            format!("the protocol is {}", spec.protocol),
            format!("remove {field}, or change the protocol"),
        )
    };
    match &spec.protocol {
        HttpExternalAuthProtocol::Grpc => {
            if spec.http.is_some() {
                return Err(excluded("http"));
            }
            let allowed = spec.grpc.as_ref().map(|it| it.allowed_headers.as_slice()).unwrap_or_default();
            Ok(Protocol::Grpc { headers: names(allowed, ".grpc.allowedHeaders")? })
        }
        HttpExternalAuthProtocol::Http => {
            if spec.grpc.is_some() {
                return Err(excluded("grpc"));
            }
            let http = spec.http.clone().unwrap_or_default();
            Ok(Protocol::Http {
                path_prefix: path(http.path.as_deref().unwrap_or_default())?,
                headers: names(&http.allowed_headers, ".http.allowedHeaders")?,
                response_headers: names(&http.allowed_response_headers, ".http.allowedResponseHeaders")?,
            })
        }
        HttpExternalAuthProtocol::Unknown(other) => {
            Err(Fault::new(".protocol", format!("{other:?} is unknown"), "use GRPC or HTTP"))
        }
    }
}

fn names(given: &[String], field: &str) -> Result<Vec<String>, Fault> {
    let name = |(index, name): (usize, &String)| {
        headers::name(name).map_err(|fault| fault.within(&format!("{field}[{index}]")))
    };
    given.iter().enumerate().map(name).collect()
}

/// The prefix as Envoy puts it in front of the path of the request, which begins with a slash.
fn path(prefix: &str) -> Result<String, Fault> {
    let sane = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}')
    };
    if !prefix.chars().all(sane) || prefix.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Fault::new(
            ".http.path",
            format!("{prefix:?} is not a path"),
            "leave out ?, #, blanks and the segments . and ..",
        ));
    }
    let trimmed = prefix.trim_matches('/');
    Ok(if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") })
}

impl ExternalAuth {
    /// Envoy's filter. `before_routing`: routes are looked up anew after the service has answered.
    pub(crate) fn envoy(&self, before_routing: bool) -> ExtAuthz {
        let cluster = self.cluster.name();
        let is_grpc = matches!(self.protocol, Protocol::Grpc { .. });
        let (services, allowed_headers) = match &self.protocol {
            Protocol::Grpc { headers } => {
                let service = GrpcService {
                    target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(
                        grpc_service::EnvoyGrpc {
                            cluster_name: cluster,
                            authority: self.cluster.authority(),
                            ..grpc_service::EnvoyGrpc::default()
                        },
                    )),
                    timeout: duration(TIMEOUT),
                    ..GrpcService::default()
                };
                (ext_authz::Services::GrpcService(service), list(headers))
            }
            Protocol::Http { path_prefix, headers, response_headers } => {
                let everything = || Some(ListStringMatcher { patterns: vec![safe_regex(".*")] });
                let service = HttpService {
                    server_uri: Some(HttpUri {
                        // Envoy wants a URI; the cluster says where the service really is.
                        uri: "http://external-auth".to_owned(),
                        http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(cluster)),
                        timeout: duration(TIMEOUT),
                    }),
                    path_prefix: path_prefix.clone(),
                    authorization_response: Some(AuthorizationResponse {
                        allowed_upstream_headers: list(response_headers).or_else(everything),
                        ..AuthorizationResponse::default()
                    }),
                    ..HttpService::default()
                };
                (ext_authz::Services::HttpService(service), list(headers))
            }
        };
        ExtAuthz {
            transport_api_version: ApiVersion::V3.into(),
            services: Some(services),
            allowed_headers,
            with_request_body: self.max_body.map(|max_request_bytes| BufferSettings {
                max_request_bytes,
                allow_partial_message: false,
                pack_as_bytes: is_grpc,
            }),
            decoder_header_mutation_rules: Some(mutation_rules(before_routing)),
            clear_route_cache: before_routing,
            ..ExtAuthz::default()
        }
    }
}

/// What the service may change in a request. `before_routing`: routes are looked up anew after it has answered.
pub(crate) fn mutation_rules(before_routing: bool) -> HeaderMutationRules {
    HeaderMutationRules {
        // What remains of routing is ruled out by the expression.
        allow_all_routing: bool_value(true),
        disallow_expression: Some(regex_matcher(&if before_routing {
            format!("(?i)^({NOT_FROM_THE_SERVICE})$")
        } else {
            format!("(?i)^({NOT_FROM_THE_SERVICE}|{NOT_AFTER_ROUTING})$")
        })),
        ..HeaderMutationRules::default()
    }
}

fn list(names: &[String]) -> Option<ListStringMatcher> {
    let patterns: Vec<StringMatcher> = names.iter().map(|name| ignoring_case(exact(name))).collect();
    (!patterns.is_empty()).then_some(ListStringMatcher { patterns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::{World, yaml};
    use crate::object::Kind;

    fn read(spec: &str) -> Result<ExternalAuth, Error> {
        let world = World::new(&[(Kind::Service, "a/auth", "spec: {ports: [{port: 9000}]}")]);
        parse(&world.reader(), &ObjectKey::new(Kind::HttpRoute, "a", "r"), &yaml(spec))
    }

    fn fault(spec: &str) -> Fault {
        match read(spec) {
            Err(Error::Invalid(fault)) => fault,
            other => panic!("{spec}: {other:?}"),
        }
    }

    const BACKEND: &str = "backendRef: {name: auth, port: 9000}";

    #[test]
    fn grpc_needs_http_2() {
        let auth = read(&format!("{{protocol: GRPC, {BACKEND}}}")).unwrap();
        assert_eq!(auth.cluster.name(), "a/auth:9000~h2");
        let auth = read(&format!("{{protocol: HTTP, {BACKEND}}}")).unwrap();
        assert_eq!(auth.cluster.name(), "a/auth:9000");
    }

    /// The two protocols read an empty list of request headers differently.
    #[test]
    fn headers_that_the_service_gets() {
        let allowed =
            |spec: &str| read(spec).unwrap().envoy(false).allowed_headers.map(|list| list.patterns.len());
        assert_eq!(allowed(&format!("{{protocol: GRPC, {BACKEND}}}")), None, "all");
        assert_eq!(allowed(&format!("{{protocol: HTTP, {BACKEND}}}")), None, "those that are always sent");
        let some = format!("{{protocol: GRPC, {BACKEND}, grpc: {{allowedHeaders: [X-A, x-b]}}}}");
        assert_eq!(allowed(&some), Some(2));
    }

    #[test]
    fn paths_have_one_slash_in_front() {
        for (given, expected) in
            [("", ""), ("/", ""), ("auth", "/auth"), ("/auth/", "/auth"), ("/a/b", "/a/b")]
        {
            assert_eq!(path(given).unwrap(), expected);
        }
        for bad in ["/a?b", "/a#b", "/../b", "/a b", "/ä"] {
            assert_eq!(path(bad).unwrap_err().field, ".http.path", "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (rest, field) in [
            ("protocol: SMTP", ".protocol"),
            ("protocol: GRPC, http: {}", ".http"),
            ("protocol: HTTP, grpc: {}", ".grpc"),
            ("protocol: GRPC, grpc: {allowedHeaders: [ok, 'not ok']}", ".grpc.allowedHeaders[1]"),
            ("protocol: HTTP, http: {allowedResponseHeaders: ['']}", ".http.allowedResponseHeaders[0]"),
        ] {
            assert_eq!(fault(&format!("{{{rest}, {BACKEND}}}")).field, field, "{rest}");
        }
        let Err(Error::Unresolved(why)) = read("{protocol: GRPC, backendRef: {name: gone, port: 1}}") else {
            panic!("resolved")
        };
        assert_eq!(why.field, ".name");
    }
}
