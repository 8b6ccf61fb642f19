//! The names that mean something in an expression for Envoy.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use envoy_types::pb::google::api::expr::v1alpha1::Expr;
use envoy_types::pb::google::api::expr::v1alpha1::expr::create_struct::entry::KeyKind;
use envoy_types::pb::google::api::expr::v1alpha1::expr::{Call, ExprKind, Select};

use crate::problem::Fault;

/// Envoy's attributes; an empty list means that any field may follow.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    (
        "request",
        &[
            "path",
            "url_path",
            "host",
            "scheme",
            "method",
            "headers",
            "referer",
            "useragent",
            "time",
            "id",
            "protocol",
            "query",
            "duration",
            "size",
            "total_size",
        ],
    ),
    (
        "response",
        &[
            "code",
            "code_details",
            "flags",
            "grpc_status",
            "headers",
            "trailers",
            "size",
            "total_size",
            "backend_latency",
        ],
    ),
    ("source", &["address", "port"]),
    ("destination", &["address", "port"]),
    (
        "connection",
        &[
            "id",
            "mtls",
            "requested_server_name",
            "tls_version",
            "subject_local_certificate",
            "subject_peer_certificate",
            "dns_san_local_certificate",
            "dns_san_peer_certificate",
            "uri_san_local_certificate",
            "uri_san_peer_certificate",
            "sha256_peer_certificate_digest",
            "transport_failure_reason",
            "termination_details",
        ],
    ),
    (
        "upstream",
        &[
            "address",
            "port",
            "tls_version",
            "subject_local_certificate",
            "subject_peer_certificate",
            "dns_san_local_certificate",
            "dns_san_peer_certificate",
            "uri_san_local_certificate",
            "uri_san_peer_certificate",
            "sha256_peer_certificate_digest",
            "local_address",
            "transport_failure_reason",
            "request_attempt_count",
            "cx_pool_ready_duration",
            "locality",
        ],
    ),
    ("metadata", &[]),
    ("filter_state", &[]),
    ("upstream_filter_state", &[]),
    (
        "xds",
        &[
            "node",
            "cluster_name",
            "cluster_metadata",
            "listener_direction",
            "listener_metadata",
            "route_name",
            "route_metadata",
            "virtual_host_name",
            "virtual_host_metadata",
            "upstream_host_metadata",
            "upstream_host_locality_metadata",
            "filter_chain_name",
        ],
    ),
];

/// Functions and the number of their arguments, the target of a method included.
const FUNCTIONS: &[(&str, RangeInclusive<usize>)] = &[
    ("size", 1..=1),
    ("contains", 2..=2),
    ("startsWith", 2..=2),
    ("endsWith", 2..=2),
    ("matches", 2..=2),
    ("lowerAscii", 1..=1),
    ("upperAscii", 1..=1),
    ("replace", 3..=4),
    ("split", 2..=3),
    ("join", 1..=2),
    ("trim", 1..=1),
    ("substring", 2..=3),
    ("indexOf", 2..=3),
    ("string", 1..=1),
    ("int", 1..=1),
    ("uint", 1..=1),
    ("double", 1..=1),
    ("bool", 1..=1),
    ("bytes", 1..=1),
    ("type", 1..=1),
    ("dyn", 1..=1),
    ("timestamp", 1..=1),
    ("duration", 1..=1),
    ("getFullYear", 1..=2),
    ("getMonth", 1..=2),
    ("getDate", 1..=2),
    ("getDayOfMonth", 1..=2),
    ("getDayOfWeek", 1..=2),
    ("getDayOfYear", 1..=2),
    ("getHours", 1..=2),
    ("getMinutes", 1..=2),
    ("getSeconds", 1..=2),
    ("getMilliseconds", 1..=2),
];

/// Names of types, which compare with `type(…)`.
const TYPES: &[&str] = &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

