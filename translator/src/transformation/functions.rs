//! The functions that templates may use: those of Inja, and those that kgateway v2.1 adds.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::expression::Expression;
use super::source::Wrong;

/// Functions and the number of their arguments.
const FUNCTIONS: &[(&str, RangeInclusive<usize>)] = &[
    ("at", 2..=2),
    ("base64_decode", 1..=1),
    ("base64_encode", 1..=1),
    ("base64url_decode", 1..=1),
    ("base64url_encode", 1..=1),
    ("body", 0..=0),
    ("capitalize", 1..=1),
    ("context", 0..=0),
    ("default", 2..=2),
    ("divisibleBy", 2..=2),
    ("dynamic_metadata", 1..=2),
    ("env", 1..=1),
    ("even", 1..=1),
    ("exists", 1..=1),
    ("existsIn", 2..=2),
    ("first", 1..=1),
    ("float", 1..=1),
    ("header", 1..=1),
    ("int", 1..=1),
    ("isArray", 1..=1),
    ("isBoolean", 1..=1),
    ("isFloat", 1..=1),
    ("isInteger", 1..=1),
    ("isNumber", 1..=1),
    ("isObject", 1..=1),
    ("isString", 1..=1),
    ("join", 2..=2),
    ("last", 1..=1),
    ("length", 1..=1),
    ("lower", 1..=1),
    ("max", 1..=1),
    ("min", 1..=1),
    ("odd", 1..=1),
    ("range", 1..=1),
    ("raw_string", 1..=1),
    ("replace", 3..=3),
    ("replace_with_random", 2..=2),
    ("request_header", 1..=1),
    ("round", 2..=2),
    ("sort", 1..=1),
    ("substring", 2..=3),
    ("trim", 1..=1),
    ("upper", 1..=1),
    ("word_count", 1..=1),
];

/// Functions that kgateway's proxy knows and that mean nothing here, with the reason.
const IMPOSSIBLE: &[(&str, &str)] = &[
    ("extraction", "a TrafficPolicy has no extractors"),
    ("data_source", "a TrafficPolicy has no data sources"),
    ("clusterMetadata", "clusters have no metadata"),
    ("cluster_metadata", "clusters have no metadata"),
    ("host_metadata", "the host is not chosen yet"),
    ("super", "there are no other templates"),
];

/// The variables of the environment that a template may read: those that every proxy in a cluster has. All others may be secrets.
const VARIABLES: [&str; 2] = ["NODE_NAME", "POD_NAME"];

/// The call of a function that is known, with as many arguments as it takes.
pub(super) fn call(at: &str, name: &str, arguments: Vec<Expression>) -> Result<Expression, Wrong> {
    if let Some((_, reason)) = IMPOSSIBLE.iter().find(|(it, _)| *it == name) {
        return Err(Wrong::new(at, format!("the function {name} is not possible: {reason}"), "remove it"));
    }
    let Some((_, count)) = FUNCTIONS.iter().find(|(it, _)| *it == name) else {
        let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
        return Err(Wrong::new(
            at,
            format!("the function {name} is unknown"),
            format!("use one of {}", names.join(", ")),
        ));
    };
    if !count.contains(&arguments.len()) {
        let (least, most) = (count.start(), count.end());
        let wanted = if least == most { least.to_string() } else { format!("{least} or {most}") };
        return Err(Wrong::new(
            at,
            format!("the function {name} has {} arguments", arguments.len()),
            format!("give it {wanted}"),
        ));
    }
    let readable = |variable: &Expression| matches!(variable, Expression::Literal(Value::String(it)) if VARIABLES.contains(&it.as_str()));
    if name == "env" && !arguments.iter().all(readable) {
        return Err(Wrong::new(
            at,
            "templates may not read this variable of the proxy's environment, which may hold secrets",
            format!("read one of \"{}\", or write the value", VARIABLES.join("\", \"")),
        ));
    }
    Ok(Expression::Call { at: at.to_owned(), name: name.to_owned(), arguments })
}
