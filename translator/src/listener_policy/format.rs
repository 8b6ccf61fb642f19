//! Command operators in access logs, checked as Envoy reads them: an unknown one would cost the whole listener its update.
//!
//! Source: Envoy 1.40, <https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/advanced/substitution_formatter>; each command was
//! tried with `envoy --mode validate`.

use std::sync::LazyLock;

use regex::Regex;

use super::commands::PLAIN;
use crate::cel;
use crate::problem::Fault;

/// Commands that may have parameters, and no length.
const OPTIONAL: [&str; 15] = [
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "EMIT_TIME",
    "EMIT_TIME_LOCAL",
    "RESPONSE_CODE_DETAILS",
    "START_TIME",
    "START_TIME_LOCAL",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
];
/// Commands with the name of a header, perhaps with that of another one behind a question mark.
const HEADERS: [&str; 7] =
    ["REQ", "REQ_WITHOUT_QUERY", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER", "RESPONSE_TRAILER", "TRAILER"];
/// Commands with parameters of any form, and whether they may have a length.
const NAMED: [(&str, bool); 5] = [
    ("CLUSTER_METADATA", false),
    ("DYNAMIC_METADATA", true),
    ("ENVIRONMENT", true),
    ("QUERY_PARAM", true),
    ("UPSTREAM_METADATA", false),
];
const METADATA_TYPES: [&str; 6] =
    ["DYNAMIC", "CLUSTER", "ROUTE", "UPSTREAM_HOST", "LISTENER", "VIRTUAL_HOST"];

const REMEDY: &str = "use a command operator of Envoy 1.40 such as %RESPONSE_CODE% or %REQ(USER-AGENT)%, and write %% for a percent sign";

static COMMAND: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%").ok());

/// Checks a text with command operators; the field of the fault is empty.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let wrong = |message: String| Fault::new("", message, REMEDY);
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("%%") {
            rest = after;
            continue;
        }
        let Some(found) = COMMAND.as_ref().and_then(|command| command.captures(rest)) else {
            let shown: String = rest.chars().take(24).collect();
            return Err(wrong(format!("{shown:?} is not a command operator")));
        };
        let group = |index| found.get(index).map(|it: regex::Match<'_>| it.as_str());
        let name = group(1).unwrap_or_default();
        command(name, group(2), group(3)).map_err(|why| match why {
            Wrong::Unknown => wrong(format!("%{name}% is not known")),
            Wrong::Use(message) => wrong(format!("%{name}%: {message}")),
            Wrong::Cel(fault) => Fault { message: format!("%CEL%: {}", fault.message), ..fault },
        })?;
        rest = &rest[found.get(0).map_or(1, |it| it.end())..];
    }
    Ok(())
}

enum Wrong {
    Unknown,
    Use(&'static str),
    Cel(Fault),
}

fn command(name: &str, parameters: Option<&str>, length: Option<&str>) -> Result<(), Wrong> {
    if length.is_some_and(|length| length.parse::<u32>().is_err()) {
        return Err(Wrong::Use("the length is too large"));
    }
    let given = parameters.filter(|it| !it.is_empty());
    let required = || given.ok_or(Wrong::Use("it needs parameters in brackets"));
    let no_length = || if length.is_some() { Err(Wrong::Use("it takes no length")) } else { Ok(()) };
    if PLAIN.binary_search(&name).is_ok() {
        return if parameters.is_some() { Err(Wrong::Use("it takes no parameters")) } else { no_length() };
    }
    if OPTIONAL.contains(&name) {
        return no_length();
    }
    if HEADERS.contains(&name) {
        return headers(required()?);
    }
    if let Some((_, lengths)) = NAMED.iter().find(|(known, _)| *known == name) {
        required()?;
        return if *lengths { Ok(()) } else { no_length() };
    }
    let words = |text: &str| text.split(':').map(str::to_owned).collect::<Vec<_>>();
    match name {
        "CEL" => cel::parse(required()?).map(drop).map_err(Wrong::Cel),
        "PATH" | "QUERY_PARAMS" => {
            let allowed =
                if name == "PATH" { &["WQ", "NQ"][..] } else { &["ORIG", "PATH", "ORIG_OR_PATH"][..] };
            match given.map(words).unwrap_or_default().first() {
                Some(first) if !allowed.contains(&first.as_str()) => {
                    Err(Wrong::Use("its option is not known"))
                }
                _ => Ok(()),
            }
        }
        "FILTER_STATE" | "UPSTREAM_FILTER_STATE" => match words(required()?).as_slice() {
            [key] if !key.is_empty() => Ok(()),
            [key, form, ..] if !key.is_empty() && ["PLAIN", "TYPED", "FIELD"].contains(&form.as_str()) => {
                Ok(())
            }
            _ => Err(Wrong::Use("it takes a key, and perhaps PLAIN, TYPED or FIELD")),
        },
        "COMMON_DURATION" => {
            no_length()?;
            match words(required()?).as_slice() {
                [_, _] => Ok(()),
                [_, _, unit] if ["s", "ms", "us", "ns"].contains(&unit.as_str()) => Ok(()),
                _ => Err(Wrong::Use("it takes two points in time and perhaps one of ms, us and ns")),
            }
        }
        "METADATA" => match words(required()?).as_slice() {
            [kind, _, ..] if METADATA_TYPES.contains(&kind.as_str()) => Ok(()),
            _ => Err(Wrong::Use("it takes a type such as ROUTE, a namespace and a key")),
        },
        _ => Err(Wrong::Unknown),
    }
}

fn headers(parameters: &str) -> Result<(), Wrong> {
    let names: Vec<&str> = parameters.split('?').collect();
    let is_name = |name: &&str| {
        let name = name.strip_prefix(':').unwrap_or(name);
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b))
    };
    if names.len() > 2 {
        return Err(Wrong::Use("it takes one alternative at most"));
    }
    if names.iter().all(is_name) { Ok(()) } else { Err(Wrong::Use("it takes the name of a header")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both lists were had from `envoy --mode validate`.
    #[test]
    fn what_envoy_takes_and_refuses() {
        for good in [
            "plain",
            "%REQ(:METHOD)% %REQ(X-A?:PATH):10%",
            "100%% %%PROTOCOL%%",
            "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
            "%CEL(size(request.path) > 1)% %CEL(size(request.path))%",
            "%DYNAMIC_METADATA(a:b:c):3%",
            "%FILTER_STATE(k:PLAIN)%%FILTER_STATE(k:FIELD:f)%",
            "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%",
            "%PATH(NQ:ORIG):5% %QUERY_PARAMS(ORIG)%",
            "%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24:64)%",
            "%ROUTE_NAME% %UPSTREAM_HOST% %DURATION%",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "100%",
            "%protocol%",
            "%PROTOCOL",
            "%BOGUS%",
            "%PROTOCOL(x)%",
            "%PROTOCOL:3%",
            "%REQ(X?Y?Z)%",
            "%REQ()%",
            "%REQ%",
            "%REQ(a b)%",
            "%PATH(XX)%",
            "%CEL(request.path ==)%",
            "%FILTER_STATE%",
            "%FILTER_STATE(x:y)%",
            "%COMMON_DURATION(a:b:zz)%",
            "%METADATA(x:y)%",
            "%FILE_CONTENT(/etc/hostname)%",
            "%START_TIME:3%",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