/// Checks that Envoy knows every name.
pub(super) fn check(expression: &Expr) -> Result<(), Fault> {
    match &expression.expr_kind {
        Some(ExprKind::IdentExpr(ident)) => check_ident(&ident.name),
        Some(ExprKind::SelectExpr(select)) => check_select(select),
        Some(ExprKind::CallExpr(call)) => check_call(call),
        Some(ExprKind::ListExpr(list)) => list.elements.iter().try_for_each(check),
        Some(ExprKind::StructExpr(map)) => map.entries.iter().try_for_each(|entry| {
            if let Some(KeyKind::MapKey(key)) = &entry.key_kind {
                check(key)?;
            }
            entry.value.iter().try_for_each(check)
        }),
        Some(ExprKind::ConstExpr(_) | ExprKind::ComprehensionExpr(_)) | None => Ok(()),
    }
}

/// The attributes that an expression speaks of.
pub(super) fn attributes(expression: &Expr) -> BTreeSet<&str> {
    match &expression.expr_kind {
        Some(ExprKind::IdentExpr(ident)) => [ident.name.as_str()].into(),
        Some(ExprKind::SelectExpr(select)) => select.operand.iter().flat_map(|it| attributes(it)).collect(),
        Some(ExprKind::CallExpr(call)) => {
            call.target.iter().map(AsRef::as_ref).chain(&call.args).flat_map(attributes).collect()
        }
        Some(ExprKind::ListExpr(list)) => list.elements.iter().flat_map(attributes).collect(),
        Some(ExprKind::StructExpr(map)) => {
            let keys = map.entries.iter().filter_map(|entry| match &entry.key_kind {
                Some(KeyKind::MapKey(key)) => Some(key),
                _ => None,
            });
            keys.chain(map.entries.iter().filter_map(|entry| entry.value.as_ref()))
                .flat_map(attributes)
                .collect()
        }
        Some(ExprKind::ConstExpr(_) | ExprKind::ComprehensionExpr(_)) | None => BTreeSet::new(),
    }
}

fn check_ident(name: &str) -> Result<(), Fault> {
    if TYPES.contains(&name) || ATTRIBUTES.iter().any(|(attribute, _)| *attribute == name) {
        return Ok(());
    }
    let names: Vec<&str> = ATTRIBUTES.iter().map(|(attribute, _)| *attribute).collect();
    Err(Fault::new("", format!("{name} is unknown"), format!("use one of {}", names.join(", "))))
}

fn check_select(select: &Select) -> Result<(), Fault> {
    let Some(operand) = select.operand.as_deref() else { return Ok(()) };
    check(operand)?;
    let Some(ExprKind::IdentExpr(ident)) = &operand.expr_kind else { return Ok(()) };
    match ATTRIBUTES.iter().find(|(attribute, _)| *attribute == ident.name) {
        Some((attribute, fields)) if !fields.is_empty() && !fields.contains(&select.field.as_str()) => {
            Err(Fault::new(
                "",
                format!("{attribute}.{} is unknown", select.field),
                format!("{attribute} has {}", fields.join(", ")),
            ))
        }
        _ => Ok(()),
    }
}

fn check_call(call: &Call) -> Result<(), Fault> {
    let arguments = call.args.len() + usize::from(call.target.is_some());
    // Operators have names that nobody can write.
    let operator = call.function.contains(|c: char| !c.is_ascii_alphanumeric());
    match FUNCTIONS.iter().find(|(name, _)| *name == call.function) {
        None if !operator => {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            let remedy = format!("use has or one of {}", names.join(", "));
            return Err(Fault::new("", format!("the function {} is unknown", call.function), remedy));
        }
        Some((name, expected)) if !expected.contains(&arguments) => {
            return Err(Fault::new(
                "",
                format!("{name} does not take {arguments} arguments"),
                "count the value in front of the dot as one",
            ));
        }
        _ => {}
    }
    call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(check)
}
