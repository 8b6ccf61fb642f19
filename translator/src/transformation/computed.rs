//! Header values computed by expressions in CEL, which Envoy evaluates.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation};
use envoy_types::pb::envoy::config::core::v3::{
    CelExpressionConfig, HeaderValue, HeaderValueOption, TypedExtensionConfig,
};
use envoy_types::pb::envoy::extensions::formatter::cel::v3::Cel;
use prost::{Message, Name};

use super::Side;
use crate::cel;
use crate::envoy::{HeaderAppendAction, extension};
use crate::problem::Fault;

/// The filter's name in Envoy.
const FILTER: &str = "envoy.filters.http.header_mutation";

/// A header with the expression of its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Computed {
    name: String,
    expression: String,
    /// In place of the values that the header has.
    replaces: bool,
}

impl Computed {
    /// Reads an expression; the field of a fault is empty.
    pub(super) fn parse(name: &str, text: &str, side: Side, replaces: bool) -> Result<Self, Fault> {
        let parsed = cel::parse(text)?;
        if side == Side::Request && cel::mentions(&parsed, "response") {
            let message = "there is no response yet when a request is transformed";
            return Err(Fault::new("", message, "use it in transformation.response"));
        }
        if ends_early(text) {
            return Err(Fault::new(
                "",
                "Envoy takes a bracket with a percent sign behind it for the end of the expression",
                "write a space between them, or \\x25 for the percent sign of a string",
            ));
        }
        if text.contains('\n') && (text.contains("'''") || text.contains("\"\"\"")) {
            let message = "a string has more than one line";
            return Err(Fault::new("", message, "write \\n for a line break"));
        }
        Ok(Self { name: name.to_owned(), expression: text.trim().replace(['\n', '\r'], " "), replaces })
    }

    fn envoy(&self) -> HeaderMutation {
        let (append_action, keep_empty_value) = if self.replaces {
            // What has no value must not leave the value that a client has sent.
            (HeaderAppendAction::OverwriteIfExistsOrAdd, true)
        } else {
            (HeaderAppendAction::AppendIfExistsOrAdd, false)
        };
        HeaderMutation {
            action: Some(header_mutation::Action::Append(HeaderValueOption {
                header: Some(HeaderValue {
                    key: self.name.clone(),
                    value: format!("%CEL({})%", self.expression),
                    ..HeaderValue::default()
                }),
                append_action: append_action.into(),
                keep_empty_value,
                ..HeaderValueOption::default()
            })),
        }
    }
}

/// True if Envoy's formatter would take something inside of the expression for its end: `)%`, or a length, `):5%`.
fn ends_early(text: &str) -> bool {
    text.split(')').skip(1).any(|rest| {
        let length = rest.strip_prefix(':').map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit()));
        length.unwrap_or(rest).starts_with('%')
    })
}

/// The filter that gives headers of one side of the exchange their values; `None` if there are none.
pub(super) fn filter(side: Side, computed: &[Computed]) -> Option<TypedExtensionConfig> {
    let mutations: Vec<HeaderMutation> = computed.iter().map(Computed::envoy).collect();
    if mutations.is_empty() {
        return None;
    }
    let (request, response) =
        if side == Side::Request { (mutations, Vec::new()) } else { (Vec::new(), mutations) };
    // What they allocate is bounded by the size of headers.
    let functions = CelExpressionConfig {
        enable_string_conversion: true,
        enable_string_concat: true,
        enable_string_functions: true,
    };
    let formatter = extension("envoy.formatter.cel", Cel { cel_config: Some(functions) });
    let mutations = Mutations { request, response, formatters: vec![formatter] };
    Some(extension(FILTER, Filter { mutations: Some(mutations) }))
}

/// Envoy's filter that changes headers, as far as it is needed. The generated type has no `formatters` yet
/// (<https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/filters/http/header_mutation/v3/header_mutation.proto>).
#[derive(Clone, PartialEq, Message)]
struct Filter {
    #[prost(message, optional, tag = "1")]
    mutations: Option<Mutations>,
}

#[derive(Clone, PartialEq, Message)]
struct Mutations {
    #[prost(message, repeated, tag = "1")]
    request: Vec<HeaderMutation>,
    #[prost(message, repeated, tag = "2")]
    response: Vec<HeaderMutation>,
    #[prost(message, repeated, tag = "6")]
    formatters: Vec<TypedExtensionConfig>,
}

impl Name for Filter {
    const NAME: &'static str = "HeaderMutation";
    const PACKAGE: &'static str = "envoy.extensions.filters.http.header_mutation.v3";

    fn type_url() -> String {
        "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_envoy_would_misread_is_refused() {
        let parse = |text: &str| Computed::parse("x", text, Side::Request, true);
        for text in
            ["request.path", "size(request.path) % 2", "request.headers['x'] + '!'", "true\n? 'a' : 'b'"]
        {
            assert!(parse(text).is_ok(), "{text}");
        }
        assert_eq!(parse("true\n? 'a' : 'b'").unwrap().expression, "true ? 'a' : 'b'");
        for (text, said) in [
            ("", "empty"),
            ("requst.path", "unknown"),
            ("size(request.path)% 2", "bracket with a percent sign"),
            ("'a)%'", "bracket with a percent sign"),
            ("(true) ? 'b' : (2 > 1):3%", "not CEL"),
            ("true ? (1):5%2", "bracket with a percent sign"),
            ("response.code", "no response yet"),
            ("'''a\nb'''", "more than one line"),
        ] {
            let message = parse(text).unwrap_err().message;
            assert!(message.contains(said), "{text}: {message}");
        }
        assert!(Computed::parse("x", "response.code", Side::Response, true).is_ok());
    }
}
